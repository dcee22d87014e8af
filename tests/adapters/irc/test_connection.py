"""Hostile bytes in, hostile text out: the link lives, and only our lines leave it."""

import asyncio
import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from instabot.adapters.base import Account, Event, Kind
from instabot.adapters.irc import IRC, connection
from instabot.adapters.irc.lines import clean
from instabot.adapters.irc.settings import read
from instabot.errors import LinkError, Refused
from tests.adapters.scripted import during, online

HOSTILE = [
    b"QUIT",
    b":alice!a@h QUIT",
    b"PRIVMSG",
    b":alice!a@h PRIVMSG",
    b":alice!a@h PRIVMSG #ops",
    b":alice!a@h PRIVMSG :",
    b":alice!a@h PRIVMSG  :x",
    b"PING",
    b"PONG",
    b"   ",
    b"",
    b":",
    b"@",
    b"@a=b",
    b"\0\0\0",
    b"\r\r",
    b"\xff\xfe\xfd",
    b":caf\xe9!a@h PRIVMSG #ops",
    b":irc.test 005 bot PREFIX=abc CHANLIMIT=x TARGMAX=:::: MODES=99999999999999999999 = - :x",
    b":irc.test 005",
    b":irc.test 001",
    b":irc.test 353 bot = #ops :" + b"nick " * 5000,
    b":irc.test 433",
    b":irc.test 470 bot",
    b":irc.test 404",
    b":irc.test 731 bot",
    b":irc.test 900",
    b":bot!b@h NICK",
    b":alice!a@h NICK",
    b":alice!a@h KICK",
    b":alice!a@h KICK #ops",
    b":alice!a@h JOIN",
    b":alice!a@h PART",
    b":alice!a@h MODE",
    b":alice!a@h TOPIC",
    b":irc.test CAP",
    b":irc.test CAP * LS",
    b":irc.test CAP * ACK :",
    b":irc.test CAP * NAK",
    b"AUTHENTICATE",
    b"BATCH",
    b"BATCH +",
    b"BATCH -nope",
    b"@batch=nope :alice!a@h PRIVMSG #ops",
    b"FAIL",
    b"FAIL PRIVMSG",
    b"CHGHOST",
    b":bot!b@h CHGHOST",
    b":alice!a@h PRIVMSG bot :\x01",
    b":alice!a@h PRIVMSG bot :\x01\x01",
    b":!@ PRIVMSG bot :\x01VERSION\x01",
    b"@time=99999-99-99T99:99:99Z;msgid :alice!a@h TOPIC #ops :x",
    b"ERROR",
    b"\xc3\x28 \xa0\xa1",
    b"x" * 70_000,
]


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
async def test_no_line_ends_the_link_or_costs_the_next(line: bytes) -> None:
    async with online() as (server, bot):
        server.send(line, b":carol!c@h PRIVMSG #ops :next")
        await server.barrier()
        assert server.said[-1] == "<carol> next"
        async with during(bot.ping()) as alive:
            mark = await server.next()
            server.send(mark.replace("PING", ":irc.test PONG irc.test"))
        alive.result()
        assert server.lost == []


slow = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def unplugged(events: list[Event]) -> IRC:
    """A bot as after its login, without a socket."""
    account = Account("local/net", "irc://bot@irc.test")
    bot = IRC(account, events.append)
    bot._build(read(account), "")
    return bot


@slow
@given(st.lists(st.binary(max_size=200), max_size=10))
async def test_after_any_bytes_the_next_line_is_heard(chunks: list[bytes]) -> None:
    events: list[Event] = []
    bot = unplugged(events)
    assert bot._connection is not None
    for chunk in chunks:
        bot._connection.process_data(chunk)
    bot._connection.process_data(b"\n:carol!c@h PRIVMSG #zz :next\r\n")
    assert getattr(events[-1], "text", "") == "next"


WORDS = st.sampled_from(
    [
        "PRIVMSG",
        "NOTICE",
        "JOIN",
        "PART",
        "KICK",
        "NICK",
        "QUIT",
        "MODE",
        "TOPIC",
        "BATCH",
        "CAP",
        "FAIL",
        "CHGHOST",
        "PONG",
        "ERROR",
        "001",
        "005",
        "353",
        "396",
        "404",
        "433",
        "470",
        "473",
        "731",
        "900",
        "904",
        "#ops",
        "bot",
        "alice",
        "+",
        "-",
        "+x",
        "*",
        "LS",
        "ACK",
        "NAK",
        "LABEL",
        "CHATHISTORY",
    ]
)


@slow
@given(st.lists(st.lists(WORDS | st.text(max_size=8), max_size=6), max_size=10))
async def test_no_mixture_of_real_words_raises(
    caplog: pytest.LogCaptureFixture, lines: list[list[str]]
) -> None:
    bot = unplugged([])
    assert bot._connection is not None
    bot._connection.transport = Sink()
    for words in lines:
        for prefix in ("", ":bot!b@h ", ":alice!a@h ", "@batch=x;label=ib1;time=1 :irc.test "):
            bot._connection._other(prefix + " ".join(words))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


class Sink(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.data += bytes(data)

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


@slow
@given(st.text(max_size=2000), st.sampled_from(["say", "action", "notice"]))
async def test_whatever_is_said_only_our_lines_leave_and_hold_it_all(
    text: str, kind: Kind
) -> None:
    bot, sink = unplugged([]), Sink()
    assert bot._connection is not None
    bot._connection.transport = sink
    await bot.say("#ops", text, kind)
    bot._connection.flush()
    *lines, rest = sink.data.split(b"\r\n")
    assert rest == b""
    said = ""
    for line in lines:
        relayed = f":{bot._session.mask} ".encode() + line + b"\r\n"
        assert len(relayed) <= 512
        head = b"NOTICE #ops :" if kind == "notice" else b"PRIVMSG #ops :"
        assert line.startswith(head)
        piece = line.removeprefix(head).decode()
        if kind == "action":
            assert piece.startswith("\x01ACTION ")
            assert piece.endswith("\x01")
            piece = piece[8:-1]
        assert not set(piece) & set("\r\n\0\x01")
        said += piece
    assert said == "".join(clean(text))


@pytest.mark.parametrize("room", ["#a b", "#a,#b", "#a\r", "#a\n", "#a\0", ":#a", "bob", ""])
async def test_nothing_is_said_to_a_target_that_is_no_room(room: str) -> None:
    async with online() as (server, bot):
        with pytest.raises(Refused) as caught:
            await bot.say(room, "hello")
        assert caught.value.code == "no-such-room"
        await server.barrier()
        assert server.lines.empty()


async def test_one_line_can_never_become_two() -> None:
    async with online() as (server, bot):
        assert bot._connection is not None
        bot._connection.send_raw("PRIVMSG #a :x\rQUIT :owned\nJOIN #b\0")
        await server.expect("PRIVMSG #a :x QUIT :owned JOIN #b ")


async def test_a_report_that_raises_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async with online() as (server, bot):

        def broken(event: Event) -> None:
            raise RuntimeError("the link's own fault")

        heard, bot._hearing.report = bot._hearing.report, broken
        server.send(*[":alice!a@h PRIVMSG #ops :secret talk"] * 100)
        await server.barrier()
        bot._hearing.report = heard
        server.send(":alice!a@h PRIVMSG #ops :next")
        await server.barrier()
        assert server.said == ["<alice> next"]
    assert len(caplog.records) == connection.MAX_TRACES
    assert "secret talk" not in caplog.text


async def flood(bot: IRC) -> None:
    """Talk on, whatever the socket says, until something stops it."""
    assert bot._connection is not None
    for _ in range(100_000):
        bot._connection.paused = False
        await bot.say("#ops", "x" * 400)
        bot._connection.flush()


async def test_a_server_that_does_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_UNSENT", 100_000)
    async with online() as (server, bot):
        assert server.transport is not None
        server.transport.pause_reading()
        with pytest.raises(LinkError, match="does not read"):
            await flood(bot)
        assert "does not read" in (await server.until_lost()).reason


async def test_pings_are_answered_at_once_and_in_latin_1_text_is_sent() -> None:
    async with online(encoding="latin-1") as (server, bot):
        server.send("PING :a b", "PING x", b":al!a@h PRIVMSG #ops :caf\xe9")
        await server.expect("PONG :a b", "PONG :x")
        await bot.say("#ops", "café \u4e2d")
        await server.next()
        assert server.raw[-1] == b"PRIVMSG #ops :caf\xe9 ?"
        assert server.said == ["<al> café"]
