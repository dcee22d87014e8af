"""What people, operators and other programs may do on purpose: it stays, and it answers."""

import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from instabot.broker.desk import Desk
from instabot.broker.letters import letters
from instabot.errors import InstabotError
from tests.chat import Chat
from tests.journey.home import BOT, Home, home, moves, said
from tests.journey.networks import irc
from tests.servers import Missing

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]
OPS = "#ops"
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What a terminal obeys."""


@dataclass
class Stage:
    """A bot in `#ops` of an IRC server that passes everything on, and mallory beside it."""

    home: Home
    room: str
    mallory: Chat
    redis: Redis
    desk: Desk
    asked: int = 0

    async def still_answers(self) -> None:
        """Ask the bot something, and hear its answer."""
        self.asked += 1
        await self.mallory.say(OPS, f"!ping still there {self.asked}")
        await self.mallory.expect(f"{OPS} <{BOT}> pong still there {self.asked}")
        assert len(moves(self.mallory)) == 1, moves(self.mallory)  # it came, and never left

    @property
    def shard(self) -> str:
        return self.room.partition(".")[0]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        try:
            network = await stack.enter_async_context(irc("inspircd"))
        except Missing as error:
            pytest.skip(str(error))
        mallory = await network.visit("mallory", "ops")
        data = tmp_path_factory.mktemp("hostile") / "d"
        one = await stack.enter_async_context(home(network, data))
        room = (await one.join("ops"))["ops"]
        redis = one.redis()
        stack.push_async_callback(redis.aclose)
        desk = await stack.enter_async_context(Desk.open(one.redis_url))
        yield Stage(one, room, mallory, redis, desk)


LINES = {
    "control characters": bytes(x for x in range(1, 32) if x not in b"\r\n") + b"\x7f",
    "NUL, which ends the line for some": b"!ping a\0b\r!ping c",
    "escape sequences for a terminal": b"\x1b]0;owned\x07\x1b[2J\x1b[31mred",
    "Latin-1": b"!ping caf\xe9 \xff\xfe\x80",
    "half of a character": b"!ping \xf0\x9f\x91",
    "overlong UTF-8 and a surrogate": b"!ping \xc0\xaf \xed\xa0\x80",
    "right to left, and zero width": "!ping \u202egnp.exe\u202c \u200b\u2066x\u2069".encode(),
    "a tower of marks": ("!ping a" + "\u0301" * 150).encode(),
    "2 kB": b"!ping " + b"x" * 2000,
    "CTCP": b"\x01VERSION\x01",
    "CTCP without an end": b"\x01ACTION " + b"y" * 300,
    "CTCP in the middle": b"!ping a\x01PING 1\x01b",
    "a command within a command": b"!ping \x01\r\nQUIT :x",
    "quotes": b"!ping ' \" \\ \x60 $(id) %s {0} {{}}",
    "its own prefix": f"{BOT}: {BOT}: {BOT}: !ping".encode(),
    "only a prefix": b"!",
    "units without end": b"!convert " + b"9" * 200 + b" km to " + b"(" * 100,
    "a power of a power": b"!convert 10**10**10 km to m",
}


@pytest.mark.parametrize("name", LINES)
async def test_a_person_says(stage: Stage, name: str) -> None:
    for line in LINES[name].split(b"\r\nQUIT"):
        stage.mallory.send(b"PRIVMSG %s :%s\r\n" % (OPS.encode(), line))
    await stage.still_answers()


async def test_nothing_that_was_said_commands_the_operator_s_terminal(stage: Stage) -> None:
    await stage.mallory.say(OPS, "\x1b]0;owned\x07 \u202etxt \x9b31m", "end of it")
    async with stage.home.tail("ops", "--since", "10m") as tail:
        await tail.shows("<mallory> end of it")
    assert re.search(rb"\\x1b\]0;owned\\x07", tail.raw)
    assert UNSAFE.findall(tail.raw.decode()) == []


SAYINGS = {
    "a carriage return": ("one\rtwo", ["one", "two"]),
    "a new line": ("one\r\nJOIN #evil\nQUIT", ["one", "JOIN #evil", "QUIT"]),
    "0x01": ("\x01VERSION\x01", ["VERSION"]),
    "something like a command": ("#x :injected", ["#x :injected"]),
    "a colon first": (":evil PRIVMSG #x :y", [":evil PRIVMSG #x :y"]),
}


@pytest.mark.parametrize("name", SAYINGS)
async def test_an_operator_says(stage: Stage, name: str) -> None:
    text, expected = SAYINGS[name]
    before = len(said(stage.mallory, OPS))
    result = await stage.home.run("say", "ops", text)
    assert (result.code, result.out, result.err) == (0, "", "")
    await stage.mallory.roundtrip()
    assert said(stage.mallory, OPS)[before:] == expected
    await stage.still_answers()


async def test_an_operator_says_bytes_that_are_no_text(stage: Stage) -> None:
    """On the command line they are lone surrogates, by PEP 383."""
    result = await stage.home.run("say", "ops", "caf\udce9")
    assert (result.code, result.out) == (2, "")
    assert result.err == "instabot: there is something in it that is not UTF-8 text\n"
    await stage.still_answers()


async def test_an_operator_says_too_much(stage: Stage) -> None:
    result = await stage.home.run("say", "ops", "x" * 100_000)
    assert (result.code, result.out) == (2, "")
    assert "more than the 20000" in result.err
    await stage.still_answers()


@pytest.mark.parametrize(
    "text", ["\udcff", "", "\n \r\n", "x" * 1_000_000], ids=["surrogate", "''", "blank", "1 MB"]
)
async def test_another_program_asks_for_what_cannot_be_said(stage: Stage, text: str) -> None:
    """Past the command line's own checks, as a console or a script may ask."""
    before = len(said(stage.mallory, OPS))
    with pytest.raises(InstabotError):
        await _ask_for(stage, text)
    await stage.still_answers()
    assert len(said(stage.mallory, OPS)) == before + 1  # and nothing of it was said


async def test_another_program_asks_for_a_line_with_nul_in_it(stage: Stage) -> None:
    await _ask_for(stage, "a\0b")
    await stage.mallory.expect(f"{OPS} <{BOT}> ab")
    await stage.still_answers()


async def _ask_for(stage: Stage, text: str) -> None:
    wish = {"room": stage.room, "text": text}
    await stage.desk.ask(int(stage.shard), "say", wish, timeout=30)


GARBAGE = {
    "not JSON": b"hello",
    "nothing": b"",
    "JSON, but no object": b"[1, 2, 3]",
    "no type": b'{"room": "1.abcdef", "text": "x"}',
    "a type nobody knows": b'{"type": "explode", "room": "1.abcdef"}',
    "of the other queue": b'{"type": "heard", "id": "x", "room": "R", "sender": "a", "text": "b", "at": 1}',
    "wrong types": b'{"type": "say", "id": 5, "room": [], "text": {}, "at": "now"}',
    "nested 200,000 deep": b'{"type": "say", "x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "bad UTF-8": b'{"type": "say", "id": "x", "room": "R", "text": "\xff\xfe", "at": 1}',
    "1 MB and more": b'{"type": "say", "text": "' + b"x" * (1 << 20) + b'"}',
    "of the future": b'{"type": "say", "v": 99, "id": "x", "room": "R", "text": "b", "at": 1}',
    "an infinite number": b'{"type": "say", "id": "x", "room": "R", "text": "b", "at": 1e999}',
    "an unknown room": b'{"type": "say", "id": "x", "room": "S.zzzzzz", "text": "b", "at": 1}',
    "another shard's room": b'{"type": "say", "id": "x", "room": "999.zzzzzz", "text": "b", "at": 1}',
    "no room's id": b'{"type": "say", "id": "x", "room": "nowhere", "text": "b", "at": 1}',
}


@pytest.mark.parametrize("name", GARBAGE)
async def test_somebody_puts_garbage_on_the_control_stream(stage: Stage, name: str) -> None:
    data = GARBAGE[name].replace(b'"R"', b'"%s"' % stage.room.encode())
    data = data.replace(b'"S.', b'"%s.' % stage.shard.encode())
    await _becomes_a_letter(stage, "control", {"r": stage.room, "t": "local", "d": data})


async def test_somebody_speaks_in_a_room_that_there_is_not(stage: Stage) -> None:
    room = f"{stage.shard}.zzzzzz"
    say = '{"type": "say", "id": "x", "room": "%s", "text": "b", "at": %d}'
    fields = {"r": room, "t": "local", "d": say % (room, time.time())}
    await _becomes_a_letter(stage, "control", fields)


@pytest.mark.parametrize(
    "fields", [{"d": b"x"}, {"x": b"y"}, {"r": b"\xff\xfe", "t": b"\0", "d": b"\0"}], ids=str
)
async def test_somebody_puts_other_fields_there(stage: Stage, fields: dict[str, bytes]) -> None:
    await _becomes_a_letter(stage, "control", fields)


@pytest.mark.parametrize(
    "name",
    [
        "not JSON",
        "no type",
        "a type nobody knows",
        "wrong types",
        "nested 200,000 deep",
        "bad UTF-8",
        "1 MB and more",
        "of the future",
    ],
)
async def test_somebody_puts_garbage_on_the_messages_stream(stage: Stage, name: str) -> None:
    data = GARBAGE[name].replace(b'"say"', b'"heard"').replace(b'"R"', b'"x"')
    await _becomes_a_letter(stage, "messages", {"r": stage.room, "t": "local", "d": data})


async def _becomes_a_letter(
    stage: Stage, queue: str, fields: Mapping[str, str | bytes]
) -> None:
    """One more dead letter, of that queue and with a reason; and nothing else happens."""
    before = {letter.id for letter in await letters(stage.desk, 1000)}
    await stage.redis.xadd(f"instabot:{{{stage.shard}}}:{queue}", fields)  # type: ignore[arg-type]
    await stage.still_answers()
    await stage.home.quiet()
    (letter,) = [x for x in await letters(stage.desk, 1000) if x.id not in before]
    assert letter.queue == queue
    assert letter.why, letter
    assert time.time() - letter.at < 60


async def test_every_one_of_them_is_listed_with_its_reason(stage: Stage) -> None:
    """As the tests above left them; none of them can harm the operator's terminal either."""
    await stage.redis.xadd(f"instabot:{{{stage.shard}}}:control", {"d": b"\x1b[2J\x9b"})
    await stage.still_answers()
    await stage.home.quiet()
    listed = (await stage.home.run("dead", "list", "--json", "--most", "1000")).json
    assert listed
    assert all(letter["why"] for letter in listed)
    table = await stage.home.run("dead", "list", "--most", "1000")
    assert len(table.out.splitlines()) == len(listed) + 1
    shown = await stage.home.run("dead", "show", listed[-1]["id"])
    assert "\\x1b[2J" in shown.out
    assert UNSAFE.findall(table.out + shown.out) == []
