"""The rooms' log: a consumer group of its own, so that a slow disk delays no command.

Rows are written in batches, insert-or-ignore by shard and stream id, then acknowledged: a kill in
between writes them again, which changes nothing.
"""

import asyncio
from collections.abc import Sequence

import structlog

from instabot import wire
from instabot.backend.guard import insist
from instabot.backend.places import Places
from instabot.broker import scripts
from instabot.broker.batcher import Batcher
from instabot.broker.consumer import Consumer
from instabot.broker.lease import Leases
from instabot.broker.redis import Caller, persist
from instabot.broker.scripts import Entry
from instabot.errors import Fenced, Malformed
from instabot.model import Heard, Notice
from instabot.store.log import LogRow, row_of
from instabot.store.store import Store

log = structlog.get_logger()

WINDOW = 8192


class Logbook:
    """Reads the group `log` and writes it to the store."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        client: Caller,
        blocking: Caller,
        leases: Leases,
        store: Store,
        places: Places,
    ) -> None:
        self._client = client
        self._leases = leases
        self._store = store
        self._places = places
        self._batches: Batcher[Entry] = Batcher(tasks, "log", self._write, 500)
        self.consumer = Consumer(
            client, blocking, leases, "messages", "log", self._deliver, window=WINDOW
        )

    async def idle(self) -> None:
        """Return when all that was fetched is on disk."""
        await self._batches.idle()

    def _deliver(self, entries: Sequence[Entry]) -> None:
        self._batches.extend(entries[0].shard, entries)

    async def _write(self, shard: int, entries: Sequence[Entry]) -> None:
        rows = [row for entry in entries if (row := self._row(entry))]
        if rows and not await self._keep(rows):
            for row in rows:  # one of them can never be kept: it must not take the others along
                await self._keep([row])
        where = ("messages", "log", "backend", self._leases.token)
        try:
            await insist("log ack", lambda: scripts.ack(self._client, shard, *where, entries))
        except Fenced:
            self._leases.fenced()
        self.consumer.settled(entries)
        self.consumer.window.give(len(entries))

    async def _keep(self, rows: Sequence[LogRow]) -> bool:
        """Write rows, however long the store is away. False where it will never take them."""
        try:
            await persist(lambda: self._store.log.write(rows))
        except Exception as error:  # BadInput, or whatever a driver makes of a hostile row
            if len(rows) == 1:
                log.error("a line cannot be logged", key=rows[0].key, error=str(error))
            return False
        return True

    def _row(self, entry: Entry) -> LogRow | None:
        if entry.data is None:
            return None
        try:
            message = wire.decode_message(entry.data)
        except Malformed:
            return None  # the group `backend` makes a dead letter of it
        if not isinstance(message, Heard | Notice):
            return None
        if not self._places.logged(message.room):
            return None
        place = self._places.get(message.room)
        network = place.network.id if place else ""
        return row_of(entry.shard, entry.id.decode(), message, network)
