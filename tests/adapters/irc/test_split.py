"""Splitting: nothing lost, nothing too long as relayed, no character cut."""

import time

from hypothesis import given
from hypothesis import strategies as st

from instabot.adapters.base import Kind
from instabot.adapters.irc.lines import clean
from instabot.adapters.irc.split import COMMANDS, WORST_HOST, budget, split

texts = st.text(max_size=3000) | st.text(alphabet="ab é👩‍👩‍👧x", max_size=3000)
kinds = st.sampled_from(["say", "action", "notice"])


def relayed(mask: str, room: str, kind: Kind, piece: str) -> int:
    said = f"\x01ACTION {piece}\x01" if kind == "action" else piece
    return len(f":{mask} {COMMANDS[kind]} {room} :{said}\r\n".encode())


@given(texts, kinds, st.integers(1, 30))
def test_pieces_are_whole_and_short_enough_as_relayed(text: str, kind: Kind, size: int) -> None:
    mask, room = f"{'n' * size}!~user@{WORST_HOST}", "#" + "r" * size
    pieces = split(text, budget(mask, room, kind))
    assert "".join(pieces) == "".join(clean(text))
    for piece in pieces:
        assert piece
        assert relayed(mask, room, kind, piece) <= 512


@given(
    st.text(max_size=500), st.integers(40, 60), st.sampled_from(["latin-1", "gb18030", "utf8"])
)
def test_pieces_fit_in_any_encoding(text: str, limit: int, encoding: str) -> None:
    pieces = split(text, limit, encoding)
    assert "".join(pieces) == "".join(clean(text))
    assert all(len(piece.encode(encoding, "replace")) <= limit for piece in pieces)


def test_lines_are_cut_at_spaces() -> None:
    assert split("one two three four", 40) == ["one two three four"]
    words = "word " * 20
    assert split(words, 43) == ["word" + " word" * 7, " word" * 8, " word" * 4 + " "]
    assert split("x" * 40 + "   y", 40) == ["x" * 40, "   y"]
    assert split("x" * 38 + "   y", 40) == ["x" * 38, "   y"]
    assert split(" " * 50 + "y", 40) == [" " * 40, " " * 10 + "y"]
    assert split("ä" * 20 + "  " + "é" * 5, 21, "latin-1") == ["ä" * 20, "  " + "é" * 5]


def test_a_long_word_is_cut_where_it_must() -> None:
    assert split("é" * 30, 41) == ["é" * 20, "é" * 10]


def test_lines_end_at_every_line_end() -> None:
    assert split("a\r\nb\rc\n\n\nd\0\x01e\ud800", 40) == ["a", "b", "c", "de\ufffd"]
    assert split("\r\n\0\x01", 40) == []


def test_a_longer_line_is_used_where_the_server_takes_it() -> None:
    assert budget("n!u@h", "#a", "say", 1024) == budget("n!u@h", "#a", "say") + 512


def test_a_megabyte_takes_no_time() -> None:
    start = time.perf_counter()
    pieces = split("x" * 500_000 + "wörd " * 100_000, 400)
    assert sum(map(len, pieces)) == 1_000_000
    assert time.perf_counter() - start < 1
