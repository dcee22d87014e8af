"""The journal of side effects: what was started, and what came of it.

A row is on the disk before its effect begins, so that an effect never silently runs twice. A
room's message that finds its row `started` was interrupted, `finished` has its reply here, and
`asked` waits for somebody to confirm it with its code.
"""

import hashlib
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from instabot.errors import BadInput
from instabot.model import DEFAULT_TENANT
from instabot.store.database import Database
from instabot.store.schema import journal

EntryState = Literal["started", "finished", "asked"]

_LONG = 200


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One side effect. `asked_at`, `started`, `finished` in Unix seconds, 0 = not yet.

    `message` is the id of the message that asked for it, `text` the command's arguments. `fresh`
    is true only in what `begin` returns to the one caller that has to run the effect now.
    """

    message: str
    tenant: str
    room: str
    command: str
    text: str
    sender: str
    account: str
    state: EntryState
    asked_at: float
    started: float
    finished: float
    reply: str
    code: str
    fresh: bool = False


_COLUMNS = [journal.c[name] for name in Entry.__struct_fields__ if name != "fresh"]


class Journal:
    """`store.journal`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(
        self,
        message: str,
        *,
        room: str,
        command: str,
        text: str,
        at: float,
        sender: str = "",
        account: str = "",
        tenant: str = DEFAULT_TENANT,
    ) -> Entry:
        """Start an effect, unless its message is known: then that entry, untouched.

        Run the effect if, and only if, the entry is `fresh`.
        """
        row = _row(message, tenant, room, command, text, sender, account)
        row |= {"state": "started", "started": at}
        insert = self._database.insert(journal).on_conflict_do_nothing()
        async with self._database.write() as connection:
            fresh = (await connection.execute(insert, row)).rowcount == 1
            found = (await connection.execute(_where(message))).one()
        return Entry(**found._mapping, fresh=fresh)

    async def ask(
        self,
        message: str,
        code: str,
        *,
        room: str,
        command: str,
        text: str,
        at: float,
        sender: str = "",
        account: str = "",
        tenant: str = DEFAULT_TENANT,
    ) -> Entry:
        """Wait for somebody to confirm an effect, interrupted or not yet begun, with `code`.

        An entry that is finished stays so, and one that is asked keeps its code: a repeated
        question is the same question. Look at the entry returned.
        """
        if not code:
            raise BadInput("a question needs a code to answer it with")
        row = _row(message, tenant, room, command, text, sender, account)
        row |= {"state": "asked", "asked_at": at, "code": code}
        upsert = self._database.insert(journal).on_conflict_do_update(
            index_elements=["id"],
            set_={"state": "asked", "asked_at": at, "code": code},
            where=journal.c.state == "started",
        )
        async with self._database.write() as connection:
            await connection.execute(upsert, row)
            found = (await connection.execute(_where(message))).one()
        return Entry(**found._mapping)

    async def confirm(self, message: str, *, at: float) -> bool:
        """Start an asked effect; True for the one caller that has to run it now.

        The code stays, so that the confirming message, evaluated again after a crash, finds the
        entry started or finished.
        """
        change = (
            sa.update(journal)
            .where(journal.c.id == _id(message), journal.c.state == "asked")
            .values(state="started", started=at)
        )
        async with self._database.write() as connection:
            return (await connection.execute(change)).rowcount == 1

    async def finish(self, message: str, reply: str, *, at: float) -> Entry:
        """Keep the reply of a started effect. The first reply stays.

        Raises BadInput for a message that never began.
        """
        change = (
            sa.update(journal)
            .where(journal.c.id == _id(message), journal.c.state != "finished")
            .values(state="finished", finished=at, reply=reply)
        )
        async with self._database.write() as connection:
            await connection.execute(change)
            found = (await connection.execute(_where(message))).one_or_none()
        if found is None:
            raise BadInput(f"no effect of message {message[:80]!r} was ever begun")
        return Entry(**found._mapping)

    async def get(self, message: str) -> Entry | None:
        """The entry of a message, or None."""
        return await self._one(_where(message))

    async def by_code(self, tenant: str, room: str, code: str) -> Entry | None:
        """The entry that was last asked with this code in this room, in whatever state."""
        if not code:
            return None
        query = sa.select(*_COLUMNS).where(
            journal.c.tenant == tenant, journal.c.room == room, journal.c.code == code
        )
        return await self._one(query.order_by(journal.c.asked_at.desc()).limit(1))

    async def _one(self, query: sa.Select[Any]) -> Entry | None:
        async with self._database.read() as connection:
            found = (await connection.execute(query)).one_or_none()
        return None if found is None else Entry(**found._mapping)


def _row(
    message: str,
    tenant: str,
    room: str,
    command: str,
    text: str,
    sender: str,
    account: str,
) -> dict[str, Any]:
    return {
        "id": _id(message),
        "message": message,
        "tenant": tenant,
        "room": room,
        "command": command,
        "text": text,
        "sender": sender,
        "account": account,
        "asked_at": 0.0,
        "started": 0.0,
        "finished": 0.0,
        "reply": "",
        "code": "",
    }


def _where(message: str) -> sa.Select[Any]:
    return sa.select(*_COLUMNS).where(journal.c.id == _id(message))


def _id(message: str) -> str:
    """A message's id as a key: a service may put kilobytes, or any character, into its own."""
    if len(message) <= _LONG and message.isascii() and message.isprintable():
        return message
    return "sha256:" + hashlib.sha256(message.encode("utf-8", "surrogatepass")).hexdigest()
