"""What the README says is so: commands, files and variables it names exist."""

import argparse
import os
import re
import shlex
from pathlib import Path

import pytest

from instabot import cli, config
from instabot.commands import Plugin
from tests.cli.test_main import ALL

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", TEXT, re.DOTALL)
SHELL = [
    line.partition("  #")[0].strip()
    for kind, block in BLOCKS
    if kind == "sh"
    for line in block.splitlines()
    if line.strip()
]


def parsed(line: str) -> argparse.Namespace:
    return cli.parser().parse_args(shlex.split(line)[1:])


@pytest.mark.parametrize("line", [x for x in SHELL if x.startswith("instabot ")])
def test_every_instabot_line_can_be_typed(line: str) -> None:
    assert callable(parsed(line).run)


@pytest.mark.parametrize("line", [x for x in SHELL if x.startswith("scripts/")])
def test_every_script_named_can_be_run(line: str) -> None:
    script, *args = line.split()
    assert os.access(ROOT / script, os.X_OK)
    if script == "scripts/up":
        assert callable(parsed(" ".join(["instabot", "up", *args])).run)


def test_the_first_screen_holds_the_two_commands() -> None:
    first = TEXT.splitlines()[:16]
    assert any(line.startswith("scripts/up --demo") for line in first)
    assert any(line.startswith("scripts/test") for line in first)


def test_the_table_of_commands_names_every_command_and_no_other() -> None:
    table = TEXT.partition("## Commands")[2].partition("Each has `--help`")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    named = {word for row in rows for word in re.findall(r"[a-z]+", row)} - {"instabot", "demo"}
    assert named == {word for path in ALL for word in path}


def test_the_variables_named_are_read() -> None:
    known = {setting.env for setting in config.SETTINGS} | {"INSTABOT_DATA"}
    named = set(re.findall(r"INSTABOT_[A-Z_]+", TEXT))
    assert named <= known
    assert len(named) == 6


def test_the_files_and_folders_named_exist() -> None:
    named = set(re.findall(r"(?<![\w/.])(?:adapters|runtime|backend)/\w+", TEXT))
    assert named
    for name in named:
        path = ROOT / "instabot" / name
        assert path.is_dir() or path.with_suffix(".py").is_file(), name
    assert (ROOT / ".ci" / "run").is_file()
    assert "MIT" in (ROOT / "LICENSE").read_text()


def test_the_example_plugin_is_one() -> None:
    (source,) = [block for kind, block in BLOCKS if kind == "python"]
    space: dict[str, object] = {"__name__": "dice"}
    exec(compile(source, "README.md", "exec"), space)  # noqa: S102 - our own README
    assert isinstance(space["plugin"], Plugin)


def test_the_exit_codes_are_the_contract_s() -> None:
    assert "0 done, 1 failed, 2 wrong usage, 3 no\nRedis reachable, 4 refused" in TEXT
