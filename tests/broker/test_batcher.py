import asyncio
from collections.abc import Sequence

from instabot.broker.batcher import Batcher


class Sent:
    """Takes batches; the first one of each shard waits until `go`."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, list[int]]] = []
        self.started = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, shard: int, items: Sequence[int]) -> None:
        self.batches.append((shard, list(items)))
        self.started.set()
        await self.go.wait()


async def test_while_one_call_is_under_way_the_next_one_fills() -> None:
    sent = Sent()
    async with asyncio.TaskGroup() as tasks:
        batcher: Batcher[int] = Batcher(tasks, "test", sent, 3)
        batcher.extend(0, [1, 2])
        await sent.started.wait()
        batcher.extend(0, [3, 4, 5, 6])
        sent.go.set()
        await batcher.idle()
    assert sent.batches == [(0, [1, 2]), (0, [3, 4, 5]), (0, [6])]


async def test_one_shard_waits_for_no_other() -> None:
    sent = Sent()
    async with asyncio.TaskGroup() as tasks:
        batcher: Batcher[int] = Batcher(tasks, "test", sent)
        batcher.put(0, 1)
        await sent.started.wait()
        sent.started.clear()
        batcher.put(1, 2)
        async with asyncio.timeout(5):
            await sent.started.wait()
        sent.go.set()
        await batcher.idle()
    assert sent.batches == [(0, [1]), (1, [2])]


async def test_after_the_last_item_a_new_one_starts_anew() -> None:
    sent = Sent()
    sent.go.set()
    async with asyncio.TaskGroup() as tasks:
        batcher: Batcher[int] = Batcher(tasks, "test", sent)
        for item in (1, 2):
            batcher.put(0, item)
            await batcher.idle()
    assert sent.batches == [(0, [1]), (0, [2])]
