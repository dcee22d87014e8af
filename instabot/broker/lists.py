"""The seed's wire: plain Redis lists of JSON, bridged to the streams without loss.

Whoever may `RPUSH control '{"id": ROOM, "text": …}'` speaks in that room; the other direction is
`egress.py`. The scripts touch a list and a shard's keys at once, so this works on a standalone
Redis or under Sentinel, not on Redis Cluster.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import structlog

from instabot import wire
from instabot.broker import scripts
from instabot.broker.keys import LIST_CONTROL, LIST_WORK, key
from instabot.broker.lease import Leases, Taken
from instabot.broker.redis import Backoff, Caller, ReplyError, our_errors, pipelined
from instabot.broker.scripts import Caps
from instabot.errors import Fenced, Malformed, Unreachable
from instabot.model import Say, room_shard

log = structlog.get_logger()

LONGEST = 64 * 1024
"""Bytes in one payload. Longer ones are dead letters: no room wants them said."""

BATCH = 64
BATCH_BYTES = 256 * 1024
"""How many payloads are under way at once, and where a batch ends early (in bytes)."""

BLOCK = 1
"""Seconds that one BLMOVE waits."""

PATIENCE = 30.0
"""Seconds that a payload waits for a shard whose rooms are unknown, because data was lost or no
backend has written them yet. It holds up those behind it."""


class Push(msgspec.Struct):
    """What a client puts on the list `control`. Fields we do not know are ignored."""

    id: str
    text: str


class Parcel(NamedTuple):
    """A payload and where it goes: with `why`, to the dead letters of its shard.

    `open` says that nobody can tell yet whether its room exists.
    """

    payload: bytes
    shard: int
    id: str
    room: str
    tenant: str
    data: bytes
    why: str = ""
    open: bool = False


class Bridge:
    """control (list) → {s}:control. One bridge at a time works, by a lease of its own.

    A payload is moved to a work list first; what a dead bridge left there is what the next one
    begins with. One script looks that it is still the head, passes it on and pops it, so no
    kill loses or doubles it, and the order stays.

    `blocking` must be a connection of its own, with a time-out well above `BLOCK`.
    """

    def __init__(
        self,
        client: Caller,
        blocking: Caller,
        name: str,
        shards: int,
        *,
        ttl: float = 5.0,
        incarnation: int | None = None,
        caps: Caps = Caps(),  # noqa: B008 - immutable
        patience: float = PATIENCE,
    ) -> None:
        # The bridge's lease lies in shard 0.
        self.leases = Leases(client, "bridge", name, 1, ttl=ttl, incarnation=incarnation)
        self.leases.on_taken.append(self._taken)
        self.leases.on_lost.append(self._lost)
        self._client = client
        self._blocking = blocking
        self._shards = shards
        self._caps = caps
        self._patience = patience
        self._ours = asyncio.Event()
        self._counter = 0
        self._waits_since = 0.0

    async def run(self) -> None:
        """Bridge until cancelled. Raises Superseded when a newer process of our name runs."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.leases.run(), name="bridge lease")
            tasks.create_task(self._pump(), name="bridge")

    async def stop(self) -> None:
        """After `run` was cancelled: let the next bridge begin at once."""
        await self.leases.release()

    async def _taken(self, _: Taken) -> None:
        self._ours.set()

    async def _lost(self, _: int) -> None:
        self._ours.clear()

    async def _pump(self) -> None:
        backoff, slow = Backoff(), Backoff(1.0, 30.0)
        while True:
            await self._ours.wait()
            try:
                if await self.step():
                    backoff.reset()
                else:
                    await backoff.wait()
                slow.reset()
            except Fenced:
                self.leases.fenced()
                await backoff.wait()
            except Unreachable:
                await backoff.wait()
            except ReplyError as error:
                log.error("the list is not bridged", error=str(error))
                await slow.wait()

    async def step(self) -> bool:
        """Pass on what is there, or wait up to `BLOCK` seconds for it; False to back off."""
        payloads = await self._take()
        if not payloads:
            # A wake-up only: what it moves lies in the work list, even if its reply is lost.
            with our_errors():
                await self._blocking.execute_command(
                    "BLMOVE", LIST_CONTROL, LIST_WORK, "LEFT", "RIGHT", BLOCK
                )
            return True
        parcels = self._settled(await self._address(payloads))
        return bool(parcels) and await self._pass(parcels) > 0

    async def _take(self) -> list[bytes]:
        names = [LIST_CONTROL, LIST_WORK, key(0, "lease:bridge")]
        argv = [self.leases.token, BATCH, BATCH_BYTES]
        return list(await scripts.run(self._client, "take", names, argv))

    async def _address(self, payloads: Sequence[bytes]) -> list[Parcel]:
        """Where each goes. A new try makes new ids, so a Say never shares one."""
        parcels = [self._read(payload) for payload in payloads]
        asked = [p for p in parcels if not p.why]
        rows = await pipelined(
            self._client,
            [("HMGET", key(p.shard, "rooms"), p.room, "generation") for p in asked],
        )
        found = iter(rows)
        return [p if p.why else _housed(p, next(found)) for p in parcels]

    def _read(self, payload: bytes) -> Parcel:
        self._counter += 1
        number = f"list:{self.leases.incarnation}:{self._counter}"
        if len(payload) > LONGEST:
            why = f"{len(payload)} bytes are more than the {LONGEST} allowed; cut here"
            return Parcel(payload, 0, number, "", "", payload[:LONGEST], why)
        try:
            push = _push(payload)
        except Malformed as error:
            return Parcel(payload, 0, number, "", "", payload, str(error))
        say = wire.encode(Say(id=number, room=push.id, text=push.text, at=time.time()))
        try:
            shard = room_shard(push.id)
        except ValueError as error:
            return Parcel(payload, 0, number, push.id[:100], "", payload, str(error)[:200])
        if shard >= self._shards:
            return Parcel(payload, 0, number, push.id, "", say, f"there is no room {push.id}")
        return Parcel(payload, shard, number, push.id, "", say)

    def _settled(self, parcels: Sequence[Parcel]) -> list[Parcel]:
        """Those that can be passed on now: up to the first whose room is yet unknown."""
        now = time.monotonic()
        if not parcels[0].open:
            self._waits_since = 0.0
        elif not self._waits_since:
            self._waits_since = now
        elif now - self._waits_since > self._patience:
            why = f"the rooms of shard {parcels[0].shard} are unknown: no backend has written them"
            return [parcels[0]._replace(why=why)]
        first = next((n for n, parcel in enumerate(parcels) if parcel.open), len(parcels))
        return list(parcels[:first])

    async def _pass(self, parcels: Sequence[Parcel]) -> int:
        names = [LIST_WORK, key(0, "lease:bridge")]
        argv: list[bytes | str | int] = [self.leases.token]
        argv += [self._caps.shard, self._caps.tenant, self._caps.room]
        for parcel in parcels:
            names += [key(parcel.shard, name) for name in ("control", "depth", "dead")]
            argv += (parcel.payload, parcel.id, parcel.room, parcel.tenant)
            argv += (parcel.data, parcel.why)
        return int(await scripts.run(self._client, "pass", names, argv))


def _push(payload: bytes) -> Push:
    try:
        push = msgspec.json.decode(payload, type=Push)
    except RecursionError:
        raise Malformed("nested too deeply") from None
    except (msgspec.MsgspecError, ValueError) as error:  # bad UTF-8 among the latter
        raise Malformed(str(error)[:200]) from None
    if not push.text.strip():
        raise Malformed("the text is empty")
    return push


def _housed(parcel: Parcel, row: Any) -> Parcel:
    if isinstance(row, Exception):
        with our_errors():
            raise row
    room, generation = row
    if room is None:
        why = f"there is no room {parcel.room}"
        return parcel._replace(open=True) if generation is None else parcel._replace(why=why)
    try:
        return parcel._replace(tenant=wire.decode_room(room).tenant)
    except Malformed as error:
        return parcel._replace(why=f"the room's record cannot be read: {error}")
