"""The command line as a whole: help, errors in one line, exit codes."""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from instabot import cli
from instabot.errors import (
    BadInput,
    InstabotError,
    NotAllowed,
    Refused,
    Superseded,
    Unreachable,
)


def commands(
    parser: argparse.ArgumentParser, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield (*path, name), child
                yield from commands(child, (*path, name))


ALL = dict(commands(cli.parser()))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_help_with_an_example_of_itself(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([*path, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "example:" in text
    assert f"instabot {path[0]}" in text.partition("example:")[2]


def test_the_contract_s_commands_are_all_there() -> None:
    words = {" ".join(path) for path in ALL}
    assert words >= {
        "up", "runtime", "backend", "join", "part", "rooms", "say", "tail", "status", "doctor",
        "schema", "restart backend", "network add", "network list", "network show",
        "network remove", "dead list", "dead show", "dead redrive", "dead drop", "role grant",
        "role revoke", "role list",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadInput("x"), 2),
        (Unreachable("x"), 3),
        (NotAllowed("x"), 4),
        (InstabotError("x"), 1),
        (Refused("banned", "x"), 1),
        (Superseded("x"), 1),
        (KeyError("x"), 1),
        (KeyboardInterrupt(), 130),
        (ExceptionGroup("tasks", [ExceptionGroup("more", [Unreachable("x")])]), 3),
    ],
)
def test_an_error_is_an_exit_code_and_one_line(
    error: BaseException,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(args: argparse.Namespace) -> int:
        raise error

    monkeypatch.setattr("instabot.wire.schema", lambda: fail(argparse.Namespace()))
    assert cli.main(["schema"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == (0 if code == 130 else 1)
    assert "Traceback" not in err


def test_debug_lets_the_traceback_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise BadInput("x")

    monkeypatch.setattr("instabot.wire.schema", fail)
    with pytest.raises(BadInput):
        cli.main(["schema", "--debug"])


def test_an_error_from_chat_cannot_command_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise InstabotError("the server said \x1b[2J\nfine")

    monkeypatch.setattr("instabot.wire.schema", fail)
    cli.main(["schema"])
    assert capsys.readouterr().err == "instabot: the server said \\x1b[2J\\x0afine\n"


@pytest.mark.parametrize(
    "argv",
    [[], ["nope"], ["join"], ["say", "room"], ["join", "a", "--timeout", "-1"], ["role"]],
)
def test_wrong_usage_is_exit_code_2(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(argv)
    assert end.value.code == 2


@pytest.mark.parametrize(
    "argv",
    [
        ["rooms"],
        ["status"],
        ["say", "a", "b"],
        ["network", "list"],
        ["dead", "list"],
        ["join", "irc://127.0.0.1/#a"],
    ],
    ids=" ".join,
)
def test_nothing_to_talk_to_is_exit_code_3(
    argv: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("INSTABOT_DATA", str(tmp_path))
    monkeypatch.delenv("INSTABOT_REDIS_URL", raising=False)
    assert cli.main(argv) == 3
    assert "instabot up" in capsys.readouterr().err


def test_the_schema_is_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["schema"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {"Heard", "Say", "Answer"} <= set(document["$defs"])


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom instabot import cli\ncli.parser().format_help()\n"
        "heavy = ('sqlalchemy', 'irc', 'redis', 'cryptography', 'rich', 'uvloop', 'pint', 'structlog')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "instabot", "schema"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1
