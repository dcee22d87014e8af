"""Where the adapters of the conformance suite live: one home for each service.

A home says how to make a bot and how its people act; `test_adapter.py` runs the same tests in
every home. A new adapter is one more class here, and one more name in `HOMES`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol
from uuid import uuid4

from instabot.adapters import find
from instabot.adapters.base import Account, Adapter, Event, Lost
from instabot.adapters.demo import Server, serve
from instabot.adapters.loopback import Loopback, Service
from instabot.errors import Refused
from tests.chat import Chat
from tests.servers import IrcServer, inspircd, ngircd


class Member:
    """A bot, and all that it reported."""

    def __init__(self, url: str, **settings: str) -> None:
        self.events: list[Event] = []
        self.lost = asyncio.Event()
        self.adapter: Adapter = find(url)(Account("local/home", url, settings), self._report)

    def _report(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Lost):
            self.lost.set()


class Home(Protocol):
    """A running service, seen by its people. `closed` is a room that nobody may enter."""

    closed: str

    def bot(self) -> Member:
        """A bot that has not dialled yet, wanting the nick `bot`."""
        ...

    async def nobody(self) -> Member:
        """A bot that the service will refuse."""
        ...

    async def says(self, room: str, *lines: str) -> None:
        """Alice, who is in the room, speaks; the service has it when this returns."""
        ...

    async def hears(self, room: str, line: str) -> None:
        """Alice waits for a line of the bot."""
        ...

    async def kicks(self, room: str) -> None:
        """Alice throws the bot out."""
        ...

    async def dies(self) -> None:
        """The service is gone, without a word."""
        ...


class LoopbackHome:
    """The service in the process."""

    closed = "#closed"

    def __init__(self) -> None:
        self.service = Service.named(uuid4().hex)
        self.service.faults.joins[self.closed] = Refused("invite-only", "not you")

    def bot(self) -> Member:
        return Member(f"loopback://bot@{self.service.name}")

    async def nobody(self) -> Member:
        self.service.faults.login = Refused("banned", "go away")
        return self.bot()

    async def says(self, room: str, *lines: str) -> None:
        for line in lines:
            self.service.say(room, "alice", line)

    async def hears(self, room: str, line: str) -> None:
        assert (await self.service.heard(line, room)).sender == "bot"

    async def kicks(self, room: str) -> None:
        self.service.kick(room, "bot", "out")

    async def dies(self) -> None:
        self.service.cut("gone")


class IrcHome:
    """An IRC server with alice on it."""

    closed = "#closed"

    def __init__(self, port: int, alice: Chat, server: IrcServer | Server) -> None:
        self.port = port
        self.alice = alice
        self.server = server

    def bot(self) -> Member:
        return Member(f"irc://bot@127.0.0.1:{self.port}")

    async def nobody(self) -> Member:
        return Member(f"irc://bot@127.0.0.1:{self.port}", sasl="plain")

    async def says(self, room: str, *lines: str) -> None:
        await self.alice.say(room, *lines)
        await self.alice.roundtrip()

    async def hears(self, room: str, line: str) -> None:
        await self.alice.expect(f"{room} <bot> {line}")

    async def kicks(self, room: str) -> None:
        self.alice.write(f"KICK {room} bot :out")
        await self.alice.roundtrip()

    async def dies(self) -> None:
        await (self.server.close() if isinstance(self.server, Server) else self.server.kill())


@asynccontextmanager
async def loopback() -> AsyncIterator[Home]:
    """The adapter without a network."""
    assert find("loopback") is Loopback
    yield LoopbackHome()


@asynccontextmanager
async def demo() -> AsyncIterator[Home]:
    """Our own IRC server. It has no closed rooms, so a name stands for one."""
    server = await serve()
    alice = await Chat.connect(server.port, "alice")
    await alice.join("#ops")
    home = IrcHome(server.port, alice, server)
    home.closed = "#" + "x" * 60
    yield home
    await server.close()


@asynccontextmanager
async def ngircd_home() -> AsyncIterator[Home]:
    """ngIRCd: barriers only."""
    async with ngircd() as server:
        yield await _furnished(server)


@asynccontextmanager
async def inspircd_home() -> AsyncIterator[Home]:
    """InspIRCd: labels and echoes."""
    async with inspircd() as server:
        yield await _furnished(server)


async def _furnished(server: IrcServer) -> IrcHome:
    alice = await Chat.connect(server.port, "alice")
    await alice.join("#ops")
    await alice.join(IrcHome.closed)
    alice.write(f"MODE {IrcHome.closed} +i")
    await alice.roundtrip()
    return IrcHome(server.port, alice, server)


HOMES = {
    "loopback": loopback,
    "demo": demo,
    "ngircd": ngircd_home,
    "inspircd": inspircd_home,
}
