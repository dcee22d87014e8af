"""Plugins come from entry points and a folder, and change while the backend runs."""

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from instabot.backend.fresh import PREFIX
from instabot.backend.loader import Loader
from instabot.backend.router import Router
from instabot.backend.sources import Plugins, Problem
from instabot.commands import Context
from instabot.errors import BadInput
from instabot.plugins import again

PLUGIN = """
from instabot.commands import Context, Plugin

plugin = Plugin("{name}")

@plugin.command
async def {command}(ctx: Context) -> str:
    return "{says}"
"""


def source(name: str = "greet", command: str = "hello", says: str = "one") -> str:
    return PLUGIN.format(name=name, command=command, says=says)


class House:
    """A folder of plugins, its loader, and what was reported."""

    def __init__(self, folder: Path, *points: EntryPoint, limit: float = 5.0) -> None:
        self.folder = folder
        self.reported: list[Problem] = []
        self.loader = Loader(
            folder, verify=Router, report=self.reported.append, points=points, limit=limit
        )

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    @property
    def names(self) -> list[str]:
        return [plugin.name for plugin in self.loader.plugins]

    @property
    def reasons(self) -> list[str]:
        return [f"{problem.source}: {problem.reason}" for problem in self.reported]

    async def says(self, command: str = "hello") -> str:
        """What the command returns, as it is loaded now."""
        for plugin in self.loader.plugins:
            if command in plugin.commands:
                return str(await plugin.commands[command].run(None))
        return "(no such command)"


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Each test begins without the modules of those before it."""
    yield
    for name in [name for name in sys.modules if name.startswith(PREFIX)]:
        del sys.modules[name]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


# -- entry points --------------------------------------------------------------------------


def point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, "instabot.plugins")


def test_our_own_plugins_come_by_entry_point() -> None:
    loader = Loader(points=[point("again", "instabot.plugins.again:plugin")])
    assert [plugin.name for plugin in loader.load()] == ["again"]
    assert loader.problems == ()
    assert loader.owner("instabot.plugins.again") == "again"


def test_a_bad_entry_point_is_reported_and_the_others_go_on(tmp_path: Path) -> None:
    house = House(
        tmp_path,
        point("again", "instabot.plugins.again:plugin"),
        point("gone", "no_such_module:plugin"),
        point("odd", "instabot.plugins.again:CommandError"),
        point("short", "instabot.plugins.again:plugins"),
    )
    house.loader.load()
    assert house.names == ["again"]
    assert house.reasons == [
        "entry point gone: ModuleNotFoundError: No module named 'no_such_module'",
        "entry point odd: instabot.plugins.again:CommandError is a type, not a Plugin",
        "entry point short: AttributeError: module 'instabot.plugins.again' "
        "has no attribute 'plugins'",
    ]


def test_the_same_entry_point_twice_is_one_plugin() -> None:
    twice = [point("again", "instabot.plugins.again:plugin")] * 2
    assert len(Loader(points=twice).load()) == 1


def test_two_entry_points_of_one_plugin_name_clash(tmp_path: Path) -> None:
    twice = [point(name, "instabot.plugins.again:plugin") for name in ("again", "encore")]
    house = House(tmp_path, *twice)
    house.loader.load()
    assert house.reasons == ["entry point encore: there is another plugin named again"]


# -- the folder ----------------------------------------------------------------------------


async def test_each_file_and_each_package_of_the_folder_is_loaded(house: House) -> None:
    house.write("greet.py", source())
    house.write("pack/__init__.py", source("pack", "packed", "from a package"))
    house.write("_draft.py", "raise RuntimeError")
    house.write(".hidden.py", "raise RuntimeError")
    house.write("notes/readme.txt", "no package")
    house.write("words.txt", "no plugin")
    assert [plugin.name for plugin in house.loader.load()] == ["greet", "pack"]
    assert await house.says() == "one"
    assert await house.says("packed") == "from a package"
    assert house.reported == []


def test_a_file_may_hold_several_plugins(house: House) -> None:
    house.write("both.py", source("a", "x") + source("b", "y").replace("plugin", "other"))
    assert [plugin.name for plugin in house.loader.load()] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def broken(:", "invalid syntax (bad.py, line 1)"),
        ("\n1 / 0", "ZeroDivisionError: division by zero (bad.py, line 2)"),
        ("import sys; sys.exit(3)", "SystemExit: 3 (bad.py, line 1)"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt (bad.py, line 1)"),
        ("import nothing_here", "ModuleNotFoundError: No module named 'nothing_here' (bad.py, line 1)"),
        ("x = 1", 'there is no Plugin at its top level (plugin = Plugin("NAME"))'),
        ("", 'there is no Plugin at its top level (plugin = Plugin("NAME"))'),
        ("\0", "source code string cannot contain null bytes"),
        ("from instabot import Plugin\nPlugin('Bad Name')", "cannot be named 'Bad Name'"),
        (source().replace("(ctx: Context)", "(ctx, what: set)"), "cannot be of type set"),
    ],
)  # fmt: skip
def test_a_bad_file_is_left_out_and_says_why(house: House, text: str, reason: str) -> None:
    house.write("bad.py", text)
    house.write("greet.py", source())
    house.loader.load()
    assert house.names == ["greet"]
    assert len(house.reported) == 1
    assert reason in house.reported[0].reason
    assert "\n" not in house.reported[0].reason
    assert house.loader.problems == tuple(house.reported)


def test_a_file_that_is_not_utf8_is_left_out(house: House) -> None:
    (house.folder / "bad.py").write_bytes(b"x = '\xff\xfe'")
    house.loader.load()
    assert len(house.reported) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_left_out(house: House) -> None:
    house.write("bad.py", source()).chmod(0)
    house.loader.load()
    assert "Permission" in house.reasons[0]


def test_a_link_to_nowhere_is_left_out(house: House) -> None:
    (house.folder / "bad.py").symlink_to("nowhere")
    house.loader.load()
    assert "No such file" in house.reasons[0]


@pytest.mark.parametrize("hang", ["while True: pass", "import time; time.sleep(1)"])
def test_a_file_that_never_ends_is_given_up(tmp_path: Path, hang: str) -> None:
    house = House(tmp_path, limit=0.2)
    house.write("hang.py", hang)
    house.write("greet.py", source())
    house.loader.load()
    assert house.names == ["greet"]
    assert house.reasons == ["hang.py: still loading after 0.2 s"]
    for thread in threading.enumerate():
        if thread.name == "plugin load":
            thread.join(10)
            assert not thread.is_alive()


def test_two_plugins_of_one_name_are_one_too_many(house: House) -> None:
    house.write("a.py", source("greet", "hello"))
    house.write("b.py", source("greet", "bye"))
    house.loader.load()
    assert house.names == ["greet"]
    assert house.reasons == ["b.py: there is another plugin named greet"]


def test_two_commands_of_one_name_are_one_too_many(house: House) -> None:
    house.write("a.py", source("a"))
    house.write("b.py", source("b"))
    house.loader.load()
    assert house.names == ["a"]
    assert "both have a command “hello”" in house.reasons[0]


def test_the_folder_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--plugins"):
        Loader(tmp_path / "nowhere", points=())


def test_without_a_folder_there_is_nothing_to_check() -> None:
    loader = Loader(points=())
    assert loader.load() == ()
    assert loader.check() is False


# -- reloading -----------------------------------------------------------------------------


async def test_a_changed_file_is_loaded_anew(house: House) -> None:
    file = house.write("greet.py", source(says="one"))
    before = house.loader.load()
    file.write_text(source(says="two"))
    assert house.loader.check() is True
    assert await house.says() == "two"
    assert await before[0].commands["hello"].run(None) == "one"  # the old one is unharmed


async def test_an_edit_of_the_same_size_within_the_same_tick_is_seen(house: House) -> None:
    file = house.write("greet.py", source(says="one"))
    times = file.stat()
    house.loader.load()
    for word in ("two", "six", "ten"):
        file.write_text(source(says=word))
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert house.loader.check() is True
        assert await house.says() == word


def test_an_untouched_folder_changes_nothing(house: House) -> None:
    house.write("greet.py", source())
    house.write("bad.py", "1 / 0")
    before = house.loader.load()
    assert house.loader.check() is False
    assert house.loader.plugins is not None
    assert house.loader.plugins == before
    assert len(house.reported) == 1


def test_a_new_file_is_loaded(house: House) -> None:
    house.loader.load()
    house.write("greet.py", source())
    assert house.loader.check() is True
    assert house.names == ["greet"]


def test_a_deleted_file_goes_at_the_second_look_without_it(house: House) -> None:
    file = house.write("greet.py", source())
    house.loader.load()
    file.unlink()
    assert house.loader.check() is False  # an editor may be about to put it back
    assert house.loader.check() is True
    assert house.names == []
    assert not [name for name in sys.modules if name.endswith("_greet")]


def test_a_file_that_is_replaced_by_way_of_nothing_is_never_missed(house: House) -> None:
    file = house.write("greet.py", source())
    house.loader.load()
    file.unlink()
    house.loader.check()
    file.write_text(source())
    assert house.loader.check() is False
    assert house.names == ["greet"]


@pytest.mark.parametrize(
    "text",
    ["def broken(:", "1 / 0", "", source().replace("(ctx: Context)", "(ctx, what: set)")],
)
async def test_a_bad_edit_keeps_the_older_version_and_is_reported_once(
    house: House, text: str
) -> None:
    file = house.write("greet.py", source())
    house.loader.load()
    file.write_text(text)
    assert house.loader.check() is False
    assert house.loader.check() is False
    assert await house.says() == "one"
    assert [problem.kept for problem in house.reported] == [True]
    file.write_text(source(says="two"))
    assert house.loader.check() is True
    assert await house.says() == "two"
    assert house.loader.problems == ()


def test_an_edit_that_never_ends_keeps_the_older_version(tmp_path: Path) -> None:
    house = House(tmp_path, limit=0.2)
    file = house.write("greet.py", source())
    house.loader.load()
    file.write_text("while True: pass")
    assert house.loader.check() is False
    assert house.names == ["greet"]
    assert house.reported[0].kept


async def test_a_clash_keeps_the_older_version_until_it_is_resolved(house: House) -> None:
    house.write("a.py", source("a", "hello"))
    file = house.write("b.py", source("b", "bye"))
    house.loader.load()
    file.write_text(source("b", "hello", "from b"))
    assert house.loader.check() is False
    assert await house.says("bye") == "one"
    assert house.reported[0].kept
    (house.folder / "a.py").unlink()
    house.loader.check()
    assert house.loader.check() is True
    assert await house.says("hello") == "from b"
    assert house.loader.problems == ()


async def test_two_files_may_exchange_their_commands_at_once(house: House) -> None:
    house.write("a.py", source("a", "x", "a"))
    house.write("b.py", source("b", "y", "b"))
    house.loader.load()
    house.write("a.py", source("a", "y", "a"))
    house.write("b.py", source("b", "x", "b"))
    assert house.loader.check() is True
    assert (await house.says("x"), await house.says("y")) == ("b", "a")
    assert house.reported == []


def test_the_folder_itself_may_go_away_for_a_while(house: House) -> None:
    house.write("greet.py", source())
    house.loader.load()
    away = house.folder.rename(house.folder.with_name("away"))
    assert house.loader.check() is False
    assert house.loader.check() is False
    assert house.names == ["greet"]
    assert len(house.reported) == 1
    away.rename(house.folder)
    assert house.loader.check() is False
    assert house.loader.problems == ()


# -- packages ------------------------------------------------------------------------------

WORDS = "word = {!r}\n"
PACKAGE = """
from instabot.commands import Context, Plugin
{how}
plugin = Plugin("pack")

@plugin.command
async def hello(ctx: Context) -> str:
    return {word}
"""


@pytest.mark.parametrize(
    ("how", "word"),
    [
        ("from .words import word", "word"),
        ("from pack.words import word", "word"),
        ("import pack.words", "pack.words.word"),
        ("from pack import words as w", "w.word"),
        ("from . import words", "words.word"),
    ],
)
async def test_a_package_is_new_in_all_its_parts(house: House, how: str, word: str) -> None:
    house.write("pack/__init__.py", PACKAGE.format(how=how, word=word))
    house.write("pack/words.py", WORDS.format("one"))
    before = house.loader.load()
    house.write("pack/words.py", WORDS.format("two"))
    assert house.loader.check() is True
    assert await house.says() == "two"
    assert await before[0].commands["hello"].run(None) == "one"
    assert "pack" not in sys.modules
    assert not list(house.folder.rglob("*.pyc"))


async def test_an_import_inside_a_running_command_finds_its_own_version(house: House) -> None:
    how, word = "", "__import__('pack.words').words.word"
    house.write("pack/__init__.py", PACKAGE.format(how=how, word=word))
    house.write("pack/words.py", WORDS.format("one"))
    house.loader.load()
    assert await house.says() == "one"
    old = house.loader.plugins[0].commands["hello"].run
    house.write("pack/words.py", WORDS.format("two"))
    house.loader.check()
    assert (await old(None), await house.says()) == ("one", "two")


def test_versions_before_the_last_but_one_are_forgotten(house: House) -> None:
    file = house.write("greet.py", source())
    house.loader.load()
    for number in range(5):
        file.write_text(source(says=str(number)))
        house.loader.check()
    ours = [name for name in sys.modules if name.startswith(PREFIX)]
    assert len([name for name in ours if name.endswith("_greet")]) == 2


async def test_an_entry_point_that_lies_in_the_folder_is_reloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    house = House(tmp_path, point("acme", "acme.bot:plugin"))
    house.write("src/acme/__init__.py", "")
    house.write("src/acme/bot.py", "from acme.words import word\n" + source(says="{word}")
                .replace('"{word}"', "word"))  # fmt: skip
    house.write("src/acme/words.py", WORDS.format("one"))
    house.loader.load()
    assert (house.names, house.reported) == (["greet"], [])
    house.write("src/acme/words.py", WORDS.format("two"))
    assert house.loader.check() is True
    assert await house.says() == "two"


# -- who owns a module ----------------------------------------------------------------------


async def test_the_watchdog_can_tell_whose_code_it_sees(house: House) -> None:
    how, word = "from pack.words import whose", "whose()"
    house.write("pack/__init__.py", PACKAGE.format(how=how, word=word))
    house.write("pack/words.py", "def whose():\n    return __name__\n")
    house.loader.load()
    module = await house.says()
    assert module.endswith(".words")
    assert house.loader.owner(module) == "pack"
    assert house.loader.owner("asyncio.tasks") == ""
    assert house.loader.owner("") == ""


def test_after_a_hold_up_files_have_owners_too(tmp_path: Path) -> None:
    house = House(tmp_path, point("again", "instabot.plugins.again:plugin"))
    house.write("pack/__init__.py", source("pack"))
    house.write("greet.py", source("greet", "bye"))
    house.loader.load()
    assert house.loader.owner_of_file(str(tmp_path / "greet.py")) == "greet"
    assert house.loader.owner_of_file(str(tmp_path / "pack" / "deep" / "words.py")) == "pack"
    assert house.loader.owner_of_file(str(again.__file__)) == "again"
    assert house.loader.owner_of_file(asyncio.__file__) == ""
    assert house.loader.owner_of_file("") == ""


# -- on the loop ---------------------------------------------------------------------------


async def test_the_new_set_is_handed_over_on_the_loop(house: House) -> None:
    house.write("greet.py", source())
    house.loader.load()
    stop, got, where = asyncio.Event(), list[Plugins](), list[int]()

    def swap(plugins: Plugins) -> None:
        got.append(plugins)
        where.append(threading.get_ident())
        stop.set()

    house.write("more.py", source("more", "again"))
    async with asyncio.timeout(10):
        await house.loader.watch(swap, stop, every=0.01)
    assert [[plugin.name for plugin in plugins] for plugins in got] == [["greet", "more"]]
    assert where == [threading.get_ident()]


def test_a_command_reads_its_hints_and_source_as_everywhere(house: House) -> None:
    house.write("greet.py", "from __future__ import annotations\n" + source())
    (plugin,) = house.loader.load()
    assert plugin.commands["hello"].run.__annotations__["ctx"] == Context.__name__
