"""Heartbeats of runtimes and backends: who is alive, and what the others' fair share is."""

import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from instabot.broker.redis import Caller, our_errors, pipelined, table

STALE = 15.0
"""Seconds after which a silent process counts as gone."""


class Presence:
    """One process's own beat, and the number of its living peers as of the last beat."""

    def __init__(self, client: Caller, hash_name: str, name: str) -> None:
        self.peers = 1
        self._client = client
        self._hash = hash_name
        self._name = name

    async def beat(self, facts: dict[str, Any]) -> None:
        """Say that we live, with what consoles show of us, and count who else does."""
        now = time.time()
        data = msgspec.json.encode({"id": self._name, "at": now, **facts})
        _, everyone = await pipelined(
            self._client, [("HSET", self._hash, self._name, data), ("HGETALL", self._hash)]
        )
        self.peers = max(1, sum(_lives(row, now) for row in table(everyone).values()))

    async def gone(self) -> None:
        """Take our name out, on a graceful stop."""
        with our_errors():
            await self._client.execute_command("HDEL", self._hash, self._name)

    def share(self, shards: int) -> int:
        """How many shards are fairly ours."""
        return -(-shards // self.peers)


def _lives(row: bytes, now: float) -> bool:
    try:
        return now - float(msgspec.json.decode(row)["at"]) < STALE
    except (msgspec.MsgspecError, UnicodeError, KeyError, TypeError, ValueError):
        return False  # somebody else's bytes: they must not end us


def memory_mb() -> float:
    """This process's resident memory in MB: of now on Linux, the peak elsewhere."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes there, KB here
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)
