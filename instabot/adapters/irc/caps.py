"""Capability negotiation: https://ircv3.net/specs/extensions/capability-negotiation, 302."""

from collections.abc import Callable
from functools import lru_cache

from instabot.adapters.irc.lines import Line
from instabot.adapters.irc.session import Session
from instabot.adapters.irc.table import hears

WANTED = frozenset(
    {
        "account-notify", "account-tag", "batch", "chathistory", "chghost",
        "draft/chathistory", "echo-message", "extended-join", "labeled-response",
        "message-tags", "multi-prefix", "server-time",
    }
)  # fmt: skip
_KNOWN = WANTED | {"sasl"}
MAX_OFFERS = 1000


@lru_cache(256)
def _same(caps: frozenset[str]) -> frozenset[str]:
    # Links to servers alike share one set.
    return caps


@hears("cap")
def changed(session: Session, line: Line) -> None:
    """Note what the server granted and took back; once we are up, also ask for what is new."""
    verb, words = line.param(1).upper(), line.text.split()
    if verb == "ACK":
        session.caps = _same(session.caps | _KNOWN.intersection(words))
    elif verb == "DEL":
        session.caps = _same(session.caps.difference(words))
    elif verb == "NEW" and session.up:
        names = {word.partition("=")[0] for word in words}
        if wanted := sorted(WANTED & names - session.caps):
            session.connection.send_raw("CAP REQ :" + " ".join(wanted))
    elif verb == "NAK" and session.up:
        _one_by_one(session, words)


def _one_by_one(session: Session, words: list[str]) -> bool:
    # One bad apple refuses the whole list: ask for each by itself then, once.
    if len(words) > 1:
        for word in words:
            session.connection.send_raw(f"CAP REQ :{word}")
    return len(words) > 1


class Caps:
    """Asks for what we know of; `ready` is called once, when the server answered it all.

    Until then nobody sends CAP END, so the server waits with the login. After the login
    `changed` alone sees to what comes and goes.
    """

    def __init__(self, session: Session, ready: Callable[[], None], sasl: bool) -> None:
        self.offered: dict[str, str] = {}
        self._session = session
        self._ready = ready
        self._wanted = _KNOWN if sasl else WANTED
        self._asked: set[str] = set()
        self._done = False

    def start(self) -> None:
        """Ask what the server offers. A server without CAP goes on with the login."""
        self._session.connection.cap("LS", "302")

    def heard(self, line: Line) -> None:
        """A CAP line came in, and `changed` has seen it."""
        verb, words = line.param(1).upper(), line.text.split()
        if verb == "LS":
            self._offer(words)
            if line.param(2) != "*" or len(line.params) < 4:
                self._ask()
        elif verb == "NEW":
            self._offer(words)
            self._ask()
        elif verb == "ACK" or (verb == "NAK" and not _one_by_one(self._session, words)):
            self._answered(words)

    def _offer(self, words: list[str]) -> None:
        for word in words:
            name, _, value = word.partition("=")
            if len(self.offered) < MAX_OFFERS:
                self.offered[name] = value

    def _ask(self) -> None:
        wanted = sorted(self._wanted & self.offered.keys() - self._session.caps - self._asked)
        if wanted:
            self._asked.update(wanted)
            self._session.connection.send_raw("CAP REQ :" + " ".join(wanted))
        elif not self._asked:
            self._finish()

    def _answered(self, words: list[str]) -> None:
        self._asked.difference_update(words)
        if not self._asked:
            self._finish()

    def _finish(self) -> None:
        if not self._done:
            self._done = True
            self._ready()
