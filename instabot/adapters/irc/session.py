"""What one connection knows of itself. Written by the handlers of its own event loop alone."""

from collections.abc import Collection
from sys import intern

from instabot.adapters.irc.connection import Connection
from instabot.adapters.irc.isupport import NOTHING
from instabot.adapters.irc.lines import Line
from instabot.adapters.irc.split import WORST_HOST
from instabot.adapters.irc.table import hears

FEW = 8
"""Rooms that are looked for one by one: a set for each of many links would cost more."""


class Session:
    """Our nick and mask, the server's features and capabilities, the rooms we are in.

    `inside` holds folded names. `wanted` is the nick we ask for, `me` the one we have;
    `account` is who services say that we are. `up` is true from the end of the login on, until
    we close. `watching` and `asked_services` belong to `nicks.attempt`.
    """

    __slots__ = (
        "_host", "_user", "account", "asked_services", "caps", "connection", "features",
        "inside", "me", "up", "wanted", "watching",
    )  # fmt: skip

    def __init__(self, connection: Connection, nick: str) -> None:
        self.connection = connection
        self.features = NOTHING
        self.caps: frozenset[str] = frozenset()
        self.inside: Collection[str] = ()
        self.wanted = self.me = nick
        self.account = ""
        self.up = self.watching = self.asked_services = False
        self._user = ""
        self._host = WORST_HOST

    def fold(self, name: str) -> str:
        """The one spelling of a room's or a nick's name on this server."""
        return self.features.fold(name)

    def entered(self, folded: str) -> None:
        """We are in this room."""
        if isinstance(self.inside, set):
            self.inside.add(folded)
        elif folded not in self.inside:
            few = len(self.inside) < FEW
            self.inside = (*self.inside, folded) if few else {*self.inside, folded}

    def left(self, folded: str) -> None:
        """We are not in this room."""
        if isinstance(self.inside, set):
            self.inside.discard(folded)
        else:
            self.inside = tuple(name for name in self.inside if name != folded)

    @property
    def mask(self) -> str:
        """How servers name us to others; the longest possible until they told us."""
        user = self._user or "~" + "u" * max(10, min(self.features.number("USERLEN"), 64))
        return f"{self.me}!{user}@{self._host}"

    def learn_mask(self, source: str) -> None:
        """Take our mask from a line that the server sent in our name."""
        _, bang, rest = source.partition("!")
        user, at, host = rest.partition("@")
        if bang and at and user and host:
            self._learn(user, host)

    def _learn(self, user: str, host: str) -> None:
        # Links have few hosts between them; and most lines tell what is known.
        if (user, host) != (self._user, self._host):
            self._user, self._host = user, intern(host)

    @hears("welcome")
    def _welcome(self, line: Line) -> None:
        name = line.param(0)
        if name and name != self.me:
            self.me = name

    @hears("featurelist")
    def _features(self, line: Line) -> None:
        self.features = self.features.after(line.params[1:-1])

    @hears("396")
    def _hosthidden(self, line: Line) -> None:
        # 396 names a host, on some servers user@host.
        user, at, host = line.param(1).rpartition("@")
        if host:
            self._learn(user if at and user else self._user, host)

    @hears("chghost")
    def _chghost(self, line: Line) -> None:
        if line.nick == self.me and line.param(0) and line.param(1):
            self._learn(line.param(0), line.param(1))

    @hears("loggedin")
    def _loggedin(self, line: Line) -> None:
        self.account = line.param(2)

    @hears("loggedout")
    def _loggedout(self, line: Line) -> None:
        self.account = ""
