"""Small facts of the installation: a string under a key, and the generations."""

import sqlalchemy as sa

from instabot.store.database import Database
from instabot.store.schema import meta


class Meta:
    """`store.meta`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, key: str) -> str | None:
        """The string under `key`, or None."""
        async with self._database.read() as connection:
            found: str | None = await connection.scalar(
                sa.select(meta.c.value).where(meta.c.key == key)
            )
            return found

    async def put(self, key: str, value: str) -> None:
        """Keep `value` under `key`. Raises BadInput for a key over 200 characters."""
        upsert = self._database.insert(meta).on_conflict_do_update(
            index_elements=["key"], set_={"value": value}
        )
        async with self._database.write() as connection:
            await connection.execute(upsert, {"key": key, "value": value})

    async def next_generation(self, shard: int) -> int:
        """The shard's next generation: higher than any before, from 1, whoever asks."""
        key = f"generation:{shard}"
        # The added one is computed in the database: two backends never get the same number.
        upsert = self._database.insert(meta).on_conflict_do_update(
            index_elements=["key"],
            set_={"value": sa.cast(sa.cast(meta.c.value, sa.BigInteger) + 1, sa.Text)},
        )
        async with self._database.write() as connection:
            await connection.execute(upsert, {"key": key, "value": "1"})
            found = await connection.scalars(sa.select(meta.c.value).where(meta.c.key == key))
            return int(found.one())
