"""What the server says of itself in 005 (RPL_ISUPPORT), and how its names compare.

Tokens: https://modern.ircdocs.horse/#rplisupport-parameters.
"""

from collections.abc import Sequence
from typing import Any
from weakref import WeakValueDictionary

from irc.features import FeatureSet

_ASCII = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_STRICT = {**_ASCII, ord("["): "{", ord("]"): "}", ord("\\"): "|"}
_RFC1459 = {**_STRICT, ord("^"): "~"}
_FOLDS: dict[str, dict[int, Any]] = {
    "ascii": _ASCII, "rfc1459": _RFC1459, "rfc1459-strict": _STRICT, "strict-rfc1459": _STRICT
}  # fmt: skip


MAX_TOKENS = 1000
"""Servers have about sixty; a hostile one shall not fill our memory."""


class Features(FeatureSet):  # type: ignore[misc] # the library has no types
    """The library's table, hardened: a malformed token is skipped and harms no other.

    Connections share them, so they get a new one with `after` and never change theirs.
    """

    _data: dict[str, Any]
    _tokens: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._data = {}
        super().__init__()

    def after(self, tokens: Sequence[str]) -> "Features":
        """These features and some more tokens; whoever was told the same gets the same object."""
        told = {_name(token): token for token in self._tokens}
        for token in tokens:
            told.pop(_name(token), None)
            if token[:1] != "-" and len(told) < MAX_TOKENS:
                told[_name(token)] = token
        key = tuple(told.values())
        found = _shared.get(key)
        if found is None:
            found = _shared[key] = Features()
            found._tokens = key
            for token in key:
                found.load_feature(token)
        return found

    def set(self, name: str, value: Any = True) -> None:
        """Keep a token's value. In a dict, so that no token can replace a method of ours."""
        self._data[name.upper()] = value

    def remove(self, feature_name: str) -> None:
        """Forget a token (`-NAME`)."""
        self._data.pop(feature_name.upper(), None)

    def load_feature(self, feature: str) -> None:
        """Take one token as it comes from the server. Never raises."""
        if "=" not in feature and feature[:1] not in {"", "-"}:
            self.set(feature)  # the library forgets tokens without a value
            return
        try:
            super().load_feature(feature)
        except (ValueError, TypeError, IndexError, AttributeError):
            return

    def number(self, name: str, default: int = 0) -> int:
        """A token's number, or the default where it is absent, empty or no number."""
        value = self._data.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else default

    def text(self, name: str, default: str) -> str:
        """A token's text, or the default."""
        value = self._data.get(name)
        return value if isinstance(value, str) and value else default

    @property
    def channel_types(self) -> str:
        """The characters that begin a channel's name."""
        return self.text("CHANTYPES", "#&")

    @property
    def status_prefixes(self) -> str:
        """The characters that may stand before a channel in a target (`@#ops`)."""
        return self.text("STATUSMSG", "")

    @property
    def line_length(self) -> int:
        """Bytes of a line, its end included; never less than the RFC's 512."""
        return max(512, min(self.number("LINELEN", 512), 1 << 14))

    @property
    def room_limit(self) -> int | None:
        """How many `#` channels one connection may be in; None where the server sets no limit."""
        limits = self._data.get("CHANLIMIT")
        limit = limits.get("#") if isinstance(limits, dict) else None
        if limit is None and not isinstance(limits, dict):
            limit = self.number("MAXCHANNELS")
        return limit or None

    @property
    def join_targets(self) -> int | None:
        """How many channels one JOIN may name (TARGMAX); None where it is not said."""
        targets = self._data.get("TARGMAX")
        limit = targets.get("JOIN") if isinstance(targets, dict) else None
        return limit if isinstance(limit, int) and limit > 0 else None

    @property
    def has_monitor(self) -> bool:
        """Whether MONITOR (https://ircv3.net/specs/extensions/monitor) may be asked."""
        return "MONITOR" in self._data

    def is_channel(self, name: str) -> bool:
        """True where a name is a channel's on this server."""
        return name[:1] != "" and name[0] in self.channel_types

    def fold(self, name: str) -> str:
        """The one spelling of equal names, by CASEMAPPING (rfc1459 where it is not said)."""
        mapping = self.text("CASEMAPPING", "rfc1459").lower()
        table = _FOLDS.get(mapping)
        folded = name.translate(table) if table else name.casefold()
        return name if folded == name else folded  # whoever keeps both keeps one


def _name(token: str) -> str:
    return token.removeprefix("-").partition("=")[0].upper()


_shared: WeakValueDictionary[tuple[str, ...], Features] = WeakValueDictionary()
NOTHING = Features()
"""Of a server that did not say anything yet."""
