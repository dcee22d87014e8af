"""What one connection knows of itself. Written by the handlers of its own event loop alone."""

from instabot.adapters.irc.connection import Connection
from instabot.adapters.irc.isupport import Features
from instabot.adapters.irc.lines import Line
from instabot.adapters.irc.settings import Settings
from instabot.adapters.irc.split import WORST_HOST


class Session:
    """Our nick and mask, the server's features and capabilities, the rooms we are in.

    `inside` holds folded names. `wanted` is the nick we ask for, `me` the one we have;
    `account` is who services say that we are.
    """

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self.connection = connection
        self.settings = settings
        self.features = Features()
        self.caps: set[str] = set()
        self.inside: set[str] = set()
        self.wanted = self.me = settings.nick
        self.account = ""
        self._user = ""
        self._host = WORST_HOST
        connection.on("welcome", self._welcome)
        connection.on("featurelist", self._features)
        connection.on("396", self._hosthidden)
        connection.on("chghost", self._chghost)
        connection.on("loggedin", self._loggedin)
        connection.on("loggedout", self._loggedout)

    def fold(self, name: str) -> str:
        """The one spelling of a room's or a nick's name on this server."""
        return self.features.fold(name)

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
            self._user, self._host = user, host

    def _welcome(self, line: Line) -> None:
        self.me = line.param(0) or self.me

    def _features(self, line: Line) -> None:
        self.features.load(line.params)

    def _hosthidden(self, line: Line) -> None:
        # 396 names a host, on some servers user@host.
        user, at, host = line.param(1).rpartition("@")
        if host:
            self._host = host
        if at and user:
            self._user = user

    def _chghost(self, line: Line) -> None:
        if line.nick == self.me and line.param(0) and line.param(1):
            self._user, self._host = line.param(0), line.param(1)

    def _loggedin(self, line: Line) -> None:
        self.account = line.param(2)

    def _loggedout(self, line: Line) -> None:
        self.account = ""
