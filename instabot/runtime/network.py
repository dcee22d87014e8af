"""A network and its links: one, until the service limits rooms per connection."""

import asyncio
import time
from collections.abc import Mapping, Sequence

from instabot.model import Network, Room
from instabot.runtime.link import Link
from instabot.runtime.ports import Ports
from instabot.runtime.spot import Spot

AT_REST = {"prefix", "rate", "burst"}
"""Settings that no connection depends on: they change without a quit and a join."""


class Links:
    """All links of one network. `spots` is where its rooms are, whichever link holds them."""

    def __init__(self, ports: Ports, network: Network, shard: int) -> None:
        self.network = network
        self.shard = shard
        self.spots: dict[str, Spot] = {}
        self.links: list[Link] = []
        self._ports = ports

    def want(self, room: Room, hole: float = 0.0) -> Spot:
        """Hold a room. `hole` is since when lines may have been missed (0 = it is new)."""
        before = self.spots.get(room.id)
        if before and before.room == room:
            return before
        if before and before.room.name == room.name:
            other_key, before.room = before.room.key != room.key, room
            if other_key:
                before.link.retry(before)
            return before  # the people in the room see nothing of other settings
        if before:
            self.unwant(room.id, "settings changed")
        spot = Spot(room, self._link(), hole=hole)
        self.spots[room.id] = spot
        spot.link.want(spot)
        return spot

    def unwant(self, room: str, reason: str) -> None:
        """Leave a room."""
        if spot := self.spots.pop(room, None):
            spot.link.unwant(spot, reason)

    def retry(self) -> None:
        """The network's settings or secret were looked at again: try what failed anew."""
        for link in self.links:
            link.retry()

    async def change(self, network: Network) -> None:
        """Other settings: hang up and dial anew with them, where a connection depends on them."""
        before, self.network = self.network, network
        if _of_connection(before) == _of_connection(network):
            for link in self.links:
                link.change(network)
            return
        now = time.time()
        for spot in self.spots.values():
            spot.hole = spot.hole or (now if spot.state == "joined" else 0.0)
            spot.anew()
        old, self.links = self.links, []
        # The old go first: the service may allow our name only once.
        await _close(old, "settings changed")
        for spot in list(self.spots.values()):
            self._link().want(spot)

    async def close(self, reason: str) -> None:
        """Hang up every link."""
        await _close(self.links, reason)
        for spot in self.spots.values():
            spot.gone = True
            spot.notify()

    def _link(self, after: int = -1) -> Link:
        """The first link with room for one more, opening another one if need be."""
        for number, link in enumerate(self.links):
            if number > after and not link.full:
                return link
        spare = len(self.links)
        link = Link(
            self._ports, self.network, self.shard, spare, lambda s: self._move(s, spare)
        )
        self.links.append(link)
        return link

    def _move(self, spots: Sequence[Spot], from_link: int) -> None:
        for spot in spots:
            self._link(from_link).want(spot)


async def _close(links: Sequence[Link], reason: str) -> None:
    async with asyncio.TaskGroup() as tasks:
        for link in links:
            tasks.create_task(link.close(reason), name=f"close {link.network.id}")


def _of_connection(network: Network) -> tuple[str, str, Mapping[str, str]]:
    settings = {k: v for k, v in network.settings.items() if k not in AT_REST}
    return network.url, network.secret, settings
