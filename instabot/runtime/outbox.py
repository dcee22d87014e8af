"""One shard's heard lines of one tenant, on their way to the stream `messages`.

Either live (lines wait in memory for the next INGEST) or spooling (lines go to disk, because Redis
is away or the queue is full, until the disk is drained again; the old go before the new).
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

import structlog

from instabot.broker.redis import Backoff
from instabot.broker.scripts import Item
from instabot.errors import Fenced, InstabotError, Unreachable
from instabot.runtime.spool import Spool

if TYPE_CHECKING:
    from instabot.runtime.outgoing import Outgoing

log = structlog.get_logger()

BATCH = 256
IN_MEMORY = 20_000
"""Lines of one outbox waiting in memory before they go to disk although Redis answers slowly."""

SLOW = 0.5
"""Seconds that a line waits in memory before all goes to disk: what a kill can take is no more."""


class Outbox:
    """One shard's lines of one tenant. Its task lives while there is something to send.

    Memory and disk are both bounded; what fits in neither is counted per room, and so is all that
    comes after it until the older lines are safe: a gap record then says how many are missing.
    """

    def __init__(self, owner: "Outgoing", shard: int, tenant: str, spool: Spool | None) -> None:
        self.shard = shard
        self.queue: deque[Item] = deque()
        self._owner = owner
        self._tenant = tenant
        self._spool = spool
        self._late = 0
        self._times: deque[float] = deque()
        self._missed: dict[str, tuple[float, int]] = {}
        self._running = False
        self._parked = False
        if spool:
            self._start()

    @property
    def safe_until(self) -> float:
        """Up to when all that was heard is in Redis or on disk, in Unix seconds."""
        return self._times[0] if self._times else time.time()

    def late(self) -> None:
        """Another host has the shard since: what waits now is for the log only."""
        if self.queue:
            self._to_disk()
        if self._spool:
            self._late = self._spool.size

    def put(self, item: Item) -> None:
        """Queue a line; never blocks on Redis."""
        if self._missed:
            self._miss(item)
        else:
            self.queue.append(item)
            self._times.append(now := time.time())
            slow = now - self._times[0] > SLOW
            if slow or self._spool is not None or len(self.queue) > IN_MEMORY:
                # What waits in memory goes first; a batch of it under way comes again as
                # duplicates.
                self._to_disk()
        if self._parked:
            self.park()
        elif not self._running:
            self._start()

    def park(self) -> None:
        """The process ends: put all that is not in Redis on disk, for the next one to send.

        An INGEST under way may have taken some of it: those come again as duplicates.
        """
        self._parked = True
        if self.queue:
            self._to_disk()
        spool, self._spool = self._spool, None
        if spool is None:
            return
        gaps = [
            self._owner.gap_record(room, self._tenant, since, count)
            for room, (since, count) in self._missed.items()
        ]
        spool.append(gaps, beyond=True)
        self._missed.clear()
        spool.close()

    def _start(self) -> None:
        self._running = True
        self._owner.started()
        self._owner.tasks.create_task(self._run(), name=f"outbox {self.shard} {self._tenant}")

    async def _run(self) -> None:
        try:
            await asyncio.sleep(0)  # all that arrived in this turn of the loop goes together
            backoff = Backoff()
            while (self.queue or self._spool) and not self._parked:
                if await self._send_some():
                    backoff.reset()
                else:
                    await backoff.wait()
                if self._missed and not self.queue and self._spool is None:
                    self._own_up()
        finally:
            # No await since the empty check: a `put` sees a task that runs, or none.
            self._running = False
            self._owner.finished()

    async def _send_some(self) -> bool:
        """One INGEST of the oldest lines → were all of them taken?"""
        spool = self._spool
        late = spool is not None and spool.read < self._late
        if spool:
            batch = spool.peek(BATCH, self._late if late else None)
            if not batch and not spool.empty:
                spool.abandon()
        else:
            batch = list(islice(self.queue, BATCH))
        added = await self._send(batch, late) if batch else 0
        if self._parked:
            return True  # it is all on disk by now
        if spool:
            spool.drop(added)
            if spool.empty:
                self._drained()
        elif self._spool is None:
            for _ in range(added):
                self.queue.popleft()
                self._times.popleft()
            if added < len(batch):
                self._to_disk()
        return added == len(batch)

    async def _send(self, batch: Sequence[Item], late: bool) -> int:
        """INGEST → how many of the first items are safe in Redis."""
        try:
            answer = await self._owner.ingest(self.shard, batch, late)
        except (Unreachable, Fenced):
            return 0
        except InstabotError:  # Redis refuses it: a mistake of ours, or of who wrote our keys
            log.exception("lines refused, keeping them", shard=self.shard)
            return 0
        full = answer.find("F")
        return len(batch) if full < 0 else full

    def _to_disk(self) -> None:
        """Move what waits in memory to disk, as far as it fits; without a disk it stays."""
        if self._spool is None:
            self._spool = self._owner.open_spool(self.shard, self._tenant)
            log.warning("spooling", shard=self.shard, tenant=self._tenant)
        items = list(self.queue)
        fits = self._spool.append(items) if self._spool else IN_MEMORY
        self.queue = deque() if self._spool else deque(items[:fits])
        times = list(self._times)
        self._times = deque(times[: len(self.queue)])
        for item in items[fits:]:
            self._miss(item)

    def _miss(self, item: Item) -> None:
        since, count = self._missed.get(item.room, (time.time(), 0))
        self._missed[item.room] = (since, count + 1)

    def _drained(self) -> None:
        """Everything spooled is in Redis: go live again."""
        if self._spool:
            self._spool.close()
        self._spool, self._late = None, 0
        log.info("spool drained", shard=self.shard, tenant=self._tenant)

    def _own_up(self) -> None:
        """Say in each room's log what did not fit."""
        missed, self._missed = self._missed, {}
        for room, (since, count) in missed.items():
            self._owner.gap(room, self._tenant, since, count)
