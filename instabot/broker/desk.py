"""What an operator sees and asks of a running Instabot, through Redis alone.

The command line and the console share it. It reads hashes and streams, and it writes nothing but
Requests on `messages`: the backend carries those out and answers over the feed.
"""

import asyncio
import getpass
import secrets
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

import msgspec

from instabot import wire
from instabot.broker import keys, scripts
from instabot.broker.keys import key
from instabot.broker.pipe import Pipe
from instabot.broker.redis import connect, our_errors, pipelined, table
from instabot.broker.views import RoomView, pick, view
from instabot.errors import BadInput, InstabotError, Malformed, NotAllowed
from instabot.model import DEFAULT_TENANT, Answer, Message, Network, Request, Room, room_shard

STALE = 15.0
"""Seconds after which a process that sends no heartbeat counts as gone."""

T = TypeVar("T")

FINAL = ("done", "failed", "refused")


class Unanswered(InstabotError):
    """No backend answered a Request in time; it may still be carried out before its deadline."""


class Desk:
    """A view of one Redis. Every method raises Unreachable where it does not answer."""

    def __init__(
        self, client: Pipe, shards: int, tenant: str = DEFAULT_TENANT, url: str = ""
    ) -> None:
        self.client = client
        self.shards = shards
        self.tenant = tenant
        self.url = url

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, shards: int = 16, tenant: str = DEFAULT_TENANT
    ) -> AsyncIterator[Self]:
        """Connect; the number of shards in Redis wins over `shards`. Raises Unreachable."""
        client = Pipe(url, "instabot-desk")
        try:
            desk = cls(client, shards, tenant, url)
            desk.shards = int(await desk.raw("HGET", keys.META, "shards") or shards)
            yield desk
        finally:
            await client.aclose()

    async def raw(self, *command: Any) -> Any:
        """One command as it is, its answer in bytes. Raises Unreachable."""
        with our_errors():
            return await self.client.execute_command(*command)

    async def config(self, name: str) -> str:
        """A setting of the Redis server. Raises InstabotError where we may not ask."""
        answer = await self.raw("CONFIG", "GET", name)
        values = [value.decode() for value in table(answer).values()]
        return values[0] if values else ""

    # -- reading ---------------------------------------------------------------------------

    async def _hashes(self, *names: str) -> list[list[dict[bytes, bytes]]]:
        """Those hashes of every shard, in one round trip: one list for each name."""
        shards = range(self.shards)
        answers = await pipelined(
            self.client, [("HGETALL", key(shard, name)) for name in names for shard in shards]
        )
        tables = [table(answer) for answer in answers]
        return [tables[i : i + self.shards] for i in range(0, len(tables), self.shards)]

    async def networks(self) -> list[Network]:
        """The desired networks of our tenant, by name."""
        (tables,) = await self._hashes("networks")
        rows = [_read(wire.decode_network, row) for row in _rows(tables)]
        mine = [row for row in rows if row is not None and row.tenant == self.tenant]
        return sorted(mine, key=lambda network: network.name)

    async def wanted_rooms(self) -> list[Room]:
        """The desired rooms of our tenant, by network and name."""
        (tables,) = await self._hashes("rooms")
        return self._mine(tables)

    def _mine(self, tables: Sequence[Mapping[bytes, bytes]]) -> list[Room]:
        rows = [_read(wire.decode_room, row) for row in _rows(tables)]
        mine = [row for row in rows if row is not None and row.tenant == self.tenant]
        return sorted(mine, key=lambda room: (room.network, room.name))

    async def rooms(self) -> list[RoomView]:
        """Every desired room with its live state and its depth."""
        wanted, live, depth = await self._hashes("rooms", "live", "depth")
        alive = {row["id"] for row in await self.processes(keys.RUNTIMES)}
        states = {name.decode(): row for table in live for name, row in table.items()}
        waits = {name.decode(): int(row) for table in depth for name, row in table.items()}
        return [
            view(room, _read(wire.decode_live, states.get(room.id, b"")), alive, waits)
            for room in self._mine(wanted)
        ]

    async def processes(self, where: str) -> list[dict[str, Any]]:
        """Heartbeats (`keys.RUNTIMES` or `keys.BACKENDS`) of those who live, by id."""
        rows = table(await self.raw("HGETALL", where))
        now, found = time.time(), []
        for row in rows.values():
            try:
                facts = msgspec.json.decode(row)
                if now - float(facts["at"]) < STALE and isinstance(facts["id"], str):
                    found.append(facts)
            except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
                continue
        return sorted(found, key=lambda facts: str(facts["id"]))

    async def network(self, name: str) -> Network:
        """Our network of that name. Raises BadInput."""
        networks = await self.networks()
        for network in networks:
            if network.name == name:
                return network
        names = ", ".join(network.name for network in networks) or "none yet"
        raise BadInput(f"there is no network {name!r}; there are: {names}")

    async def room(self, text: str) -> Room:
        """The room meant by an id, `NETWORK/NAME`, or a NAME that is unique. Raises BadInput."""
        return pick(await self.wanted_rooms(), text, self.tenant)

    # -- asking ----------------------------------------------------------------------------

    async def ask(
        self,
        shard: int,
        verb: str,
        args: dict[str, Any],
        *,
        timeout: float = 15.0,
        final: Sequence[str] = FINAL,
        hear: Callable[[Answer], None] | None = None,
    ) -> Answer:
        """Send a Request and return its final answer; `hear` gets the ones before it.

        Raises NotAllowed when it was refused, InstabotError when it failed, Unanswered after
        `timeout` seconds, which is the Request's own deadline too.
        """
        now = time.time()
        request = Request(
            id=f"{self.tenant}/ask/{secrets.token_hex(10)}",
            verb=verb,
            tenant=self.tenant,
            args=args,
            by=operator(),
            at=now,
            deadline=now + timeout,
        )
        async with connect(self.url, "instabot-ask") as client, client.pubsub() as feed:
            with our_errors():
                # Subscribed first and confirmed, so that no answer can pass unseen.
                await feed.subscribe(keys.ANSWERS)
                await feed.get_message(timeout=5)
            await self.send(shard, request)
            try:
                async with asyncio.timeout(timeout):
                    return await _final(feed, request.id, final, hear)
            except TimeoutError:
                raise Unanswered(await self._silence(verb, timeout)) from None

    async def send(self, shard: int, request: Request) -> None:
        """Queue a Request; its id makes repeating it harmless.

        Raises InstabotError when full, BadInput for text that UTF-8 cannot carry.
        """
        try:
            data = wire.encode(request)
        except UnicodeEncodeError:  # bytes of a command line that are no UTF-8: PEP 383
            raise BadInput("there is something in it that is not UTF-8 text") from None
        item = scripts.Item("", request.tenant, data, ref=request.id)
        answer = await scripts.ingest(self.client, shard, [item], time.time())
        if answer == "F":
            raise InstabotError("the queue is full; see `instabot status`, then try again")

    async def _silence(self, verb: str, timeout: float) -> str:
        if await self.processes(keys.BACKENDS):
            return f"no answer to {verb} within {timeout:g} s; see `instabot status`"
        return f"no answer to {verb}: no backend runs; start one with `instabot up`"

    # -- watching --------------------------------------------------------------------------

    async def tail(
        self, room: Room, since: float | None = None
    ) -> AsyncGenerator[Message, None]:
        """Messages of a room as they come, after those since a time (Unix seconds); endless."""
        stream = key(room_shard(room.id), "messages")
        last: bytes = b"%d-0" % int((since or 0) * 1000)
        if since is None:
            newest = await self.raw("XREVRANGE", stream, "+", "-", "COUNT", 1)
            last = newest[0][0] if newest else b"0-0"
        waiter = Pipe(self.url, "instabot-tail", timeout=8)
        try:
            while True:
                with our_errors():
                    answer = await waiter.execute_command(
                        *("XREAD", "COUNT", 500, "BLOCK", 1000, "STREAMS", stream, last)
                    )
                for number, row in answer[0][1] if answer else ():
                    last, fields = number, table(row)
                    if fields.get(b"r") == room.id.encode():
                        message = _read(wire.decode_message, fields.get(b"d", b""))
                        if message is not None:
                            yield message
        finally:
            await waiter.aclose()


async def _final(
    feed: Any, request: str, final: Sequence[str], hear: Callable[[Answer], None] | None
) -> Answer:
    while True:
        with our_errors():
            said = await feed.get_message(ignore_subscribe_messages=True, timeout=1)
        answer = _read(wire.decode_answer, said["data"]) if said else None
        if answer is None or answer.request != request:
            continue
        if answer.outcome == "refused":
            raise NotAllowed(answer.text or "refused")
        if answer.outcome == "failed":
            raise InstabotError(answer.text or "it failed, and nobody said why")
        if answer.outcome in final:
            return answer
        if hear is not None:
            hear(answer)


def operator() -> str:
    """Who asks: user and machine, for the audit."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in some containers
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _rows(tables: Sequence[Mapping[bytes, bytes]]) -> list[bytes]:
    return [row for table in tables for name, row in table.items() if name != b"generation"]


def _read(decode: Callable[[bytes], T], data: bytes) -> T | None:
    """What it says, or None where somebody else's bytes lie in our place."""
    try:
        return decode(data)
    except Malformed:
        return None
