import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from instabot.broker import scripts
from instabot.broker.consumer import Consumer
from instabot.broker.keys import key
from instabot.broker.lease import Leases, Taken
from instabot.broker.scripts import Entry, Item
from instabot.errors import Unreachable
from tests.broker.shelf import Basket, Recorder, running
from tests.contracts.queues import NOW, Queues, queues


@pytest_asyncio.fixture
async def q() -> AsyncIterator[Queues]:
    async with queues("fakeredis") as made:
        yield made


class Reader:
    """A consumer of the group `backend`, all its commands recorded."""

    def __init__(self, q: Queues, window: int = 4096, batch: int = 256) -> None:
        self.q = q
        self.leases = Leases(q.client, "backend", "b", 3, incarnation=1)
        self.client, self.blocking = Recorder(q.client), Recorder(q.blocking)
        self.got = Basket()
        self.inspected: list[Sequence[Entry]] = []
        self.trouble = 0
        self.consumer = Consumer(
            self.client,
            self.blocking,
            self.leases,
            "messages",
            "backend",
            self.got.put,
            inspect=self._inspect,
            window=window,
            batch=batch,
        )

    async def _inspect(self, shard: int, entries: Sequence[Entry]) -> Sequence[Entry]:
        self.inspected.append(entries)
        if self.trouble:
            self.trouble -= 1
            raise Unreachable("Redis is away")
        return entries

    def take(self, shard: int = 0, again: bool = False) -> None:
        self.consumer.take(Taken(shard, "", 0.0, 1, again))

    async def until(self, count: int) -> list[str]:
        return [entry.data.decode() for entry in await self.got.until(count)]

    async def asleep(self) -> None:
        """Once it waits for news: what was ready is fetched."""
        async with asyncio.timeout(10):
            while self.blocking.commands[-1:] == [] or self.client.asked.is_set():
                self.client.asked.clear()
                self.blocking.asked.clear()
                await self.blocking.asked.wait()


async def test_what_comes_is_delivered_in_order(q: Queues) -> None:
    reader = Reader(q)
    reader.take()
    async with running(reader.consumer.run()):
        await q.hear("1", "2")
        await reader.until(2)
        await q.hear("3")
        assert await reader.until(3) == ["1", "2", "3"]
    assert reader.inspected == []


async def test_history_is_paged_once_and_inspected_then_only_news_is_read(q: Queues) -> None:
    await q.hear("1", "2", "3")
    await q.fetch()  # and died
    await q.hear("4")
    reader = Reader(q, batch=2)
    reader.take()
    async with running(reader.consumer.run()):
        assert await reader.until(4) == ["1", "2", "3", "4"]
        await reader.asleep()
    assert [len(entries) for entries in reader.inspected] == [2, 1]
    starts = [command[-1] for command in reader.client.commands]
    assert starts[0] == "0"
    assert starts.index(">") == 3  # two pages, and one that says there are no more
    assert set(starts[3:]) == {">"}


async def test_what_is_in_flight_is_not_delivered_again_when_the_lease_is_reacquired(
    q: Queues,
) -> None:
    await q.hear("1", "2")
    reader = Reader(q)
    reader.take()
    async with running(reader.consumer.run()):
        first, _ = await reader.got.until(2)
        await q.ack([first])
        reader.consumer.settled([first])
        reader.take(again=True)
        await q.hear("3")
        assert await reader.until(3) == ["1", "2", "3"]
        await reader.asleep()
        assert len(reader.got.things) == 3


async def test_after_another_had_the_shard_everything_unfinished_comes_again(q: Queues) -> None:
    await q.hear("1", "2")
    reader = Reader(q)
    reader.take()
    async with running(reader.consumer.run()):
        first, _ = await reader.got.until(2)
        await q.ack([first])
        reader.consumer.settled([first])
        reader.consumer.drop(0)
        reader.take()
        assert await reader.until(3) == ["1", "2", "2"]


async def test_nothing_is_asked_while_the_window_is_full(q: Queues) -> None:
    await q.hear("1", "2", "3")
    reader = Reader(q, window=2)
    reader.take()
    async with running(reader.consumer.run()):
        await reader.until(2)
        before = len(reader.client.commands), len(reader.blocking.commands)
        for _ in range(20):  # turns of the loop, in which it could ask
            await asyncio.sleep(0)
        assert (len(reader.client.commands), len(reader.blocking.commands)) == before
        assert reader.consumer.window.free == 0
        reader.consumer.window.give(1)
        assert await reader.until(3) == ["1", "2", "3"]


async def test_a_full_window_is_shared_between_shards(q: Queues) -> None:
    await scripts.lease_all(q.client, [1], "backend", "b", 1, 60_000)
    for shard in (0, 1):
        items = [Item(f"{shard}.a", "t", b"%d" % shard, ref=f"{n}") for n in range(20)]
        await scripts.ingest(q.client, shard, items, NOW)
    reader = Reader(q, window=2, batch=2)
    reader.take(0)
    reader.take(1)
    async with running(reader.consumer.run()):
        for count in range(2, 11, 2):
            await reader.until(count)
            reader.consumer.window.give(2)
    shards = [entry.shard for entry in reader.got.things[:8]]
    assert shards.count(0) == shards.count(1) == 4


async def test_an_inspection_that_failed_is_repeated(q: Queues) -> None:
    await q.hear("1", "2")
    await q.fetch()
    reader = Reader(q)
    reader.trouble = 1
    reader.take()
    async with running(reader.consumer.run()):
        assert await reader.until(2) == ["1", "2"]
    assert [len(entries) for entries in reader.inspected] == [2, 2]


async def test_a_fetch_whose_answer_was_lost_is_read_again_from_history_by_the_next_holder(
    q: Queues,
) -> None:
    await q.hear("1")
    reader = Reader(q)
    reader.take()
    async with running(reader.consumer.run()):
        await reader.until(1)
        reader.client.fail = 1
        await q.hear("2", "3")
        reader.take(again=True)
        assert await reader.until(3) == ["1", "2", "3"]


async def test_a_quiet_shard_full_of_acknowledged_entries_costs_nothing(q: Queues) -> None:
    await q.hear(*(f"{n}" for n in range(100)))
    await q.ack(await q.fetch())
    reader = Reader(q)
    reader.take()
    async with running(reader.consumer.run()):
        await reader.asleep()
        assert reader.blocking.count("XREAD") <= 2
        assert reader.blocking.commands[-1][-1] == (await q.rows("messages"))[-1][0]


async def test_a_fenced_reader_asks_no_more_and_has_the_leases_looked_at(q: Queues) -> None:
    reader, lost = Reader(q), asyncio.Event()

    async def drop(shard: int) -> None:
        reader.consumer.drop(shard)
        lost.set()

    reader.leases.on_lost.append(drop)
    await reader.leases.tick()
    for shard in (0, 1, 2):
        await q.raw("SET", key(shard, "lease:backend"), "other:1")
    await q.hear("1")
    reader.take()
    async with running(reader.leases.run(), reader.consumer.run()), asyncio.timeout(10):
        await lost.wait()
    assert reader.got.things == []
    assert await q.pending("messages", "backend") == set()


async def test_a_group_that_was_switched_off_is_not_mended(q: Queues) -> None:
    await q.groups("backend", "log")
    reader = Reader(q)
    reader.take()
    async with running(reader.consumer.run()):
        await reader.asleep()
        await q.raw("XGROUP", "DESTROY", key(0, "messages"), "backend")
        fetched = reader.client.asked
        fetched.clear()
        await q.hear("1")
        async with asyncio.timeout(10):
            await fetched.wait()
        reader.consumer.drop(0)  # while the answer is on its way
    rows = await q.raw("XINFO", "GROUPS", key(0, "messages"))
    assert [row[1] for row in rows] == [b"log"]


async def test_a_group_that_vanished_goes_on_behind_the_last_entry_delivered(
    q: Queues, caplog: pytest.LogCaptureFixture
) -> None:
    await q.groups("backend", "log")
    await q.hear("1")
    reader = Reader(q)
    reader.take()
    async with running(reader.consumer.run()):
        await reader.until(1)
        await reader.asleep()
        await q.raw("XGROUP", "DESTROY", key(0, "messages"), "backend")
        await q.hear("2")
        assert await reader.until(2) == ["1", "2"]


async def test_hand_written_bytes_do_not_end_the_reader(q: Queues) -> None:
    await q.groups("backend", "log")
    reader = Reader(q)
    reader.take()
    async with running(reader.consumer.run()):
        await q.raw("XADD", key(0, "messages"), "*", "a", b"\xff")
        await q.hear("1")
        foreign, mine = await reader.got.until(2)
    assert foreign.data.startswith(b"not an entry")
    assert mine.data == b"1"
