"""A scripted IRC server, so that a test reads like a transcript.

    async with scripted() as server:
        bot = server.bot()
        await meanwhile(bot.connect(), server.login())
        async with during(bot.join("#ops")) as joining:
            await server.expect("JOIN #ops")
            server.send(":bot!b@h JOIN #ops")
        await joining

A stand-in: it answers as the specifications say, for servers that cannot be installed here.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar, cast

from instabot.adapters.base import Account, Event, Happened, Lost, Said
from instabot.adapters.irc import IRC

T = TypeVar("T")
HOST = "127.0.0.1"
PATIENCE = 10.0


class Dialled(asyncio.Protocol):
    """One connection to the scripted server."""

    def __init__(self, server: "Scripted") -> None:
        self.server = server
        self.tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.server.transport = cast(asyncio.Transport, transport)
        self.server.hung_up.clear()

    def data_received(self, data: bytes) -> None:
        self.server.writes += 1
        *lines, self.tail = (self.tail + data).split(b"\r\n")
        for line in lines:
            self.server.raw.append(line)
            self.server.lines.put_nowait(line.decode(errors="replace"))
            if line.startswith(b"QUIT") and self.server.transport is not None:
                self.server.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.hung_up.set()


class Scripted:
    """What the test says the server does; one connection at a time."""

    def __init__(self) -> None:
        self.lines: asyncio.Queue[str] = asyncio.Queue()
        self.raw: list[bytes] = []
        self.writes = 0
        self.hung_up = asyncio.Event()
        self.transport: asyncio.Transport | None = None
        self.events: list[Event] = []
        self.news = asyncio.Event()
        self.port = 0
        self.scheme = "irc"

    def bot(self, nick: str = "bot", secret: str = "", **settings: str) -> IRC:
        """A bot of ours whose events go to `events`."""
        url = f"{self.scheme}://{nick}@{HOST}:{self.port}"
        return IRC(Account("local/net", url, settings, lambda: secret), self._heard)

    def _heard(self, event: Event) -> None:
        self.events.append(event)
        self.news.set()

    # -- the transcript ------------------------------------------------------------------

    def send(self, *lines: str | bytes) -> None:
        """Lines of the server."""
        assert self.transport is not None
        raw = [line if isinstance(line, bytes) else line.encode() for line in lines]
        self.transport.write(b"".join(line + b"\r\n" for line in raw))

    async def expect(self, *lines: str) -> None:
        """The next lines of the bot, and exactly these."""
        for line in lines:
            found = await self.next()
            assert found == line, f"the bot sent {found!r} instead of {line!r}"

    async def next(self) -> str:
        """The bot's next line."""
        async with asyncio.timeout(PATIENCE):
            return await self.lines.get()

    async def barrier(self) -> None:
        """Wait until the bot has dealt with everything sent: it answers our PING at once."""
        self.send("PING :here")
        while await self.next() != "PONG :here":
            pass

    async def login(self, caps: str = "", *tokens: str, nick: str = "bot") -> None:
        """Greet the bot, offering capabilities and 005 tokens."""
        await self.expect("CAP LS 302", f"NICK {nick}", f"USER {nick[:10]} 0 * :Instabot")
        self.send(f":irc.test CAP * LS :{caps}")
        asked = await self.next()
        if asked != "CAP END":
            self.send(f":irc.test CAP * ACK {asked.removeprefix('CAP REQ ')}")
            await self.expect("CAP END")
        await self.greet(nick, *tokens)

    async def greet(self, nick: str, *tokens: str) -> None:
        """The lines after the login."""
        self.send(f":irc.test 001 {nick} :Welcome")
        if tokens:
            self.send(f":irc.test 005 {nick} {' '.join(tokens)} :are supported")
        self.send(f":irc.test 422 {nick} :No message of the day")
        await self.expect("PING ib-login")

    async def let_in(self, bot: IRC, room: str = "#ops") -> None:
        """Bring the bot into a room."""
        async with during(bot.join(room)):
            await self.expect(f"JOIN {room}")
            self.send(f":bot!~bot@bots.test JOIN {room}")
        self.events.clear()

    def hang_up(self) -> None:
        """Close the connection."""
        assert self.transport is not None
        self.transport.close()

    # -- what the bot reported -----------------------------------------------------------

    @property
    def said(self) -> list[str]:
        """What people said, as `<alice> hi`."""
        return [
            f"<{event.sender}> {event.text}" for event in self.events if isinstance(event, Said)
        ]

    @property
    def happened(self) -> list[Happened]:
        """What happened else."""
        return [event for event in self.events if isinstance(event, Happened)]

    @property
    def lost(self) -> list[Lost]:
        """That the link is gone, hopefully once."""
        return [event for event in self.events if isinstance(event, Lost)]

    async def until_lost(self) -> Lost:
        """Wait for the report that the link is gone."""
        async with asyncio.timeout(PATIENCE):
            while not self.lost:
                self.news.clear()
                await self.news.wait()
        return self.lost[0]


@asynccontextmanager
async def scripted(tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    """A scripted server on a free port, with TLS if a context is given."""
    server = Scripted()
    server.scheme = "ircs" if tls else "irc"
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: Dialled(server), HOST, 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        if server.transport is not None:
            server.transport.abort()
        await listener.wait_closed()


@asynccontextmanager
async def online(
    caps: str = "", *tokens: str, nick: str = "bot", **settings: str
) -> AsyncIterator[tuple[Scripted, IRC]]:
    """A scripted server with a bot logged in to it."""
    async with scripted() as server:
        bot = server.bot(nick, **settings)
        await meanwhile(bot.connect(), server.login(caps, *tokens, nick=nick))
        server.lines = asyncio.Queue()
        server.raw.clear()
        try:
            yield server, bot
        finally:
            server.hang_up()
            await bot.close()


class Outcome(Generic[T]):
    """How something ended that ran beside the test."""

    def __init__(self) -> None:
        self.value: T | None = None
        self.error: Exception | None = None

    async def of(self, act: Awaitable[T]) -> None:
        try:
            self.value = await act
        except Exception as error:  # the test looks at it
            self.error = error

    def result(self) -> T:
        """Its result; raises what it raised."""
        if self.error is not None:
            raise self.error
        return cast(T, self.value)


@asynccontextmanager
async def during(act: Coroutine[Any, Any, T]) -> AsyncIterator[Outcome[T]]:
    """Run something beside the block; afterwards the outcome holds how it ended."""
    outcome: Outcome[T] = Outcome()
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        group.create_task(outcome.of(act))
        yield outcome


async def meanwhile(act: Coroutine[Any, Any, T], script: Awaitable[None]) -> T:
    """Run something while the script goes on; its result, or what it raised."""
    async with during(act) as outcome:
        await script
    return outcome.result()
