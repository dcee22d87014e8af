"""Bringing a store to this version's tables, safely where two backends start at once."""

import asyncio
import os
import sqlite3
import time
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from instabot.errors import BadInput, Unreachable
from instabot.store.database import Database
from instabot.store.faults import faults
from instabot.store.schema import HEAD

PATIENCE = 60.0
"""Seconds to wait for another process that migrates."""

_ADVISORY_LOCK = 0x1257AB07  # any number, the same in all versions


async def prepare(database: Database) -> None:
    """Make SQLite's file (mode 0600, WAL) where there is none. Raises Unreachable, BadInput."""
    if database.place.path is not None:
        with faults(database.place.label):
            await asyncio.to_thread(_prepare, database.place.path)


async def check(database: Database) -> None:
    """Raise Unreachable where a backend has still to migrate; BadInput for a newer store."""
    path = database.place.path
    if path is not None and not path.exists():
        raise Unreachable(
            f"there is no store at {path} yet; start `instabot up` or the backend once"
        )
    found = await _version(database)
    if found != HEAD:
        raise Unreachable(
            f"the store {database.place.label} has tables of version {found or 'none'}, not "
            f"{HEAD}; start this version's backend once, it brings them up to date"
        )


async def migrate(database: Database) -> None:
    """Bring the tables up to date: all of it or nothing, one process at a time."""
    if await _version(database) == HEAD:
        return
    async with database.write() as connection:
        if database.place.path is None:  # SQLite's transaction is its lock
            await connection.execute(sa.text(f"SET LOCAL lock_timeout = '{PATIENCE:.0f}s'"))
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
        if await _read_version(connection, database.place.label) != HEAD:
            await connection.run_sync(_upgrade)


async def _version(database: Database) -> str:
    async with database.read() as connection:
        return await _read_version(connection, database.place.label)


async def _read_version(connection: AsyncConnection, label: str) -> str:
    tables = await connection.run_sync(lambda sync: sa.inspect(sync).get_table_names())
    if "alembic_version" not in tables:
        return ""
    found = str(await connection.scalar(sa.text("SELECT version_num FROM alembic_version")))
    if found > HEAD:
        raise BadInput(
            f"the store {label} was written by a newer Instabot (tables {found}, ours {HEAD}); "
            "upgrade this one"
        )
    return found


def _upgrade(connection: sa.Connection) -> None:
    # Imported here, because readers do without.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "instabot.store:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _prepare(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
    try:
        _to_wal(connection)
    finally:
        connection.close()


def _to_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL. Two at once get SQLITE_BUSY without SQLite waiting, so we wait."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
