"""Where a bench or a chaos run plays: a real IRC server, a real Redis, a folder for the bot."""

import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import servers
from tests.servers.process import folder

SERVERS = {"ngircd": servers.ngircd, "inspircd": servers.inspircd}
REDISES = {"redis": servers.redis, "valkey": servers.valkey}


@dataclass(frozen=True)
class Stage:
    """What a bot under test is given."""

    irc: servers.IrcServer
    redis: servers.RedisServer
    home: Path


@asynccontextmanager
async def stage(irc: str = "ngircd", redis: str = "redis") -> AsyncIterator[Stage]:
    """Set it up, empty. Raises servers.Missing with what to install."""
    raise_file_limit()
    with folder() as home:
        async with REDISES[redis]() as queue, SERVERS[irc]() as chat:
            yield Stage(chat, queue, home)


def raise_file_limit() -> None:
    """As many open files as we may have: ten thousand connections need as many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
