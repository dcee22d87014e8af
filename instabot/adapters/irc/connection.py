"""One socket, hardened, quick enough for a busy network, and nearly nothing while it is idle.

What `irc` 20.5 does with a line and why its connection is not used: one byte that is not UTF-8,
a line with too few parameters, or an exception in a handler ends it; a CR in a text lets anybody
speak as the bot; each line is logged twice and dispatched twice, each sent line is a system
call; and each instance weighs several kilobytes. Its verbs (`nick`, `cap`, `ping`, …) stay.
"""

import asyncio
import logging
import re
import socket
import ssl as tls
from typing import ClassVar, Protocol, cast

from irc.client import ServerConnection

from instabot.adapters.irc.lines import Buffer, Line, parse
from instabot.adapters.irc.table import ERRORS, Table, is_error
from instabot.errors import LinkError

log = logging.getLogger(__name__)

MAX_UNSENT = 4 << 20
"""Bytes waiting for a server that does not read, before the link counts as dead."""
MAX_TRACES = 20
"""Tracebacks logged per connection: a hostile server must not fill a disk."""
_REPLIES = ("0", "1", "2", "3", "6", "7", "8", "9")
_QUICK_ACK = getattr(socket, "TCP_QUICKACK", 0)  # tcp(7); Linux has it, macOS does not
ACK_AFTER = 0.001
"""Seconds; one system call then covers all that came meanwhile."""
_LINE_END = re.compile(r"[\r\n\0]")


class Owner(Protocol):
    """Whose connection it is. Its attributes are the parts that `TABLE` names."""

    TABLE: ClassVar[Table]

    def chat(self, text: str) -> bool:
        """Deal with a line that is plainly somebody's words; False for all others."""
        ...

    def ended(self, why: str) -> None:
        """The connection is gone."""
        ...


class Connection(asyncio.Protocol):
    """One socket. Lines go to the parts of its owner, as the owner's table says.

    `chat` gets PRIVMSG and NOTICE unparsed but for their words, because they are nearly all of
    the traffic. Everything happens on one event loop. What is None is made when it is needed:
    ten thousand of these wait side by side.
    """

    __slots__ = (
        "_owes_ack", "_traces", "_unsent", "_waiting", "encoding", "gone", "incoming", "loop",
        "owner", "paused", "transport", "why",
    )  # fmt: skip

    # The library's verbs need nothing of an instance but `send_raw`.
    send_items = ServerConnection.send_items
    cap = ServerConnection.cap
    nick = ServerConnection.nick
    ping = ServerConnection.ping
    user = ServerConnection.user

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.transport: asyncio.Transport | None = None
        self.encoding = "utf-8"
        self.incoming = Buffer()
        self.loop = asyncio.get_running_loop()
        self.gone = self.paused = self._owes_ack = False
        self.why = ""
        self._waiting: list[asyncio.Future[None]] | None = None
        self._unsent: list[str] | None = None
        self._traces = 0

    async def dial(
        self, host: str, port: int, ssl: tls.SSLContext | None, name: str, encoding: str
    ) -> None:
        """Open the socket; `name` is whom the certificate must prove. Raises OSError."""
        self.encoding, self.incoming = encoding, Buffer(encoding)
        await self.loop.create_connection(
            lambda: self, host, port, ssl=ssl, server_hostname=name if ssl else None
        )

    # -- what asyncio tells ----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open, and the TLS handshake done."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Bytes came in."""
        self.process_data(data)
        if _QUICK_ACK and not self._owes_ack:
            # A server with Nagle's algorithm (RFC 896) holds the next line back until this one
            # is acknowledged, which the kernel puts off for 40 ms.
            self._owes_ack = True
            self.loop.call_later(ACK_AFTER, self._acknowledge)

    def _acknowledge(self) -> None:
        self._owes_ack = False
        open_socket = self.transport and self.transport.get_extra_info("socket")
        if open_socket and open_socket.fileno() >= 0:
            open_socket.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)  # not sticky

    def eof_received(self) -> None:
        """The server will say no more; asyncio closes the transport then."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone, whoever closed it. Called once."""
        if self.gone:
            return
        self.gone = True
        self._wake()
        self.why = self.why or (str(exc) if exc else "the server closed the connection")
        self.transport = None
        self.owner.ended(self.why)

    def pause_writing(self) -> None:
        """The server reads more slowly than we write."""
        self.paused = True

    def resume_writing(self) -> None:
        """The server caught up."""
        self.paused = False
        self._wake()

    # -- in ------------------------------------------------------------------------------

    def process_data(self, new_data: bytes) -> None:
        """Deal with what came in, line by line. Never raises."""
        chat = self.owner.chat
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
        if word not in self.owner.TABLE and word[:1] in _REPLIES and text[:1] != "@":
            return
        line = parse(text)
        if line is not None:
            self.dispatch(line)

    def dispatch(self, line: Line) -> None:
        """Hand a line to every part that hears its command and is there."""
        owner, command = self.owner, line.command
        handlers = owner.TABLE.get(command)
        if handlers is None and is_error(command):
            handlers = owner.TABLE.get(ERRORS)
        for name, handler in handlers or ():
            part = getattr(owner, name)
            if part is None:
                continue
            try:
                handler(part, line)
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
        if self._unsent is not None:
            self._unsent.append(string)
            return
        self._unsent = [string]
        # One turn later than it could, so that the barrier behind what was said goes along.
        self.loop.call_soon(self.loop.call_soon, self.flush)

    def flush(self) -> None:
        """Write what was gathered."""
        unsent, self._unsent = self._unsent, None
        transport = self.transport
        if not unsent or transport is None or transport.is_closing():
            return
        unsent.append("")
        transport.write("\r\n".join(unsent).encode(self.encoding, "replace"))
        if transport.get_write_buffer_size() > MAX_UNSENT:
            self.why = "the server does not read what we send"
            transport.abort()

    # -- waiting, and the end --------------------------------------------------------------

    async def drained(self) -> None:
        """Wait until the server reads again, or the connection is gone."""
        while self.paused and not self.gone:
            await self._change()

    async def finished(self) -> None:
        """Wait until the connection is gone."""
        while not self.gone:
            await self._change()

    async def _change(self) -> None:
        future = self.loop.create_future()
        waiting = self._waiting = self._waiting or []
        waiting.append(future)
        try:
            await future
        finally:
            waiting.remove(future)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        for future in waiting or ():
            if not future.done():
                future.set_result(None)

    def abort(self) -> None:
        """Close without another word."""
        if self.transport is not None:
            self.transport.abort()
