"""The seed's list `messages`, over fakeredis and over real servers."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from instabot import wire
from instabot.broker import scripts
from instabot.broker.egress import Egress
from instabot.broker.keys import LIST_MESSAGES, key
from instabot.broker.lease import Leases, Taken
from instabot.broker.scripts import Entry, Item
from instabot.errors import Fenced
from instabot.model import Heard, Notice
from tests.broker.shelf import running
from tests.contracts.queues import KINDS, Queues, queues
from tests.servers.process import until


@pytest_asyncio.fixture(params=KINDS)
async def q(request: pytest.FixtureRequest) -> AsyncIterator[Queues]:
    async with queues(request.param) as made:
        await made.groups("backend", "log", "compat")
        yield made


class Out:
    """An egress of the rooms `0.on…`, and what it is fed with."""

    def __init__(self, q: Queues, tasks: Any, cap: int = 100) -> None:
        self.q = q
        self.leases = Leases(q.client, "backend", "b", 1, incarnation=1)
        self.egress = Egress(
            tasks, q.client, q.blocking, self.leases, lambda room: "on" in room, cap=cap
        )

    def take(self) -> None:
        self.egress.consumer.take(Taken(0, "", 0.0, 1, False))

    async def popped(self, count: int) -> list[dict[str, Any]]:
        """What a client pops, until it has so many."""
        found: list[dict[str, Any]] = []

        async def enough() -> bool:
            raw = await self.q.raw("LPOP", LIST_MESSAGES)
            if raw is not None:
                found.append(json.loads(raw))
            return len(found) >= count

        await until(enough, f"{count} lines on the list")
        return found


async def hear(q: Queues, *lines: Heard | Notice) -> None:
    items = [Item(line.room, line.tenant, wire.encode(line), ref=line.id) for line in lines]
    assert "F" not in await q.ingest(items)


def heard(text: str, room: str = "0.on", **more: Any) -> Heard:
    return Heard(
        id=f"{room}|{text}|{more}", room=room, sender="ann", text=text, at=12.25, **more
    )


async def test_lines_of_rooms_that_want_it_arrive_whole_and_in_order(q: Queues) -> None:
    text = 'déjà 👋 "q" \\ \u2028 12345678901234567890 \x01ctl'
    async with running() as tasks:
        out = Out(q, tasks)
        out.take()
        await hear(q, heard("1"), heard("no", "0.off"), heard(text), heard("3", "0.on2"))
        async with running(out.egress.run()):
            lines = await out.popped(3)
    assert lines[0] == {"id": "0.on", "text": "1", "sender": "ann", "at": 12.25}
    assert [line["text"] for line in lines] == ["1", text, "3"]
    assert await q.waiting("messages", "compat") == []


async def test_only_what_others_said_in_time_is_passed_on(q: Queues) -> None:
    notice = Notice(id="n", room="0.on", kind="joined", at=1.0, who="ann")
    await hear(q, heard("own", own=True), heard("late", late=True), notice, heard("said"))
    await q.ingest([Item("0.on", "t", b"no JSON", ref="x")])
    await hear(q, heard("last"))
    async with running() as tasks:
        out = Out(q, tasks)
        out.take()
        async with running(out.egress.run()):
            assert [line["text"] for line in await out.popped(2)] == ["said", "last"]
    assert await q.waiting("messages", "compat") == []


async def test_a_push_whose_answer_was_lost_is_not_made_again(q: Queues) -> None:
    await hear(q, heard("1"), heard("2"))
    async with running() as tasks:
        out = Out(q, tasks)
        entries = await q.fetch("compat")
        await out.egress._push(0, entries)
        await out.egress._push(0, entries)
    assert await q.raw("LLEN", LIST_MESSAGES) == 2


async def test_a_backend_that_lost_the_shard_pushes_nothing(q: Queues) -> None:
    await hear(q, heard("1"))
    async with running() as tasks:
        out = Out(q, tasks)
        entries = await q.fetch("compat")
        await scripts.lease_all(q.client, [0], "backend", "b", 2, 60_000)
        await out.egress._push(0, entries)
        with pytest.raises(Fenced):
            await out.egress._send(0, rows(out, entries))
    assert await q.raw("LLEN", LIST_MESSAGES) == 0


def rows(out: Out, entries: list[Entry]) -> list[tuple[bytes, bytes]]:
    return [(entry.id, out.egress._line(entry)) for entry in entries]


async def test_a_new_holder_begins_with_what_the_dead_one_left(q: Queues) -> None:
    await hear(q, heard("1"), heard("2"))
    await q.fetch("compat", count=1)  # and died
    async with running() as tasks:
        out = Out(q, tasks)
        out.take()
        async with running(out.egress.run()):
            assert [line["text"] for line in await out.popped(2)] == ["1", "2"]


async def test_a_full_list_holds_lines_back_until_somebody_pops(q: Queues) -> None:
    if q.server is None:
        pytest.skip("fakeredis has no INFO")
    await hear(q, *(heard(f"{n}") for n in range(10)), heard("no", "0.off"))
    async with running() as tasks:
        out = Out(q, tasks, cap=4)
        out.take()
        entries = await q.fetch("compat")
        assert await out.egress._send(0, rows(out, entries)) == 4
        assert await q.raw("LLEN", LIST_MESSAGES) == 4
        assert len(await q.waiting("messages", "compat")) == 7
        async with running(out.egress.run()):
            lines = await out.popped(10)
            await out.egress.idle()
    assert [line["text"] for line in lines] == [f"{n}" for n in range(10)]
    assert await q.waiting("messages", "compat") == []


async def test_a_list_nobody_pops_does_not_pin_memory_for_ever(q: Queues) -> None:
    if q.server is None:
        pytest.skip("fakeredis has memory without end")
    await hear(q, *(heard(f"{n}") for n in range(10)))
    async with running() as tasks:
        out = Out(q, tasks, cap=4)
        entries = await q.fetch("compat")
        await q.raw("CONFIG", "SET", "maxmemory", "1")
        await out.egress._push(0, entries)
    assert await q.raw("LLEN", LIST_MESSAGES) == 4
    assert await q.waiting("messages", "compat") == []
    ((_, letter),) = await q.rows("dead")
    assert b"6 lines given up" in letter[b"w"]


async def test_something_else_under_the_lists_name_loses_no_line(q: Queues) -> None:
    await hear(q, heard("1"))
    await q.raw("SET", LIST_MESSAGES, "mine")
    async with running() as tasks:
        out = Out(q, tasks)
        out.take()
        async with running(out.egress.run()):

            async def read() -> bool:
                return bool(await q.pending("messages", "compat"))

            await until(read, "the line to be fetched")
            await q.raw("DEL", LIST_MESSAGES)
            assert [line["text"] for line in await out.popped(1)] == ["1"]


async def test_the_list_does_not_count_in_depth(q: Queues) -> None:
    await hear(q, heard("1"))
    before = await q.raw("HGETALL", key(0, "depth"))
    async with running() as tasks:
        await Out(q, tasks).egress._push(0, await q.fetch("compat"))
    assert await q.raw("HGETALL", key(0, "depth")) == before
