"""The adapter: five verbs of `base.Adapter` and every ability that IRC has."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from instabot.adapters.base import Account, Identity, Kind, Lost, Rejection, Report, Said
from instabot.adapters.irc import caps, nicks, settings, tls
from instabot.adapters.irc.batches import offered
from instabot.adapters.irc.confirm import Confirmer
from instabot.adapters.irc.connection import Connection
from instabot.adapters.irc.hear import Hearing
from instabot.adapters.irc.lines import Line, is_clean, one_line, well_formed
from instabot.adapters.irc.login import Login, error_of
from instabot.adapters.irc.rooms import BATCH, Rooms
from instabot.adapters.irc.session import Session
from instabot.adapters.irc.split import COMMANDS, budget, split
from instabot.adapters.irc.table import Table, hears, table
from instabot.errors import LinkError, Refused

DIAL = 10.0
"""Seconds for the name, the socket and the TLS handshake."""
PING = 60.0
"""Seconds for the answer to a ping: with the link's idle minute, two until it is dead."""
GOODBYE = 2.0


class IRC:
    """One connection to one IRC server. See `base.Adapter` for what each verb promises.

    What only the login needs is dropped after it: a link is idle for most of its life.
    """

    TABLE: ClassVar[Table]
    __slots__ = (
        "_account", "_confirmer", "_connection", "_error", "_hearing", "_login", "_report",
        "_rooms", "_session", "join_batch", "remembers",
    )  # fmt: skip

    def __init__(self, account: Account, report: Report) -> None:
        self.join_batch = BATCH
        self.remembers = False
        self._account: Account | None = account
        self._report = report
        self._connection: Connection | None = None
        self._session: Session
        self._login: Login | None = None
        self._rooms: Rooms
        self._confirmer: Confirmer
        self._hearing: Hearing
        self._error = ""

    # -- connect -------------------------------------------------------------------------

    async def connect(self) -> Identity:
        """Dial and log in; the link's first and only call before any other."""
        account, self._account = self._account, None
        if account is None:
            raise LinkError("an adapter dials once")
        chosen = settings.read(account)
        secret = account.secret()
        if chosen.sasl == "plain" and not secret:
            raise Refused("config", "sasl=plain needs the account's password as secret")
        if secret and chosen.sasl != "external":
            chosen.may_send_secret()
        context = tls.context(chosen)
        connection, login = self._build(chosen, secret)
        try:
            await self._dial(connection, chosen, context)
            await login.run()
        except BaseException:
            connection.abort()
            raise
        finally:
            self._login = None
        if connection.gone:
            raise LinkError(self._error or connection.why)
        session = self._session
        session.up = True
        self.join_batch = self._rooms.batch
        self.remembers = offered(session)
        nicks.attempt(session)
        return Identity(session.me, session.features.room_limit)

    def _build(self, chosen: settings.Settings, secret: str) -> tuple[Connection, Login]:
        connection = self._connection = Connection(self)
        session = self._session = Session(connection, chosen.nick)
        login = self._login = Login(session, chosen, secret)
        self._confirmer = Confirmer(session)
        self._rooms = Rooms(session, self._report)
        self._hearing = Hearing(session, self._confirmer, self._report)
        return connection, login

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

    # -- what the connection tells ---------------------------------------------------------

    @property
    def chat(self) -> Callable[[str], bool]:
        """Deals with a line that is plainly somebody's words; False for all others."""
        return self._hearing.chat

    @property
    def me(self) -> "IRC":
        """The part that hears what is about the whole connection."""
        return self

    @hears("error")
    def _server_error(self, line: Line) -> None:
        self._error = line.text

    def ended(self, why: str) -> None:
        """The connection is gone."""
        # ERROR was the server's last word; the socket's end alone says little.
        error = error_of(self._error or why)
        lost = LinkError(str(error), getattr(error, "delay", 0.0))
        if self._login is not None:
            self._login.fail(error)
        for part in (self._rooms, self._confirmer, self._hearing):
            part.lost(lost)
        if self._session.up:
            self._session.up = False
            self._report(Lost(str(lost), lost.delay))

    # -- verbs ---------------------------------------------------------------------------

    def _live(self) -> Connection:
        connection = self._connection
        if connection is None or connection.gone:
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
        if connection.paused:
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
        connection = self._connection
        if connection is None or connection.gone or connection.transport is None:
            return
        self._session.up = False
        text = one_line(reason).encode()[:200].decode(errors="ignore")
        with contextlib.suppress(LinkError):
            connection.send_raw("QUIT" + (f" :{text}" if text else ""))
        connection.flush()
        try:
            async with asyncio.timeout(GOODBYE):
                await connection.finished()
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
        return await self._hearing.history(room, since, ref)

    async def ping(self) -> None:
        """Ask for a PONG; also the moment to ask for our nick again."""
        self._live()
        nicks.attempt(self._session)
        await self._confirmer.ping(PING)


# The order of the handlers: the session learns a line before others use it.
IRC.TABLE = table(
    ("_session", Session),
    ("_session", caps),
    ("me", IRC),
    ("_login", Login),
    ("_confirmer", Confirmer),
    ("_rooms", Rooms),
    ("_session", nicks),
    ("_hearing", Hearing),
)
