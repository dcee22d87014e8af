"""Rooms and networks as the backend knows them, and their copy in Redis for the runtime.

The store is the truth. `Places` keeps the rooms of our shards in memory for the hot path, and
writes the hashes `networks` and `rooms`, fenced and under a rising generation: whole when a
shard is taken, field by field when a request changed something.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from instabot import wire
from instabot.broker import scripts
from instabot.broker.lease import Leases
from instabot.broker.redis import Caller, persist
from instabot.model import Network, Room, room_shard
from instabot.store.store import Store

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Place:
    """A room with what evaluating a line needs of its settings."""

    room: Room
    network: Network
    prefix: str
    egress: bool
    logged: bool


class Places:
    """room id → place, for the shards we own.

    `changing` is held from a change in the store to the same change here and in Redis, so that
    taking a shard never overwrites a change with what it read before.
    """

    def __init__(self, client: Caller, leases: Leases, store: Store, prefix: str) -> None:
        self.places: dict[str, Place] = {}
        self.changing = asyncio.Lock()
        self.networks: dict[str, Network] = {}
        self._client = client
        self._leases = leases
        self._store = store
        self._prefix = prefix
        self._shards: dict[str, int] = {}
        self._generations: dict[int, int] = {}
        self._silent: set[str] = set()

    def get(self, room: str) -> Place | None:
        """The place of a wanted room of ours."""
        return self.places.get(room)

    def egress(self, shard: int) -> bool:
        """Does any network of a shard want the seed's plain list of messages?"""
        return any(
            _on(network.settings, "egress", False)
            for name, network in self.networks.items()
            if self._shards[name] == shard
        )

    def wants_egress(self, room: str) -> bool:
        """Does this room's network want it?"""
        place = self.places.get(room)
        return place is not None and place.egress

    def logged(self, room: str) -> bool:
        """Does this room want to be logged? One that we left counts as it did, for its last lines."""
        place = self.places.get(room)
        return place.logged if place else room not in self._silent

    def generation(self, shard: int) -> int:
        """The generation of a shard's hashes as we wrote them last; 0 = never."""
        return self._generations.get(shard, 0)

    async def noticed(self, shard: int, generation: int) -> None:
        """Redis shows this generation: a lower one than ours means that it lost what we wrote.

        Raises Unreachable, Fenced.
        """
        if generation < self.generation(shard):
            log.error("Redis lost desired state: writing it anew", shard=shard)
            await self.take(shard)

    async def take(self, shard: int) -> None:
        """Read a shard from the store and write its hashes anew. Raises Unreachable, Fenced.

        Lines may be evaluated meanwhile (the shard was ours before), so what is known is replaced
        without a pause: a room missing for a moment would be a room nobody answers.
        """
        async with self.changing:
            networks = await self._store.rooms.networks(shard)
            rooms = await self._store.rooms.rooms(shard)
            generation = await self._store.meta.next_generation(shard)
            generation = max(generation, self.generation(shard) + 1)
            self.drop(shard)
            for network in networks:
                self.networks[network.id] = network
                self._shards[network.id] = shard
            for room in rooms:
                self._keep(room)
            fields = [("n", network.id, wire.encode(network)) for network in networks]
            fields += [("r", room.id, wire.encode(room)) for room in rooms]
            self._generations[shard] = await scripts.put(
                self._client,
                shard,
                self._leases.token,
                fields,
                whole=True,
                generation=generation,
            )

    def drop(self, shard: int) -> None:
        """The shard is another backend's."""
        for room in [room for room in self.places if room_shard(room) == shard]:
            del self.places[room]
        for name in [name for name, at in self._shards.items() if at == shard]:
            self.networks.pop(name, None)
            del self._shards[name]

    async def put(
        self, shard: int, network: Network | None = None, rooms: Sequence[Room] = ()
    ) -> None:
        """A network or rooms changed in the store: here and in Redis too."""
        fields: list[tuple[str, str, bytes]] = []
        if network:
            self.networks[network.id] = network
            self._shards[network.id] = shard
            fields.append(("n", network.id, wire.encode(network)))
            rooms = [*rooms, *(p.room for p in self._of(network.id))]
        for room in {room.id: room for room in reversed(rooms)}.values():
            self._keep(room)
            fields.append(("r", room.id, wire.encode(room)))
        await self._write(shard, fields)

    async def remove(
        self, shard: int, network: str = "", rooms: Sequence[str] = ()
    ) -> list[str]:
        """A network, or rooms, are not wanted any more → the rooms that went."""
        gone = list(rooms)
        fields: list[tuple[str, str, bytes]] = []
        if network:
            gone += [place.room.id for place in self._of(network)]
            self.networks.pop(network, None)
            self._shards.pop(network, None)
            fields.append(("n", network, b""))
        for room in gone:
            place = self.places.pop(room, None)
            if place and not place.logged:
                self._silent.add(room)
            fields.append(("r", room, b""))
        await self._write(shard, fields)
        return gone

    async def _write(self, shard: int, fields: Sequence[tuple[str, str, bytes]]) -> None:
        token = self._leases.token
        self._generations[shard] = await persist(
            lambda: scripts.put(self._client, shard, token, fields)
        )

    def _keep(self, room: Room) -> None:
        if network := self.networks.get(room.network):
            self.places[room.id] = self.place(room, network)

    def place(self, room: Room, network: Network) -> Place:
        """A room with its settings read; those of the room go before its network's."""
        settings = {**network.settings, **room.settings}
        return Place(
            room,
            network,
            settings.get("prefix") or self._prefix,
            _on(settings, "egress", False),
            _on(settings, "log", True),
        )

    def _of(self, network: str) -> list[Place]:
        return [place for place in self.places.values() if place.network.id == network]


def _on(settings: dict[str, str], name: str, default: bool) -> bool:
    value = settings.get(name, "").lower()
    return value in {"true", "yes", "on", "1"} if value else default
