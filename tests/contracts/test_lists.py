"""The seed's list `control`, over fakeredis and over real servers."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from instabot import wire
from instabot.broker import scripts
from instabot.broker.keys import LIST_CONTROL, LIST_WORK, key
from instabot.broker.lists import LONGEST, Bridge
from instabot.broker.scripts import Caps
from instabot.errors import Fenced
from instabot.model import Room, Say
from tests.broker.shelf import Recorder
from tests.contracts.queues import KINDS, Queues, queues

ROOM = "0.k3f9qd"


@pytest_asyncio.fixture(params=KINDS)
async def q(request: pytest.FixtureRequest) -> AsyncIterator[Queues]:
    """Queues with one wanted room."""
    async with queues(request.param) as made:
        await house(made)
        yield made


async def house(q: Queues) -> None:
    room = Room(id=ROOM, network="ann/net", tenant="ann", name="#room")
    await scripts.put(q.client, 0, q.backend, [("r", ROOM, wire.encode(room))])


async def bridge(q: Queues, incarnation: int = 1, **options: object) -> Bridge:
    """A bridge that holds the lease and has not begun."""
    made = Bridge(q.client, q.blocking, "b", 2, incarnation=incarnation, **options)  # type: ignore[arg-type]
    await made.leases.tick()
    return made


async def push(q: Queues, *payloads: object) -> None:
    for payload in payloads:
        raw = payload if isinstance(payload, bytes) else json.dumps(payload)
        await q.raw("RPUSH", LIST_CONTROL, raw)


def say(text: str, room: str = ROOM) -> dict[str, str]:
    return {"id": room, "text": text}


async def says(q: Queues) -> list[Say]:
    found = [wire.decode_control(fields[b"d"]) for _, fields in await q.rows("control")]
    assert all(isinstance(each, Say) for each in found)
    return [each for each in found if isinstance(each, Say)]


async def letters(q: Queues) -> list[tuple[str, bytes]]:
    return [(f[b"w"].decode(), f[b"d"]) for _, f in await q.rows("dead")]


async def empty(q: Queues) -> bool:
    return not (await q.raw("LLEN", LIST_CONTROL) or await q.raw("LLEN", LIST_WORK))


async def test_what_is_pushed_becomes_a_say_for_its_room(q: Queues) -> None:
    text = 'déjà 👋 "quoted" \\ back\nnext line'
    await push(q, say(text), {**say("two"), "unknown": [1]})
    assert await (await bridge(q)).step()
    one, two = await says(q)
    assert (one.room, one.text, two.text) == (ROOM, text, "two")
    assert one.id != two.id
    assert await q.depth("c") == {"c": 2, f"c:{ROOM}": 2, "c@ann": 2}
    assert await q.depth("c") == await q.true_depth("c")
    assert [e.room for e in await q.fetch("runtime")] == [ROOM, ROOM]
    assert await empty(q)


async def test_a_push_wakes_the_bridge_and_is_passed_on_with_its_next_step(q: Queues) -> None:
    made = await bridge(q)
    await push(q, say("one"))
    await q.raw("LMOVE", LIST_CONTROL, LIST_WORK, "LEFT", "RIGHT")  # as BLMOVE, its reply lost
    await push(q, say("two"))
    await made.step()
    assert [each.text for each in await says(q)] == ["one", "two"]


GARBAGE = {
    "empty": (b"", "truncated"),
    "not JSON": (b"hello", "malformed"),
    "bad UTF-8": (b'{"id":"%s","text":"\xff"}' % ROOM.encode(), "utf-8"),
    "a surrogate in bytes": (b'{"id":"%s","text":"\xed\xa0\x80"}' % ROOM.encode(), "utf-8"),
    "a lone surrogate": (b'{"id":"%s","text":"\\ud800!"}' % ROOM.encode(), ""),
    "not an object": (b'["a"]', "object"),
    "null": (b"null", "object"),
    "NaN": (b'{"id":"%s","text":NaN}' % ROOM.encode(), "malformed"),
    "no text": (b'{"id":"%s"}' % ROOM.encode(), "text"),
    "text is a number": (b'{"id":"%s","text":1}' % ROOM.encode(), "Expected `str`"),
    "id is a number": (b'{"id":7,"text":"x"}', "Expected `str`"),
    "blank text": (b'{"id":"%s","text":" \\n"}' % ROOM.encode(), "the text is empty"),
    "nested 200,000 deep": (
        b'{"id":"%s","z":%s}' % (ROOM.encode(), b"[" * 200_000),
        "more than the",
    ),
    "nested 60,000 deep": (
        b'{"id":"%s","z":%s}' % (ROOM.encode(), b"[" * 60_000),
        "nested too deeply",
    ),
    "1 MB": (b'{"id":"%s","text":"%s"}' % (ROOM.encode(), b"x" * 1_000_000), "more than the"),
    "more after it": (b'{"id":"%s","text":"x"} x' % ROOM.encode(), "trailing"),
    "no such room": (b'{"id":"0.nobody","text":"x"}', "there is no room 0.nobody"),
    "no such shard": (b'{"id":"99.k3f9qd","text":"x"}', "there is no room 99.k3f9qd"),
    "a name, not an id": (b'{"id":"#room","text":"x"}', "is not a room's id"),
    "digits without end": (b'{"id":"%s.a","text":"x"}' % (b"9" * 5000), "4300 digits"),
    "the hash's own field": (b'{"id":"0.generation","text":"x"}', "there is no room"),
}


@pytest.mark.parametrize("name", GARBAGE)
async def test_garbage_is_a_dead_letter_with_its_reason_and_delays_nobody(
    q: Queues, name: str
) -> None:
    payload, reason = GARBAGE[name]
    await push(q, say("before"), payload, say("after"))
    made = await bridge(q)
    while not await empty(q):
        await made.step()
    assert [each.text for each in await says(q)] == ["before", "after"]
    ((why, data),) = await letters(q)
    assert reason in why
    if len(payload) > LONGEST:
        assert data == payload[:LONGEST]
    elif "there is no room" in reason:
        assert isinstance(wire.decode_control(data), Say)  # so that it may be sent again
    else:
        assert data == payload


async def test_a_full_room_gets_dead_letters_while_others_go_on(q: Queues) -> None:
    other = Room(id="0.other0", network="ann/net", tenant="ann", name="#other")
    await scripts.put(q.client, 0, q.backend, [("r", other.id, wire.encode(other))])
    await push(q, say("1"), say("2"), say("3", other.id))
    await (await bridge(q, caps=Caps(room=1))).step()
    assert [each.text for each in await says(q)] == ["1", "3"]
    ((why, data),) = await letters(q)
    assert why == "the control queue of this room is full"
    assert isinstance(wire.decode_control(data), Say)


async def test_a_payload_waits_while_nobody_knows_the_rooms(q: Queues) -> None:
    await q.raw("DEL", key(0, "rooms"))  # Redis lost them; a backend will write them again
    await push(q, say("1"), say("2"))
    made = await bridge(q)
    assert not await made.step()
    assert not await made.step()
    assert await letters(q) == []
    await house(q)
    assert await made.step()
    assert [each.text for each in await says(q)] == ["1", "2"]


async def test_it_does_not_wait_for_ever(q: Queues) -> None:
    await q.raw("DEL", key(0, "rooms"))
    await push(q, say("1"))
    made = await bridge(q, patience=0.0)
    assert not await made.step()
    assert await made.step()
    ((why, _),) = await letters(q)
    assert "no backend" in why
    assert await empty(q)


async def test_a_bridge_without_the_lease_does_nothing(q: Queues) -> None:
    old = await bridge(q, 1)
    await push(q, say("1"))
    parcels = await old._address(await old._take())
    await bridge(q, 2)
    with pytest.raises(Fenced):
        await old._pass(parcels)
    with pytest.raises(Fenced):
        await old.step()
    assert await says(q) == []


async def test_what_an_earlier_bridge_took_is_passed_on_first_and_once(q: Queues) -> None:
    await push(q, say("1"), say("2"))
    await (await bridge(q, 1))._take()  # and died
    await push(q, say("3"))
    await (await bridge(q, 2)).step()
    assert [each.text for each in await says(q)] == ["1", "2", "3"]


async def test_passing_on_twice_is_passing_on_once(q: Queues) -> None:
    await push(q, say("1"), say("2"))
    made = await bridge(q)
    parcels = await made._address(await made._take())
    assert await made._pass(parcels) == 2
    assert await made._pass(parcels) == 0  # its answer had been lost
    assert [each.text for each in await says(q)] == ["1", "2"]


async def test_a_client_may_say_the_same_twice(q: Queues) -> None:
    await push(q, say("again"), say("again"))
    await (await bridge(q)).step()
    one, two = await says(q)
    assert one.text == two.text == "again"
    assert one.id != two.id


async def test_with_nothing_to_do_it_waits_by_moving_never_by_popping(q: Queues) -> None:
    made = await bridge(q)
    made._blocking = recorder = Recorder(q.blocking)
    assert await made.step()
    assert recorder.commands == [("BLMOVE", LIST_CONTROL, LIST_WORK, "LEFT", "RIGHT", 1)]


async def test_without_memory_it_waits_and_loses_nothing(q: Queues) -> None:
    if q.server is None:
        pytest.skip("fakeredis has memory without end")
    await push(q, say("1"), say("2"))
    made = await bridge(q)
    await q.raw("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(Exception, match="takes no writes"):
        await made.step()
    await q.raw("CONFIG", "SET", "maxmemory", "0")
    await made.step()
    assert [each.text for each in await says(q)] == ["1", "2"]
