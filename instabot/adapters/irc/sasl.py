"""SASL PLAIN and EXTERNAL: https://ircv3.net/specs/extensions/sasl-3.2 (RFC 4616, RFC 4422)."""

import base64
from collections.abc import Callable

from instabot.adapters.irc.lines import Line
from instabot.adapters.irc.session import Session
from instabot.errors import Refused

CHUNK = 400
_NO_SASL = "{host} offers no SASL {mechanism} login at the moment{instead}"


class Sasl:
    """One attempt to log in; `done` is called with None or with why it failed. No second try:
    whoever asked for an account must never sit in a room without it.
    """

    def __init__(
        self, session: Session, password: str, done: Callable[[Refused | None], None]
    ) -> None:
        self._session = session
        self._mechanism = session.settings.sasl.upper()
        self._answer = _plain(session.settings.user, password)
        self._done = done
        connection = session.connection
        connection.on("authenticate", self._challenge)
        connection.on("saslsuccess", lambda line: done(None))
        connection.on("nicklocked saslfail sasltoolong saslaborted saslalready", self._failed)

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
        name = self._session.settings.name
        text = _NO_SASL.format(host=name, mechanism=self._mechanism, instead=instead)
        self._done(Refused("password", text, final=False))

    def _challenge(self, line: Line) -> None:
        if line.param(0) != "+":
            return
        answer = self._answer if self._mechanism == "PLAIN" else ""
        for start in range(0, len(answer), CHUNK):
            self._session.connection.send_raw(f"AUTHENTICATE {answer[start : start + CHUNK]}")
        if len(answer) % CHUNK == 0:
            self._session.connection.send_raw("AUTHENTICATE +")

    def _failed(self, line: Line) -> None:
        self._done(Refused("password", f"the account login failed: {line.text}"))


def _plain(user: str, password: str) -> str:
    return base64.b64encode(f"\0{user}\0{password}".encode()).decode()
