"""From the text after a command's name to the arguments of its function.

Words are split at white space; "double" and “curly” quotes hold a word together where they
open at its start and close at its end. A single quote and a backslash are letters like any
other: `don't` and `C:\\new` arrive as they were typed. Quotes that do not close are letters too.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from instabot.commands import Command
from instabot.commands.signature import Slot
from instabot.errors import CommandError

SHOWN = 40
"""How much of a user's word an error repeats."""

_QUOTES = '"“”„'
_WORD = re.compile(
    rf"(?P<switch>--[\w-]+=)?[{_QUOTES}](?P<quoted>.*?)[{_QUOTES}](?!\S)|\S+", re.S
)
_OPENS = re.compile(rf"(?:--[\w-]+=)?[{_QUOTES}]")
_PLAIN = re.compile(r"\S+")


class Misused(CommandError):
    """The words do not fit the command; the text says why, or is '' where usage says all."""


class Word(NamedTuple):
    """A word and where it stood in the text; `quoted` words are never flags."""

    text: str
    start: int
    end: int
    quoted: bool = False


def words(text: str) -> list[Word]:
    """Split a line into its words. Takes any text and raises nothing."""
    found = []
    for match in _WORD.finditer(text):
        quoted = match["quoted"]
        if quoted is None:
            if _OPENS.match(match[0]):
                return [Word(m[0], m.start(), m.end()) for m in _PLAIN.finditer(text)]
            found.append(Word(match[0], match.start(), match.end()))
        else:
            switch = match["switch"] or ""
            found.append(Word(switch + quoted, match.start(), match.end(), not switch))
    return found


def bind(command: Command, text: str) -> tuple[list[Any], dict[str, Any]]:
    """The arguments after the context. Raises Misused, and no other error for any text."""
    rest = command.signature.only_rest
    if rest is not None:
        given = _rest(rest, text)
        return ([], {rest.name: given}) if rest.by_keyword else ([given], {})
    return _Binder(command, text).run()


def _rest(slot: Slot, text: str) -> Any:
    if text and not text.isspace():
        return text
    if slot.required:
        raise Misused("")
    return slot.default


class _Binder:
    """One pass over the words: switches to their slots, the others in order."""

    def __init__(self, command: Command, text: str) -> None:
        self._slots = command.signature.slots
        self._switches = command.signature.switches
        self._text = text
        self._words = words(text)
        self._at = 0
        self._values: dict[str, Any] = {}
        self._switching = bool(self._switches)

    def run(self) -> tuple[list[Any], dict[str, Any]]:
        many: Sequence[Any] = ()
        for slot in self._slots:
            if slot.kind == "words":
                many = [_convert(slot, word) for word in self._remaining()]
            elif slot.kind == "rest":
                self._take_rest(slot)
            elif slot.kind == "word" and (word := self._next()) is not None:
                self._values[slot.name] = _convert(slot, word)
        if self._next() is not None:
            raise Misused("")
        return self._arguments(many)

    def _next(self) -> str | None:
        """The next word that is no switch."""
        while self._at < len(self._words):
            word = self._words[self._at]
            self._at += 1
            if not self._switch(word):
                return word.text
        return None

    def _remaining(self) -> Iterator[str]:
        while (word := self._next()) is not None:
            yield word

    def _switch(self, word: Word) -> bool:
        """Deal with a flag or an option. False if the word is neither."""
        if not self._switching or word.quoted or not word.text.startswith("--"):
            return False
        if word.text == "--":
            self._switching = False
            return True
        name, equals, value = word.text.partition("=")
        slot = self._switches.get(name.lower())
        if slot is None:
            raise Misused(f"there is no {shorten(name)}")
        if slot.kind == "flag":
            if equals:
                raise Misused(f"{name} takes no value")
            self._values[slot.name] = not slot.default
            return True
        if not equals:
            if self._at >= len(self._words):
                raise Misused(f"{name} needs a value")
            value = self._words[self._at].text
            self._at += 1
        self._values[slot.name] = _convert(slot, value)
        return True

    def _take_rest(self, slot: Slot) -> None:
        """Everything from here on, after exactly one space; leading switches are taken."""
        while self._at < len(self._words):
            self._at += 1
            if not self._switch(self._words[self._at - 1]):
                self._at -= 1
                break
        start = self._words[self._at - 1].end + 1 if self._at else 0
        self._at = len(self._words)
        rest = self._text[start:]
        if rest and not rest.isspace():
            self._values[slot.name] = rest

    def _arguments(self, many: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        args: list[Any] = []
        named: dict[str, Any] = {}
        for slot in self._slots:
            if slot.kind == "words":
                args.extend(many)
                continue
            if slot.name not in self._values and slot.required:
                raise Misused("")
            value = self._values.get(slot.name, slot.default)
            if slot.by_keyword:
                named[slot.name] = value
            else:
                args.append(value)
        return args, named


def _convert(slot: Slot, word: str) -> Any:
    try:
        return slot.convert(word)
    except ValueError as error:
        raise Misused(f"{slot.name} must be {error}, not “{shorten(word)}”") from None


def shorten(word: str) -> str:
    """A user's word, fit to be repeated in an error."""
    return word if len(word) <= SHOWN else word[: SHOWN - 1] + "…"
