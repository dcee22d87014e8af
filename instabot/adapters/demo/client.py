"""One connection to the demo server: bytes in, lines out, and the rules of logging in."""

import asyncio
import re
from typing import TYPE_CHECKING, cast

from instabot.adapters.demo import commands
from instabot.adapters.demo.names import fold

if TYPE_CHECKING:
    from instabot.adapters.demo.server import Server

MAX_LINE = 8192
"""Bytes of a line, tags and all; longer ones end the connection, as on any server."""
MAX_UNREAD = 1 << 20
SILENCE = 120.0
"""Seconds of silence after which a client is asked for a PONG, and again until it is cut."""
_NICK = re.compile(r"[^\W\d][\w\[\]\\`^{}|-]{0,29}|[\[\]\\`^{}|_][\w\[\]\\`^{}|-]{0,29}")


class Client(asyncio.Protocol):
    """A client, logged in or not. Its commands are the functions of `commands.py`."""

    def __init__(self, server: "Server") -> None:
        self.server = server
        self.nick = ""
        self.user = ""
        self.realname = ""
        self.host = "localhost"
        self.registered = False
        self.negotiating = False
        self.away = ""
        self._tail = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._asked = False
        self._reason = "connection closed"

    @property
    def mask(self) -> str:
        """`nick!user@host`."""
        return f"{self.nick}!{self.user}@{self.host}"

    # -- asyncio -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody dialled."""
        self._transport = cast(asyncio.Transport, transport)
        if not self.server.admit(self):
            self.hang_up("too many clients")
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Deal with whole lines; never raises."""
        *lines, self._tail = (self._tail + data).split(b"\n")
        self._watch()
        for raw in lines:
            if self._transport is None or self._transport.is_closing():
                return
            self._line(raw.replace(b"\0", b"").rstrip(b"\r").replace(b"\r", b" "))
        if len(self._tail) > MAX_LINE:
            self.hang_up("the line is too long")

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        if self._timer is not None:
            self._timer.cancel()
        self._transport = None
        self.server.forget(self, self._reason)

    def _line(self, raw: bytes) -> None:
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            text = raw.decode("cp1252", "replace")
        if text[:1] == "@":
            text = text.partition(" ")[2]
        if text[:1] == ":":
            text = text.partition(" ")[2]
        head, colon, trailing = text.partition(" :")
        words = [word for word in head.split(" ") if word]
        if colon:
            words.append(trailing)
        if words and not words[0].startswith(":"):
            commands.run(self, words[0].upper(), words[1:])

    def _watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._asked = False
        self._timer = asyncio.get_running_loop().call_later(SILENCE, self._silent)

    def _silent(self) -> None:
        if self._asked or not self.registered:
            self.hang_up("ping timeout")
            return
        self._asked = True
        self.send(f"PING :{self.server.name}")
        self._timer = asyncio.get_running_loop().call_later(SILENCE, self._silent)

    # -- out -----------------------------------------------------------------------------

    def send(self, line: str) -> None:
        """Send a line; a client that never reads is cut."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        raw = line.encode(errors="replace")
        if len(raw) > 510:
            raw = raw[:510].decode(errors="ignore").encode()
        transport.write(raw + b"\r\n")
        if transport.get_write_buffer_size() > MAX_UNREAD:
            transport.abort()

    def reply(self, code: str, *words: str) -> None:
        """Send a numeric; its last word is a sentence."""
        *middle, text = words
        self.send(
            " ".join([f":{self.server.name}", code, self.nick or "*", *middle, f":{text}"])
        )

    def hang_up(self, reason: str) -> None:
        """Close, saying why."""
        self._reason = reason
        self.send(f"ERROR :Closing link: {reason}")
        if self._transport is not None:
            self._transport.close()

    # -- login ---------------------------------------------------------------------------

    def rename(self, nick: str) -> None:
        """Take a nick, or say why not (432, 433)."""
        holder = self.server.clients.get(fold(nick))
        if _NICK.fullmatch(nick) is None:
            self.reply("432", nick or "*", "Erroneous nickname")
        elif holder is not None and holder is not self:
            self.reply("433", nick, "Nickname is already in use")
        else:
            line = f":{self.mask} NICK :{nick}"
            if self.registered:
                self.server.tell({self, *self.server.neighbours(self)}, line)
            self.server.rename(self, nick)
            self.welcome()

    def welcome(self) -> None:
        """Greet, once nick and user are known and no capabilities are being asked for."""
        if self.registered or self.negotiating or not self.nick or not self.user:
            return
        self.registered = True
        name = self.server.name
        self.reply("001", f"Welcome to the Instabot demo, {self.nick}")
        self.reply("002", f"Your host is {name}")
        self.reply("003", "It lives as long as instabot up")
        self.send(f":{name} 004 {self.nick} {name} instabot i ont")
        tokens = "CASEMAPPING=ascii CHANTYPES=# CHANMODES=,,,nt NICKLEN=30 CHANNELLEN=50"
        self.reply(
            "005", *tokens.split(), "PREFIX=(o)@", "NETWORK=InstabotDemo", "are supported"
        )
        self.reply("422", "There is no message of the day: /join #demo")
