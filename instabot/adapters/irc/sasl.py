"""SASL PLAIN and EXTERNAL: https://ircv3.net/specs/extensions/sasl-3.2 (RFC 4616, RFC 4422)."""

import base64
from collections.abc import Callable

from instabot.adapters.irc.lines import Line
from instabot.adapters.irc.session import Session
from instabot.adapters.irc.settings import Settings
from instabot.errors import Refused

CHUNK = 400
_NO_SASL = "{host} offers no SASL {mechanism} login at the moment{instead}"


class Sasl:
    """One attempt to log in; `done` is called with None or with why it failed. No second try:
    whoever asked for an account must never sit in a room without it.
    """

    def __init__(
        self,
        session: Session,
        settings: Settings,
        password: str,
        done: Callable[[Refused | None], None],
    ) -> None:
        self._session = session
        self._host = settings.name
        self._mechanism = settings.sasl.upper()
        self._answer = _plain(settings.user, password)
        self._done = done

    def start(self, offer: str | None) -> None:
        """Begin; `offer` is the value of the capability, None where there is none."""
        mechanisms = [word.upper() for word in (offer or "").split(",") if word]
        if offer is None or (mechanisms and self._mechanism not in mechanisms):
            self.missing(mechanisms)
        else:
            self._session.connection.send_raw(f"AUTHENTICATE {self._mechanism}")

    def missing(self, mechanisms: list[str]) -> None:
        """The server has none. Not final: services may be away for a minute (netsplit)."""
        instead = f", only {', '.join(mechanisms)}" if mechanisms else ""
        text = _NO_SASL.format(host=self._host, mechanism=self._mechanism, instead=instead)
        self._done(Refused("password", text, final=False))

    def challenge(self, line: Line) -> None:
        """The server asks for our answer."""
        if line.param(0) != "+":
            return
        answer = self._answer if self._mechanism == "PLAIN" else ""
        for start in range(0, len(answer), CHUNK):
            self._session.connection.send_raw(f"AUTHENTICATE {answer[start : start + CHUNK]}")
        if len(answer) % CHUNK == 0:
            self._session.connection.send_raw("AUTHENTICATE +")

    def succeeded(self) -> None:
        """The server knows us now."""
        self._done(None)

    def failed(self, line: Line) -> None:
        """The server does not take our answer."""
        self._done(Refused("password", f"the account login failed: {line.text}"))


def _plain(user: str, password: str) -> str:
    return base64.b64encode(f"\0{user}\0{password}".encode()).decode()
