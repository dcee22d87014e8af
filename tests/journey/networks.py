"""The chat networks that journeys take place on: real servers, and people on them.

A further adapter adds a class like `Irc` and a line in `NETWORKS`; every journey then takes
place there too. Room names are bare (`ops`): the network spells them.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol
from urllib.parse import urlencode

from tests.chat import Chat, Line
from tests.servers import IrcServer, inspircd, ngircd


class Person(Protocol):
    """Somebody with an ordinary client. Lines look alike on all networks: see `Line.shown`."""

    nick: str
    lines: list[Line]

    async def join(self, *rooms: str) -> None:
        """Enter rooms."""

    async def say(self, room: str, *texts: str) -> None:
        """Say lines in a room."""

    async def expect(self, what: str, timeout: float = 15.0, within: str = "") -> Line:
        """The next line that holds `what`. Raises TimeoutError with the transcript."""

    async def until(self, check: Callable[[], bool], what: str, timeout: float = 30.0) -> None:
        """Wait until `check` holds, which is asked again whenever lines came."""

    async def roundtrip(self, timeout: float = 15.0) -> list[Line]:
        """Wait until the server has passed on all that was said so far."""

    def transcript(self, room: str) -> list[str]:
        """Everything shown in a room so far."""


class Network(Protocol):
    """One chat service, running."""

    name: str

    def room(self, name: str) -> str:
        """A room as the service spells it: `ops` is `#ops` on IRC."""

    def url(self, bot: str, rooms: Sequence[str] = (), **settings: str) -> str:
        """What a user types behind `instabot join`, or behind `network add` without rooms."""

    async def visit(self, nick: str, *rooms: str) -> Person:
        """A person sits in rooms; gone at the latest when the network is."""


class Irc:
    """An IRC server. `port` is where the bot dials: the server's, or a tap's."""

    def __init__(self, name: str, server: IrcServer) -> None:
        self.name = name
        self.server = server
        self.port = server.port
        self._people: list[Chat] = []

    def room(self, name: str) -> str:
        return f"#{name}"

    def url(self, bot: str, rooms: Sequence[str] = (), **settings: str) -> str:
        return irc_url(self.port, bot, rooms, **settings)

    async def visit(self, nick: str, *rooms: str) -> Chat:
        chat = await Chat.connect(self.server.port, nick)
        self._people.append(chat)
        await chat.join(*map(self.room, rooms))
        return chat

    def close(self) -> None:
        """All people hang up."""
        for chat in self._people:
            chat.close()


_SERVERS = {"ngircd": ngircd, "inspircd": inspircd}


@asynccontextmanager
async def irc(name: str, **options: Any) -> AsyncIterator[Irc]:
    """An IRC server for the length of the block; the options are those of `tests.servers`."""
    async with _SERVERS[name](**options) as server:
        one = Irc(name, server)
        try:
            yield one
        finally:
            one.close()


def irc_url(
    port: int, bot: str, rooms: Sequence[str] = (), scheme: str = "irc", **settings: str
) -> str:
    """`irc://bot@127.0.0.1:PORT/#a,#b?rate=0`."""
    query = "?" + urlencode({"rate": "0", **settings})
    where = "/" + ",".join(f"#{room}" for room in rooms) if rooms else ""
    return f"{scheme}://{bot}@127.0.0.1:{port}{where}{query}"


NETWORKS: dict[str, Callable[[], AbstractAsyncContextManager[Network]]] = {
    "ngircd": lambda: irc("ngircd"),  # no echo, no labels: sending is confirmed by PING
    "inspircd": lambda: irc("inspircd"),  # labeled-response and echo-message
}
