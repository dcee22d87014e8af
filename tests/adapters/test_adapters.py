"""Finding an adapter by the scheme of a URL."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from instabot import adapters
from instabot.adapters.irc import IRC
from instabot.adapters.loopback import Loopback
from instabot.errors import BadInput


def test_the_scheme_picks_the_adapter() -> None:
    assert adapters.find("ircs://bot@irc.example.test:6697/#ops") is IRC
    assert adapters.find("IRC://h") is IRC
    assert adapters.find("loopback") is Loopback


@pytest.mark.parametrize("url", ["gopher://h", "", "://", "#ops", "irc2://h"])
def test_an_unknown_scheme_is_answered_with_what_there_is(url: str) -> None:
    with pytest.raises(BadInput, match="irc://, ircs://, loopback://"):
        adapters.find(url)


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("postgres", "instabot.adapters.nowhere:Nowhere", adapters.GROUP)
    monkeypatch.setattr(adapters, "entry_points", lambda **wanted: [broken])
    with pytest.raises(BadInput, match=r"pip install 'instabot\[postgres\]'"):
        adapters.find("postgres://h")


def test_only_the_adapter_asked_for_is_imported() -> None:
    code = (
        "import sys, instabot.adapters; instabot.adapters.find('loopback');"
        "sys.exit('irc' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
