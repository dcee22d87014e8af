"""Who may do what: roles of accounts of a network."""

import time

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from instabot.errors import BadInput
from instabot.store.database import Database
from instabot.store.schema import roles


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """An account of a network has a role, since `at`, given by `by`."""

    tenant: str
    network: str
    account: str
    role: str
    by: str
    at: float


class Roles:
    """`store.roles`. Accounts are compared exactly: fold them first where the service does.

    Removing a network removes its grants: a later one of the same name starts without.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def grant(self, tenant: str, network: str, account: str, role: str, by: str) -> None:
        """Give a role; to have it already is no error. Raises BadInput for unknown networks."""
        if not account or not role:
            raise BadInput("a role is given to an account: name both")
        row = Grant(
            tenant=tenant, network=network, account=account, role=role, by=by, at=time.time()
        )
        insert = self._database.insert(roles).on_conflict_do_nothing()
        try:
            async with self._database.write() as connection:
                await connection.execute(insert, msgspec.structs.asdict(row))
        except IntegrityError:
            raise BadInput(f"there is no network {network!r}") from None

    async def revoke(self, network: str, account: str, role: str) -> bool:
        """Take a role; whether there was one to take."""
        gone = sa.delete(roles).where(
            roles.c.network == network, roles.c.account == account, roles.c.role == role
        )
        async with self._database.write() as connection:
            return bool((await connection.execute(gone)).rowcount)

    async def of(self, network: str, account: str) -> set[str]:
        """The roles of an account; none for '' (nobody is logged in)."""
        if not account:
            return set()
        query = sa.select(roles.c.role).where(
            roles.c.network == network, roles.c.account == account
        )
        async with self._database.read() as connection:
            return set(await connection.scalars(query))

    async def list(self, tenant: str, network: str | None = None) -> list[Grant]:
        """Every grant of a tenant, or of one of its networks."""
        query = sa.select(roles).where(roles.c.tenant == tenant)
        if network is not None:
            query = query.where(roles.c.network == network)
        query = query.order_by(roles.c.network, roles.c.account, roles.c.role)
        async with self._database.read() as connection:
            return [Grant(**row) for row in (await connection.execute(query)).mappings()]
