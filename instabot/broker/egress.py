"""The seed's wire, outward: the plain Redis list `messages`, where a network asks for it.

With the setting `egress`, `BLPOP messages` gives `{"id": ROOM, "text": …, "sender": …, "at": …}`
for each line said in the network's rooms, and the built-in backend does not evaluate them. What
a client loses after its own BLPOP is its own affair. Standalone Redis or Sentinel only: a script
touches the list and a shard's keys at once.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import structlog

from instabot import wire
from instabot.broker import scripts
from instabot.broker.batcher import Batcher
from instabot.broker.consumer import Consumer
from instabot.broker.keys import LIST_MESSAGES, key
from instabot.broker.lease import Leases
from instabot.broker.redis import Backoff, Caller, ReplyError
from instabot.broker.scripts import Entry
from instabot.broker.trim import MEMORY_HIGH, memory_used
from instabot.errors import Fenced, Malformed, Unreachable
from instabot.model import Heard

log = structlog.get_logger()

CAP = 100_000
"""Lines in the list; beyond that they wait in their stream, and pin it."""

GROUP = "compat"


class Line(msgspec.Struct):
    """What a client pops from the list `messages`; `at` in Unix seconds."""

    id: str
    text: str
    sender: str
    at: float


class Egress:
    """{s}:messages → messages (list), by the group `compat` and under the backend's lease.

    `wants` tells whether a room's lines go there; those of the bot itself, and those too late to
    be evaluated, never do. `consumer.take` and `.drop` are told of our shards, but only while
    their group is wanted: the consumer mends a group that vanished.
    """

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        client: Caller,
        blocking: Caller,
        leases: Leases,
        wants: Callable[[str], bool],
        *,
        cap: int = CAP,
    ) -> None:
        self._client = client
        self._leases = leases
        self._wants = wants
        self._cap = cap
        self._batches: Batcher[Entry] = Batcher(tasks, "egress", self._push)
        self.consumer = Consumer(
            client, blocking, leases, "messages", GROUP, self._deliver, window=2048
        )

    async def run(self) -> None:
        """Fetch and push until cancelled."""
        await self.consumer.run()

    async def idle(self) -> None:
        """Return when nothing fetched is left to push; a full list keeps us waiting."""
        await self._batches.idle()

    def _deliver(self, entries: Sequence[Entry]) -> None:
        self._batches.extend(entries[0].shard, entries)

    async def _push(self, shard: int, entries: Sequence[Entry]) -> None:
        rows = [(entry.id, self._line(entry)) for entry in entries]
        backoff = Backoff(0.1, 2.0)
        while rows:
            try:
                done = await self._send(shard, rows)
            except Fenced:
                self._leases.fenced()
                break
            except (Unreachable, ReplyError) as error:
                log.warning("lines not passed on", shard=shard, error=str(error))
                done = 0
            rows = rows[done:]
            if rows:
                await backoff.wait()
        self.consumer.settled(entries)
        self.consumer.window.give(len(entries))

    async def _send(self, shard: int, rows: Sequence[tuple[bytes, bytes]]) -> int:
        done = await self._script(shard, rows, drop=False)
        if done < len(rows) and await memory_used(self._client) > MEMORY_HIGH:
            # Nobody pops. What waits for them pins the stream, and must not end up refusing
            # everybody's lines.
            done += await self._script(shard, rows[done:], drop=True)
        return done

    async def _script(
        self, shard: int, rows: Sequence[tuple[bytes, bytes]], *, drop: bool
    ) -> int:
        names = [key(shard, "messages"), LIST_MESSAGES]
        names += [key(shard, "dead"), key(shard, "lease:backend")]
        argv: list[bytes | str | int] = [self._leases.token, self._cap, int(drop)]
        for row in rows:
            argv += row
        return int(await scripts.run(self._client, "egress", names, argv))

    def _line(self, entry: Entry) -> bytes:
        """The entry as a client sees it; empty for what is not theirs."""
        if entry.data is None or not self._wants(entry.room):
            return b""
        try:
            heard = wire.decode_message(entry.data)
        except Malformed:
            return b""  # the group `backend` makes a dead letter of it
        if not isinstance(heard, Heard) or heard.own or heard.late:
            return b""
        line = Line(id=heard.room, text=heard.text, sender=heard.sender, at=heard.at)
        return msgspec.json.encode(line)
