"""005: what a server says of itself, however badly it says it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instabot.adapters.irc.isupport import MAX_TOKENS, Features


def features(*tokens: str) -> Features:
    found = Features()
    found.load(["bot", *tokens, "are supported by this server"])
    return found


def test_a_usual_server_is_understood() -> None:
    usual = features("CHANTYPES=#", "CHANLIMIT=#:50", "LINELEN=1024", "TARGMAX=JOIN:4,PRIVMSG:")
    assert usual.channel_types == "#"
    assert usual.room_limit == 50
    assert usual.line_length == 1024
    assert usual.join_targets == 4


@pytest.mark.parametrize(
    ("tokens", "limit"),
    [
        (["CHANLIMIT=#:0"], None),
        (["CHANLIMIT=#&:10,+:5"], 10),
        (["CHANLIMIT=#:"], None),
        (["MAXCHANNELS=20"], 20),
        (["CHANLIMIT=x"], None),
        ([], None),
    ],
)
def test_the_room_limit_is_the_servers(tokens: list[str], limit: int | None) -> None:
    assert features(*tokens).room_limit == limit


def test_malformed_tokens_harm_no_other() -> None:
    odd = features(
        "", "-", "=", "PREFIX=abc", "CHANLIMIT=x", "TARGMAX=a", "LOAD=x", "NUMBER=1", "9" * 5000,
        f"MODES={'9' * 5000}", "NICKLEN=²", "LINELEN=-4", "CHANTYPES=", "CASEMAPPING=", "NICKLEN=9",
    )  # fmt: skip
    odd.load([])
    odd.load(["one"])
    assert odd.number("NICKLEN") == 9
    assert odd.line_length == 512
    assert odd.channel_types == "#&"
    assert odd.fold("#A") == "#a"


@given(st.lists(st.text(max_size=40)))
def test_no_token_raises(tokens: list[str]) -> None:
    found = features(*tokens)
    assert found.line_length >= 512
    assert found.room_limit != 0
    assert found.fold("#Ops") in {"#ops", "#Ops".casefold()}


@pytest.mark.parametrize(
    ("mapping", "name", "folded"),
    [
        ("rfc1459", "#A[]\\^É", "#a{}|~É"),
        ("rfc1459-strict", "#A[]\\^", "#a{}|^"),
        ("ascii", "#A[]\\^É", "#a[]\\^É"),
        ("rfc8265", "#ÉA", "#éa"),
    ],
)
def test_names_fold_as_the_server_says(mapping: str, name: str, folded: str) -> None:
    assert features(f"CASEMAPPING={mapping}").fold(name) == folded


def test_tokens_can_be_taken_back_and_stand_alone() -> None:
    assert features("MONITOR").has_monitor
    assert features("MONITOR=100").has_monitor
    assert not features("MONITOR=100", "-MONITOR").has_monitor


def test_more_tokens_make_other_features_and_equal_ones_are_one_object() -> None:
    first = Features().after(["NICKLEN=9", "MONITOR=100"])
    second = first.after(["-MONITOR", "NICKLEN=30"])
    assert (first.number("NICKLEN"), first.has_monitor) == (9, True)
    assert (second.number("NICKLEN"), second.has_monitor) == (30, False)
    assert second is Features().after(["NICKLEN=30"])
    assert second.after([]) is second


def test_tokens_without_end_are_not_all_kept() -> None:
    many = Features().after([f"T{number}=1" for number in range(2 * MAX_TOKENS)])
    assert many.number(f"T{MAX_TOKENS - 1}") == 1
    assert many.number(f"T{MAX_TOKENS}") == 0
