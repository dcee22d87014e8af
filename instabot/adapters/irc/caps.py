"""Capability negotiation: https://ircv3.net/specs/extensions/capability-negotiation, 302."""

from collections.abc import Callable

from instabot.adapters.irc.lines import Line
from instabot.adapters.irc.session import Session

WANTED = (
    "account-notify", "account-tag", "batch", "chathistory", "chghost", "draft/chathistory",
    "echo-message", "extended-join", "labeled-response", "message-tags", "multi-prefix",
    "server-time",
)  # fmt: skip
MAX_OFFERS = 1000


class Caps:
    """Asks for what we know of; `ready` is called once, when the server answered it all.

    Until then nobody sends CAP END, so the server waits with the login.
    """

    def __init__(self, session: Session, ready: Callable[[], None], sasl: bool) -> None:
        self.offered: dict[str, str] = {}
        self._session = session
        self._ready = ready
        self._wanted = {*WANTED, "sasl"} if sasl else set(WANTED)
        self._asked: set[str] = set()
        self._done = False
        session.connection.on("cap", self._cap)

    def start(self) -> None:
        """Ask what the server offers. A server without CAP goes on with the login."""
        self._session.connection.cap("LS", "302")

    def _cap(self, line: Line) -> None:
        verb, words = line.param(1).upper(), line.text.split()
        if verb == "LS":
            self._offer(words)
            if line.param(2) != "*" or len(line.params) < 4:
                self._ask()
        elif verb == "NEW":
            self._offer(words)
            self._ask()
        elif verb == "ACK":
            self._session.caps.update(word for word in words if word[0] != "-")
            self._answered(words)
        elif verb == "NAK":
            self._refused(words)
        elif verb == "DEL":
            self._session.caps.difference_update(words)

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

    def _refused(self, words: list[str]) -> None:
        # One bad apple refuses the whole list: ask for each by itself then, once.
        if len(words) > 1:
            for word in words:
                self._session.connection.send_raw(f"CAP REQ :{word}")
        else:
            self._answered(words)

    def _answered(self, words: list[str]) -> None:
        self._asked.difference_update(words)
        if not self._asked:
            self._finish()

    def _finish(self) -> None:
        if not self._done:
            self._done = True
            self._ready()
