"""Leases: one runtime and one backend own a shard at a time.

`Leases.run` is the only writer of what we own. Everybody else asks `token(shard)` before a
script and `valid(shard)` before speaking in a room.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from instabot.broker import scripts
from instabot.broker.redis import Caller
from instabot.errors import Fenced, InstabotError, Superseded, Unreachable

log = structlog.get_logger()


@dataclass(slots=True)
class Held:
    """A shard that is ours. `until` is monotonic: the time up to which we may speak."""

    until: float
    generation: int


@dataclass(frozen=True, slots=True)
class Taken:
    """How a shard came to us.

    `before` is the token of who held it last ('' = nobody, or the data is gone), `beat` when
    that one was last alive in Unix seconds. `again` says that it was ours just before and that
    nobody else had it since, so what is in flight stays in flight.
    """

    shard: int
    before: str
    beat: float
    generation: int
    again: bool


class Leases:
    """The leases of one process in one role, renewed three times in each time to live."""

    def __init__(
        self,
        client: Caller,
        role: str,
        name: str,
        shards: int,
        *,
        ttl: float = 5.0,
        incarnation: int | None = None,
        share: Callable[[], int] | None = None,
    ) -> None:
        self.role = role
        self.name = name
        self.incarnation = incarnation or time.time_ns() // 1_000_000
        self.token = f"{name}:{self.incarnation}"
        self.held: dict[int, Held] = {}
        self.beat: Callable[[int], float] = lambda shard: time.time()
        self.on_taken: list[Callable[[Taken], Awaitable[None]]] = []
        self.on_lost: list[Callable[[int], Awaitable[None]]] = []
        self.on_generation: list[Callable[[int, int], Awaitable[None]]] = []
        self._client = client
        self._shards = shards
        self._ttl = ttl
        self._share = share or (lambda: shards)
        self._had: set[int] = set()
        self._before: dict[int, scripts.Lease] = {}  # whom we took from, until settled in
        self._fenced = asyncio.Event()

    def valid(self, shard: int) -> bool:
        """May we speak in this shard's rooms now? False in the last fifth of the lease."""
        held = self.held.get(shard)
        return held is not None and time.monotonic() < held.until

    def fenced(self) -> None:
        """A script was refused: look at the leases again at once."""
        self._fenced.set()

    async def run(self) -> None:
        """Renew until cancelled. Raises Superseded when a newer process of our name runs."""
        while True:
            self._fenced.clear()
            try:
                await self.tick()
            except (Unreachable, Fenced) as error:
                log.warning("leases not renewed", error=str(error), role=self.role)
            try:
                await asyncio.wait_for(self._fenced.wait(), self._ttl / 3)
                await asyncio.sleep(0.05)  # a burst of refused scripts is one look, not many
            except TimeoutError:
                pass

    async def tick(self) -> None:
        """Renew what is ours and take what is free, up to our fair share."""
        wanted = [s for s in range(self._shards) if s in self.held]
        if len(wanted) < self._share():
            wanted = list(range(self._shards))
        sent = time.monotonic()
        leases = await scripts.lease_all(
            self._client,
            wanted,
            self.role,
            self.name,
            self.incarnation,
            int(self._ttl * 1000),
            self.beat,
        )
        for shard, lease in zip(wanted, leases, strict=True):
            if lease.state == 2 and lease.before != self.token:
                self._before[shard] = lease
        for shard, lease in zip(wanted, leases, strict=True):
            await self._settle(shard, lease, sent + 0.8 * self._ttl)

    async def _settle(self, shard: int, lease: scripts.Lease, until: float) -> None:
        if lease.state == -1:
            raise Superseded(f"{lease.before} runs as {self.role} in place of {self.token}")
        held = self.held.get(shard)
        if lease.state == 0:
            self._before.pop(shard, None)
            if shard in self._had:
                await self._lose(shard, lease.before)
            return
        # Nobody before us: Redis lost its data, and nobody else can have had the shard since.
        again = shard in self._had and lease.before in {"", self.token}
        if shard in self._had and not again:
            await self._lose(shard, lease.before)
        if lease.state == 1 and held and again:
            held.until = until
            if lease.generation != held.generation:
                held.generation = lease.generation
                for changed in self.on_generation:
                    await changed(shard, lease.generation)
            return
        self.held[shard] = Held(until, lease.generation)
        from_whom = self._before.get(shard, lease)
        taken = Taken(shard, from_whom.before, from_whom.beat, lease.generation, again)
        try:
            for take in self.on_taken:
                await take(taken)
        except InstabotError:
            del self.held[shard]  # ours, but not settled in: the next look tells it again
            raise
        self._had.add(shard)
        self._before.pop(shard, None)

    async def _lose(self, shard: int, to: str) -> None:
        log.warning("shard lost", shard=shard, role=self.role, to=to)
        self.held.pop(shard, None)
        self._had.discard(shard)
        for lost in self.on_lost:
            await lost(shard)

    async def release(self, shards: Sequence[int] | None = None) -> None:
        """Give leases up, all of them by default; a dead Redis is no error here."""
        for shard in list(self.held) if shards is None else shards:
            self.held.pop(shard, None)
            self._had.discard(shard)
            try:
                await scripts.release(self._client, shard, self.role, self.token)
            except Unreachable:
                return
