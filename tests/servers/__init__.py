"""Real servers for tests, benches and chaos runs, each a child process on a free local port.

Every one is an async context manager that yields it ready to use and stops it by its own pid:

    async with redis() as server, ngircd() as chat: ...
"""

from tests.servers.inspircd import inspircd
from tests.servers.irc import IrcServer
from tests.servers.ngircd import ngircd
from tests.servers.process import Missing, Process, used
from tests.servers.redis import RedisServer, redis, valkey

__all__ = [
    "IrcServer",
    "Missing",
    "Process",
    "RedisServer",
    "inspircd",
    "ngircd",
    "redis",
    "used",
    "valkey",
]
