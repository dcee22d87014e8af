"""The store: everything the backend remembers, in one database."""

from types import TracebackType
from typing import Self

import sqlalchemy as sa

from instabot.store.database import Database
from instabot.store.journal import Journal
from instabot.store.log import Log
from instabot.store.memory import Memory
from instabot.store.meta import Meta
from instabot.store.migrate import PATIENCE, check, migrate, prepare
from instabot.store.roles import Roles
from instabot.store.rooms import Rooms
from instabot.store.url import place_of


class Store:
    """An open store. Used by one event loop; several processes may open the same one.

    Every method raises Unreachable when the database is away, locked or full: the call may be
    repeated as it is.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.log = Log(database)
        self.journal = Journal(database)
        self.memory = Memory(database)
        self.meta = Meta(database)
        self.roles = Roles(database)
        self.rooms = Rooms(database)

    @classmethod
    async def open(cls, url: str, *, migrate: bool = True, patience: float = 5.0) -> Self:
        """Open `sqlite:///PATH` or `postgresql://…`; the backend alone migrates.

        `patience` is how many seconds a locked or busy store is waited for. Raises BadInput for
        a URL that is wrong or a store of a newer version; Unreachable when the store is away,
        or when `migrate` is False and a backend has still to make its tables.
        """
        place = place_of(url)
        if migrate:
            # SQLite's patience is for the lock, PostgreSQL's for the connection alone.
            wait = PATIENCE if place.path else patience
            await _migrate(Database(place, wait, command_timeout=None))
        database = Database(place, patience)
        try:
            await check(database)
        except BaseException:
            await database.close()
            raise
        return cls(database)

    async def ping(self) -> None:
        """Return when the store answers. Raises Unreachable."""
        async with self.database.read() as connection:
            await connection.execute(sa.select(sa.literal(1)))

    async def close(self) -> None:
        """Close every connection. May be called twice."""
        await self.database.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


async def _migrate(database: Database) -> None:
    try:
        await prepare(database)
        await migrate(database)
    finally:
        await database.close()
