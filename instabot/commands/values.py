"""From a word of a line to a value: numbers, choices, durations.

Every converter takes the word and raises ValueError, whose text ends the sentence
"NAME must be …".
"""

import math
import re
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Annotated, Any, Final, Self

Convert = Callable[[str], Any]


class RestOfLine:
    """The mark that `Rest` carries for the signature's reader."""


Rest = Annotated[str, RestOfLine()]
"""The rest of the line verbatim, spaces and quotes included: `text: Rest` or `= ""`."""

_INT = re.compile(r"[+-]?[0-9]{1,4000}")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,6})?(?:ms|[smhdw]))+", re.IGNORECASE)
_PART = re.compile(r"([0-9.]+)(ms|[smhdw])", re.IGNORECASE)


class Duration(float):
    """A length of time in seconds, written `5m`, `1h30m`, `2d`, `1.5h`, `250ms`."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a duration. Raises ValueError, also for a number without a unit."""
        if not _DURATION.fullmatch(text):
            raise ValueError("a duration such as 5m, 1h30m or 2d")
        return cls(sum(float(n) * _SECONDS[unit.lower()] for n, unit in _PART.findall(text)))

    def __str__(self) -> str:
        """The two largest units that matter: `1h 30m`, `12s`."""
        left = round(float(self))
        parts: list[str] = []
        for unit in ("w", "d", "h", "m", "s"):
            count, left = divmod(left, int(_SECONDS[unit]))
            if count:
                parts.append(f"{count}{unit}")
        return " ".join(parts[:2]) or ("0s" if not self else f"{float(self):.3g}s")

    __repr__ = float.__repr__


def to_int(word: str) -> int:
    """A whole number in ASCII digits. Raises ValueError."""
    if not _INT.fullmatch(word):
        raise ValueError("a whole number")
    return int(word)


def to_float(word: str) -> float:
    """A finite number with a decimal point. Raises ValueError."""
    if len(word) > 400 or not _FLOAT.fullmatch(word) or not math.isfinite(float(word)):
        raise ValueError("a number")
    return float(word)


def choice(values: Sequence[Any], names: Sequence[str]) -> Convert:
    """A converter that takes one of `names`, upper or lower case, to its value."""
    exact = dict(zip(names, values, strict=True))
    folded = {name.casefold(): value for name, value in reversed(exact.items())}
    text = "one of " + ", ".join(names)

    def convert(word: str) -> Any:
        if word in exact:
            return exact[word]
        try:
            return folded[word.casefold()]
        except KeyError:
            raise ValueError(text) from None

    return convert


def members(kind: type[Enum]) -> tuple[list[Enum], list[str]]:
    """An enum's members and what to call them in chat: their names in lower case."""
    found = list(kind)
    return found, [member.name.lower() for member in found]
