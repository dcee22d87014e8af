"""Cutting text so that not a byte is lost when the server relays it.

A server puts our mask before what we say: `:nick!user@host PRIVMSG #room :text` CR LF, and cuts
silently what goes beyond 512 bytes (RFC 2812 §2.3), often in the middle of a character.
"""

from collections.abc import Iterator
from functools import lru_cache

from instabot.adapters.base import Kind
from instabot.adapters.irc.lines import clean

WORST_HOST = "h" * 63
"""Assumed until the server told us our own: no host name part of a mask is longer."""

COMMANDS: dict[Kind, str] = {"say": "PRIVMSG", "action": "PRIVMSG", "notice": "NOTICE"}
SMALLEST = 40
"""Bytes per piece, however absurd the mask and the line length that a server claims."""


@lru_cache(4096)
def budget(mask: str, room: str, kind: Kind, line_length: int = 512) -> int:
    """How many bytes of text fit into one line as relayed."""
    wrap = len("\x01ACTION \x01") if kind == "action" else 0
    frame = len(f":{mask} {COMMANDS[kind]} {room} :\r\n".encode(errors="replace"))
    return max(SMALLEST, line_length - frame - wrap)


def split(text: str, limit: int, encoding: str = "utf-8") -> list[str]:
    """Cut into clean pieces of at most `limit` bytes, at spaces where there are any.

    Joined, the pieces of a line are that line: spaces at a cut begin the next piece, since
    servers take them from an end (seen on ngIRCd 26.1).
    """
    pieces: list[str] = []
    for line in clean(text):
        if len(line) * 4 <= limit:
            pieces.append(line)
        elif encoding.lower().replace("_", "-") in {"utf-8", "utf8"}:
            pieces += _by_bytes(line.encode(), limit)
        else:
            pieces += _by_width(line, limit, encoding)
    return pieces


def _by_bytes(data: bytes, limit: int) -> Iterator[str]:
    start = 0
    while len(data) - start > limit:
        cut = start + limit
        # Bytes 10xxxxxx continue a character: step back to where one begins.
        while data[cut] & 0xC0 == 0x80:
            cut -= 1
        space = data.rfind(b" ", start, cut + 1)
        while space > start and data[space - 1] == 0x20:
            space -= 1
        cut = space if space > start else cut
        yield data[start:cut].decode()
        start = cut
    yield data[start:].decode()


def _by_width(line: str, limit: int, encoding: str) -> Iterator[str]:
    start = used = space = 0
    for index, character in enumerate(line):
        width = len(character.encode(encoding, "replace"))
        if character == " " and line[index - 1 : index] != " ":
            space = index
        if used + width > limit:
            cut = space if space > start else index
            yield line[start:cut]
            used = sum(len(c.encode(encoding, "replace")) for c in line[cut:index])
            start = cut
        used += width
    yield line[start:]
