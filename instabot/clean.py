"""Text from chat, made fit for a terminal.

Whoever may speak in a room may write escape sequences, and the terminal would obey them: set
the clipboard, fake a prompt, hide what follows. Nothing that came from a chat service reaches a
terminal or a log without passing here.
"""

import re
import unicodedata

# Controls (C0, DEL, C1), line and paragraph separators, bidirectional overrides (UAX #9),
# zero-width and tag characters, surrogates: all that moves, hides or reorders what is seen.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_IRC_FORMAT = re.compile(r"\x03(?:\d{1,2}(?:,\d{1,2})?)?|[\x02\x0f\x11\x16\x1d\x1e\x1f]")
_MOST_MARKS = 4


def clean(text: str) -> str:
    """One line that a terminal shows and never obeys; IRC colours are dropped, tabs are spaces.

    Every other unsafe character becomes its visible code, `\\x1b` or `\\u202e`.
    """
    text = _IRC_FORMAT.sub("", text).replace("\t", " ")
    return _fewer_marks(_UNSAFE.sub(_code, text))


def _code(match: re.Match[str]) -> str:
    number = ord(match[0])
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _fewer_marks(text: str) -> str:
    """At most four combining marks on a character: a tower of them covers other lines."""
    if text.isascii():
        return text
    kept: list[str] = []
    marks = 0
    for char in text:
        marks = marks + 1 if unicodedata.combining(char) else 0
        if marks <= _MOST_MARKS:
            kept.append(char)
    return "".join(kept)
