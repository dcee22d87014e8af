"""Reads one group of one stream on every shard we own: in order, and nothing twice.

Wake-up is a plain `XREAD BLOCK`, harmless to repeat or cancel; taking is the fenced FETCH. A new
holder of a shard first pages through what the dead one left, by last id, then reads only `>`.

With `early`, the entries that the wake-up already carries are delivered while their FETCH is on
its way. The FETCH leaves first, on the connection that their ends take, so it is carried out
first; should it be lost, their ends acknowledge nothing and they are delivered once more. That is
for the backend alone: evaluating twice is harmless there, since only an acknowledging COMMIT
queues a reply; a runtime would speak twice.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from instabot.broker import scripts
from instabot.broker.keys import key
from instabot.broker.lease import Leases, Taken
from instabot.broker.redis import Backoff, Caller, NoGroup, our_errors
from instabot.broker.scripts import Entry
from instabot.errors import Fenced, Unreachable

log = structlog.get_logger()

BLOCK_MS = 1000

EARLY = 8
"""A wake-up that carries so many entries delivers none: much is going on, and one large batch is
cheaper than two."""


@dataclass(slots=True)
class _Shard:
    """Where we are in one shard. `history` is the last id paged, None once it is done."""

    history: bytes | None = b"0"
    last: bytes = b"0-0"
    ready: bool = True
    flying: set[bytes] = field(default_factory=set)


class Window:
    """How many entries are in memory. Nobody fetches while it is full."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._room = asyncio.Event()
        self._room.set()

    @property
    def free(self) -> int:
        return self._free

    def take(self, n: int) -> None:
        self._free -= n
        if self._free <= 0:
            self._room.clear()

    def give(self, n: int) -> None:
        self._free += n
        if self._free > 0:
            self._room.set()

    async def wait(self) -> None:
        await self._room.wait()


Deliver = Callable[[Sequence[Entry]], None]
Inspect = Callable[[int, Sequence[Entry]], Awaitable[Sequence[Entry]]]


class Consumer:
    """One reader. `deliver` gets each fetched batch and must not block. `inspect`, where given,
    first sees what a dead holder left (it may have died of it) and returns what to deliver.

    Whoever took an entry reports it `settled` once it is acknowledged, so that taking the same
    shard again (Redis was away for longer than the lease) does not deliver it a second time.
    """

    def __init__(
        self,
        client: Caller,
        blocking: Caller,
        leases: Leases,
        stream: str,
        group: str,
        deliver: Deliver,
        *,
        inspect: Inspect | None = None,
        early: bool = False,
        window: int = 4096,
        batch: int = 256,
    ) -> None:
        self._early = EARLY if early else 0
        self._inspect = inspect
        self.window = Window(window)
        self._client = client
        self._blocking = blocking
        self._leases = leases
        self._stream = stream
        self._group = group
        self._deliver = deliver
        self._batch = batch
        self._shards: dict[int, _Shard] = {}
        self._some = asyncio.Event()
        self._carried: dict[int, Sequence[Any]] = {}

    def take(self, taken: Taken) -> None:
        """A shard is ours. What is in flight since before stays so when it was ours already."""
        before = self._shards.get(taken.shard)
        flying = before.flying if before and taken.again else set()
        self._shards[taken.shard] = _Shard(flying=flying)
        self._some.set()

    def drop(self, shard: int) -> None:
        """A shard is no longer ours."""
        self._shards.pop(shard, None)

    def settled(self, entries: Sequence[Entry]) -> None:
        """These are acknowledged, or void because the shard is no longer ours."""
        for entry in entries:
            if shard := self._shards.get(entry.shard):
                shard.flying.discard(entry.id)

    async def run(self) -> None:
        """Fetch and deliver until cancelled."""
        backoff = Backoff()
        while True:
            try:
                if not self._shards:
                    self._some.clear()
                    await self._some.wait()
                await self.window.wait()
                if not await self._fetch_ready():
                    await self._sleep_until_news()
                backoff.reset()
            except Unreachable:
                await backoff.wait()

    async def _fetch_ready(self) -> bool:
        ready = [number for number, shard in self._shards.items() if shard.ready]
        for number in ready:
            if shard := self._shards.pop(number, None):
                self._shards[number] = shard  # to the end: a full window is shared by turns
                await self._fetch(number, shard)
            if self.window.free <= 0:
                break
        return bool(ready)

    async def _fetch(self, number: int, shard: _Shard) -> None:
        count = max(1, min(self._batch, self.window.free))
        start = shard.history.decode() if shard.history is not None else ">"
        if rows := self._carried.pop(number, None):
            # Runs when this task waits for its answer, that is, once FETCH was sent.
            asyncio.get_running_loop().call_soon(self._ahead, number, shard, rows)
        try:
            entries, last = await scripts.fetch(
                self._client,
                number,
                self._stream,
                self._group,
                self._leases.role,
                self._leases.token,
                count,
                start,
            )
        except Fenced:
            shard.ready = False
            self._leases.fenced()
            return
        except NoGroup:
            # A shard given up meanwhile may have lost its group on purpose (egress, log off).
            if self._shards.get(number) is shard:
                await self._mend(number, shard)
            return
        except Unreachable:
            # Carried out or not, nobody knows: what it may have read is in our history now.
            shard.history, shard.ready = b"0", True
            raise
        if self._shards.get(number) is not shard:
            return  # lost or taken anew while we asked; its next holder reads these again
        history = shard.history is not None
        fresh: Sequence[Entry] = [entry for entry in entries if entry.id not in shard.flying]
        if history and fresh and self._inspect:
            fresh = await self._inspect(number, fresh)
            if self._shards.get(number) is not shard:
                return
        # Not before: an inspection that failed is repeated, or these would wait for ever.
        self._advance(shard, entries, last, count)
        self._hand_over(shard, fresh)

    def _hand_over(self, shard: _Shard, fresh: Sequence[Entry]) -> None:
        if fresh:
            shard.flying.update(entry.id for entry in fresh)
            self.window.take(len(fresh))
            self._deliver(fresh)

    @staticmethod
    def _advance(shard: _Shard, entries: Sequence[Entry], last: bytes, count: int) -> None:
        shard.last = max(shard.last, last, key=_order)
        if shard.history is not None:
            shard.history = last if entries else None
        else:
            shard.ready = len(entries) == count

    async def _mend(self, number: int, shard: _Shard) -> None:
        """The group vanished: Redis lost data. Go on behind the last entry we know."""
        last = shard.last if shard.last != b"0-0" else b""
        role, token = self._leases.role, self._leases.token
        try:
            lost = await scripts.groups(
                self._client, number, self._stream, role, token, [(self._group, last)]
            )
        except Fenced:
            shard.ready = False
            self._leases.fenced()
            return
        if lost:
            log.error("queue lost its data", shard=number, stream=self._stream, groups=lost)
        shard.last = b"0-0"

    async def _sleep_until_news(self) -> None:
        shards = list(self._shards.items())
        names = [key(number, self._stream) for number, _ in shards]
        lasts = [shard.last for _, shard in shards]
        count = max(1, self._early)
        command: list[Any] = ["XREAD", "COUNT", count, "BLOCK", BLOCK_MS, "STREAMS"]
        command += [*names, *lasts]
        with our_errors():
            news = await self._blocking.execute_command(*command)
        if not news:
            return
        told = dict(news)
        for name, (number, shard) in zip(names, shards, strict=True):
            if rows := told.get(name.encode()):
                shard.ready = True
                if len(rows) < self._early and shard.history is None:
                    self._carried[number] = rows

    def _ahead(self, number: int, shard: _Shard, rows: Sequence[Any]) -> None:
        """Deliver what the wake-up carried, if it is still ours to deliver."""
        if self._shards.get(number) is shard and self._leases.valid(number):
            entries = [scripts.entry(number, row) for row in rows]
            self._hand_over(shard, [e for e in entries if e.id not in shard.flying])


def _order(number: bytes) -> tuple[int, int]:
    ms, _, seq = number.partition(b"-")
    return int(ms), int(seq)
