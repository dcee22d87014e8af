"""Instabot as a bench or a chaos run starts and asks it."""

import asyncio
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from pathlib import Path

from instabot.broker import keys
from instabot.broker.desk import Desk
from instabot.errors import InstabotError
from instabot.model import network_id, shard_of
from scripts.harness.stage import Stage
from scripts.harness.subjects import PATIENCE, PYTHON, environment
from tests.servers.process import Process, until


class Product:
    """Instabot itself, its two processes started as an operator would start them."""

    def __init__(self, stage: Stage, log: bool = True) -> None:
        self._stage = stage
        self._count = 0
        self.env = environment(
            INSTABOT_DATA=str(stage.home / "data"),
            INSTABOT_REDIS_URL=stage.redis.url,
            INSTABOT_ROOM_LOG="1" if log else "0",
            INSTABOT_LOG="json",
        )
        self.program = str(Path(PYTHON).parent / "instabot")
        url = stage.redis.url
        store = f"sqlite:///{stage.home}/store.db"
        self.runtime = self._process("runtime", "--redis", url, "--id", "r1")
        self.backend = self._process("backend", "--redis", url, "--store", store, "--id", "b1")

    async def up(self) -> None:
        """Start both processes and wait until each holds its leases."""
        await self.backend.start()
        await self.runtime.start()
        await until(self._beating, "runtime and backend up", 60.0, every=0.05)

    async def cli(self, *args: str) -> str:
        """Run a command of the product → its output. Raises RuntimeError with its complaint."""
        process = await asyncio.create_subprocess_exec(
            self.program, *args, env=self.env, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
        )
        out, err = await process.communicate()
        if process.returncode:
            said = err.decode(errors="replace").strip()
            raise RuntimeError(f"instabot {' '.join(args)} → {process.returncode}: {said}")
        return out.decode()

    async def join(self, rooms: Sequence[str], own_links: bool = False) -> float:
        """By one network of all rooms, or by a network for each."""
        start = time.time()
        if own_links:
            await self._ask_links(rooms)
        else:
            await self._join_file(rooms)
        self._count += len(rooms)
        return await self._all_joined(start, anew=False)

    async def rejoin(self) -> float:
        """Kill the runtime and start it under the same id."""
        await self.runtime.kill()
        start = time.time()
        await self.runtime.start()
        return await self._all_joined(start, anew=True)

    async def down(self) -> None:
        """Stop both processes."""
        await self.runtime.stop()
        await self.backend.stop()

    async def quiet(self) -> bool:
        """Whether nothing waits or runs in any room."""
        async with Desk.open(self._stage.redis.url) as desk:
            return all(room.depth == 0 for room in await desk.rooms())

    async def _join_file(self, rooms: Sequence[str]) -> None:
        if not self._count:
            url = f"irc://instabot@127.0.0.1:{self._stage.irc.port}"
            await self.cli("network", "add", "bench", url, "--set", "rate=0")
        path = self._stage.home / "rooms.txt"
        path.write_text("".join(f"{room}\n" for room in rooms))
        await self.cli("join", "bench", "--file", str(path), "--no-wait")

    async def _ask_links(self, rooms: Sequence[str]) -> None:
        # What `instabot join irc://NICK@HOST/ROOM` asks, without a process for each.
        async with Desk.open(self._stage.redis.url) as desk:
            for number, room in enumerate(rooms, self._count):
                name = f"link{number}"
                args = {
                    "network": name,
                    "url": f"irc://bot{number}@127.0.0.1:{self._stage.irc.port}",
                    "secret": "",
                    "settings": {"rate": "0"},
                    "rooms": [{"name": room, "key": ""}],
                }
                shard = shard_of(network_id(desk.tenant, name), desk.shards)
                await desk.ask(shard, "join", args, timeout=60)

    async def _all_joined(self, start: float, anew: bool) -> float:
        """Seconds from `start` until the last room was joined; `anew`: each after `start`."""
        last = start

        async def check() -> bool:
            nonlocal last
            async with Desk.open(self._stage.redis.url) as desk:
                rooms = await desk.rooms()
            joined = [room for room in rooms if room.state == "joined"]
            if anew:
                joined = [room for room in joined if room.since > start]
            last = max((room.since for room in joined), default=start)
            return len(joined) == len(rooms) == self._count

        await until(check, f"{self._count} rooms joined", PATIENCE, every=0.5)
        return last - start

    async def _beating(self) -> bool:
        for process in (self.runtime, self.backend):
            if not process.running:
                raise RuntimeError(f"{process.name} ended: {process.log()}")
        try:
            async with Desk.open(self._stage.redis.url) as desk:
                return bool(
                    await desk.processes(keys.RUNTIMES) and await desk.processes(keys.BACKENDS)
                )
        except InstabotError:
            return False

    def _process(self, part: str, *args: str) -> Process:
        return Process(
            part, [self.program, part, "--debug", *args], self._stage.home, env=self.env
        )
