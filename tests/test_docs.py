"""The documentation says what the code does: what it names exists, what it shows is run."""

import json
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from instabot import config
from instabot.backend import requests
from instabot.broker import keys, lists
from tests.cli.test_main import ALL
from tests.servers import Missing, Process, RedisServer, redis, valkey
from tests.servers.process import folder, running

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
ARCHITECTURE = (DOCS / "architecture.md").read_text("utf-8")
PROTOCOL = (DOCS / "protocol.md").read_text("utf-8")
OPERATIONS = (DOCS / "operations.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
LUA = {path.stem: path for path in (ROOT / "instabot/broker/lua").glob("*.lua")}


def blocks(text: str, kind: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [block for named, block in found if named == kind]


def row(heading: str, first: str) -> list[str]:
    """The cells of the row that begins with this name, in the protocol's section."""
    section = PROTOCOL.partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    (line,) = [x for x in section.splitlines() if x.startswith(f"| `{first}` |")]
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


# -- architecture ----------------------------------------------------------------------------


def test_the_architecture_fits_on_a_page_and_names_files_that_exist() -> None:
    assert len(ARCHITECTURE.splitlines()) <= 50
    named = set(re.findall(r"instabot/[\w/]+(?:\.\w+)?", ARCHITECTURE))
    assert len(named) > 15
    assert [name for name in named if not (ROOT / name).exists()] == []


# -- protocol --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [value for name, value in vars(keys).items() if name.isupper()]
)
def test_every_key_is_in_the_protocol(name: str) -> None:
    assert f"`{name}`" in PROTOCOL


def test_every_key_of_a_shard_that_the_code_spells_out_is_in_the_protocol() -> None:
    sources = [path.read_text("utf-8") for path in (ROOT / "instabot").rglob("*.py")]
    names = {name for text in sources for name in re.findall(r'key\(\w+, "([\w:]+)"\)', text)}
    assert len(names) > 5
    documented = re.findall(r"`instabot:\{[s0]\}:([\w:]+)`", PROTOCOL)
    assert names <= set(documented)


@pytest.mark.parametrize("name", sorted(LUA))
def test_every_script_is_in_the_protocol_with_its_keys_and_its_fence(name: str) -> None:
    source = LUA[name].read_text("utf-8")
    head = re.search(r"KEYS (.*?)(?:  +ARGV|$)", source, re.M)
    assert head
    _, taken, _, does, fence = row("## Scripts", name)
    documented = [word for word in taken.split() if word != "+"]
    assert len(documented) == len(
        head[1].replace("then per item:", "").replace(",", "").split()
    )
    assert bool(re.search("backend|runtime|bridge", fence)) == ("FENCED" in source)
    assert does


def test_no_script_is_in_the_protocol_that_is_not_there() -> None:
    table = PROTOCOL.partition("| script |")[2].partition("###")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == LUA.keys()


def test_every_request_verb_is_in_the_protocol() -> None:
    source = Path(requests.__file__).read_text("utf-8")
    verbs = re.findall(r'^ {12}"([a-z.]+)": self\._', source, re.M)
    assert len(verbs) >= 9
    for verb in [*verbs, "every"]:
        assert len(row("## Requests", verb)) == 4


def test_what_the_pages_push_on_the_list_is_what_the_bridge_reads() -> None:
    for page in (PROTOCOL, README):
        (pushed,) = re.findall(r"RPUSH control '(.*?)'", page)
        assert lists._push(pushed.encode()).id == json.loads(pushed)["id"]


@pytest.mark.real
async def test_the_protocol_s_client_answers_as_it_stands(
    valkey_server: RedisServer, tmp_path: Path
) -> None:
    (source,) = blocks(PROTOCOL, "python")
    assert len(source.splitlines()) <= 10
    argv = [sys.executable, "-c", source, valkey_server.url]
    line = {"id": "7.k3f9qd", "text": "!hello", "sender": "alice", "at": 1.0}
    async with running(Process("client", argv, tmp_path)), valkey_server.client() as ours:
        await ours.rpush("messages", json.dumps({**line, "text": "chatter"}))
        await ours.rpush("messages", json.dumps(line))
        popped = await ours.blpop(["control"], 4)
        assert popped is not None
        assert isinstance(popped[1], bytes)
        said = lists._push(popped[1])
        assert (said.id, said.text) == ("7.k3f9qd", "hello, alice")


# -- operations ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_is_in_the_readme_or_in_operations(path: tuple[str, ...]) -> None:
    spelled = f"instabot {' '.join(path)}" in README + OPERATIONS
    # A row of the README's table may name the first in full, and its neighbours alone.
    group = f"instabot {path[0]} " if len(path) > 1 else "instabot "
    assert spelled or re.search(rf"^\| `{group}.*`{path[-1]}`", README, re.M)


def test_the_settings_file_of_operations_can_be_loaded(tmp_path: Path) -> None:
    (file,) = blocks(OPERATIONS, "toml")
    (tmp_path / "instabot.toml").write_text(file)
    settings = config.load({"data": str(tmp_path)}, {})
    assert (settings.log, settings.messages_cap) == ("json", 200_000)


def test_operations_names_every_key_of_the_settings_file() -> None:
    for setting in config.SETTINGS:
        if setting.name not in {"id", "reload"}:
            assert setting.name in OPERATIONS


Start = Callable[[], AbstractAsyncContextManager[RedisServer]]


class Guarded(RedisServer):
    """A server with the page's ACL users; we are its user `instabot`."""

    def client(self) -> Redis:
        return Redis(
            host="127.0.0.1", port=self.port, username="instabot", password="SECRET1",
            protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=5,
        )  # fmt: skip


@asynccontextmanager
async def guarded(start: Start) -> AsyncIterator[Guarded]:
    (users,) = [x for x in blocks(OPERATIONS, "") if x.startswith("user ")]
    (settings,) = [x for x in blocks(OPERATIONS, "") if x.startswith("appendonly ")]
    async with start() as plain:
        binary = plain.argv[0]
    with folder() as home:
        (home / "users.acl").write_text(users)
        (home / "page.conf").write_text(settings)
        server = Guarded(binary, home)
        server.argv.insert(1, str(home / "page.conf"))
        server.argv += ["--aclfile", str(home / "users.acl")]
        async with running(server):
            yield server


@pytest.mark.real
@pytest.mark.parametrize("start", [redis, valkey])
async def test_with_the_page_s_settings_and_users_what_scripts_wrote_survives_a_restart(
    start: Start,
) -> None:
    """The file is replayed as the user `default`, whose rights are looked at on EXEC."""
    both = "redis.call('SET', KEYS[1], 'x') redis.call('SET', KEYS[2], 'y')"
    names = ["instabot:{0}:a", "instabot:{0}:b"]
    try:
        async with guarded(start) as server:
            async with server.client() as ours:
                await ours.eval(both, 2, *names)
            await server.restart()
            async with server.client() as ours:
                assert await ours.mget(names) == [b"x", b"y"]
    except Missing as error:
        pytest.skip(str(error))


# -- decisions -------------------------------------------------------------------------------


def test_the_decisions_are_one_entry_of_what_and_why_each() -> None:
    entries = re.findall(r"^- \*\*(.+?)\*\*", (DOCS / "decisions.md").read_text("utf-8"), re.M)
    assert len(entries) == len(set(entries)) > 20


@pytest.mark.parametrize("page", [*DOCS.glob("*.md"), ROOT / "README.md"], ids=lambda p: p.name)
def test_links_between_the_pages_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8")):
        assert (page.parent / link).exists(), link
