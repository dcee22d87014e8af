"""One shard's queues on whatever Redis there is, for the contract and its property test."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import fakeredis
import pytest

from instabot.broker import scripts
from instabot.broker.keys import key
from instabot.broker.pipe import Pipe
from instabot.broker.redis import Caller, connect, pairs
from instabot.broker.scripts import Caps, Entry, Item
from tests import servers

KINDS = ("fakeredis", "redis", "valkey")

PLENTY = Caps()

NOW = 1_763_971_200.0
"""The time that callers of INGEST claim; only the ages of service ids depend on it."""


class Queues:
    """Shard 0 with a backend `b:1` and a runtime `r:1` that hold their leases.

    `client` is redis-py's on one server and a `Pipe` on the other, so both are covered.
    """

    backend, runtime = "b:1", "r:1"

    def __init__(
        self, client: Caller, blocking: Caller, server: servers.RedisServer | None
    ) -> None:
        self.client = client
        self.blocking = blocking
        self.server = server
        self.heard = 0

    async def raw(self, *command: Any) -> Any:
        """One command as it is."""
        return await self.client.execute_command(*command)

    async def own(self) -> None:
        """Take both leases."""
        await scripts.lease_all(self.client, [0], "backend", "b", 1, 60_000)
        await scripts.lease_all(self.client, [0], "runtime", "r", 1, 60_000)

    async def hear(
        self, *texts: str, room: str = "0.a", tenant: str = "t", caps: Caps = PLENTY
    ) -> str:
        """Lines of one source, numbered on from the last call's. What was FULL is not counted."""
        items = [
            Item(room, tenant, text.encode(), "net|1", self.heard + n)
            for n, text in enumerate(texts, 1)
        ]
        letters = await self.ingest(items, caps)
        self.heard += len(texts) - letters.count("F")
        return letters

    async def ingest(
        self, items: Sequence[Item], caps: Caps = PLENTY, stream: str = "messages"
    ) -> str:
        """INGEST under the right lease."""
        role = "runtime" if stream == "messages" else "backend"
        return await scripts.ingest(
            self.client,
            0,
            items,
            NOW,
            token=getattr(self, role),
            role=role,
            stream=stream,
            caps=caps,
        )

    async def fetch(
        self, group: str = "backend", count: int = 1000, start: str = ">"
    ) -> list[Entry]:
        """FETCH as the holder of the lease does."""
        stream, role = ("control", "runtime") if group == "runtime" else ("messages", "backend")
        token = getattr(self, role)
        got = await scripts.fetch(self.client, 0, stream, group, role, token, count, start)
        return got[0]

    async def ack(self, entries: Sequence[Entry], group: str = "backend") -> int:
        """ACK as the holder of the lease does."""
        stream, role = ("control", "runtime") if group == "runtime" else ("messages", "backend")
        token = getattr(self, role)
        return await scripts.ack(self.client, 0, stream, group, role, token, entries)

    async def groups(self, *wanted: str) -> list[str]:
        """GROUPS exactly, as a backend that takes the shard."""
        rows = [(name, b"") for name in wanted]
        return await scripts.groups(
            self.client, 0, "messages", "backend", self.backend, rows, exactly=True
        )

    async def texts(self, stream: str) -> list[str]:
        """What lies in a stream, acknowledged or not."""
        return [fields[b"d"].decode() for _, fields in await self.rows(stream)]

    async def rows(self, stream: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """The entries of a stream."""
        return [
            (number, dict(pairs(fields)))
            for number, fields in await self.raw("XRANGE", key(0, stream), "-", "+")
        ]

    async def waiting(self, stream: str, group: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """The entries that a group has not acknowledged, read or not, from Redis' own books."""
        facts: dict[str, Any] = {}
        for row in await self.raw("XINFO", "GROUPS", key(0, stream)):
            info = {_text(name): value for name, value in pairs(row)}
            facts[_text(info["name"])] = _order(_text(info["last-delivered-id"]))
        if group not in facts:
            return []
        ids = await self.pending(stream, group)
        return [
            (number, fields)
            for number, fields in await self.rows(stream)
            if number in ids or _order(number.decode()) > facts[group]
        ]

    async def pending(self, stream: str, group: str) -> set[bytes]:
        """The ids that a group has read and not acknowledged."""
        if isinstance(self.client, Pipe):
            rows = await self.raw("XPENDING", key(0, stream), group, "-", "+", 100_000)
            return {row[0] for row in rows}
        # redis-py reads this reply by its own method alone.
        found = await self.client.xpending_range(  # type: ignore[attr-defined]
            key(0, stream), group, "-", "+", 100_000
        )
        return {row["message_id"] for row in found}

    async def depth(self, letter: str) -> dict[str, int]:
        """The counters of a letter, as scripts keep them; what is at 0 is left out."""
        rows = pairs(await self.raw("HGETALL", key(0, "depth")))
        mine = {name.decode(): int(n) for name, n in rows if name[:1] == letter.encode()}
        return {name: n for name, n in mine.items() if n}

    async def true_depth(self, letter: str) -> dict[str, int]:
        """The counters of a letter as they should be."""
        stream, group = {
            "m": ("messages", "backend"),
            "l": ("messages", "log"),
            "c": ("control", "runtime"),
        }[letter]
        if not await self.raw("EXISTS", key(0, stream)):
            return {}
        counted: Counter[str] = Counter()
        for _, fields in await self.waiting(stream, group):
            counted[letter] += 1
            if letter != "l":
                counted[f"{letter}:{fields[b'r'].decode()}"] += 1
                counted[f"{letter}@{fields[b't'].decode()}"] += 1
        return dict(counted)


@asynccontextmanager
async def queues(kind: str) -> AsyncIterator[Queues]:
    """Queues on a fresh Redis of that kind; skips where its program is missing."""
    if kind == "fakeredis":
        server = fakeredis.FakeServer()
        client = fakeredis.FakeAsyncRedis(server=server, protocol=2)
        blocking = fakeredis.FakeAsyncRedis(server=server, protocol=2)
        # Connected beforehand: redis-py 8.1 swallows a cancel that comes while it dials.
        await blocking.execute_command("PING")  # type: ignore[no-untyped-call]
        made = Queues(client, blocking, None)
        await made.own()
        try:
            yield made
        finally:
            await client.aclose()
            await blocking.aclose()
        return
    run = servers.redis if kind == "redis" else servers.valkey
    try:
        async with run() as real, _connected(kind, real) as made:
            await made.own()
            yield made
    except servers.Missing as error:
        pytest.skip(str(error))


@asynccontextmanager
async def _connected(kind: str, real: servers.RedisServer) -> AsyncIterator[Queues]:
    if kind == "redis":
        client, blocking = connect(real.url), connect(real.url, blocking=True)
        await blocking.execute_command("PING")  # type: ignore[no-untyped-call]
        try:
            yield Queues(client, blocking, real)
        finally:
            await client.aclose()
            await blocking.aclose()
    else:
        pipe, second = Pipe(real.unix_url, "test"), Pipe(real.unix_url, "test", 8.0)
        try:
            yield Queues(pipe, second, real)
        finally:
            await pipe.aclose()
            await second.aclose()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _order(number: str) -> tuple[int, int]:
    ms, _, seq = number.partition("-")
    return int(ms), int(seq or 0)
