"""One line of the protocol: bytes in, words out, and what may go into a line of ours.

Grammar: RFC 2812 §2.3.1 and https://ircv3.net/specs/extensions/message-tags.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from irc.message import Tag

MAX_LINE = 1 << 16
"""Longer lines are dropped: tags may take 8191 bytes and the rest 512 (LINELEN rarely more)."""

NO_TAGS: Mapping[str, str] = MappingProxyType({})
_BREAKS = re.compile(r"[\r\n]+")
_UNSAFE = re.compile(r"[\r\n\0\x01\ud800-\udfff]")
_DROPPED = re.compile(r"[\0\x01]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_NOT_A_WORD = re.compile(r"[\s,\0\x01\x07\ud800-\udfff]")


@dataclass(slots=True)
class Line:
    """A parsed line. `source` is `nick!user@host` or a server's name, '' where absent."""

    source: str
    command: str
    params: list[str]
    tags: Mapping[str, str] = field(default_factory=lambda: NO_TAGS)

    @property
    def nick(self) -> str:
        """The nick (or the server) that the line comes from."""
        return self.source.partition("!")[0]

    def param(self, index: int) -> str:
        """A parameter, or '' where the server sent too few: nothing about a line is sure."""
        return self.params[index] if index < len(self.params) else ""

    @property
    def text(self) -> str:
        """The last parameter: in numerics the server's own sentence."""
        return self.params[-1] if self.params else ""

    @property
    def at(self) -> float:
        """When the line was sent, as the server says (server-time), else now."""
        return sent_at(self.tags)


class Buffer:
    """Cuts a stream into lines at LF or CR LF; an endless line costs MAX_LINE and no more."""

    __slots__ = ("_encoding", "_skipping", "_tail")

    def __init__(self, encoding: str = "utf-8") -> None:
        self._tail = b""
        self._skipping = False
        self._encoding = encoding

    def feed(self, data: bytes) -> list[str]:
        """Take what came in, give back the lines it completed. Never raises."""
        end = data.rfind(b"\n")
        if end < 0:
            self._keep(self._tail + data)
            return []
        whole, self._tail = self._tail + data[:end], b""
        if self._skipping:
            # The first newline ends the line that grew too long.
            self._skipping = False
            _, _, whole = whole.partition(b"\n")
        self._keep(data[end + 1 :])
        try:
            lines = whole.decode().split("\n")
        except UnicodeDecodeError:
            lines = [self.decode(raw) for raw in whole.split(b"\n")]
        return lines

    def _keep(self, tail: bytes) -> None:
        if len(tail) > MAX_LINE:
            self._skipping, tail = True, b""
        self._tail = tail

    def decode(self, raw: bytes) -> str:
        """UTF-8, else the network's encoding, else Windows-1252, else Latin-1."""
        try:
            return raw.decode()
        except UnicodeDecodeError:
            pass
        for encoding in (self._encoding, "cp1252"):
            try:
                return raw.decode(encoding)
            except UnicodeError:
                continue
        return raw.decode("latin-1")


def parse(text: str) -> Line | None:
    """Parse a line without its line end; None where there is no command in it."""
    tags: Mapping[str, str] = NO_TAGS
    if text[:1] == "@":
        head, _, text = text.partition(" ")
        tags = parse_tags(head[1:])
        text = text.lstrip(" ")
    source = ""
    if text[:1] == ":":
        source, _, text = text[1:].partition(" ")
    # A trailing parameter starts at the first " :" and may hold anything.
    head, colon, trailing = text.partition(" :")
    params = [word for word in head.split(" ") if word]
    if not params or head[:1] == ":":
        return None
    command = params.pop(0).upper()
    if colon:
        params.append(trailing)
    return Line(source, command, params, tags)


def parse_tags(text: str) -> dict[str, str]:
    """Message tags, unescaped; a later tag of the same key wins, as the specification says."""
    tags = {}
    for item in text.split(";"):
        key, _, value = item.partition("=")
        if "\\" in value:
            # The library keeps a lone trailing backslash, which the specification drops.
            odd = (len(value) - len(value.rstrip("\\"))) % 2
            value = Tag.parse("k=" + value[: len(value) - odd])["value"] or ""
        tags[key] = value
    return tags


def sent_at(tags: Mapping[str, str]) -> float:
    """The tag `time` (https://ircv3.net/specs/extensions/server-time) as Unix seconds."""
    stamp = tags.get("time")
    if stamp:
        try:
            moment = datetime.fromisoformat(stamp)
        except ValueError:
            return time.time()
        if moment.tzinfo is not None:
            return moment.timestamp()
    return time.time()


def clean(text: str) -> list[str]:
    """The lines of a text, fit to be said: no CR, LF, NUL, 0x01 or lone surrogate in them."""
    if _UNSAFE.search(text) is None:
        return [text] if text else []
    text = _SURROGATE.sub("\ufffd", _DROPPED.sub("", text))
    return [line for line in _BREAKS.split(text) if line]


def one_line(text: str) -> str:
    """A text on one line: for realnames, reasons, quit messages."""
    return " ".join(clean(text))


def is_clean(text: str) -> bool:
    """True where `clean` would change nothing."""
    return _UNSAFE.search(text) is None


def well_formed(word: str) -> bool:
    """True where a word can be one parameter of a line, and one item of a comma list."""
    return bool(word) and word[0] != ":" and _NOT_A_WORD.search(word) is None
