"""Dead letters sent again, or dropped."""

import time
from pathlib import Path

import pytest

from instabot import wire
from instabot.broker.keys import key
from instabot.model import Join, Say
from tests.backend.stage import Stage, stage
from tests.servers import RedisServer

pytestmark = pytest.mark.real


async def bury(s: Stage, stream: str, data: bytes, room: str = "0.a") -> str:
    """A dead letter, as the scripts write one → its id."""
    fields = ("q", stream, "i", "1-1", "r", room, "t", "local", "w", "why", "d", data)
    number: bytes = await s.raw("XADD", key(0, "dead"), "*", *fields)
    return number.decode()


async def test_a_redriven_line_gets_a_new_deadline_and_goes_once(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        room = s.rooms["#a"]
        async with s.backend():
            old = Say(id="m:0", room=room, text="late", at=1.0, deadline=2.0)
            say = await bury(s, "control", wire.encode(old), room)
            join = await bury(s, "control", wire.encode(Join(room=room)), room)
            assert (await s.ask("dead.redrive", ids=[say, join])).data == {"count": 2}
            assert (await s.ask("dead.redrive", ids=[say, join])).data == {"count": 0}
            assert await s.dead() == []
            again, nudge = await s.control()
            assert isinstance(again, Say)
            assert (again.id, again.text) == ("m:0", "late")
            assert again.deadline > time.time() + 600
            assert nudge == Join(room=room)
            assert await s.depth(0, f"c:{room}") == 2


async def test_a_redriven_message_is_evaluated(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend():
            letter = await bury(
                s, "messages", wire.encode(s.line("#a", "!ping")), s.rooms["#a"]
            )
            await s.ask("dead.redrive", ids=[letter])
            assert await s.said("#a", 1) == ["pong"]


async def test_a_letter_queued_but_not_buried_is_not_queued_twice(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        room = s.rooms["#a"]
        async with s.backend():
            fields = await _fields(
                s, await bury(s, "messages", wire.encode(s.line("#a", "!ping")), room)
            )
            number = (await s.dead())[0]["number"]
            await s.ask("dead.redrive", ids=[number])
            await s.said("#a", 1)
            # The backend died between the two: the letter is still there, under its id.
            await s.raw("DEL", key(0, "dead"))
            await s.raw("XADD", key(0, "dead"), number, *fields)
            assert (await s.ask("dead.redrive", ids=[number])).data == {"count": 1}
            await s.quiet()
            assert len(await s.says("#a")) == 1
            assert await s.dead() == []


async def _fields(s: Stage, number: str) -> list[bytes]:
    rows = await s.raw("XRANGE", key(0, "dead"), number, number)
    return list(rows[0][1])


async def test_what_nobody_can_read_stays_where_it_is(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s, s.backend():
        say = wire.encode(Say(id="m:0", room="0.a", text="x", at=1.0))
        ids = [
            await bury(s, "messages", b"{not json"),
            await bury(s, "control", b"\xff"),
            await bury(s, "somewhere", say),
            await bury(s, "messages", b""),
        ]
        await s.raw("XADD", key(0, "dead"), "*", "by", "hand", b"\xff", b"\xff")
        ids.append((await s.dead())[-1]["number"])
        assert (await s.ask("dead.redrive", ids=[*ids, "1-1"])).data == {"count": 0}
        assert [letter["number"] for letter in await s.dead()] == ids
        assert await s.control() == []


async def test_dropped_letters_are_gone(redis_server: RedisServer, tmp_path: Path) -> None:
    async with stage(redis_server, tmp_path) as s, s.backend():
        one, two = await bury(s, "messages", b"1"), await bury(s, "messages", b"2")
        assert (await s.ask("dead.drop", ids=[one])).data == {"count": 1}
        assert (await s.ask("dead.drop", ids=[one])).data == {"count": 0}
        assert [letter["number"] for letter in await s.dead()] == [two]
