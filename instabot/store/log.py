"""What was said and what happened, in every room, in the order of its stream."""

import math
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from instabot.errors import BadInput
from instabot.model import DEFAULT_TENANT, Heard, Notice
from instabot.store.database import Database
from instabot.store.schema import HOLES, log

MAX_PAGE = 100_000
"""Rows that may be read at once."""

CLOCK_SLACK = 86400.0
"""Seconds by which a service's clock may run ahead of Redis's without a line being missed."""


class LogRow(msgspec.Struct, frozen=True, kw_only=True):
    """A line, or a notice such as `joined` or `gap`. `at`, `since`, `count` as in model.Notice.

    For notices, `sender` is whom it happened to. `key` names the row for ever.
    """

    shard: int
    stream_id: str
    room: str
    tenant: str = DEFAULT_TENANT
    network: str = ""
    kind: str
    sender: str = ""
    account: str = ""
    text: str = ""
    at: float
    since: float = 0.0
    count: int = 0
    own: bool = False
    late: bool = False
    ref: str = ""

    @property
    def key(self) -> str:
        """`SHARD:STREAMID`, as `7:1700000000000-3`."""
        return f"{self.shard}:{self.stream_id}"


_STREAM_ID = re.compile(r"([0-9]{1,19})-([0-9]{1,19})")
_TOO_HIGH = 1 << 63  # Redis counts to 1 << 64, but milliseconds never get there
_MOST = (1 << 31) - 1  # the column's end
_PLAIN = [name for name in LogRow.__struct_fields__ if name != "stream_id"]
_COLUMNS = [log.c.ms, log.c.seq, *(log.c[name] for name in _PLAIN)]


def row_of(shard: int, stream_id: str, message: Heard | Notice, network: str = "") -> LogRow:
    """The row that a message becomes."""
    common: dict[str, Any] = {
        "shard": shard,
        "stream_id": stream_id,
        "room": message.room,
        "tenant": message.tenant,
        "network": network,
        "kind": message.kind,
        "text": message.text,
        "at": message.at,
    }
    if isinstance(message, Notice):
        return LogRow(**common, sender=message.who, since=message.since, count=message.count)
    return LogRow(
        **common,
        sender=message.sender,
        account=message.account,
        own=message.own,
        late=message.late,
        ref=message.ref,
    )


class Log:
    """`store.log`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        insert = database.insert(log).on_conflict_do_nothing()
        self._insert = insert if database.counts_many else insert.returning(log.c.id)

    async def write(self, rows: Sequence[LogRow]) -> int:
        """Keep rows, all or none; those whose key is known are skipped. How many were new.

        Raises BadInput where one of them can never be kept (its stream id is none, its room's
        id too long): write them one by one to learn which.
        """
        if not rows:
            return 0
        values = [_values(row) for row in rows]
        async with self._database.write() as connection:
            result = await connection.execute(self._insert, values)
            return result.rowcount if self._database.counts_many else len(result.all())

    async def read(
        self,
        room: str,
        *,
        since: float | None = None,
        until: float | None = None,
        after_key: str | None = None,
        limit: int = 500,
    ) -> list[LogRow]:
        """The first `limit` rows from `since` to `until` (both included) after `after_key`.

        In the order of the stream; a late line stands where it arrived. To read on, give the
        last row's key. Raises BadInput for a key that is none.
        """
        query = _select(limit).where(*_between(room, since, until))
        if after_key is not None:
            query = query.where(_place() > _literal(after_key))
        return await self._rows(query.order_by(log.c.ms, log.c.seq))

    async def last(
        self, room: str, limit: int = 50, *, before_key: str | None = None
    ) -> list[LogRow]:
        """The last `limit` rows of a room (before `before_key`), oldest first."""
        query = _select(limit).where(log.c.room == room)
        if before_key is not None:
            query = query.where(_place() < _literal(before_key))
        rows = await self._rows(query.order_by(log.c.ms.desc(), log.c.seq.desc()))
        return rows[::-1]

    async def gaps(
        self,
        room: str,
        *,
        since: float | None = None,
        until: float | None = None,
        limit: int = 500,
    ) -> list[LogRow]:
        """The rows that say that lines of a room are missing, in the order of the stream."""
        holes = log.c.kind.in_([sa.literal_column(f"'{kind}'") for kind in HOLES])
        query = _select(limit).where(holes, *_between(room, since, until))
        return await self._rows(query.order_by(log.c.ms, log.c.seq))

    async def _rows(self, query: sa.Select[Any]) -> list[LogRow]:
        async with self._database.read() as connection:
            return [_row(values) for values in await connection.execute(query)]


def _values(row: LogRow) -> dict[str, Any]:
    ms, seq = _parse(row.stream_id)
    values = msgspec.structs.asdict(row)
    del values["stream_id"]
    values["count"] = max(0, min(row.count, _MOST))
    values["ms"] = ms
    values["seq"] = seq
    return values


def _row(values: Sequence[Any]) -> LogRow:
    ms, seq, *plain = values
    return LogRow(stream_id=f"{ms}-{seq}", **dict(zip(_PLAIN, plain, strict=True)))


def _parse(stream_id: str) -> tuple[int, int]:
    found = _STREAM_ID.fullmatch(stream_id)
    place = (int(found[1]), int(found[2])) if found else (_TOO_HIGH, 0)
    if max(place) >= _TOO_HIGH:
        raise BadInput(f"{stream_id[:60]!r} is not the id of a stream entry")
    return place


def _place() -> sa.Tuple:
    return sa.tuple_(log.c.ms, log.c.seq)


def _literal(key: str) -> sa.Tuple:
    return sa.tuple_(*(sa.literal(part) for part in _parse(key.rpartition(":")[2])))


def _select(limit: int) -> sa.Select[Any]:
    if not 1 <= limit <= MAX_PAGE:
        raise BadInput(f"{limit} rows cannot be read at once; 1 to {MAX_PAGE} can")
    return sa.select(*_COLUMNS).limit(limit)


def _between(
    room: str, since: float | None, until: float | None
) -> list[sa.ColumnElement[bool]]:
    found = [log.c.room == room]
    if since is not None:
        # Nothing is ingested before it is said: the index begins the search, `at` decides.
        found += [log.c.at >= since, log.c.ms >= _earliest(since)]
    if until is not None:
        found.append(log.c.at <= until)
    return found


def _earliest(since: float) -> int:
    if math.isnan(since):
        raise BadInput("a time is a number of Unix seconds")
    return int(min(max(since - CLOCK_SLACK, 0.0), 1e15) * 1000)
