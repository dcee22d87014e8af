"""How Says end: confirmed or dead, acknowledged in batches, one script per shard and tick."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from instabot.broker import scripts
from instabot.broker.batcher import Batcher
from instabot.broker.consumer import Consumer
from instabot.broker.lease import Leases
from instabot.broker.redis import Backoff, Caller
from instabot.broker.scripts import Dead, Entry, Said
from instabot.errors import Fenced, InstabotError, Unreachable

log = structlog.get_logger()

End = Said | Dead | Entry
"""Said: confirmed in the room. Dead: a dead letter. A bare Entry: a nudge, merely done with."""

E = TypeVar("E", Said, Dead, Entry)
Call = Callable[[int, Sequence[E]], Awaitable[int]]


class Acks:
    """Puts an end to entries of `control`; each end is repeated until Redis has it.

    Being fenced is no end while the shard is ours: where Redis was away for longer than the
    lease, the lease is taken anew, and what was said meanwhile must not be delivered again.
    """

    def __init__(self, tasks: asyncio.TaskGroup, client: Caller, leases: Leases) -> None:
        self.consumer: Consumer | None = None
        self._client = client
        self._leases = leases
        self._void: set[int] = set()
        self._batches: Batcher[End] = Batcher(tasks, "acks", self._send)

    def put(self, end: End) -> None:
        """An entry is done with."""
        shard = end.shard if isinstance(end, Entry) else end.entry.shard
        self._batches.put(shard, end)

    def take(self, shard: int) -> None:
        """The shard is ours."""
        self._void.discard(shard)

    def drop(self, shard: int) -> None:
        """The shard is another's: what is not acknowledged by now is void."""
        self._void.add(shard)

    async def idle(self) -> None:
        """Return when every end is in Redis."""
        await self._batches.idle()

    async def _send(self, shard: int, ends: Sequence[End]) -> None:
        said = [end for end in ends if isinstance(end, Said)]
        dead = [end for end in ends if isinstance(end, Dead)]
        bare = [end for end in ends if isinstance(end, Entry)]
        if said:
            self._settled([end.entry for end in await self._all(shard, self._confirm, said)])
        if dead:
            self._settled([end.entry for end in await self._all(shard, self._bury, dead)])
        if bare:
            self._settled(await self._all(shard, self._ack, bare))

    def _settled(self, entries: Sequence[Entry]) -> None:
        if self.consumer:
            self.consumer.settled(entries)

    async def _all(self, shard: int, call: Call[E], ends: Sequence[E]) -> list[E]:
        """Repeat until Redis has them → those that it has, or that are void."""
        try:
            await self._persist(shard, call, ends)
            return list(ends)
        except InstabotError:
            log.exception("ends refused, trying one by one", shard=shard, ends=len(ends))
        settled = []
        for end in ends:
            try:
                await self._persist(shard, call, [end])
                settled.append(end)
            except InstabotError:  # it stays pending: seen by operators, and never said again
                log.exception("end refused", shard=shard)
        return settled

    async def _persist(self, shard: int, call: Call[E], ends: Sequence[E]) -> None:
        backoff = Backoff()
        while shard not in self._void:
            try:
                await call(shard, ends)
                return
            except Fenced:
                self._leases.fenced()
            except Unreachable:
                pass
            await backoff.wait()

    async def _confirm(self, shard: int, said: Sequence[Said]) -> int:
        return await scripts.confirm(self._client, shard, self._leases.token, said)

    async def _bury(self, shard: int, dead: Sequence[Dead]) -> int:
        where = ("control", "runtime", "runtime", self._leases.token)
        return await scripts.dead(self._client, shard, *where, dead)

    async def _ack(self, shard: int, bare: Sequence[Entry]) -> int:
        where = ("control", "runtime", "runtime", self._leases.token)
        return await scripts.ack(self._client, shard, *where, bare)
