"""The rooms' live state as consoles see it: the hash `live` of each shard.

Written by this runtime alone while it holds the shard, fenced by its lease. Changes are gathered
and written once a second, a change of state at once; values are absolute, so a lost write is
repaired by the next.
"""

import asyncio
import time
from collections.abc import Container
from dataclasses import dataclass

import structlog

from instabot import wire
from instabot.broker import scripts
from instabot.broker.keys import key
from instabot.broker.redis import Caller
from instabot.errors import Fenced, Malformed, Unreachable
from instabot.model import Live, Room, State, room_shard
from instabot.runtime.plain import encode

log = structlog.get_logger()

EVERY = 1.0
AT_MOST = 2000
"""Rooms written in one call."""


@dataclass(slots=True)
class Row:
    """One room's counters and state. Mutable: the hot path adds to it in place."""

    state: State = "wanted"
    reason: str = ""
    text: str = ""
    since: float = 0.0
    me: str = ""
    heard: int = 0
    said: int = 0
    last_heard: float = 0.0
    last_ref: str = ""
    gap_since: float = 0.0
    gap_until: float = 0.0


class Board:
    """room id → row. `dirty` names the rooms whose row is newer than what Redis has.

    Only `state` makes a row; whatever else comes late for a room that was parted, or whose shard
    is another's, finds none and changes nothing. `token` is our lease's: writes are fenced by it.
    """

    def __init__(self, client: Caller, runtime: str, token: str) -> None:
        self.rows: dict[str, Row] = {}
        self.dirty: set[str] = set()
        self._gone: set[str] = set()
        self._client = client
        self._runtime = runtime
        self._token = token
        self._urgent = asyncio.Event()

    async def load(self, shard: int) -> dict[str, Live]:
        """What the last holder of this shard left, so that counters go on → its rows."""
        rows = await scripts.read_hash(self._client, key(shard, "live"))
        before: dict[str, Live] = {}
        for name, data in rows.items():
            try:
                live = before[name] = wire.decode_live(data)
            except Malformed as error:
                log.warning("live state unreadable", room=name, error=str(error))
                continue
            fields = {f: getattr(live, f) for f in Live.__struct_fields__ if f != "runtime"}
            if _belongs(name, shard):
                self.rows.setdefault(name, Row(**fields))
        return before

    def row(self, room: str) -> Row | None:
        """The room's row, to be changed in place; the room becomes dirty. None: not ours."""
        row = self.rows.get(room)
        if row is not None:
            self.dirty.add(room)
        return row

    def state(self, room: Room, state: State, reason: str, text: str, me: str) -> None:
        """A room's state changed."""
        self._urgent.set()
        self.dirty.add(room.id)
        if state == "parted":
            self._forget(room.id)
            return
        self._gone.discard(room.id)
        row = self.rows.get(room.id)
        if row is None:
            row = self.rows[room.id] = Row()
        if (row.state, row.reason, row.text) != (state, reason, text) or not row.since:
            row.since = time.time()
        row.state, row.reason, row.text, row.me = state, reason, text, me

    def hole(self, room: Room, since: float) -> None:
        """From `since` on we may be missing lines, until further notice (Unix seconds)."""
        self.gap(room, since, 0.0)

    def gap(self, room: Room, since: float, until: float) -> None:
        """A hole in what was heard, in Unix seconds."""
        if row := self.row(room.id):
            row.gap_since, row.gap_until = since, until

    def last_ref(self, room: Room) -> str:
        """The service's id of the last line heard, to ask its history from."""
        row = self.rows.get(room.id)
        return row.last_ref if row else ""

    def keep(self, shard: int, rooms: Container[str]) -> None:
        """Of this shard only these rooms are wanted: take out what a last holder left."""
        for room in [room for room in self.rows if _belongs(room, shard)]:
            if room not in rooms:
                self._forget(room)

    def drop(self, shard: int) -> None:
        """The shard is another runtime's now: its rows are no longer ours to write."""
        for room in [room for room in self.rows if _belongs(room, shard)]:
            del self.rows[room]
        self.dirty = {room for room in self.dirty if not _belongs(room, shard)}
        self._gone = {room for room in self._gone if not _belongs(room, shard)}

    def _forget(self, room: str) -> None:
        self.rows.pop(room, None)
        self._gone.add(room)
        self.dirty.add(room)

    async def run(self) -> None:
        """Write what is dirty until cancelled."""
        while True:
            try:
                async with asyncio.timeout(EVERY):
                    await self._urgent.wait()
                await asyncio.sleep(0.02)  # a burst of joins is one write, not many
            except TimeoutError:
                pass
            self._urgent.clear()
            await self.flush()

    async def flush(self) -> None:
        """Write what is dirty now; while Redis is away, or another has the shard, it stays so."""
        shards: dict[int, list[str]] = {}
        for room in self.dirty:
            shards.setdefault(room_shard(room), []).append(room)
        for shard, rooms in shards.items():
            for start in range(0, len(rooms), AT_MOST):
                if not await self._write(shard, rooms[start : start + AT_MOST]):
                    return  # the others would wait for its time-out as long, one by one

    async def _write(self, shard: int, rooms: list[str]) -> bool:
        """One call → False when Redis does not answer."""
        # Clean from here on: what changes while the write is under way is dirty again.
        self.dirty.difference_update(rooms)
        rows = {room: row for room in rooms if (row := self.rows.get(room))}
        gone = [room for room in rooms if room in self._gone]
        pairs = [text for room, row in rows.items() for text in (room, self._encode(row))]
        names = [key(shard, "live"), key(shard, "lease:runtime")]
        try:
            await scripts.run(
                self._client, "live", names, [self._token, len(rows), *pairs, *gone]
            )
        except (Unreachable, Fenced) as error:
            self.dirty.update(room for room in rooms if room in self.rows or room in self._gone)
            return isinstance(error, Fenced)
        # One that came back meanwhile is in `rows`, and dirty.
        self._gone.difference_update(room for room in gone if room not in self.dirty)
        return True

    def _encode(self, row: Row) -> bytes:
        values = {name: getattr(row, name) for name in Row.__slots__}
        return encode(Live(runtime=self._runtime, **values))


def _belongs(room: str, shard: int) -> bool:
    try:
        return room_shard(room) == shard
    except ValueError:
        return False
