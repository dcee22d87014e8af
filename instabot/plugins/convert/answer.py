"""From a question to `10 km = 6.214 mi`."""

import math
from collections.abc import Sequence
from typing import Final

from instabot.commands import CommandError
from instabot.plugins.convert import names, numbers
from instabot.plugins.convert.question import Question, Term
from instabot.plugins.convert.units import PINT_ERRORS, Unit, Units

_TIME: Final = frozenset({("[time]", 1)})
_MOST_WORDS: Final = 8
_MOST_PARTS: Final = 4
_LARGEST_SPREAD: Final = 1e12


def answer(question: Question, units: Units) -> str:
    """The reply. Raises CommandError where there is none."""
    terms, target = question.terms, question.target
    if not target:
        terms, target = _without_to(terms, units)
    if not terms[-1].unit:
        # `5 to mi km` and the like: the amount has no unit of its own.
        (last,), target = _without_to((Term(terms[-1].amount, target),), units)
        terms = (*terms[:-1], last)
    sources = _minutes([term.unit for term in terms], target, units)
    try:
        return _equation(terms, sources, _targets(target, sources, units), units)
    except PINT_ERRORS:
        raise CommandError("that goes beyond what I can reckon") from None


def _equation(
    terms: Sequence[Term], sources: Sequence[Unit], targets: Sequence[Unit], units: Units
) -> str:
    total = 0.0
    for term, source in zip(terms, sources, strict=True):
        _check(term.amount, source, targets[0], units, alone=len(terms) == 1)
        total += units.convert(term.amount, source, targets[0])
    if not math.isfinite(total):
        raise OverflowError
    left = " ".join(
        _written(numbers.given(term.amount), source)
        for term, source in zip(terms, sources, strict=True)
    )
    return f"{left} = {_spread(total, targets, units)}"


def _spread(total: float, targets: Sequence[Unit], units: Units) -> str:
    """The result in one unit, or in several: 5 ft 10.87 in."""
    if len(targets) == 1:
        text = numbers.degrees(total) if targets[0].temperature else numbers.result(total)
        return _written(text, targets[0])
    # Rounded before it is spread, so that it never says 5 ft 12 in.
    left = round(abs(units.convert(total, targets[0], targets[-1])), 2)
    if left >= _LARGEST_SPREAD:
        return _spread(total, targets[:1], units)
    parts = []
    for unit in targets[:-1]:
        count, left = divmod(left, round(units.convert(1, unit, targets[-1]), 9))
        parts.append(_written(f"{count:.0f}", unit))
    parts.append(_written(numbers.result(round(left, 2)), targets[-1]))
    return ("-" if total < 0 else "") + " ".join(parts)


def _written(amount: str, unit: Unit) -> str:
    plural = "s" if unit.label in names.PLURALS and amount != "1" else ""
    return f"{amount} {unit.label}{plural}".rstrip()


def _check(amount: float, source: Unit, target: Unit, units: Units, alone: bool) -> None:
    inverse = frozenset((name, -power) for name, power in target.kind)
    if source.kind != target.kind and not (alone and source.kind == inverse):
        raise CommandError(
            f"{source.label or 'that'} is {source.kind_in_words}, {target.label or 'that'} is "
            f"{target.kind_in_words}: one does not convert to the other"
        )
    if source.kind != target.kind and amount == 0:
        raise CommandError(f"0 {source.label} has no counterpart in {target.label}")
    if not alone and source.temperature:
        raise CommandError("temperatures do not add up")
    if units.below_zero(amount, source):
        raise CommandError(f"{numbers.given(amount)} {source.label} is below absolute zero")


def _without_to(terms: tuple[Term, ...], units: Units) -> tuple[tuple[Term, ...], str]:
    """`3 mi km`: find where the first unit ends and the second begins."""
    *before, last = terms
    words = last.unit.split()[:_MOST_WORDS]
    if len(words) < 2:
        what = f"{numbers.given(last.amount)} {last.unit}".rstrip()
        raise CommandError(f"to what? Write {what} to …, such as 10 km to miles")
    cuts = [(" ".join(words[:at]), " ".join(words[at:])) for at in range(1, len(words))]
    # `fl oz ml`: fl is femtolitre, but only fl oz and ml are of a kind.
    likely = [
        cut for cut in cuts if (kind := _kind(cut[0], units)) and kind == _kind(cut[1], units)
    ]
    source, target = (likely or cuts[-1:])[0]
    return (*before, Term(last.amount, source)), target


def _minutes(sources: Sequence[str], target: str, units: Units) -> list[Unit]:
    """Among times, `m` is minutes: 1h30m, 90m to h."""
    others = [text for text in (*sources, *target.split()) if text != "m"]
    among_times = any(_is_time(text, units) for text in others)
    return [units.unit("min" if text == "m" and among_times else text) for text in sources]


def _is_time(text: str, units: Units) -> bool:
    return _kind(text, units) == _TIME


def _targets(target: str, sources: Sequence[Unit], units: Units) -> list[Unit]:
    """One unit, or several of a kind: `ft in`, `h m s`."""
    if sources[0].kind == _TIME:
        target = " ".join("min" if word == "m" else word for word in target.split())
    words = [word for word in target.replace(",", " ").split() if word.lower() != "and"]
    if 1 < len(words) <= _MOST_PARTS and all(_same(word, sources[0], units) for word in words):
        found = [units.unit(word) for word in words]
        if not any(unit.temperature for unit in found):
            found.sort(key=lambda unit: units.convert(1, unit, sources[0]), reverse=True)
            return found
    return [units.unit(target)]


def _same(text: str, other: Unit, units: Units) -> bool:
    return _kind(text, units) == other.kind


def _kind(text: str, units: Units) -> frozenset[tuple[str, int]] | None:
    try:
        return units.unit(text).kind
    except CommandError:
        return None
