"""What plugins remember: bytes under a key, apart for each plugin, tenant and room."""

import sqlalchemy as sa

from instabot.errors import BadInput
from instabot.store.database import Database
from instabot.store.schema import memory

MAX_VALUE = 64 * 1024
"""Bytes under one key."""


class Namespace:
    """One plugin's memory of one room; the Memory protocol of `commands.py`."""

    def __init__(self, database: Database, plugin: str, tenant: str, room: str) -> None:
        self._database = database
        self._names = {"plugin": plugin, "tenant": tenant, "room": room}

    async def get(self, key: str) -> bytes | None:
        """The bytes under `key`, or None."""
        async with self._database.read() as connection:
            found: bytes | None = await connection.scalar(
                sa.select(memory.c.value).where(*self._at(key))
            )
            return found

    async def put(self, key: str, value: bytes) -> None:
        """Keep `value` under `key`. Raises BadInput over 64 KiB, or 200 characters of key."""
        if len(value) > MAX_VALUE:
            raise BadInput(f"{len(value)} bytes are too many to remember; at most {MAX_VALUE}")
        upsert = self._database.insert(memory).on_conflict_do_update(
            index_elements=list(memory.primary_key.columns), set_={"value": value}
        )
        async with self._database.write() as connection:
            await connection.execute(upsert, {**self._names, "key": key, "value": value})

    async def delete(self, key: str) -> None:
        """Forget `key`. Not knowing it is no error."""
        async with self._database.write() as connection:
            await connection.execute(sa.delete(memory).where(*self._at(key)))

    def _at(self, key: str) -> list[sa.ColumnElement[bool]]:
        names = {**self._names, "key": key}
        return [memory.c[column] == value for column, value in names.items()]


class Memory:
    """`store.memory`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, plugin: str, tenant: str, room: str) -> Namespace:
        """The memory of one plugin in one room; room '' is what it knows beyond rooms."""
        return Namespace(self._database, plugin, tenant, room)
