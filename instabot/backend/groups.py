"""Which consumer groups `messages` has in each of our shards, and who reads them.

`backend` always; `log` unless rooms are not logged at all; `compat` where a network wants the
seed's plain list. A group nobody reads would pin trimming for ever, so what is not wanted goes.
"""

from collections.abc import Mapping

import structlog

from instabot.backend.places import Places
from instabot.broker import scripts
from instabot.broker.consumer import Consumer
from instabot.broker.egress import GROUP as COMPAT
from instabot.broker.lease import Leases, Taken
from instabot.broker.redis import Caller

log = structlog.get_logger()


class Groups:
    """`readers` are the consumers by their groups' names; the log's is missing when it is off."""

    def __init__(
        self,
        client: Caller,
        leases: Leases,
        places: Places,
        readers: Mapping[str, Consumer],
    ) -> None:
        self._client = client
        self._leases = leases
        self._places = places
        self._readers = readers
        self._shards: dict[int, frozenset[str]] = {}

    async def take(self, taken: Taken) -> None:
        """A shard is ours: see to its groups, then let them be read. Raises Fenced."""
        names = await self._agree(taken.shard)
        for name in names:
            self._readers[name].take(taken)

    async def changed(self, shard: int) -> None:
        """The shard's networks changed, and perhaps what they want. Raises Fenced."""
        before = self._shards.get(shard)
        if before is None or self._wanted(shard) == before:
            return
        # First: a reader that meets no group would create it again, and nobody would read it.
        for name in before - self._wanted(shard):
            self._readers[name].drop(shard)
        now = await self._agree(shard)
        for name in now - before:
            self._readers[name].take(Taken(shard, "", 0.0, 0, again=False))

    def drop(self, shard: int) -> None:
        """The shard is another backend's."""
        self._shards.pop(shard, None)
        for reader in self._readers.values():
            reader.drop(shard)

    def _wanted(self, shard: int) -> frozenset[str]:
        off = set() if self._places.egress(shard) else {COMPAT}
        return frozenset(self._readers.keys() - off)

    async def _agree(self, shard: int) -> frozenset[str]:
        wanted = self._wanted(shard)
        lost = await scripts.groups(
            self._client,
            shard,
            "messages",
            "backend",
            self._leases.token,
            [(name, b"") for name in sorted(wanted)],
            exactly=True,
        )
        if lost:
            log.error("Redis lost data: queued lines are gone", shard=shard, groups=lost)
        if "log" not in wanted:
            await scripts.forget_unlogged(self._client, shard)
        self._shards[shard] = wanted
        return wanted
