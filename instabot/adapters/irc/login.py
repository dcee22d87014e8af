"""From an open socket to the end of the server's greeting, or to a clear refusal."""

import asyncio
import re

from instabot.adapters.irc.caps import Caps
from instabot.adapters.irc.lines import Line, one_line
from instabot.adapters.irc.nicks import alternatives
from instabot.adapters.irc.sasl import Sasl
from instabot.adapters.irc.session import Session
from instabot.adapters.irc.settings import Settings
from instabot.adapters.irc.table import hears
from instabot.errors import InstabotError, LinkError, Refused

PATIENCE = 60.0
"""Seconds from the open socket to the greeting: servers look up names and idents first."""
THROTTLED = 60.0

_THROTTLED = re.compile(
    r"throttl|too fast|reconnect|try again later|too many .*(conn|sess)", re.I
)
_PASSWORD = re.compile(r"pass ?word|access denied", re.I)
_BANNED = re.compile(
    r"\bbann?ed|[kgzdxq]-?lined?\b|not authori[sz]ed|no authori[sz]ation", re.I
)


def error_of(text: str) -> InstabotError:
    """What the ERROR of a server means, from its words; RFC 1459 gives it no code."""
    text = text or "the server closed the connection"
    if _THROTTLED.search(text):
        return LinkError(text, delay=THROTTLED)
    if _PASSWORD.search(text):
        return Refused("password", text)
    if _BANNED.search(text):
        return Refused("banned", text)
    return LinkError(text)


class Login:
    """Runs once, and is dropped. What the server says first that ends the matter is the outcome."""

    def __init__(self, session: Session, settings: Settings, secret: str) -> None:
        self._session = session
        self._settings = settings
        self._secret = secret
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._nicks = alternatives(settings.nick)
        self._welcomed = False
        self._logged_in = settings.sasl == "none"
        self._caps = Caps(session, self._negotiated, sasl=not self._logged_in)
        self._sasl: Sasl | None = None
        if not self._logged_in:
            self._sasl = Sasl(session, settings, secret, self._sasl_done)

    async def run(self) -> None:
        """Log in. Raises Refused or LinkError, never with a secret in their text."""
        settings, connection = self._settings, self._session.connection
        self._caps.start()
        if self._secret and settings.sasl == "none":
            connection.send_raw(f"PASS :{self._secret}")
        connection.nick(settings.nick)
        user = re.sub(r"[^A-Za-z0-9_-]", "", settings.nick)[:10] or "instabot"
        connection.user(user, one_line(settings.realname))
        try:
            async with asyncio.timeout(PATIENCE):
                await self._over
        except TimeoutError:
            raise LinkError(f"the server did not greet us within {PATIENCE:.0f} s") from None
        finally:
            self._secret = ""

    def fail(self, error: Exception) -> None:
        """The connection ended, or the server refused."""
        if not self._over.done():
            self._over.set_exception(error)

    @hears("cap")
    def _cap(self, line: Line) -> None:
        self._caps.heard(line)

    def _negotiated(self) -> None:
        if self._sasl is not None and not self._welcomed:
            offered = self._caps.offered.get("sasl", "")
            self._sasl.start(offered if "sasl" in self._session.caps else None)
        elif not self._welcomed:
            self._session.connection.cap("END")

    @hears("authenticate")
    def _challenge(self, line: Line) -> None:
        if self._sasl is not None:
            self._sasl.challenge(line)

    @hears("saslsuccess")
    def _account_proved(self, line: Line) -> None:
        if self._sasl is not None:
            self._sasl.succeeded()

    @hears("nicklocked saslfail sasltoolong saslaborted saslalready")
    def _account_refused(self, line: Line) -> None:
        if self._sasl is not None:
            self._sasl.failed(line)

    def _sasl_done(self, refused: Refused | None) -> None:
        if self._over.done() or self._logged_in:
            return
        if refused is not None:
            self._refuse(refused.code, str(refused), refused.final)
        else:
            self._logged_in = True
            self._session.connection.cap("END")

    @hears("welcome")
    def _welcome(self, line: Line) -> None:
        self._welcomed = True
        if not self._logged_in and self._sasl is not None:
            # A server without CAP lets us in as nobody: not what was asked for.
            self._sasl.missing([])
        elif not self._over.done():
            # Its answer follows the greeting, even on a server without an end of MOTD.
            self._session.connection.ping("ib-login")

    @hears("endofmotd nomotd pong")
    def _greeted(self, line: Line) -> None:
        if self._welcomed and not self._over.done():
            session = self._session
            length = session.features.number("NICKLEN") or len(session.wanted)
            session.wanted = session.wanted[:length]
            self._over.set_result(None)

    @hears("nicknameinuse nickcollision unavailresource")
    def _nick_taken(self, line: Line) -> None:
        if self._welcomed or self._over.done():
            return
        nick = next(self._nicks, None)
        if nick is None:
            self._refuse("nick", f"{self._settings.nick} and its like are taken", False)
        else:
            self._session.connection.nick(nick)

    @hears("erroneusnickname")
    def _nick_wrong(self, line: Line) -> None:
        if not self._welcomed:
            nick = self._settings.nick
            self._refuse("nick", f"the server does not allow the nick {nick}: {line.text}")

    @hears("passwdmismatch")
    def _password_wrong(self, line: Line) -> None:
        self._refuse("password", line.text)

    @hears("yourebannedcreep nopermforhost youwillbebanned")
    def _banned(self, line: Line) -> None:
        if _THROTTLED.search(line.text):
            self.fail(LinkError(line.text, delay=THROTTLED))
        else:
            self._refuse("banned", line.text)

    def _refuse(self, code: str, text: str, final: bool = True) -> None:
        if self._secret:
            text = text.replace(self._secret, "…")
        self.fail(Refused(code, text, final))
