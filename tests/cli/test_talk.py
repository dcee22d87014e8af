"""Times as people write them, and messages as lines."""

from datetime import datetime

import pytest

from instabot.cli.output import clock
from instabot.cli.talk import moment, shown
from instabot.errors import BadInput
from instabot.model import Heard, Hook, Notice

NOW = datetime(2026, 11, 24, 12, 0).timestamp()  # noqa: DTZ001 - as typed at a terminal


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("10m", NOW - 600),
        ("2h", NOW - 7200),
        ("30", NOW - 30),
        ("08:30", NOW - 3.5 * 3600),
        ("8:30", NOW - 3.5 * 3600),
        ("2026-11-24T11:00", NOW - 3600),
        ("2026-11-24", NOW - 12 * 3600),
        ("1970-01-01T00:01:00+00:00", 60.0),
    ],
)
def test_a_time_is_a_span_ago_a_clock_or_a_date(text: str, at: float) -> None:
    assert moment(text, NOW) == pytest.approx(at)


@pytest.mark.parametrize("text", ["", "soon", "25:00", "2026-13-01", "-5m", "1e9", "10 years"])
def test_anything_else_is_bad_input(text: str) -> None:
    with pytest.raises(BadInput, match="is no time"):
        moment(text, NOW)


def test_messages_look_as_in_any_chat() -> None:
    at = clock(NOW)
    heard = Heard(id="1", room="1.a", sender="ann", text="hi", at=NOW)
    action = Heard(id="1", room="1.a", sender="ann", text="waves", at=NOW, kind="action")
    joined = Notice(id="2", room="1.a", kind="joined", at=NOW, who="bob")
    gap = Notice(id="3", room="1.a", kind="gap", at=NOW, since=NOW)
    hook = Hook(id="4", room="1.a", source="github", at=NOW)
    assert shown(heard) == f"{at} <ann> hi"
    assert shown(action) == f"{at} * ann waves"
    assert shown(joined) == f"{at} -- joined bob"
    assert shown(gap) == f"{at} -- something may be missing since {at}"
    assert shown(hook) == ""
