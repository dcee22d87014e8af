"""Our nick: another one while it is taken, and the right one back as soon as it is free."""

from collections.abc import Iterator

from instabot.adapters.irc.lines import Line
from instabot.adapters.irc.session import Session
from instabot.adapters.irc.table import hears

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


def attempt(session: Session) -> None:
    """Try again to get the wanted nick, by the best way that this server has.

    Does nothing while all is well. No timer of its own: the link's pings call it, at most once
    a minute.
    """
    if session.me == session.wanted:
        return
    connection = session.connection
    if session.account and not session.asked_services:
        session.asked_services = True
        connection.send_raw(f"PRIVMSG NickServ :REGAIN {session.wanted}")
    if session.features.has_monitor and not session.watching:
        # Its answer comes at once: 731 where the nick is free already.
        session.watching = True
        connection.send_raw(f"MONITOR + {session.wanted}")
        return
    connection.nick(session.wanted)


@hears("quit nick")
def gone(session: Session, line: Line) -> None:
    """Somebody gave a nick back: if it is ours, take it."""
    if session.me == session.wanted:
        return
    fold = session.fold
    kept = line.command == "NICK" and fold(line.param(0)) == fold(line.nick)
    if not kept and fold(line.nick) == fold(session.wanted):
        session.connection.nick(session.wanted)


@hears("731")
def offline(session: Session, line: Line) -> None:
    """MONITOR says that nobody has these nicks (RPL_MONOFFLINE)."""
    wanted = session.fold(session.wanted)
    free = any(session.fold(name) == wanted for name in line.text.split(","))
    if free and session.me != session.wanted:
        session.connection.nick(session.wanted)
