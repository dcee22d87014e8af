"""What reaches the terminal: tables, JSON, times. Nothing from chat gets there uncleaned."""

import json
import sys
import time
import unicodedata
from collections.abc import Sequence
from typing import Any

import msgspec

from instabot.clean import clean


def say(text: str = "") -> None:
    """One line on stdout, cleaned."""
    _write(clean(text))


def complain(text: str) -> None:
    """One line on stderr, cleaned: what was wrong, and what to do."""
    sys.stderr.write(f"instabot: {clean(text)}\n")
    sys.stderr.flush()


def document(value: Any) -> None:
    """The one JSON document of `--json`; ASCII only, so that no terminal can misread it."""
    _write(json.dumps(msgspec.to_builtins(value), indent=2))


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their longest cell; the last one is free."""
    cells = [[clean(cell) for cell in row] for row in (head, *rows)]
    wide = [max(map(width, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = [cell + " " * (wide[i] - width(cell)) for i, cell in enumerate(row)]
        _write("  ".join(padded).rstrip())


def width(text: str) -> int:
    """Columns that a terminal gives a cleaned text (UAX #11)."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def ago(at: float, now: float | None = None) -> str:
    """How long since a time: `12s`, `5m`, `3h`, `2d`; `-` for never."""
    return span((time.time() if now is None else now) - at) if at else "-"


def span(seconds: float) -> str:
    """A length of time in its largest unit."""
    seconds = max(0.0, seconds)
    for length, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{int(seconds)}s"


def clock(at: float) -> str:
    """A time of day here, to the second."""
    return time.strftime("%H:%M:%S", time.localtime(at))
