"""The documentation says what the code does: names, keys, scripts and verbs are all there."""

import re
from pathlib import Path

import pytest

from instabot.backend import requests
from instabot.broker import keys

ROOT = Path(__file__).parent.parent
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
PROTOCOL = (ROOT / "docs/protocol.md").read_text()


def test_the_architecture_fits_on_a_page_and_names_files_that_exist() -> None:
    assert len(ARCHITECTURE.splitlines()) <= 50
    named = set(re.findall(r"instabot/[a-z_/]+(?:\.py)?", ARCHITECTURE))
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize(
    "name", [value for name, value in vars(keys).items() if name.isupper()]
)
def test_every_key_is_in_the_protocol(name: str) -> None:
    assert f"`{name}`" in PROTOCOL


@pytest.mark.parametrize(
    "script", sorted(path.stem for path in (ROOT / "instabot/broker/lua").iterdir())
)
def test_every_script_is_in_the_protocol(script: str) -> None:
    assert f"`{script}`" in PROTOCOL


def test_every_request_verb_is_in_the_protocol() -> None:
    source = Path(requests.__file__).read_text()
    verbs = re.findall(r'^ {12}"([a-z.]+)": self\._', source, re.M)
    assert len(verbs) >= 9
    assert [verb for verb in verbs if f"`{verb}`" not in PROTOCOL] == []


def test_the_decisions_are_one_line_of_what_and_why_each() -> None:
    entries = re.findall(r"^- \*\*(.+?)\*\*", (ROOT / "docs/decisions.md").read_text(), re.M)
    assert len(entries) == len(set(entries)) > 10
