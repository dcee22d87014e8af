"""A lane per room: its entries in order, one task while there is something, nothing otherwise.

Used on both ends: for messages in the backend, for control in the runtime. A lane with more than
`KEEP` entries waiting keeps only the ids of the rest and reads them again when their turn comes,
so that one slow room never fills the window for its shard.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from instabot.broker import scripts
from instabot.broker.consumer import Window
from instabot.broker.redis import Caller, persist
from instabot.broker.scripts import Entry

KEEP = 100

Serve = Callable[[str, Sequence[Entry]], Awaitable[None]]


@dataclass(slots=True)
class _Lane:
    shard: int
    queue: deque[Entry | bytes] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None


class Lanes:
    """id → queue. `put` is the only way in; `serve` handles a batch of one room at a time.

    `serve` must not raise: a failure of a room's batch is its own to turn into dead letters.
    """

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        client: Caller,
        stream: str,
        window: Window,
        serve: Serve,
        *,
        batch: int = 50,
    ) -> None:
        self._tasks = tasks
        self._client = client
        self._stream = stream
        self.window = window
        self._serve = serve
        self._batch = batch
        self._lanes: dict[str, _Lane] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._lanes)

    def __contains__(self, room: str) -> bool:
        return room in self._lanes

    def put(self, room: str, entry: Entry) -> None:
        """Append to a room's queue; its task starts if it has none."""
        lane = self._lanes.get(room)
        if lane is None:
            lane = self._lanes[room] = _Lane(entry.shard)
            lane.queue.append(entry)
            self._idle.clear()
            lane.task = self._tasks.create_task(self._run(room, lane), name=f"room {room}")
        elif len(lane.queue) < KEEP:
            lane.queue.append(entry)
        else:
            lane.queue.append(entry.id)
            self.window.give(1)

    async def idle(self) -> None:
        """Return when no room has anything waiting or in work."""
        await self._idle.wait()

    def drop(self, shard: int) -> None:
        """Forget a shard's rooms and stop their tasks; their entries are another's now."""
        for room, lane in list(self._lanes.items()):
            if lane.shard == shard:
                self.window.give(sum(isinstance(entry, Entry) for entry in lane.queue))
                lane.queue.clear()
                self._remove(room)
                if lane.task:
                    lane.task.cancel()

    async def _run(self, room: str, lane: _Lane) -> None:
        while lane.queue:
            batch = await self._take(lane)
            try:
                await self._serve(room, batch)
            finally:
                self.window.give(len(batch))
        # No await between the empty check and the removal: a `put` sees a lane that runs, or none.
        if self._lanes.get(room) is lane:
            self._remove(room)

    def _remove(self, room: str) -> None:
        del self._lanes[room]
        if not self._lanes:
            self._idle.set()

    async def _take(self, lane: _Lane) -> list[Entry]:
        batch: list[Entry] = []
        ids: list[bytes] = []
        for item in islice(lane.queue, self._batch):
            if isinstance(item, bytes) != bool(ids) and (batch or ids):
                break  # one kind at a time, so that the order stays
            if isinstance(item, bytes):
                ids.append(item)
            else:
                batch.append(item)
        if ids:
            batch = await persist(
                lambda: scripts.reread(self._client, lane.shard, self._stream, ids)
            )
            self.window.take(len(batch))
        for _ in range(min(len(batch), len(lane.queue))):
            lane.queue.popleft()
        return batch
