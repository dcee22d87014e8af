"""One whole Instabot in one network, as its operator and the people in its rooms see it."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from instabot.broker.desk import Desk
from instabot.broker.overview import status
from tests.journey.networks import Network, Person
from tests.servers.process import until
from tests.whole import COMMAND, Result, Up, up

BOT = "acmebot"


class Home:
    """A running `instabot up` whose bot sits in rooms of `network`."""

    def __init__(self, one: Up, network: Network) -> None:
        self.up = one
        self.network = network

    async def run(self, *args: str, stdin: bytes = b"") -> Result:
        """An `instabot` command."""
        return await self.up.run(*args, stdin=stdin)

    async def join(self, *rooms: str, bot: str = BOT, **settings: str) -> dict[str, str]:
        """`instabot join URL` → room ids by bare name."""
        result = await self.run("join", self.network.url(bot, rooms, **settings), "--json")
        assert result.code == 0, result
        ids = {row["name"]: row["id"] for row in result.json}
        return {room: ids[self.network.room(room)] for room in rooms}

    async def rooms(self) -> dict[str, dict[str, Any]]:
        """The rows of `rooms --json`, by the service's names."""
        return {row["name"]: row for row in (await self.run("rooms", "--json")).json}

    async def status(self) -> Any:
        """`status --json`."""
        result = await self.run("status", "--json")
        assert result.code == 0, result
        return result.json

    @property
    def redis_url(self) -> str:
        """The Redis that it uses."""
        own = f"unix://{self.up.data}/redis/redis.sock"
        return self.up.env.get("INSTABOT_REDIS_URL", own)

    async def quiet(self) -> None:
        """Wait until nothing is on its way any more."""
        async with Desk.open(self.redis_url) as desk:

            async def nothing_waits() -> bool:
                queues = (await status(desk))["queues"]
                return not any(queues[name]["depth"] for name in ("messages", "control"))

            await until(nothing_waits, "nothing waits in the queues", 30, every=0.05)

    async def counted(self, room: str, heard: int, said: int) -> None:
        """Wait until a room's row shows these counts, which are written once a second."""
        async with Desk.open(self.redis_url) as desk:

            async def shows() -> bool:
                rows = {row.name: row for row in await desk.rooms()}
                return (rows[room].heard, rows[room].said) == (heard, said)

            await until(shows, f"{room} has heard {heard} and said {said}", every=0.05)

    def redis(self) -> Redis:
        """A plain client, as `redis-cli` is."""
        return Redis.from_url(self.redis_url, protocol=2, socket_timeout=15)

    @asynccontextmanager
    async def tail(self, *args: str) -> AsyncIterator["Tail"]:
        """`instabot tail …`, ended with the block."""
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            "tail",
            *args,
            env=self.up.env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            yield Tail(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


class Tail:
    """A running `instabot tail`; `lines` are all it printed so far, without their time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.lines: list[str] = []
        self.raw = b""
        self._process = process

    async def shows(self, what: str, timeout: float = 15.0) -> str:
        """Read on to a line that holds `what`."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(timeout):
                while raw := await self._process.stdout.readline():
                    self.raw += raw
                    self.lines.append(raw.decode().rstrip("\n").partition(" ")[2])
                    if what in self.lines[-1]:
                        return self.lines[-1]
        except TimeoutError:
            pass
        raise AssertionError(f"tail did not show {what!r}: {self.lines}")


@asynccontextmanager
async def home(network: Network, data: Path, *args: str, **env: str) -> AsyncIterator[Home]:
    """`instabot up` for the length of the block; the bot is nowhere yet."""
    async with up(data, *args, **env) as one:
        one.env.update(env)
        yield Home(one, network)


def said(person: Person, room: str, by: str = BOT) -> list[str]:
    """What somebody said in a room (as the service spells it), as this person saw it."""
    mark = f"{room} <{by}> "
    return [line.removeprefix(mark) for line in person.transcript(room) if mark in line]


def moves(person: Person, who: str = BOT) -> list[str]:
    """The bot's coming and going, as this person saw it."""
    found = re.compile(
        rf"(\S+ )?{re.escape(who)} (joined|left|quit|was kicked|is now)\b.*"
    ).fullmatch
    return [line.shown for line in person.lines if found(line.shown)]


def pongs(numbers: Iterable[int]) -> list[str]:
    """The answers to `!ping 1`, `!ping 2`, …"""
    return [f"pong {number}" for number in numbers]


def note(text: str) -> None:
    """A measurement, shown by `pytest -s` and beside failures; nothing depends on it."""
    sys.stdout.write(f"{text}\n")
