"""How messages end: acknowledged, committed with their replies, or dead; in batches per shard."""

import asyncio
from collections.abc import Sequence

from instabot.backend.guard import insist
from instabot.broker import scripts
from instabot.broker.batcher import Batcher
from instabot.broker.consumer import Consumer
from instabot.broker.lease import Leases
from instabot.broker.redis import Caller
from instabot.broker.scripts import Dead, Done, Entry
from instabot.errors import Fenced

_GROUP = ("messages", "backend", "backend")


class Ends:
    """Each end is repeated until Redis has it, or another backend has the shard."""

    def __init__(
        self, tasks: asyncio.TaskGroup, client: Caller, leases: Leases, room_cap: int
    ) -> None:
        self.consumer: Consumer | None = None
        self._client = client
        self._leases = leases
        self._room_cap = room_cap
        self._acks: Batcher[Entry] = Batcher(tasks, "ack", self._ack, 1000)
        self._commits: Batcher[Done | Dead] = Batcher(tasks, "commit", self._commit)

    def ack(self, entries: Sequence[Entry]) -> None:
        """These lines need no reply. All of one shard."""
        if entries:
            self._acks.extend(entries[0].shard, entries)

    def commit(self, end: Done | Dead) -> None:
        """A message was evaluated: acknowledge it together with its replies."""
        self._commits.put(end.entry.shard, end)

    def void(self, entry: Entry) -> None:
        """Its shard is another's: nothing ends here. Should it be ours again, or still be ours
        (only the lease was gone for a moment), then the entry is delivered once more."""
        self._leases.fenced()
        self._settled([entry])

    async def idle(self) -> None:
        """Return when every end is in Redis."""
        await self._acks.idle()
        await self._commits.idle()

    async def _ack(self, shard: int, entries: Sequence[Entry]) -> None:
        where = (*_GROUP, self._leases.token)
        try:
            await insist("ack", lambda: scripts.ack(self._client, shard, *where, entries))
        except Fenced:
            self._leases.fenced()
        self._settled(entries)

    async def _commit(self, shard: int, ends: Sequence[Done | Dead]) -> None:
        token = self._leases.token
        done = [end for end in ends if isinstance(end, Done)]
        dead = [end for end in ends if isinstance(end, Dead)]
        try:
            if done:
                await insist(
                    "commit",
                    lambda: scripts.commit(self._client, shard, token, done, self._room_cap),
                )
            if dead:
                await insist(
                    "dead", lambda: scripts.dead(self._client, shard, *_GROUP, token, dead)
                )
        except Fenced:
            self._leases.fenced()
        self._settled([end.entry for end in ends])

    def _settled(self, entries: Sequence[Entry]) -> None:
        if self.consumer:
            self.consumer.settled(entries)
