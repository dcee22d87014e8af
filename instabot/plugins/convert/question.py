"""Reading `5 ft 11 in to cm`: amounts and the texts of units, without knowing any unit.

Numbers and unit texts only: there is no arithmetic to evaluate, so nothing that is typed can
take long.
"""

import math
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from instabot.commands import CommandError

LONGEST: Final = 120
"""Characters that a question may have."""

MOST_TERMS: Final = 4
"""Amounts that may be added up: weeks, days, hours, minutes."""

_EXAMPLE: Final = "write an amount and two units, such as 10 km to miles"
_BETWEEN: Final = {"to", "in", "into", "as", "->", "=", "=>", "→"}
_MONEY: Final = frozenset("$€£")
_ARROWS: Final = re.compile(r"\s*(?:->|=>|→)\s*")
_PER_100: Final = re.compile(
    r"(?:l|lit(?:er|re)s?)\s*(?:/|per)\s*100\s*(?:km|kilomet(?:er|re)s?)\b", re.IGNORECASE
)
_LOOKALIKES: Final = {
    **dict.fromkeys(map(ord, "\N{PRIME}\N{LEFT SINGLE QUOTATION MARK}"), "'"),
    ord("\N{RIGHT SINGLE QUOTATION MARK}"): "'",
    **dict.fromkeys(map(ord, "″“”"), '"'),
    **dict.fromkeys(map(ord, "\N{MULTIPLICATION SIGN}\N{DOT OPERATOR}·"), "*"),
    ord("\N{MINUS SIGN}"): "-",
    ord("\N{MICRO SIGN}"): "\N{GREEK SMALL LETTER MU}",
    ord("\N{NO-BREAK SPACE}"): " ",
    ord("²"): "^2",
    ord("³"): "^3",
}

_NUMBER: Final = re.compile(
    r"""(?P<sign>[+-]?)(?:
        (?:(?P<whole>[0-9]{1,15})[ ])?(?P<over>[0-9]{1,15})/(?P<under>[0-9]{1,15})
      | (?P<plain>(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)? | [0-9]+[.,][0-9]+ | \.[0-9]+
                  | [0-9]+\.?)(?:[eE][+-]?[0-9]{1,3}(?![0-9]))?)
    )""",
    re.VERBOSE,
)
# Letters and operators; a digit only as an exponent: m^2, m^-2, ft3 (but not the 30 in 1h30m).
_UNIT: Final = re.compile(
    r"""(?:[^\W\d] | [°'"%/] | \*(?!\*) | \^-?[0-9] | (?<=[^\W\d])[2-9](?![\w.,])
         | (?<=[^\W\d])-(?=[^\W\d]) | [ ])*""",
    re.VERBOSE,
)
_THOUSANDS: Final = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])")


class Term(NamedTuple):
    """An amount and its unit's text, as typed; '' where none was."""

    amount: float
    unit: str


@dataclass(frozen=True, slots=True)
class Question:
    """`target` is '' where there was no “to”: then the last term's unit names both."""

    terms: tuple[Term, ...]
    target: str


def parse(text: str) -> Question:
    """Read a question. Raises CommandError that says what to write."""
    if len(text) > LONGEST:
        raise CommandError(f"that is too long; {_EXAMPLE}")
    if not _MONEY.isdisjoint(text):
        raise CommandError("I do not convert money: I know no exchange rates")
    text = _ARROWS.sub(" -> ", text.translate(_LOOKALIKES))
    text = _PER_100.sub("litresperhundredkm", text)
    words = text.split()
    if words and words[-1].lower() in _BETWEEN - {"in"}:
        raise CommandError(f"to what? W{_EXAMPLE[1:]}")
    cut = _separator(words)
    if cut is None:
        return Question(_terms(" ".join(words)), "")
    source, target = " ".join(words[:cut]), " ".join(words[cut + 1 :])
    if not target or any(character.isdigit() for character in target[:1]):
        raise CommandError(_EXAMPLE)
    # `km to mi`: one of them.
    terms = _terms(source if _NUMBER.match(source) else f"1 {source}")
    if not terms[-1].unit and terms[-1].amount and words[cut] == "in":
        # `5 in cm`: the “in” was inches.
        return Question((*terms[:-1], Term(terms[-1].amount, "in")), target)
    return Question(terms, target)


def _separator(words: list[str]) -> int | None:
    """The last word between two units that separates them: `5 in in cm` has two “in”."""
    found = [at for at, word in enumerate(words[1:-1], 1) if word.lower() in _BETWEEN]
    strong = [at for at in found if words[at].lower() != "in"]
    return max(strong or found, default=None)


def _terms(source: str) -> tuple[Term, ...]:
    terms: list[Term] = []
    at = 0
    while at < len(source):
        number = _NUMBER.match(source, at)
        if number is None or number.end() == at or len(terms) == MOST_TERMS:
            raise CommandError(f"I cannot read “{_short(source[at:])}”; {_EXAMPLE}")
        unit = _UNIT.match(source, number.end())
        end = unit.end() if unit else number.end()
        terms.append(Term(_value(number), _tidy(source[number.end() : end])))
        at = end
    if not terms:
        raise CommandError(_EXAMPLE)
    if len(terms) > 1:
        _feet_alone(terms)
        if any(not term.unit for term in terms):
            raise CommandError(_EXAMPLE)
    return tuple(terms)


def _feet_alone(terms: list[Term]) -> None:
    """`5'11`: what follows the feet is inches."""
    for at, (one, other) in enumerate(pairwise(terms)):
        if one.unit == "'" and not other.unit:
            terms[at + 1] = Term(other.amount, '"')


def _tidy(unit: str) -> str:
    """Drop the “and” that joins two terms."""
    unit = unit.strip()
    return unit[:-4].rstrip() if unit.lower().endswith(" and") else unit


def _value(number: re.Match[str]) -> float:
    sign = -1.0 if number["sign"] == "-" else 1.0
    if number["under"]:
        if not int(number["under"]):
            raise CommandError("I cannot divide by zero")
        return sign * (int(number["whole"] or 0) + int(number["over"]) / int(number["under"]))
    plain = number["plain"]
    if _THOUSANDS.match(plain):
        plain = plain.replace(",", "")
    value = sign * float(plain.replace(",", "."))
    if not math.isfinite(value):
        raise CommandError("that number is too large")
    return value


def _short(text: str) -> str:
    return text if len(text) <= 30 else f"{text[:29]}…"
