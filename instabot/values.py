"""Reading one setting's text: sizes, times, counts, URLs, paths.

Each function, or the one it returns, raises ValueError for what is not allowed; `config.py`
turns that into a sentence.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Parse = Callable[[str], Any]

_SIZES = {"": 1, "b": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_TIMES = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def size(text: str) -> int:
    """Bytes from `64MB`, `1 GiB` (taken as 10**9) or a plain number."""
    match = re.fullmatch(r"(\d{1,15})\s*([kmg]?)i?b?", text.strip().lower())
    if not match:
        raise ValueError(text)
    return int(match[1]) * _SIZES[match[2]]


def seconds(text: str) -> float:
    """Seconds from `30s`, `12h`, `7d` or a plain number."""
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)\s*([smhdw]?)", text.strip().lower())
    if not match:
        raise ValueError(text)
    return float(match[1]) * _TIMES[match[2]]


def count(low: int, high: int) -> Parse:
    """A whole number within bounds, both included."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,12}", text.strip()) or not low <= int(text) <= high:
            raise ValueError(text)
        return int(text)

    return parse


def at_least(low: float, parse: Parse) -> Parse:
    """What `parse` reads, if it is not below `low`."""

    def check(text: str) -> Any:
        value = parse(text)
        if value < low:
            raise ValueError(text)
        return value

    return check


def pattern(pattern: str) -> Parse:
    """A text that matches a regular expression as a whole."""

    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(text)
        return text

    return parse


def switch(text: str) -> bool:
    """true, yes, on, 1 or their opposites."""
    words = {"true": True, "yes": True, "on": True, "1": True}
    words |= {"false": False, "no": False, "off": False, "0": False}
    try:
        return words[text.strip().lower()]
    except KeyError:
        raise ValueError(text) from None


def url(*schemes: str) -> Parse:
    """A URL with one of these schemes, or nothing."""

    def parse(text: str) -> str:
        text = text.strip()
        parts = urlsplit(text)
        if text and (parts.scheme not in schemes or "://" not in text):
            raise ValueError(text)
        if parts.netloc:
            _ = parts.port  # raises ValueError for what is no port
        return text

    return parse


def path(text: str) -> Path:
    """An absolute path; `~` is the home folder."""
    if not text or "\0" in text:
        raise ValueError(text)
    return Path(text).expanduser().absolute()


def maybe_path(text: str) -> Path | None:
    """A path, or None for nothing."""
    return path(text) if text else None
