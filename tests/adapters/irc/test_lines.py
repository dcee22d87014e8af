"""Lines: any bytes in, the next line always delivered."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instabot.adapters.irc import lines
from instabot.adapters.irc.lines import Buffer, clean, parse, parse_tags, sent_at, well_formed


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_after_any_bytes_the_next_line_is_delivered(chunks: list[bytes]) -> None:
    buffer = Buffer()
    for chunk in chunks:
        buffer.feed(chunk)
    buffer.feed(b"\n")
    assert buffer.feed("PING :é\n".encode()) == ["PING :é"]


@given(st.binary(max_size=2000), st.integers(1, 50))
def test_lines_do_not_depend_on_how_bytes_arrive(data: bytes, size: int) -> None:
    data += b"\n"
    whole = Buffer().feed(data)
    buffer = Buffer()
    parts = [buffer.feed(data[at : at + size]) for at in range(0, len(data), size)]
    assert len([line for part in parts for line in part]) == len(whole)


def test_a_line_without_end_costs_no_more_than_its_bound() -> None:
    buffer = Buffer()
    for _ in range(100):
        assert buffer.feed(b"x" * 60_000) == []
        assert len(buffer._tail) <= lines.MAX_LINE
    assert buffer.feed(b"end\r\nPING :next\n") == ["PING :next"]


def test_bytes_that_are_not_utf8_are_read_as_the_network_says() -> None:
    assert Buffer().feed(b"caf\xe9\n") == ["café"]
    assert Buffer().feed(b"\x81\x8d\n") == ["\x81\x8d"]
    assert Buffer("koi8-r").feed("привет\n".encode("koi8-r")) == ["привет"]
    assert Buffer("koi8-r").feed("привет\n".encode()) == ["привет"]


def test_one_odd_line_does_not_change_its_neighbours() -> None:
    assert Buffer().feed("über\n".encode() + b"caf\xe9\n" + "ünter\n".encode()) == [
        "über",
        "café",
        "ünter",
    ]


@pytest.mark.parametrize(
    ("text", "command", "params"),
    [
        ("PING :x y", "PING", ["x y"]),
        (":s  PRIVMSG   #a   :hi  there", "PRIVMSG", ["#a", "hi  there"]),
        ("@a=b :n!u@h privmsg #a hi", "PRIVMSG", ["#a", "hi"]),
        ("QUIT", "QUIT", []),
        (":s PRIVMSG #a ::)", "PRIVMSG", ["#a", ":)"]),
        (":s JOIN #a :", "JOIN", ["#a", ""]),
    ],
)
def test_lines_are_parsed(text: str, command: str, params: list[str]) -> None:
    line = parse(text)
    assert line is not None
    assert (line.command, line.params) == (command, params)


@pytest.mark.parametrize("text", ["", " ", ":", "@", "@a", ":a", ":a ", "@a :b", "   ", " :x"])
def test_lines_without_a_command_are_nothing(text: str) -> None:
    assert parse(text) is None


@given(st.text(max_size=200))
def test_parsing_never_raises(text: str) -> None:
    line = parse(text)
    if line is not None:
        assert line.command
        assert line.param(99) == ""
        assert isinstance(line.at, float)


def test_tags_are_unescaped() -> None:
    assert parse_tags(r"a=\:\s\\\r\n;b;c=x\;d=\b") == {
        "a": "; \\\r\n",
        "b": "",
        "c": "x",
        "d": "b",
    }


def test_server_time_is_read_and_nonsense_means_now() -> None:
    assert sent_at({"time": "2026-01-02T03:04:05.678Z"}) == 1767323045.678
    for nonsense in ("", "yesterday", "2026-01-02T03:04:05", "9999999"):
        assert abs(sent_at({"time": nonsense}) - time.time()) < 5


@given(st.text())
def test_clean_lines_can_be_said(text: str) -> None:
    for line in clean(text):
        assert line
        assert not set(line) & set("\r\n\0\x01")
        line.encode()


@pytest.mark.parametrize(
    "word", ["", ":a", "#a b", "#a,b", "#a\r", "#a\n", "#a\0", "#a\x07", "#a\ud800", "#a\t"]
)
def test_a_word_that_would_break_a_line_is_not_well_formed(word: str) -> None:
    assert not well_formed(word)
    assert well_formed("#a:é-x")
