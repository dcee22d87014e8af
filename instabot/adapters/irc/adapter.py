"""The adapter: five verbs of `base.Adapter` and every ability that IRC has."""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping, Sequence

from instabot.adapters.base import Account, Identity, Kind, Lost, Rejection, Report, Said
from instabot.adapters.irc import settings, tls
from instabot.adapters.irc.batches import Batches
from instabot.adapters.irc.confirm import Confirmer
from instabot.adapters.irc.connection import Connection
from instabot.adapters.irc.hear import Hearing
from instabot.adapters.irc.lines import Line, is_clean, one_line, well_formed
from instabot.adapters.irc.login import Login, error_of
from instabot.adapters.irc.nicks import Regain
from instabot.adapters.irc.rooms import BATCH, Rooms
from instabot.adapters.irc.session import Session
from instabot.adapters.irc.split import COMMANDS, budget, split
from instabot.errors import LinkError, Refused

DIAL = 10.0
"""Seconds for the name, the socket and the TLS handshake."""
PING = 60.0
"""Seconds for the answer to a ping: with the link's idle minute, two until it is dead."""
GOODBYE = 2.0


class IRC:
    """One connection to one IRC server. See `base.Adapter` for what each verb promises."""

    join_batch: int = BATCH
    remembers: bool = False

    def __init__(self, account: Account, report: Report) -> None:
        self._account = account
        self._report = report
        self._connection: Connection | None = None
        self._session: Session
        self._login: Login
        self._rooms: Rooms
        self._confirmer: Confirmer
        self._batches: Batches
        self._regain: Regain
        self._up = False
        self._error = ""

    # -- connect -------------------------------------------------------------------------

    async def connect(self) -> Identity:
        """Dial and log in; the link's first and only call before any other."""
        chosen = settings.read(self._account)
        secret = self._account.secret()
        if chosen.sasl == "plain" and not secret:
            raise Refused("config", "sasl=plain needs the account's password as secret")
        if secret and chosen.sasl != "external":
            chosen.may_send_secret()
        context = tls.context(chosen)
        connection = self._connection = Connection(self._chat, self._ended)
        self._build(connection, chosen, secret)
        try:
            await self._dial(connection, chosen, context)
            await self._login.run()
        except BaseException:
            connection.abort()
            raise
        if connection.gone.is_set():
            raise LinkError(self._error or connection.why)
        self._up = True
        self.join_batch = self._rooms.batch
        self.remembers = self._batches.offered
        self._regain.attempt()
        return Identity(self._session.me, self._session.features.room_limit)

    def _build(self, connection: Connection, chosen: settings.Settings, secret: str) -> None:
        # The order is that of the handlers: the session learns a line before others use it.
        session = self._session = Session(connection, chosen)
        connection.on("error", self._server_error)
        self._login = Login(session, secret)
        self._confirmer = Confirmer(session)
        self._rooms = Rooms(session, self._report)
        self._regain = Regain(session)
        self._batches = Batches(session)
        self._hearing = Hearing(session, self._confirmer, self._report)
        self._hearing.attach(self._batches)

    async def _dial(
        self, connection: Connection, chosen: settings.Settings, context: ssl.SSLContext | None
    ) -> None:
        where = f"{chosen.host}:{chosen.port}"
        try:
            async with asyncio.timeout(DIAL):
                await connection.dial(
                    chosen.host, chosen.port, context, chosen.name, chosen.encoding
                )
        except ssl.SSLError as error:
            raise tls.refused(error, chosen) from None
        except TimeoutError:
            raise LinkError(f"{where}: no answer within {DIAL:.0f} s") from None
        except (OSError, UnicodeError) as error:
            raise LinkError(f"{where}: {error}") from None

    def _chat(self, text: str) -> bool:
        return self._hearing.chat(text)

    def _server_error(self, line: Line) -> None:
        self._error = line.text

    def _ended(self, why: str) -> None:
        # ERROR was the server's last word; the socket's end alone says little.
        error = error_of(self._error or why)
        lost = LinkError(str(error), getattr(error, "delay", 0.0))
        self._login.fail(error)
        for part in (self._rooms, self._confirmer, self._batches):
            part.lost(lost)
        if self._up:
            self._up = False
            self._report(Lost(str(lost), lost.delay))

    # -- verbs ---------------------------------------------------------------------------

    def _live(self) -> Connection:
        connection = self._connection
        if connection is None or connection.gone.is_set():
            raise LinkError(connection.why if connection else "not connected")
        return connection

    async def join(self, room: str, key: str = "") -> None:
        """Enter a room."""
        answer = (await self.join_many([(room, key)]))[room]
        if answer is not None:
            raise answer

    async def join_many(
        self, rooms: Sequence[tuple[str, str]]
    ) -> Mapping[str, Exception | None]:
        """Enter several rooms by as few lines as will hold them."""
        self._live()
        return await self._rooms.join(rooms)

    async def say(self, room: str, text: str, kind: Kind = "say") -> None:
        """Queue a line; all that is said in one turn of the event loop leaves in one write.

        What does not fit into one line is said as several: nothing is ever cut by a server.
        """
        connection = self._live()
        if not connection.writable.is_set():
            await connection.drained()
        if not well_formed(room) or not self._session.features.is_channel(room):
            raise Refused("no-such-room", f"{room!r} is no channel's name")
        limit = self._budget(room, kind)
        if len(text) * 4 <= limit and is_clean(text):
            pieces = [text] if text else []
        else:
            pieces = split(text, limit, connection.encoding)
        for piece in pieces:
            label = self._confirmer.expect(room, piece, kind)
            said = f"\x01ACTION {piece}\x01" if kind == "action" else piece
            connection.send_raw(f"{label}{COMMANDS[kind]} {room} :{said}")

    async def part(self, room: str, reason: str = "") -> None:
        """Leave a room."""
        self._live()
        await self._rooms.part(room, reason)

    async def close(self, reason: str = "") -> None:
        """Say QUIT, wait a moment for the server to hang up, and free everything."""
        connection, self._up = self._connection, False
        if connection is None or connection.gone.is_set() or connection.transport is None:
            return
        text = one_line(reason).encode()[:200].decode(errors="ignore")
        with contextlib.suppress(LinkError):
            connection.send_raw("QUIT" + (f" :{text}" if text else ""))
        connection.flush()
        try:
            async with asyncio.timeout(GOODBYE):
                await connection.gone.wait()
        except TimeoutError:
            pass
        finally:
            connection.abort()

    # -- abilities -----------------------------------------------------------------------

    def split(self, room: str, text: str, kind: Kind = "say") -> Sequence[str]:
        """Cut a text into clean pieces, each of which is relayed whole."""
        if self._connection is None:
            raise LinkError("not connected")
        return split(text, self._budget(room, kind), self._connection.encoding)

    def _budget(self, room: str, kind: Kind) -> int:
        return budget(self._session.mask, room, kind, self._session.features.line_length)

    async def confirm(self) -> Sequence[Rejection]:
        """Wait for the PONG behind all that was said; what was refused of it."""
        self._live()
        return await self._confirmer.barrier()

    def fold(self, name: str) -> str:
        """The one spelling of a room's name on this server."""
        return self._session.fold(name) if self._connection else name.lower()

    async def history(self, room: str, since: float, ref: str = "") -> Sequence[Said] | None:
        """What was said after a moment, where the server remembers."""
        self._live()
        return await self._batches.history(room, since, ref)

    async def ping(self) -> None:
        """Ask for a PONG; also the moment to ask for our nick again."""
        self._live()
        self._regain.attempt()
        await self._confirmer.ping(PING)
