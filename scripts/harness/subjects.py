"""The bots that the bench compares, each as processes of its own: started, joined, weighed."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from scripts.harness.stage import Stage
from tests.servers.process import Process, until

PYTHON = sys.executable
ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 900.0
"""Seconds that joining ten thousand rooms may take before a bench gives up."""


class Subject(Protocol):
    """A bot under measurement. `runtime` sits in the rooms, `backend` evaluates."""

    runtime: Process
    backend: Process

    async def up(self) -> None:
        """Start it, without rooms."""

    async def join(self, rooms: Sequence[str], own_links: bool = False) -> float:
        """Have it sit in these rooms (old ones stay) → seconds until it is in all of them."""

    async def rejoin(self) -> float:
        """Kill the runtime and start it → seconds until it is in all rooms again."""

    async def down(self) -> None:
        """Stop it."""


def module(name: str, part: str, *args: str) -> list[str]:
    """The command line of one of the harness' own programs."""
    return [PYTHON, "-m", f"scripts.harness.{name}", part, *args]


def environment(**extra: str) -> dict[str, str]:
    """Ours without any setting of Instabot, and with the project importable."""
    ours = {
        name: value for name, value in os.environ.items() if not name.startswith("INSTABOT")
    }
    return {**ours, "PYTHONPATH": str(ROOT), **extra}


class Seed:
    """The transliterated seed: always a connection per room."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._rooms: list[str] = []
        self.backend = self._process("seed-backend", "backend", [])
        self.runtime = self._process("seed-runtime", "runtime", [])

    async def up(self) -> None:
        """Start both parts."""
        await self.backend.start()
        await self.runtime.start()

    async def join(self, rooms: Sequence[str], own_links: bool = False) -> float:
        """The seed reads its rooms at start, so this starts its runtime anew."""
        self._rooms += [room for room in rooms if room not in set(self._rooms)]
        return await self.rejoin()

    async def rejoin(self) -> float:
        """Kill and start the runtime."""
        await self.runtime.kill()
        (self._stage.home / "seed-runtime.log").write_bytes(b"")
        self.runtime = self._process("seed-runtime", "runtime", self._rooms)
        start = time.perf_counter()
        await self.runtime.start()
        await until(self._joined, "the seed in all rooms", PATIENCE, every=0.05)
        return time.perf_counter() - start

    async def down(self) -> None:
        """Stop both parts."""
        await self.runtime.stop()
        await self.backend.stop()

    async def _joined(self) -> bool:
        return f"joined {len(self._rooms)}\n" in self.runtime.log(40)

    def _process(self, name: str, part: str, rooms: list[str]) -> Process:
        stage = self._stage
        port = [str(stage.irc.port)] if part == "runtime" else []
        argv = module("seed", part, stage.redis.url, *port, *rooms)
        return Process(name, argv, stage.home, env=environment())
