"""Which part of the adapter hears which command: one table, shared by all connections.

Built once, from marks on methods, because a table of bound methods for each of ten thousand
idle links would weigh more than all that the links themselves know.
"""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, TypeVar

from irc.events import codes

from instabot.adapters.irc.lines import Line

Handler = Callable[[Any, Line], None]
Table = Mapping[str, tuple[tuple[str, Handler], ...]]
"""Command → (name of the part, function of part and line), in the order of their turn."""

ERRORS = "4XX"
_MARK = "hears"
_Marked = TypeVar("_Marked", bound=Callable[..., None])


def hears(names: str) -> Callable[[_Marked], _Marked]:
    """Mark a handler with commands: the library's name of a numeric ("nicknameinuse"), or as sent.

    "4xx" stands for all numerics of errors, 400 to 599.
    """

    def mark(handler: _Marked) -> _Marked:
        setattr(handler, _MARK, names)
        return handler

    return mark


def table(*parts: tuple[str, type | ModuleType]) -> Table:
    """All marked handlers of some parts; each line goes to them in the order given here.

    A part is named by the attribute that holds it, and its handlers are those of its class, or
    the functions of a module that take it.
    """
    found: dict[str, list[tuple[str, Handler]]] = {}
    for name, home in parts:
        for handler in vars(home).values():
            for command in getattr(handler, _MARK, "").split():
                heard = codes.get(command, command.upper())
                found.setdefault(heard, []).append((name, handler))
    every = found.get(ERRORS, [])
    for command, handlers in found.items():
        if is_error(command):
            handlers += every
    return {command: tuple(handlers) for command, handlers in found.items()}


def is_error(command: str) -> bool:
    """True for a numeric that says that something was refused."""
    return command[:1] in {"4", "5"} and command != ERRORS
