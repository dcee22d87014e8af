"""Chat text on a terminal."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from instabot.clean import clean


def test_plain_text_stays_as_it_is() -> None:
    for text in ("", "hello", "größer, 日本, 👍", "100 % <b>"):
        assert clean(text) == text


def test_escape_sequences_become_visible() -> None:
    assert clean("\x1b[2J\x1b]52;c;aGk=\x07") == r"\x1b[2J\x1b]52;c;aGk=\x07"
    assert clean("a\x9bb\r\nc") == r"a\x9bb\x0d\x0ac"


def test_irc_colours_are_dropped_and_tabs_are_spaces() -> None:
    assert clean("\x02bold\x02 \x0304,12red\x0f\tend") == "bold red end"


def test_what_hides_or_reorders_is_shown() -> None:
    assert clean("abc\u202edef\u2066") == r"abc\u202edef\u2066"
    assert clean("x\u200by\ufeff\U000e0041") == r"x\u200by\ufeff\U000e0041"
    assert clean("\ud800") == r"\ud800"


def test_a_tower_of_marks_is_cut() -> None:
    assert clean("e" + "\u0301" * 50) == "e" + "\u0301" * 4


@given(st.text(st.characters()))
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    shown = clean(text)
    shown.encode()
    assert not any(unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs") for c in shown)
    assert not any(unicodedata.bidirectional(c) in ("RLO", "LRO", "RLE", "LRE") for c in shown)
