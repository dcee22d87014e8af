"""Units by name: the one door to pint.

A user's text never reaches pint's expression parser. It is split here into at most six names
with small powers; pint only looks names up and multiplies factors.
"""

import difflib
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from instabot.commands import CommandError
from instabot.plugins.convert import names

if TYPE_CHECKING:
    from pint import UnitRegistry
    from pint.util import UnitsContainer

MOST_FACTORS: Final = 6
LONGEST: Final = 32
"""Characters in one unit's name."""

PINT_ERRORS: Final = (ArithmeticError, AttributeError, TypeError, ValueError)
"""What pint's errors derive from: overflow, unknown unit, wrong kind of unit, no such value."""

_FACTOR: Final = re.compile(r"([^\W\d]+(?:-[^\W\d]+)*|°[^\W\d]*|['\"%])(?:\^?(-?[1-9]))?")
_OFFSET: Final = {"degree_Celsius": "delta_degree_Celsius",
                  "degree_Fahrenheit": "delta_degree_Fahrenheit",
                  "degree_Reaumur": "delta_degree_Reaumur"}  # fmt: skip
_ABSOLUTE: Final = {*_OFFSET, "kelvin", "degree_Rankine"}
_POWERS: Final = (("square ", 2), ("sq ", 2), ("sq. ", 2), ("cubic ", 3), ("cu ", 3))


@dataclass(frozen=True)
class Unit:
    """A unit: pint's names with their powers, how people write it, and its dimension.

    `times` is for what pint cannot name: one L/100km is 1/100 of a litre per kilometre.
    """

    factors: tuple[tuple[str, int], ...]
    label: str
    kind: frozenset[tuple[str, int]]
    times: float = 1.0

    @property
    def temperature(self) -> bool:
        """Whether amounts of it cannot be added up, nor fall below absolute zero."""
        return len(self.factors) == 1 and self.factors[0][0] in _ABSOLUTE

    @property
    def kind_in_words(self) -> str:
        """“a length”; the bare dimensions where there is no word."""
        bare = " ".join(f"{name}^{power:g}" for name, power in sorted(self.kind))
        return names.KINDS.get(self.kind, bare)


class Units:
    """Looks units up and converts amounts. Calls do not overlap: event loop only."""

    def __init__(self, registry: "UnitRegistry[float]") -> None:
        self._registry = registry
        self.unit = lru_cache(2000)(self._unit)

    def convert(self, amount: float, source: Unit, target: Unit) -> float:
        """The amount in the target unit, whose kind is the source's or its inverse.

        Raises one of PINT_ERRORS where there is no such amount.
        """
        quantity = self._registry.Quantity(amount * source.times, self._pint(source))
        if source.kind != target.kind:
            quantity = 1 / quantity
        return float(quantity.to(self._pint(target)).magnitude) / target.times

    def below_zero(self, amount: float, source: Unit) -> bool:
        """Whether a temperature is colder than there can be."""
        if not source.temperature:
            return False
        return self.convert(amount, source, self.unit("K")) < -1e-9

    def _unit(self, text: str) -> Unit:
        """The unit a user means. Raises CommandError with the nearest name, or why not."""
        factors, times = self._factors(text), 1.0
        if factors == {"litresperhundredkm": 1}:
            factors, times = {"liter": 1, "kilometer": -1}, 0.01
        elif len(factors) > 1 or any(power != 1 for power in factors.values()):
            # A temperature within a rate is a difference: C/min.
            factors = {_OFFSET.get(name, name): power for name, power in factors.items()}
        try:
            kind, label = self._kind(factors), self._label(factors, times)
        except PINT_ERRORS:
            # Decibels and degrees take no prefix and no company, and other such rules.
            raise CommandError(f"“{text}” is no unit that I can reckon with") from None
        return Unit(tuple(factors.items()), label, kind, times)

    def _factors(self, text: str) -> dict[str, int]:
        """`kg m/s^2` → kilogram 1, meter 1, second -2."""
        if any(word.lower() in names.MONEY for word in text.split()):
            raise CommandError("I do not convert money: I know no exchange rates")
        found: dict[str, int] = {}
        over = 1
        for part in re.sub(r"\bper\b", "/", text, flags=re.IGNORECASE).split("/"):
            for name, power in self._part(part.strip(), text):
                found[name] = found.get(name, 0) + over * power
            over = -1
        found = {name: power for name, power in found.items() if power}
        if len(found) > MOST_FACTORS or any(abs(power) > 9 for power in found.values()):
            raise CommandError(f"“{text}” is more of a unit than I can handle")
        return found

    def _part(self, part: str, text: str) -> Iterator[tuple[str, int]]:
        """One side of a slash: a name, a name of several words, or a product of names."""
        for word, power in _POWERS:
            if part.lower().startswith(word):
                part = f"{part[len(word) :].strip()}^{power}"
        part = re.sub(r" (?:squared|cubed)\b",
                      lambda m: "^2" if m[0] == " squared" else "^3", part)  # fmt: skip
        whole = self._known(part)
        if whole:
            yield from whole.items()
            return
        words = [word for word in re.split(r"[ *]+", part) if word]
        if not words:
            raise CommandError(f"“{text}” is no unit" if text else "a unit is missing")
        if len(words) > MOST_FACTORS:
            raise CommandError(f"“{text}” is more of a unit than I can handle")
        for word in words:
            match = _FACTOR.fullmatch(word)
            if match is None:
                raise CommandError(f"“{word}” is no unit: units are letters, /, * and ^")
            for name, power in (self._known(match[1]) or self._unknown(match[1])).items():
                yield name, power * int(match[2] or 1)

    def _known(self, name: str) -> Mapping[str, int]:
        """Pint's names for a user's one, {} for none."""
        lower = name.lower()
        if name in names.SHOUTED:
            name = lower
        if name in names.EXACT:
            return _spec(names.EXACT[name])
        # Lower case always has people's meaning first: `c` is no speed of light here.
        if name == lower and name in names.FOLDED:
            return _spec(names.FOLDED[name])
        if found := self._pint_name(name):
            return {found: 1}
        if lower in names.FOLDED:
            return _spec(names.FOLDED[lower])
        found = self._pint_name(lower) or self._pint_name(name, in_case=False)
        return {found: 1} if found else {}

    def _pint_name(self, name: str, in_case: bool = True) -> str:
        name = name.replace(" ", "_").replace("-", "_")
        if len(name) > LONGEST or not name.replace("_", "").replace("°", "").isalpha():
            return ""
        found = self._registry.parse_unit_name(name, case_sensitive=in_case)
        # Regardless of case there may be several, kilo- and Kelvin; then it is none.
        return f"{found[0][0]}{found[0][1]}" if found and (in_case or len(found) == 1) else ""

    def _unknown(self, name: str) -> Mapping[str, int]:
        lower = name.lower()[:LONGEST]
        near = difflib.get_close_matches(lower, (*names.COMMON, *names.FOLDED), 1, 0.7)
        better = f"; did you mean {near[0].replace('_', ' ')}?" if near else ""
        raise CommandError(f"I know no unit “{name[:LONGEST]}”{better}")

    def _label(self, factors: Mapping[str, int], times: float) -> str:
        if times != 1:
            return names.LABELS["litresperhundredkm"]
        for spec, label in names.LABELS.items():
            if _spec(spec) == factors:
                return label
        label = f"{self._registry.Unit(self._container(factors)):~P}"
        return label.replace("Δ", "")

    def _kind(self, factors: Mapping[str, int]) -> frozenset[tuple[str, int]]:
        found: Mapping[str, Any] = self._registry.get_dimensionality(self._container(factors))
        return frozenset((name, int(power)) for name, power in found.items())

    def _pint(self, unit: Unit) -> "UnitsContainer":
        return self._container(dict(unit.factors))

    def _container(self, factors: Mapping[str, int]) -> "UnitsContainer":
        return self._registry.UnitsContainer(factors)


def _spec(text: str) -> Mapping[str, int]:
    """Our own tables' notation: `kilometer/hour`, `foot^2`, `foot*pound_force`."""
    found: dict[str, int] = {}
    for at, side in enumerate(text.split("/")):
        for factor in side.split("*"):
            name, _, power = factor.partition("^")
            found[name] = int(power or 1) * (-1 if at else 1)
    return found


_lock = threading.Lock()
_loaded: list[Units] = []


def units() -> Units:
    """The units, loaded once; the first call takes half a second. Safe in threads."""
    with _lock:
        if not _loaded:
            _loaded.append(_load())
        return _loaded[0]


def units_if_loaded() -> Units | None:
    """The units if that takes no time, else None."""
    return _loaded[0] if _loaded else None


def _load() -> Units:
    import pint

    # Without a file no cache is built before our own definition is in.
    registry: UnitRegistry[float] = pint.UnitRegistry(None, on_redefinition="ignore")
    registry.load_definitions(str(files("pint") / "default_en.txt"))
    # In pint a bit is a plain number, and 10 MB would be so many radians.
    registry.define("bit = [information]")
    return Units(registry)
