"""Batches that form by themselves: while one call of a shard is under way, the next one fills.

At a low rate nothing is ever held back; at a high rate a call carries hundreds of items.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")


class Batcher(Generic[T]):
    """One queue per shard, and one task per shard while its queue holds something.

    `send` is called with what waits, at most `most` items, one call at a time per shard, in
    order; it must not raise, and returns when the batch is dealt with for good.
    """

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        name: str,
        send: Callable[[int, Sequence[T]], Awaitable[None]],
        most: int = 256,
    ) -> None:
        self._tasks = tasks
        self._name = name
        self._send = send
        self._most = most
        self._queues: dict[int, deque[T]] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, shard: int, item: T) -> None:
        """Queue an item; never blocks."""
        queue = self._queues.get(shard)
        if queue is None:
            queue = self._queues[shard] = deque((item,))
            self._idle.clear()
            self._tasks.create_task(self._run(shard, queue), name=f"{self._name} {shard}")
        else:
            queue.append(item)

    def extend(self, shard: int, items: Iterable[T]) -> None:
        """Queue several items."""
        for item in items:
            self.put(shard, item)

    async def idle(self) -> None:
        """Return when nothing waits and nothing is under way."""
        await self._idle.wait()

    async def _run(self, shard: int, queue: deque[T]) -> None:
        # One turn of the loop, so that all that arrived in this one goes together.
        await asyncio.sleep(0)
        while queue:
            batch = list(islice(queue, self._most))
            await self._send(shard, batch)
            for _ in batch:
                queue.popleft()
        # No await between the empty check and the removal.
        del self._queues[shard]
        if not self._queues:
            self._idle.set()
