"""`instabot backend` as a child process, started again whenever it ends, as a supervisor does."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.backend.stage import Stage
from tests.servers.process import Process, until


class BackendProcess(Process):
    """One backend of a stage. `ready` once its shard is taken and it says so."""

    def __init__(self, s: Stage, *flags: str, name: str = "b") -> None:
        argv = [sys.executable, "-P", "-m", "instabot", "backend", "--id", name]
        argv += ["--redis", s.server.unix_url, "--store", s.settings.store, *flags]
        env = {k: v for k, v in os.environ.items() if not k.startswith("INSTABOT_")}
        env |= {"INSTABOT_DATA": str(s.settings.data), "INSTABOT_SHARDS": str(s.shards)}
        super().__init__(f"backend-{name}", argv, s.folder, ready=self._says_ready, env=env)

    async def _says_ready(self) -> bool:
        return self.log(10**6).count("ready: backend") >= self.starts


@asynccontextmanager
async def supervised(process: Process) -> AsyncIterator[Process]:
    """Start it, and again whenever it ends, until the block does; it may never be ready."""
    process._spawn()
    try:
        async with asyncio.TaskGroup() as tasks:
            keeper = tasks.create_task(_keep(process))
            yield process
            keeper.cancel()
    finally:
        await process.stop()


async def _keep(process: Process) -> None:
    while True:
        await until(lambda: _ended(process), "it ends", timeout=10**6)
        process._spawn()


async def _ended(process: Process) -> bool:
    return not process.running
