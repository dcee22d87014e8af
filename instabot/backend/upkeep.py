"""What runs beside: heartbeats, and the trimming of streams."""

import asyncio
import os
import time
from collections.abc import Callable

import structlog

from instabot.broker.keys import BACKENDS
from instabot.broker.lease import Leases
from instabot.broker.pipe import Pipe
from instabot.broker.presence import Presence, memory_mb
from instabot.broker.shards import shard_count
from instabot.broker.trim import forget_epochs, trim
from instabot.errors import InstabotError

log = structlog.get_logger()

BEAT = 2.0
TRIM = 60.0
"""Seconds between heartbeats, and between trims."""


class Upkeep:
    """`retention` in seconds; `in_flight` counts the messages under evaluation."""

    def __init__(
        self,
        client: Pipe,
        name: str,
        shards: int,
        retention: float,
        in_flight: Callable[[], int],
    ) -> None:
        self.presence = Presence(client, BACKENDS, name)
        self._client = client
        self._shards = shards
        self._retention = retention
        self._in_flight = in_flight
        self._since = time.time()

    def share(self) -> int:
        """How many shards are fairly ours."""
        return self.presence.share(self._shards)

    async def trims(self, leases: Leases) -> None:
        """Trim the shards we own, now and then, for ever."""
        while True:
            await asyncio.sleep(TRIM)
            for shard in list(leases.held):
                try:
                    await trim(self._client, shard, self._retention)
                    await forget_epochs(self._client, shard, self._retention)
                except InstabotError as error:
                    log.warning("not trimmed", shard=shard, error=str(error))

    async def beats(self) -> None:
        """Say that we live, for ever."""
        while True:
            await asyncio.sleep(BEAT)
            try:
                await self.beat()
            except InstabotError as error:
                log.warning("no heartbeat", error=str(error))

    async def beat(self) -> None:
        """One heartbeat. Raises Unreachable."""
        await shard_count(self._client, self._shards)  # it is there even if Redis lost its data
        await self.presence.beat(
            {
                "pid": os.getpid(),
                "in_flight": self._in_flight(),
                "up_s": round(time.time() - self._since, 1),
                "rss_mb": memory_mb(),
            }
        )
