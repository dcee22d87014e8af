"""What is wanted: the rooms, and through `Networks` the networks they are in."""

import itertools
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from instabot.errors import BadInput
from instabot.model import DEFAULT_TENANT, Network, Room, network_id
from instabot.store.networks import Networks, network_row, pack, unpack
from instabot.store.schema import clean, log, networks, rooms

MAX_ROOMS = 10_000
"""Rooms that may be added at once."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # no i, l, o, u: read aloud, typed, no words
_CHUNK = 5_000  # parameters in one statement; both databases take over 32,000
_COLUMNS = [rooms.c[name] for name in Room.__struct_fields__]
_RFC1459 = str.maketrans("[]\\^", "{}|~")

Wish = tuple[str, str, str, Mapping[str, str]]
"""A room to be in: its name, the name folded (see adapters' `Folds`), sealed key, settings."""


class Rooms(Networks):
    """`store.rooms`. A room's id is given once and never changes; `wanted` says to be in it."""

    async def add_rooms(
        self, network: Network, shard: int, wishes: Sequence[Wish]
    ) -> dict[str, Room]:
        """Want up to 10,000 rooms of one network, all or none; the rooms by the names given.

        A room that is known (by its folded name) keeps its id and name; it is wanted again, and
        takes the key and the settings given, where they are not empty. The network itself is
        added if it is missing, and left alone if not. Raises BadInput for more rooms, or for a
        name that is empty or too long.
        """
        if len(wishes) > MAX_ROOMS:
            raise BadInput(f"{len(wishes)} rooms are too many at once; at most {MAX_ROOMS}")
        for name, *_ in wishes:
            if not name:
                raise BadInput("a room needs a name")
        by_folded = {clean(wish[1]): wish for wish in wishes}
        try:
            async with self._database.write() as connection:
                add = self._database.insert(networks).on_conflict_do_nothing()
                await connection.execute(add, network_row(network, shard))
                await self._make(connection, network, shard, by_folded)
                known = await _known(connection, network.id)
        except IntegrityError:
            raise BadInput(f"there is no tenant {network.tenant!r}") from None
        return {name: known[clean(folded)] for name, folded, _, _ in wishes}

    async def put_room(self, room: Room, shard: int, folded: str | None = None) -> None:
        """Keep a room as it is given, wanted, in place of what had its id.

        `folded` is needed for a new room whose name has more than one spelling. Raises BadInput
        for an unknown network, or a name that another room of the network has.
        """
        row = _room_row(room, shard) | {"folded": folded or room.name, "wanted": True}
        kept = {"id"} if folded else {"id", "folded"}
        upsert = self._database.insert(rooms).on_conflict_do_update(
            index_elements=["id"], set_={name: row[name] for name in row if name not in kept}
        )
        try:
            async with self._database.write() as connection:
                await connection.execute(upsert, row)
        except IntegrityError:
            raise BadInput(
                f"room {room.name!r} cannot be kept: network {room.network!r} is unknown, "
                "or has a room of that name"
            ) from None

    async def unwant(self, ids: Sequence[str]) -> list[str]:
        """Be in these rooms no more; their ids stay, for the logs. Which of them were wanted."""
        gone: list[str] = []
        async with self._database.write() as connection:
            for some in _chunks(ids):
                wanted = rooms.c.id.in_(some), rooms.c.wanted
                gone += await connection.scalars(sa.select(rooms.c.id).where(*wanted))
                await connection.execute(sa.update(rooms).where(*wanted).values(wanted=False))
        return gone

    async def room(self, room: str) -> Room | None:
        """A room by its id, wanted or not, or None."""
        found = await self._rooms(rooms.c.id == room)
        return found[0] if found else None

    async def rooms(
        self,
        shard: int | None = None,
        *,
        network: str | None = None,
        wanted: bool | None = True,
    ) -> list[Room]:
        """All rooms, or a shard's, or a network's; by id. `wanted=None` for both kinds."""
        only = []
        for column, value in ((rooms.c.shard, shard), (rooms.c.network, network)):
            if value is not None:
                only.append(column == value)
        if wanted is not None:
            only.append(rooms.c.wanted.is_(wanted))
        return await self._rooms(*only)

    async def find(self, text: str, *, tenant: str = DEFAULT_TENANT) -> list[Room]:
        """The rooms that a user may mean by an id, `NETWORK/NAME`, or `NAME`.

        None, one, or several: then the user has to say which. Rooms that are wanted no more
        come only where no wanted one fits.
        """
        network, slash, name = text.removeprefix(f"{tenant}/").partition("/")
        means = (rooms.c.id == text) | _named(text)
        if slash:
            means |= (rooms.c.network == network_id(tenant, network)) & _named(name)
        only = rooms.c.tenant == tenant, means
        return await self._rooms(*only, rooms.c.wanted) or await self._rooms(*only)

    async def _rooms(self, *only: sa.ColumnElement[bool]) -> list[Room]:
        query = sa.select(*_COLUMNS).where(*only).order_by(rooms.c.id)
        async with self._database.read() as connection:
            return [_room(row) for row in (await connection.execute(query)).mappings()]

    async def _make(
        self,
        connection: AsyncConnection,
        network: Network,
        shard: int,
        wishes: Mapping[str, Wish],
    ) -> None:
        known = await _known(connection, network.id)
        await _renew(
            connection, [(known[name], wishes[name]) for name in wishes.keys() & known]
        )
        insert = self._database.insert(rooms).on_conflict_do_nothing()
        # A row is skipped where its id is taken, or where another backend was faster to add the
        # name: either way, look again, and give what is still missing another id.
        while missing := sorted(wishes.keys() - known):
            ids = await _free_ids(connection, shard, len(missing))
            rows = [
                _new_row(network, shard, new, wishes[name], name)
                for new, name in zip(ids, missing, strict=False)
            ]
            if rows:
                await connection.execute(insert, rows)
            known = await _known(connection, network.id)


async def _known(connection: AsyncConnection, network: str) -> dict[str, Room]:
    query = sa.select(*_COLUMNS, rooms.c.folded).where(rooms.c.network == network)
    found = {}
    for row in (await connection.execute(query)).mappings():
        found[row["folded"]] = _room({name: row[name] for name in Room.__struct_fields__})
    return found


async def _renew(connection: AsyncConnection, known: Sequence[tuple[Room, Wish]]) -> None:
    rows = [
        {
            "this": room.id,
            "new_key": wish[2] or room.key,
            "new_settings": pack(dict(wish[3]) or room.settings),
        }
        for room, wish in known
    ]
    if rows:
        change = sa.update(rooms).where(rooms.c.id == sa.bindparam("this"))
        change = change.values(
            wanted=True, key=sa.bindparam("new_key"), settings=sa.bindparam("new_settings")
        )
        await connection.execute(change, rows)


async def _free_ids(connection: AsyncConnection, shard: int, count: int) -> list[str]:
    """Up to `count` fresh ids. The log is asked too: a new room must not inherit old lines."""
    ids = {
        f"{shard}.{''.join(secrets.choice(_ALPHABET) for _ in range(6))}" for _ in range(count)
    }
    for some in _chunks(sorted(ids)):
        taken = sa.select(log.c.room).where(log.c.room.in_(some)).distinct()
        ids -= set(await connection.scalars(taken))
    return list(ids)


def _new_row(network: Network, shard: int, new: str, wish: Wish, folded: str) -> dict[str, Any]:
    name, _, key, settings = wish
    room = Room(
        id=new,
        network=network.id,
        tenant=network.tenant,
        name=name,
        key=key,
        settings=dict(settings),
    )
    return _room_row(room, shard) | {"folded": folded, "wanted": True}


def _room_row(room: Room, shard: int) -> dict[str, Any]:
    row = msgspec.structs.asdict(room)
    return row | {"settings": pack(room.settings), "shard": shard}


def _room(row: Mapping[str, Any] | sa.RowMapping) -> Room:
    return Room(**{**row, "settings": unpack(row["settings"])})


def _named(text: str) -> sa.ColumnElement[bool]:
    # Which folding the service has is not known here: try the usual ones.
    lower = text.lower()
    folded = {text, lower, text.casefold(), lower.translate(_RFC1459)}
    return (rooms.c.name == text) | rooms.c.folded.in_(sorted(folded))


def _chunks(values: Sequence[str]) -> Iterator[list[str]]:
    rest = iter(values)
    while some := list(itertools.islice(rest, _CHUNK)):
        yield some
