"""What should be open: reads the desired state of our shards and opens and closes links to match.

Level-triggered: a nudge, a new generation and a taken shard all lead to the same thing, the
shard's hashes are read whole and compared with what is open. `Desired.run` is the only writer of
`networks`; everybody else puts an event in its queue.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import structlog

from instabot import wire
from instabot.broker import scripts
from instabot.broker.keys import key
from instabot.broker.lease import Taken
from instabot.broker.redis import Caller, persist
from instabot.errors import InstabotError, Malformed
from instabot.model import Join, Live, Network, Part, Room, Sync, room_shard
from instabot.runtime.network import Links
from instabot.runtime.ports import Ports
from instabot.runtime.spot import Spot

log = structlog.get_logger()

T = TypeVar("T")
PARTED = "instabot part"


@dataclass(frozen=True, slots=True)
class Nudged:
    """Read the shard again. `control` may name what to try anew; `done` is set when it is read."""

    shard: int
    control: Join | Part | Sync | None = None
    done: asyncio.Event | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """The shard is another runtime's: its links are no longer ours to hold."""

    shard: int


@dataclass(slots=True)
class _Wanted:
    """The hashes of a shard, read. None of it is acted upon without a generation.

    `unclear` names what is there but cannot be read: it stays as it is.
    """

    known: bool
    networks: dict[str, Network] = field(default_factory=dict)
    rooms: dict[str, Room] = field(default_factory=dict)
    unclear: set[str] = field(default_factory=set)


class Desired:
    """network id → its links, for every shard we hold."""

    def __init__(self, client: Caller, ports: Ports) -> None:
        self.networks: dict[str, Links] = {}
        self._client = client
        self._ports = ports
        self._home: dict[str, Links] = {}
        self._ours: set[int] = set()
        self._events: asyncio.Queue[Taken | Nudged | Lost] = asyncio.Queue()
        self._closed = False

    def find(self, room: str) -> Spot | None:
        """A room's spot, None where the room is not wanted."""
        links = self._home.get(room)
        return links.spots.get(room) if links else None

    def tell(self, event: Taken | Nudged | Lost) -> None:
        """Queue an event; never blocks."""
        self._events.put_nowait(event)

    async def reread(self, shard: int) -> None:
        """Return when the shard was read after this call began."""
        done = asyncio.Event()
        self.tell(Nudged(shard, done=done))
        await done.wait()

    async def run(self) -> None:
        """Handle events until cancelled; nudges that wait together cost one reading."""
        while True:
            events = [await self._events.get()]
            while not self._events.empty():
                events.append(self._events.get_nowait())
            try:
                await self._handle(events)
            finally:  # whatever went wrong: nobody waits for ever
                for event in events:
                    if isinstance(event, Nudged) and event.done:
                        event.done.set()

    async def _handle(self, events: Sequence[Taken | Nudged | Lost]) -> None:
        nudges: dict[int, list[Nudged]] = {}
        for event in events:
            if self._closed:
                return
            if isinstance(event, Taken):
                await self._take(event)
            elif isinstance(event, Lost):
                await self._lose(event.shard)
            else:
                nudges.setdefault(event.shard, []).append(event)
        for shard, nudged in nudges.items():
            if shard in self._ours and not self._closed:
                await self._refresh(shard, nudged)

    async def _take(self, taken: Taken) -> None:
        self._ours.add(taken.shard)
        holes: dict[str, float] = {}
        if not taken.again:
            nothing: dict[str, Live] = {}
            before = await self._ask(lambda: self._ports.board.load(taken.shard), nothing)
            holes = {
                room: hole for room, live in before.items() if (hole := _hole(live, taken))
            }
        await self._match(taken.shard, holes)

    async def _ask(self, call: Callable[[], Awaitable[T]], otherwise: T) -> T:
        """Ask Redis until it answers; what it refuses to tell is not known."""
        try:
            return await persist(call)
        except InstabotError as error:  # a key of another type, say
            log.error("Redis refused", error=str(error))
            return otherwise

    async def _lose(self, shard: int) -> None:
        self._ours.discard(shard)
        lost = [links for links in self.networks.values() if links.shard == shard]
        for links in lost:
            self._forget(links.network.id)
        await _close(lost, "another runtime took over")
        self._ports.board.drop(shard)

    async def _refresh(self, shard: int, nudged: Sequence[Nudged]) -> None:
        await self._match(shard, {})
        for nudge in nudged:
            self._retry(nudge.control)

    def _retry(self, control: Join | Part | Sync | None) -> None:
        if isinstance(control, Join):
            if spot := self.find(control.room):
                spot.link.retry(spot)
        elif isinstance(control, Sync) and (links := self.networks.get(control.network)):
            links.retry()

    async def _match(self, shard: int, holes: dict[str, float]) -> None:
        wanted = await self._ask(lambda: self._read(shard), _Wanted(known=False))
        if self._closed:
            return
        if not wanted.known:
            if any(links.shard == shard for links in self.networks.values()):
                log.warning("desired state unknown, keeping what is open", shard=shard)
            return
        await self._match_networks(shard, wanted)
        self._match_rooms(shard, wanted, holes)
        self._ports.board.keep(shard, wanted.rooms.keys() | wanted.unclear)

    async def _match_networks(self, shard: int, wanted: _Wanted) -> None:
        removed = [
            links
            for name, links in self.networks.items()
            if links.shard == shard and name not in wanted.networks.keys() | wanted.unclear
        ]
        for links in removed:
            self._forget(links.network.id)
            for room in list(links.spots):
                links.unwant(room, "the network was removed")
        await _close(removed, "the network was removed")
        for name, network in wanted.networks.items():
            links = self.networks.setdefault(name, Links(self._ports, network, shard))
            if links.network != network:
                await links.change(network)

    def _match_rooms(self, shard: int, wanted: _Wanted, holes: dict[str, float]) -> None:
        for room, links in list(self._home.items()):
            if links.shard == shard and room not in wanted.rooms.keys() | wanted.unclear:
                links.unwant(room, PARTED)
                del self._home[room]
        for name, wish in wanted.rooms.items():
            if home := self.networks.get(wish.network):
                if (before := self._home.get(name)) not in {None, home}:
                    before.unwant(name, PARTED)
                home.want(wish, holes.get(name, 0.0))
                self._home[name] = home

    def _forget(self, name: str) -> None:
        links = self.networks.pop(name)
        for room in list(links.spots):
            self._home.pop(room, None)

    async def _read(self, shard: int) -> _Wanted:
        networks = await scripts.read_hash(self._client, key(shard, "networks"))
        rooms = await scripts.read_hash(self._client, key(shard, "rooms"))
        generations = networks.pop("generation", None), rooms.pop("generation", None)
        wanted = _Wanted(all(generations))
        for name, data in networks.items():
            try:
                network = wire.decode_network(data)
                _check(network.id == name, f"it calls itself {network.id!r}")
                wanted.networks[name] = network
            except Malformed as error:
                log.error("network unreadable", network=name, error=str(error))
                wanted.unclear.add(name)
        for name, data in rooms.items():
            try:
                room = wire.decode_room(data)
                _check(room.id == name, f"it calls itself {room.id!r}")
                _check(_shard(name) == shard, f"it does not belong to shard {shard}")
                wanted.rooms[name] = room
            except Malformed as error:
                log.error("room unreadable", room=name, error=str(error))
                wanted.unclear.add(name)
        return wanted

    async def close(self, reason: str) -> None:
        """Hang up everything; the process ends, and nothing is opened any more."""
        self._closed = True
        await _close(list(self.networks.values()), reason)


async def _close(all_links: Sequence[Links], reason: str) -> None:
    """At the same time: one that does not answer delays no other."""
    async with asyncio.TaskGroup() as tasks:
        for links in all_links:
            tasks.create_task(links.close(reason), name=f"close {links.network.id}")


def _check(right: bool, otherwise: str) -> None:
    if not right:
        raise Malformed(otherwise)


def _shard(room: str) -> int:
    try:
        return room_shard(room)
    except ValueError as error:
        raise Malformed(str(error)) from None


def _hole(live: Live, taken: Taken) -> float:
    """Since when a room may have missed lines: when its last holder, or its link, went away."""
    if live.gap_since > live.gap_until:
        return live.gap_since  # it was open when its holder went
    if live.state == "joined":
        return taken.beat
    ever = live.heard or live.said or live.gap_until
    return live.since if ever and live.state in {"lost", "joining", "connecting"} else 0.0
