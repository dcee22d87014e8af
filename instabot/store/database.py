"""Connections: the pool, reading and writing."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from instabot.errors import Unreachable
from instabot.store.faults import faults
from instabot.store.url import Place

COMMAND_TIMEOUT = 30.0
"""Seconds after which a PostgreSQL that took a statement and went silent counts as away."""


class Database:
    """The pool of one store. Used by one event loop.

    Both kinds raise Unreachable: after `patience` seconds where the store is locked or busy.
    """

    def __init__(
        self, place: Place, patience: float, command_timeout: float | None = COMMAND_TIMEOUT
    ) -> None:
        self.place = place
        self.patience = patience
        if place.path:
            self._writer = _sqlite(place, patience)
        else:
            self._writer = _postgresql(place, patience, command_timeout)
        self._reader = self._writer.execution_options(reading=True)
        # SQLite has one writer. Waiting here is fair and wakes at once; its own waiting polls.
        self._turn = asyncio.Lock() if place.path else None
        self._insert = sqlite.insert if place.path else postgresql.insert

    def insert(self, table: sa.Table) -> "sqlite.Insert | postgresql.Insert":
        """An INSERT that knows ON CONFLICT, in the store's dialect."""
        return self._insert(table)

    @property
    def counts_many(self) -> bool:
        """Whether an INSERT of many rows tells how many it made; else use RETURNING."""
        return self.place.path is not None

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read committed rows from, each statement for itself."""
        with faults(self.place.label):
            async with self._reader.connect() as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: at its end it is on the disk, or, after an error, never was."""
        async with self._alone():
            with faults(self.place.label):
                async with self._writer.begin() as connection:
                    yield connection

    async def close(self) -> None:
        """Close every connection. May be called twice."""
        with faults(self.place.label):
            await self._writer.dispose()

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        if self._turn is None:
            yield
            return
        try:
            async with asyncio.timeout(self.patience):
                await self._turn.acquire()
        except TimeoutError:
            raise Unreachable(f"the store {self.place.label} is too busy; try again") from None
        try:
            yield
        finally:
            self._turn.release()


class _Connection(sqlite3.Connection):
    """Rolls back before it closes.

    A cancelled write closes its connection. SQLite keeps a closed connection, and its lock, for
    as long as a cursor of it lives: every other writer would wait for the garbage collector.
    """

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # closed already, or the disk is away
            if self.in_transaction:
                self.rollback()
        super().close()


def _sqlite(place: Place, patience: float) -> AsyncEngine:
    engine = create_async_engine(
        place.url,
        # `timeout` is SQLite's busy_timeout. Transactions are begun below: the driver's own
        # begin too late, and never IMMEDIATE.
        connect_args={"timeout": patience, "isolation_level": None, "factory": _Connection},
        pool_timeout=patience,
        hide_parameters=True,  # errors are logged; secrets and chat are not
    )

    @sa.event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        # NORMAL would be 0.3 ms faster a batch, and lose the last commits in a power cut, when
        # Redis has already been told to forget those lines.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    @sa.event.listens_for(engine.sync_engine, "begin")
    def begun(connection: sa.Connection) -> None:
        if not connection.get_execution_options().get("reading"):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _postgresql(place: Place, patience: float, command_timeout: float | None) -> AsyncEngine:
    return create_async_engine(
        place.url,
        connect_args={"timeout": patience, "command_timeout": command_timeout},
        pool_timeout=patience,
        hide_parameters=True,
    )
