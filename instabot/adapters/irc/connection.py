"""The library's connection, hardened, and quick enough for a busy network.

What `irc` 20.5 does with a line and why it is replaced here: one byte that is not UTF-8, a line
with too few parameters, or an exception in a handler ends its connection; a CR in a text lets
anybody speak as the bot; each line is logged twice and dispatched twice, each sent line is a
system call. Its verbs (`nick`, `cap`, `ping`, …) and its names of numerics stay in use.
"""

import asyncio
import logging
import re
import socket
import ssl as tls
from collections.abc import Callable
from typing import cast

from irc.client_aio import AioConnection, IrcProtocol
from irc.events import codes

from instabot.adapters.irc.lines import Buffer, Line, parse
from instabot.errors import LinkError

log = logging.getLogger(__name__)

Handler = Callable[[Line], None]
MAX_UNSENT = 4 << 20
"""Bytes waiting for a server that does not read, before the link counts as dead."""
MAX_TRACES = 20
"""Tracebacks logged per connection: a hostile server must not fill a disk."""
_REPLIES, _ERRORS = ("0", "1", "2", "3", "6", "7", "8", "9"), ("4", "5")
_QUICK_ACK = getattr(socket, "TCP_QUICKACK", 0)  # tcp(7); Linux has it, macOS does not
ACK_AFTER = 0.001
"""Seconds; one system call then covers all that came meanwhile."""
_LINE_END = re.compile(r"[\r\n\0]")


class Protocol(IrcProtocol):  # type: ignore[misc] # the library has no types
    """asyncio's side of a connection."""

    connection: "Connection"
    owes_ack = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open, and the TLS handshake done."""
        self.connection.transport = cast(asyncio.Transport, transport)
        self.socket = transport.get_extra_info("socket")

    def data_received(self, data: bytes) -> None:
        """Bytes came in."""
        self.connection.process_data(data)
        if _QUICK_ACK and not self.owes_ack:
            # A server with Nagle's algorithm (RFC 896) holds the next line back until this one
            # is acknowledged, which the kernel puts off for 40 ms.
            self.owes_ack = True
            self.connection.loop.call_later(ACK_AFTER, self._acknowledge)

    def _acknowledge(self) -> None:
        self.owes_ack = False
        if self.socket.fileno() >= 0:
            self.socket.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)  # not sticky

    def eof_received(self) -> None:
        """The server will say no more; asyncio closes the transport then."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone, whoever closed it."""
        self.connection.lost(exc)

    def pause_writing(self) -> None:
        """The server reads more slowly than we write."""
        self.connection.writable.clear()

    def resume_writing(self) -> None:
        """The server caught up."""
        self.connection.writable.set()


class Connection(AioConnection):  # type: ignore[misc] # the library has no types
    """One socket. Commands are handed to whoever asked for them with `on`, in that order.

    `chat` gets PRIVMSG and NOTICE unparsed but for their words, because they are nearly all of
    the traffic. Everything happens on one event loop.
    """

    protocol_class = Protocol

    def __init__(self, chat: Callable[[str], bool], ended: Callable[[str], None]) -> None:
        super().__init__(reactor=None)
        self.writable = asyncio.Event()
        self.writable.set()
        self.gone = asyncio.Event()
        self.transport: asyncio.Transport | None = None
        self.encoding = "utf-8"
        self.incoming = Buffer()
        self.loop = asyncio.get_running_loop()
        self._chat = chat
        self._ended = ended
        self._handlers: dict[str, list[Handler]] = {}
        self._unsent: list[str] = []
        self._traces = 0
        self.why = ""

    def on(self, names: str, handler: Handler) -> None:
        """Ask for commands, by the library's names of numerics ("nicknameinuse") or as sent.

        "4xx" stands for all numerics of errors, 400 to 599.
        """
        for name in names.split():
            command = codes.get(name, name.upper())
            self._handlers.setdefault(command, []).append(handler)

    async def dial(
        self, host: str, port: int, ssl: tls.SSLContext | None, name: str, encoding: str
    ) -> None:
        """Open the socket; `name` is whom the certificate must prove. Raises OSError."""
        self.encoding, self.incoming = encoding, Buffer(encoding)
        await self.loop.create_connection(
            lambda: self.protocol_class(self, self.loop),
            host,
            port,
            ssl=ssl,
            server_hostname=name if ssl else None,
        )

    # -- in ------------------------------------------------------------------------------

    def process_data(self, new_data: bytes) -> None:
        """Deal with what came in, line by line. Never raises."""
        chat = self._chat
        for line in self.incoming.feed(new_data):
            text = line[:-1] if line[-1:] == "\r" else line
            try:
                if not chat(text):
                    self._other(text)
            except LinkError:
                continue  # an answer of ours came too late: the socket is closing
            except Exception as error:
                # Foreign code: a handler, or the link's report. The next line is not to blame.
                self._trace(error)

    def _other(self, text: str) -> None:
        # NAMES and MOTD replies outnumber all else while joining: leave before parsing.
        words = text.split(" ", 2)
        word = words[1] if len(words) > 1 and text[:1] == ":" else words[0]
        if word not in self._handlers and word[:1] in _REPLIES and text[:1] != "@":
            return
        line = parse(text)
        if line is not None:
            self.dispatch(line)

    def dispatch(self, line: Line) -> None:
        """Hand a line to everybody who asked for its command."""
        handlers = self._handlers.get(line.command, [])
        if line.command[:1] in _ERRORS:
            handlers = handlers + self._handlers.get("4XX", [])
        for handler in handlers:
            try:
                handler(line)
            except LinkError:
                continue  # as in process_data
            except Exception as error:
                # As in process_data; here it is the next handler that is not to blame.
                self._trace(error)

    def _trace(self, error: Exception) -> None:
        # Without the line: what is said in a room has no place in a log of ours.
        self._traces += 1
        if self._traces <= MAX_TRACES:
            log.warning("a line from the server could not be dealt with", exc_info=error)

    # -- out -----------------------------------------------------------------------------

    def send_raw(self, string: str) -> None:
        """Send one line, together with all that is sent in the same turn of the event loop.

        Raises LinkError when the connection is gone. A line can never become two.
        """
        if self.transport is None or self.transport.is_closing():
            raise LinkError(self.why or "the connection is closed")
        if _LINE_END.search(string):
            string = _LINE_END.sub(" ", string)
        if not self._unsent:
            # One turn later than it could, so that the barrier behind what was said goes along.
            self.loop.call_soon(self.loop.call_soon, self.flush)
        self._unsent.append(string)

    def flush(self) -> None:
        """Write what was gathered."""
        unsent, self._unsent = self._unsent, []
        transport = self.transport
        if not unsent or transport is None or transport.is_closing():
            return
        unsent.append("")
        transport.write("\r\n".join(unsent).encode(self.encoding, "replace"))
        if transport.get_write_buffer_size() > MAX_UNSENT:
            self.why = "the server does not read what we send"
            transport.abort()

    async def drained(self) -> None:
        """Wait until the server reads again. Raises LinkError when the connection is gone."""
        while not self.writable.is_set() and not self.gone.is_set():
            await self.writable.wait()

    # -- end -----------------------------------------------------------------------------

    def lost(self, error: Exception | None) -> None:
        """Called once by asyncio, when the socket is closed for whatever reason."""
        if self.gone.is_set():
            return
        self.gone.set()
        self.writable.set()
        self.why = self.why or (str(error) if error else "the server closed the connection")
        self.transport = None
        self._ended(self.why)

    def abort(self) -> None:
        """Close without another word."""
        if self.transport is not None:
            self.transport.abort()
