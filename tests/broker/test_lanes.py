import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest_asyncio

from instabot.broker.consumer import Window
from instabot.broker.lanes import KEEP, Lanes
from instabot.broker.scripts import Entry
from tests.broker.shelf import Recorder
from tests.contracts.queues import Queues, queues


@pytest_asyncio.fixture
async def q() -> AsyncIterator[Queues]:
    async with queues("fakeredis") as made:
        yield made


class Served:
    """Serves lanes; a room in `held` waits until it is let go."""

    def __init__(self) -> None:
        self.texts: dict[str, list[str]] = {}
        self.batches: list[int] = []
        self.held: dict[str, asyncio.Event] = {}
        self._served = asyncio.Event()

    async def once(self, room: str) -> None:
        """Return when something of that room was served."""
        async with asyncio.timeout(10):
            while room not in self.texts:
                self._served.clear()
                await self._served.wait()

    async def __call__(self, room: str, entries: Sequence[Entry]) -> None:
        if room in self.held:
            await self.held[room].wait()
        self.batches.append(len(entries))
        self.texts.setdefault(room, []).extend((e.data or b"").decode() for e in entries)
        self._served.set()


def number(count: int) -> list[str]:
    return [f"{n}" for n in range(count)]


async def test_a_room_is_served_in_order_and_leaves_nothing_behind(q: Queues) -> None:
    served, window = Served(), Window(1000)
    await q.hear(*number(120))
    async with asyncio.TaskGroup() as tasks:
        lanes = Lanes(tasks, q.client, "messages", window, served)
        for entry in await q.fetch(count=80):
            window.take(1)
            lanes.put(entry.room, entry)
        await lanes.idle()
        assert len(lanes) == 0
    assert served.texts["0.a"] == number(80)
    assert window.free == 1000
    assert max(served.batches) == 50


async def test_a_slow_room_keeps_ids_only_and_is_read_again_in_order(q: Queues) -> None:
    served, window = Served(), Window(1000)
    served.held["0.a"] = asyncio.Event()
    await q.hear(*number(300))
    entries = await q.fetch()
    client = Recorder(q.client)
    async with asyncio.TaskGroup() as tasks:
        lanes = Lanes(tasks, client, "messages", window, served)
        for entry in entries[:250]:
            window.take(1)
            lanes.put("0.a", entry)
        assert window.free == 1000 - KEEP
        await asyncio.sleep(0)  # its task takes a batch
        for entry in entries[250:]:
            window.take(1)
            lanes.put("0.a", entry)
        served.held["0.a"].set()
        await lanes.idle()
    assert served.texts["0.a"] == number(300)
    assert window.free == 1000


async def test_a_slow_room_delays_no_other(q: Queues) -> None:
    served, window = Served(), Window(1000)
    served.held["0.a"] = asyncio.Event()
    await q.hear("slow", room="0.a")
    await q.hear("quick", room="0.b")
    async with asyncio.TaskGroup() as tasks:
        lanes = Lanes(tasks, q.client, "messages", window, served)
        for entry in await q.fetch():
            lanes.put(entry.room, entry)
        await served.once("0.b")
        assert served.texts == {"0.b": ["quick"]}
        served.held["0.a"].set()
        await lanes.idle()


async def test_a_dropped_shard_gives_its_room_in_the_window_back(q: Queues) -> None:
    served, window = Served(), Window(1000)
    served.held["0.a"] = asyncio.Event()
    await q.hear(*number(150))
    async with asyncio.TaskGroup() as tasks:
        lanes = Lanes(tasks, q.client, "messages", window, served)
        for entry in await q.fetch():
            window.take(1)
            lanes.put("0.a", entry)
        await asyncio.sleep(0)
        lanes.drop(0)
        await lanes.idle()
    assert served.texts == {}
    assert window.free == 1000


async def test_what_was_trimmed_meanwhile_is_served_without_data(q: Queues) -> None:
    served, window = Served(), Window(1000)
    served.held["0.a"] = asyncio.Event()
    await q.hear(*number(110))
    entries = await q.fetch()
    async with asyncio.TaskGroup() as tasks:
        lanes = Lanes(tasks, q.client, "messages", window, served)
        for entry in entries:
            lanes.put("0.a", entry)
        await q.raw("XDEL", "instabot:{0}:messages", entries[105].id)
        served.held["0.a"].set()
        await lanes.idle()
    assert served.texts["0.a"] == [*number(105), "", *number(110)[106:]]
