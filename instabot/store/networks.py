"""What is wanted: the networks. `Rooms` (rooms.py) adds their rooms to it."""

from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from instabot.errors import BadInput
from instabot.model import Network
from instabot.store.database import Database
from instabot.store.schema import clean, networks

_COLUMNS = [networks.c[name] for name in Network.__struct_fields__]


class Networks:
    """Networks by id. The shard is the caller's to compute (`model.shard_of`)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put_network(self, network: Network, shard: int) -> None:
        """Keep a network, in place of what had its id. Raises BadInput for unknown tenants."""
        row = network_row(network, shard)
        upsert = self._database.insert(networks).on_conflict_do_update(
            index_elements=["id"], set_={name: row[name] for name in row if name != "id"}
        )
        try:
            async with self._database.write() as connection:
                await connection.execute(upsert, row)
        except IntegrityError:
            raise BadInput(f"there is no tenant {network.tenant!r}") from None

    async def network(self, network: str) -> Network | None:
        """A network by its id, or None."""
        found = await self._networks(networks.c.id == network)
        return found[0] if found else None

    async def networks(
        self, shard: int | None = None, *, tenant: str | None = None
    ) -> list[Network]:
        """All networks, or a shard's, or a tenant's; by id."""
        only = []
        if shard is not None:
            only.append(networks.c.shard == shard)
        if tenant is not None:
            only.append(networks.c.tenant == tenant)
        return await self._networks(*only)

    async def remove_network(self, network: str) -> bool:
        """Remove a network, its rooms and its roles; logs stay. Whether there was one."""
        gone = sa.delete(networks).where(networks.c.id == network)
        async with self._database.write() as connection:
            return bool((await connection.execute(gone)).rowcount)

    async def _networks(self, *only: sa.ColumnElement[bool]) -> list[Network]:
        query = sa.select(*_COLUMNS).where(*only).order_by(networks.c.id)
        async with self._database.read() as connection:
            return [_network(row) for row in (await connection.execute(query)).mappings()]


def network_row(network: Network, shard: int) -> dict[str, Any]:
    """The columns of a network."""
    row = msgspec.structs.asdict(network)
    return row | {"settings": pack(network.settings), "shard": shard}


def pack(settings: dict[str, str]) -> str:
    """Settings as a column's text."""
    if not settings:
        return ""
    cleaned = {clean(name): clean(value) for name, value in settings.items()}
    return msgspec.json.encode(cleaned).decode()


def unpack(text: str) -> dict[str, str]:
    """A column's text as settings."""
    return msgspec.json.decode(text, type=dict[str, str]) if text else {}


def _network(row: sa.RowMapping) -> Network:
    return Network(**{**row, "settings": unpack(row["settings"])})
