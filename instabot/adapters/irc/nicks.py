"""Our nick: another one while it is taken, and the right one back as soon as it is free."""

from collections.abc import Iterator

from instabot.adapters.irc.lines import Line
from instabot.adapters.irc.session import Session

TRIES = 12


def alternatives(nick: str) -> Iterator[str]:
    """Nicks to try instead: with underscores, then with digits.

    The digits replace what is longer than nine characters, the RFC's limit, since before the
    login nobody knows where the server cuts.
    """
    yield nick + "_"
    yield nick + "__"
    for number in range(2, TRIES):
        digits = str(number)
        yield nick[: 9 - len(digits)] + digits


class Regain:
    """Asks for the wanted nick when its holder leaves, and whenever `attempt` is called.

    No timer of its own: the link's pings call `attempt`, at most once a minute.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        connection = session.connection
        connection.on("quit nick", self._gone)
        connection.on("731", self._offline)
        self._watching = False
        self._asked_services = False

    def attempt(self) -> None:
        """Try again, by the best way that this server has. Does nothing while all is well."""
        session = self._session
        if session.me == session.wanted:
            return
        connection = session.connection
        if session.account and not self._asked_services:
            self._asked_services = True
            connection.send_raw(f"PRIVMSG NickServ :REGAIN {session.wanted}")
        if session.features.has_monitor and not self._watching:
            # Its answer comes at once: 731 where the nick is free already.
            self._watching = True
            connection.send_raw(f"MONITOR + {session.wanted}")
            return
        connection.nick(session.wanted)

    def _gone(self, line: Line) -> None:
        fold = self._session.fold
        kept = line.command == "NICK" and fold(line.param(0)) == fold(line.nick)
        if not kept and self._is_ours(fold(line.nick)):
            self._session.connection.nick(self._session.wanted)

    def _offline(self, line: Line) -> None:
        if any(self._is_ours(self._session.fold(name)) for name in line.text.split(",")):
            self._session.connection.nick(self._session.wanted)

    def _is_ours(self, folded: str) -> bool:
        session = self._session
        return session.me != session.wanted and folded == session.fold(session.wanted)
