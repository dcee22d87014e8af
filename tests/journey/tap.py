"""A tap on the wire between the bot and its server: every line noted, the wire cut at will."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.servers.ports import HOST


@dataclass
class Tap:
    """Connect to `port` instead of the server's. `sent` came from clients, `heard` from it."""

    port: int = 0
    sent: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    connections: int = 0
    _wires: list[asyncio.StreamWriter] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def cut(self) -> None:
        """Break every connection, as a cable that is pulled out."""
        for wire in self._wires:
            wire.transport.abort()
        self._wires.clear()

    def count(self, start: str) -> int:
        """How many lines that begin so clients have sent."""
        return sum(line.startswith(start) for line in self.sent)

    def joins(self, room: str) -> int:
        """How often clients have asked to join an IRC room, alone or among others."""
        asked = [line.split() for line in self.sent if line.startswith("JOIN ")]
        return sum(room in words[1].split(",") for words in asked)

    async def sends(self, start: str, times: int, timeout: float = 30.0) -> None:
        """Wait until clients have sent so many lines that begin so."""
        try:
            async with asyncio.timeout(timeout):
                while self.count(start) < times:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise TimeoutError(f"no {times} times {start!r} in {self.sent[-20:]}") from None

    async def pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        lines: list[str],
    ) -> None:
        """Copy one direction until it ends."""
        try:
            while raw := await reader.readline():
                lines.append(raw.decode(errors="replace").rstrip("\r\n"))
                writer.write(raw)
                self._news.set()
        except (OSError, ValueError):
            pass
        writer.close()


@asynccontextmanager
async def tap(port: int) -> AsyncIterator[Tap]:
    """A tap on the way to a local port, for the length of the block."""
    one = Tap()

    async def dialled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await asyncio.open_connection(HOST, port)
        one.connections += 1
        one._wires += (writer, here)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(one.pass_on(reader, here, one.sent))
            tasks.create_task(one.pass_on(there, writer, one.heard))

    server = await asyncio.start_server(dialled, HOST, 0)
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()
        one.cut()
