"""What every IRC server of the tests has in common, whichever program it is."""

import asyncio
import re
import shutil
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.servers.certs import Certificate, Tls, make
from tests.servers.ports import HOST, free_ports, listens
from tests.servers.process import Process, folder, running, unprivileged, used, version


@dataclass(frozen=True)
class Options:
    """How the server should be. `flood` keeps its flood control on, with its defaults.

    `max_joins` 0 is no limit; `nick_length` is the longest nick; `password` is asked of every
    client (PASS); `ping` is how many seconds of silence it takes to PING a client.
    """

    flood: bool = False
    certificate: Certificate = "good"
    password: str = ""
    max_joins: int = 0
    nick_length: int = 30
    ping: int = 120


class IrcServer(Process):
    """A real IRC server with a plain and a TLS port on the loopback interface."""

    host = HOST

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        folder: Path,
        ports: tuple[int, int],
        tls: Tls,
        options: Options,
    ) -> None:
        self.port, self.tls_port = ports
        self.ca_file = tls.ca
        self.options = options
        super().__init__(name, argv, folder, ready=self.answers, user=unprivileged())

    @property
    def url(self) -> str:
        """`irc://127.0.0.1:PORT`, without a nick."""
        return f"irc://{HOST}:{self.port}"

    @property
    def tls_url(self) -> str:
        """`ircs://127.0.0.1:PORT`; the certificate is for that address."""
        return f"ircs://{HOST}:{self.tls_port}"

    def context(self) -> ssl.SSLContext:
        """A client's context that trusts the tests' own authority and nobody else."""
        return ssl.create_default_context(cafile=str(self.ca_file))

    async def answers(self) -> bool:
        """Whether it speaks on its plain port and listens on the other.

        A listening port alone is not enough: InspIRCd opens it before it has read all of its
        configuration.
        """
        try:
            reader, writer = await asyncio.open_connection(HOST, self.port)
        except OSError:
            return False
        writer.write(b"QUIT\r\n")
        spoke = await reader.read(1)
        writer.close()
        return bool(spoke) and await listens(self.tls_port)


Recipe = Callable[[Path, tuple[int, int], Tls, Options], list[str]]
"""Writes the configuration into the folder; returns the command line."""


@asynccontextmanager
async def serve(name: str, recipe: Recipe, options: Options) -> AsyncIterator[IrcServer]:
    """Run an IRC server from its recipe."""
    user = unprivileged()
    with folder(user) as home:
        plain, secure = free_ports(2)
        tls = make(home, options.certificate)
        argv = recipe(home, (plain, secure), tls, options)
        if user is not None:
            for path in home.iterdir():
                shutil.chown(path, user, user)
        server = IrcServer(name, argv, home, (plain, secure), tls, options)
        async with running(server):
            used[f"{name} {_release(argv[0])}"] = None
            yield server


@cache
def _release(binary: str) -> str:
    found = re.search(r"\d+(\.\d+)+", version([binary, "--version"]))
    return found[0] if found else "(unknown version)"
