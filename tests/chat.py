"""An IRC client for tests: it notes every line, and its tests read like transcripts.

    alice = await Chat.connect(server.port, "alice")
    await alice.join("#ops")
    await alice.say("#ops", "!ping 1")
    await alice.expect("#ops <acmebot> pong 1")

`RawChat` is the same connection without the comfort, for making load.
"""

import asyncio
import re
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self, cast

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Line:
    """One line as the server sent it; `at` is time.monotonic() of its arrival."""

    at: float
    raw: str
    tags: dict[str, str] = field(default_factory=dict)
    source: str = ""
    command: str = ""
    params: tuple[str, ...] = ()

    @classmethod
    def parse(cls, raw: str, at: float) -> Self:
        """Read a line by RFC 1459 §2.3.1 and IRCv3 message-tags (values stay escaped)."""
        rest, tags, source = raw, {}, ""
        if rest.startswith("@"):
            head, _, rest = rest[1:].partition(" ")
            tags = {
                name: value
                for name, _, value in (tag.partition("=") for tag in head.split(";"))
            }
        if rest.startswith(":"):
            source, _, rest = rest[1:].partition(" ")
        middle, colon, trailing = rest.partition(" :")
        words = middle.split() + ([trailing] if colon else [])
        command = words[0].upper() if words else ""
        return cls(at, raw, tags, source, command, tuple(words[1:]))

    @property
    def nick(self) -> str:
        """Who sent it: the part of the source before `!`."""
        return self.source.partition("!")[0]

    @property
    def text(self) -> str:
        """Its last parameter."""
        return self.params[-1] if self.params else ""

    @cached_property
    def shown(self) -> str:
        """The line as a chat window shows it: `#ops <bob> hello`, `#ops bob joined`."""
        room = self.params[0] if self.params else ""
        match self.command:
            case "PRIVMSG" if self.text.startswith("\x01ACTION "):
                return f"{room} * {self.nick} {self.text[8:].rstrip(chr(1))}"
            case "PRIVMSG":
                return f"{room} <{self.nick}> {self.text}"
            case "NOTICE":
                return f"{room} -{self.nick}- {self.text}"
            case "JOIN":
                return f"{room} {self.nick} joined"
            case "PART":
                return f"{room} {self.nick} left"
            case "KICK":
                return f"{room} {self.params[1]} was kicked by {self.nick}: {self.text}"
            case "QUIT":
                return f"{self.nick} quit: {self.text}"
            case "NICK":
                return f"{self.nick} is now {self.text}"
        return self.raw

    def __str__(self) -> str:
        return self.shown


class Closed(Exception):
    """The server closed the connection; the text holds its last lines."""


class RawChat(asyncio.Protocol):
    """A connection in bytes: whole lines come in a chunk, PING is answered, nothing is parsed.

    `heard` gets each chunk, which ends with a line's end. Send with `send`; where the server
    reads too slowly the transport buffers.
    """

    def __init__(self) -> None:
        self.heard: Callable[[bytes], None] = lambda chunk: None
        self.gone = asyncio.Event()
        self._tail = b""
        self._transport: asyncio.Transport | None = None
        self._awaited: list[tuple[bytes, asyncio.Future[None]]] = []

    @property
    def closed(self) -> bool:
        """Whether the connection is gone; `gone` is the event of it."""
        return self.gone.is_set()

    @classmethod
    async def connect(
        cls,
        port: int,
        nick: str,
        *,
        password: str = "",
        tls: ssl.SSLContext | None = None,
        caps: Sequence[str] = (),
        host: str = HOST,
        timeout: float = 15.0,
    ) -> Self:
        """Connect and log in. Raises Closed when the server refuses."""
        loop = asyncio.get_running_loop()
        _, chat = await loop.create_connection(cls, host, port, ssl=tls)
        hello = [f"PASS {password}"] if password else []
        hello += [f"CAP REQ :{' '.join(caps)}", "CAP END"] if caps else []
        hello += [f"NICK {nick}", f"USER {nick} 0 * :{nick}"]
        welcome = chat.awaiting(b" 001 ")
        chat.send("".join(f"{line}\r\n" for line in hello).encode())
        async with asyncio.timeout(timeout):
            await welcome
        return chat

    def send(self, data: bytes) -> None:
        """Write bytes as they are; they should be whole lines. Raises Closed."""
        if self._transport is None or self.closed:
            raise Closed("not connected")
        self._transport.write(data)

    def awaiting(self, mark: bytes) -> asyncio.Future[None]:
        """A future done once `mark` arrives; ask for it before sending what brings it."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.closed:
            future.set_exception(Closed("the connection is closed"))
        else:
            self._awaited.append((mark, future))
        return future

    async def barrier(self, timeout: float = 15.0) -> None:
        """Wait until the server has dealt with everything sent so far (PING, PONG)."""
        token = f"barrier-{time.monotonic_ns()}".encode()
        pong = self.awaiting(token)
        self.send(b"PING " + token + b"\r\n")
        async with asyncio.timeout(timeout):
            await pong

    async def enter(self, rooms: Iterable[str], timeout: float = 60.0) -> None:
        """Join many rooms, many to a line, and wait until the server has done it."""
        names = list(rooms)
        for start in range(0, len(names), 20):
            self.send(f"JOIN {','.join(names[start : start + 20])}\r\n".encode())
        await self.barrier(timeout)

    def close(self) -> None:
        """Close the connection without a QUIT."""
        if self._transport is not None:
            self._transport.close()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no asyncio.Transport by inheritance.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        end = data.rfind(b"\n") + 1
        if not end:
            self._tail += data
            return
        chunk, self._tail = self._tail + data[:end], data[end:]
        if chunk.startswith(b"PING ") or b"\nPING " in chunk:
            self._pong(chunk)
        if self._awaited:
            self._wake(chunk)
        self.heard(chunk)

    def connection_lost(self, error: Exception | None) -> None:
        self.gone.set()
        for _, future in self._awaited:
            if not future.done():
                future.set_exception(Closed(f"the server closed the connection: {error}"))
        self._awaited.clear()

    def _pong(self, chunk: bytes) -> None:
        for line in chunk.split(b"\n"):
            if line.startswith(b"PING "):
                self.send(b"PONG " + line[5:].rstrip(b"\r") + b"\r\n")

    def _wake(self, chunk: bytes) -> None:
        for mark, future in self._awaited:
            if mark in chunk and not future.done():
                future.set_result(None)
        self._awaited = [(mark, future) for mark, future in self._awaited if not future.done()]


class Chat(RawChat):
    """A client that keeps all it heard in `lines` and waits for what a test expects."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Line] = []
        self.nick = ""
        self._seen = 0
        self._news = asyncio.Event()
        self.heard = self._keep

    @classmethod
    async def connect(
        cls,
        port: int,
        nick: str,
        *,
        password: str = "",
        tls: ssl.SSLContext | None = None,
        caps: Sequence[str] = (),
        host: str = HOST,
        timeout: float = 15.0,
    ) -> Self:
        """As RawChat.connect; the lines of the welcome are passed over by `expect`."""
        chat = await super().connect(
            port, nick, password=password, tls=tls, caps=caps, host=host, timeout=timeout
        )
        chat.nick = nick
        await chat.roundtrip()
        return chat

    async def join(self, *rooms: str, key: str = "") -> None:
        """Join rooms one by one and wait for each. Raises Closed, or TimeoutError."""
        for room in rooms:
            self.write(f"JOIN {room} {key}".rstrip())
            await self.expect(f"{room} {self.nick} joined")
        await self.roundtrip()

    async def say(self, room: str, *texts: str) -> None:
        """Say lines in a room."""
        self.send("".join(f"PRIVMSG {room} :{text}\r\n" for text in texts).encode())

    def write(self, line: str) -> None:
        """Send one raw line."""
        self.send(f"{line}\r\n".encode())

    async def expect(
        self, what: str | re.Pattern[str], timeout: float = 15.0, within: str = ""
    ) -> Line:
        """The next line that holds `what` as a chat window shows it (see `Line.shown`).

        Lines before it are passed over, but stay in `lines`. With `within`, only lines that
        begin with it count. Raises TimeoutError with the transcript, or Closed.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self._next(what, within)
        except TimeoutError:
            last = "\n  ".join(map(str, self.lines[-30:]))
            raise TimeoutError(f"{self.nick} waited for {what!r}, heard\n  {last}") from None

    async def until(self, check: Callable[[], bool], what: str, timeout: float = 30.0) -> None:
        """Wait until `check` holds, which is asked again after each chunk of lines.

        Raises TimeoutError that names `what`, with the transcript, or Closed.
        """
        try:
            async with asyncio.timeout(timeout):
                while not check():
                    if self.closed:
                        raise Closed("; ".join(map(str, self.lines[-3:])))
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            last = "\n  ".join(map(str, self.lines[-30:]))
            raise TimeoutError(f"{self.nick} waited until {what}, heard\n  {last}") from None

    async def roundtrip(self, timeout: float = 15.0) -> list[Line]:
        """A barrier: what came before the server's answer to our PING and was not expected yet."""
        start = self._seen
        token = f"barrier-{time.monotonic_ns()}"
        self.write(f"PING {token}")
        pong = await self.expect(token, timeout)
        return [line for line in self.lines[start : self._seen] if line is not pong]

    def transcript(self, room: str) -> list[str]:
        """Everything shown in a room so far."""
        return [line.shown for line in self.lines if line.shown.startswith(f"{room} ")]

    async def quit(self, text: str = "bye") -> None:
        """Leave, and wait until the server has closed the connection."""
        self.write(f"QUIT :{text}")
        async with asyncio.timeout(15.0):
            await self.gone.wait()

    def _keep(self, chunk: bytes) -> None:
        now = time.monotonic()
        for raw in chunk.split(b"\n"):
            text = raw.rstrip(b"\r").decode(errors="replace")
            if text:
                self.lines.append(Line.parse(text, now))
        self._news.set()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._news.set()

    async def _next(self, what: str | re.Pattern[str], within: str) -> Line:
        while True:
            while self._seen < len(self.lines):
                line = self.lines[self._seen]
                self._seen += 1
                if line.shown.startswith(within) and _holds(line.shown, what):
                    return line
            if self.closed:
                raise Closed("; ".join(map(str, self.lines[-3:])))
            self._news.clear()
            await self._news.wait()


def _holds(shown: str, what: str | re.Pattern[str]) -> bool:
    return what in shown if isinstance(what, str) else what.search(shown) is not None
