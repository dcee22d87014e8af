"""The outgoing dispatcher: what links heard goes to the stream `messages`, in batches, in order.

Per shard and tenant an outbox is either live (lines wait in memory for the next INGEST) or
spooling (lines go to disk, because Redis is away or the queue is full, until the disk is drained
again; the old go before the new). What does not fit on disk is counted, and becomes a gap record.
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote

import msgspec
import structlog

from instabot import wire
from instabot.adapters.base import Said
from instabot.broker import scripts
from instabot.broker.lease import Leases
from instabot.broker.redis import Caller
from instabot.broker.scripts import Caps, Item
from instabot.errors import Fenced, Malformed
from instabot.model import Heard, Network, Notice, Room, room_shard
from instabot.runtime.board import Board
from instabot.runtime.outbox import Outbox
from instabot.runtime.plain import encode
from instabot.runtime.spool import MOST_BYTES, Spool

log = structlog.get_logger()

Kind = Literal["joined", "left", "kicked", "nick", "topic", "mode", "lost", "back", "gap"]


class Outgoing:
    """All outboxes of this runtime, and the ids it gives to what it hears.

    Ids are `NETWORK|ROOM|EPOCH:COUNTER`; the epoch is this process, the counter runs per network.
    """

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        client: Caller,
        leases: Leases,
        board: Board,
        folder: Path,
        caps: Caps = Caps(),  # noqa: B008 - immutable
        spool_bytes: int = MOST_BYTES,
    ) -> None:
        self.tasks = tasks
        self._client = client
        self._leases = leases
        self._board = board
        self._folder = folder
        self._caps = caps
        self._spool_bytes = spool_bytes
        self._epoch = f"{leases.incarnation:x}"
        self._counters: dict[str, int] = {}
        self._outboxes: dict[tuple[int, str], Outbox] = {}
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def left_over(self) -> set[int]:
        """Shards whose lines of an earlier run wait on our disk, and nobody sends them."""
        names = [path.name.partition("-")[0] for path in self._folder.glob("*-*.spool")]
        open_ = {shard for shard, _ in self._outboxes}
        return {int(name) for name in names if name.isdecimal()} - open_

    def recover(self, shard: int, late: bool) -> None:
        """Spools left by our last run go first. `late`: another host had the shard since."""
        for path in sorted(self._folder.glob(f"{shard}-*.spool")):
            tenant = unquote(path.name.removesuffix(".spool").partition("-")[2])
            if (shard, tenant) not in self._outboxes:
                spool = self.open_spool(shard, tenant)
                if spool is None:
                    continue
                if spool.empty:
                    spool.close()
                    continue
                self._outboxes[shard, tenant] = Outbox(self, shard, tenant, spool)
        if late:
            self.lost(shard)

    def lost(self, shard: int) -> None:
        """Another host has this shard: whatever of it waits here is late."""
        for (number, _), outbox in self._outboxes.items():
            if number == shard:
                outbox.late()

    def heard(
        self, network: Network, room: Room, said: Said, me: str, dedup: bool = False
    ) -> None:
        """A line was said. `dedup` also compares the service's own id (history overlaps)."""
        number, counter = self._number(network.id, room.id)
        if row := self._board.row(room.id):
            row.heard += 1
            row.last_heard = said.at
            row.last_ref = said.ref
        data = encode(
            Heard(
                id=number,
                room=room.id,
                tenant=room.tenant,
                sender=said.sender,
                text=said.text,
                at=said.at,
                kind=said.kind,
                account=said.account,
                me=me,
                ref=said.ref,
            )
        )
        source = f"{network.id}|{self._epoch}"
        ref = f"{room.id}|{said.ref}" if said.ref and dedup else ""
        self._put(room, Item(room.id, room.tenant, data, source, counter, ref))

    def notice(
        self,
        network: Network,
        room: Room,
        kind: Kind,
        *,
        who: str = "",
        text: str = "",
        at: float = 0.0,
        since: float = 0.0,
        count: int = 0,
    ) -> None:
        """Something else happened in a room."""
        number, counter = self._number(network.id, room.id)
        notice = Notice(
            id=number,
            room=room.id,
            tenant=room.tenant,
            kind=kind,
            at=at or time.time(),
            who=who,
            text=text,
            since=since,
            count=count,
        )
        source = f"{network.id}|{self._epoch}"
        self._put(room, Item(room.id, room.tenant, encode(notice), source, counter))

    def gap(self, room: str, tenant: str, since: float, count: int) -> None:
        """Lines of a room that fitted nowhere."""
        if row := self._board.row(room):
            row.gap_since, row.gap_until = since, time.time()
        record = self.gap_record(room, tenant, since, count)
        self._outbox(room_shard(room), tenant).put(record)

    def gap_record(self, room: str, tenant: str, since: float, count: int) -> Item:
        """A notice that so many lines of a room are missing."""
        number, counter = self._number(f"gap|{room}", room)
        at = time.time()
        notice = Notice(
            id=number, room=room, tenant=tenant, kind="gap", at=at, since=since, count=count
        )
        source = f"gap|{room}|{self._epoch}"
        return Item(room, tenant, wire.encode(notice), source, counter)

    async def ingest(self, shard: int, batch: Sequence[Item], late: bool) -> str:
        """INGEST under our lease, where we have it; late lines need none."""
        token = self._leases.token
        if late:
            batch = [item._replace(data=_as_late(item.data)) for item in batch]
            token = token if shard in self._leases.held else ""
        try:
            return await scripts.ingest(
                self._client, shard, batch, time.time(), token=token, caps=self._caps
            )
        except Fenced:
            self._leases.fenced()
            raise

    def open_spool(self, shard: int, tenant: str) -> Spool | None:
        """The spool of a tenant's shard; None where the disk does not let us."""
        path = self._folder / f"{shard}-{quote(tenant, safe='')}.spool"
        try:
            return Spool(path, self._spool_bytes)
        except OSError as error:
            log.error("no spool", path=path.name, error=error.strerror)
            return None

    async def idle(self) -> None:
        """Return when everything heard is safe in Redis."""
        await self._idle.wait()

    def park(self) -> None:
        """The process ends: what is not in Redis goes to disk."""
        for outbox in self._outboxes.values():
            outbox.park()

    def started(self) -> None:
        """An outbox has something to send."""
        self._busy += 1
        self._idle.clear()

    def finished(self) -> None:
        """An outbox has nothing to send any more."""
        self._busy -= 1
        if not self._busy:
            self._idle.set()

    def _number(self, source: str, room: str) -> tuple[str, int]:
        counter = self._counters[source] = self._counters.get(source, 0) + 1
        return f"{source}|{room}|{self._epoch}:{counter}", counter

    def _put(self, room: Room, item: Item) -> None:
        self._outbox(room_shard(room.id), room.tenant).put(item)

    def safe_until(self, shard: int) -> float:
        """Up to when all that was heard in a shard would survive a kill, in Unix seconds."""
        boxes = [box for (number, _), box in self._outboxes.items() if number == shard]
        return min((box.safe_until for box in boxes), default=time.time())

    def _outbox(self, shard: int, tenant: str) -> Outbox:
        outbox = self._outboxes.get((shard, tenant))
        if outbox is None:
            outbox = self._outboxes[shard, tenant] = Outbox(self, shard, tenant, None)
        return outbox


def _as_late(data: bytes) -> bytes:
    try:
        message = wire.decode_message(data)
    except Malformed:  # an older version's; whoever reads it there says so
        return data
    if not isinstance(message, Heard):
        return data
    return wire.encode(msgspec.structs.replace(message, late=True))
