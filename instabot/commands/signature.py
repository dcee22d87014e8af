"""A function's signature, read once at registration: what its words are, and its usage line."""

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from inspect import Parameter
from typing import Any, Literal, Union, get_args, get_origin

from instabot.commands import values
from instabot.errors import BadInput

Kind = Literal["word", "words", "rest", "flag", "option"]

_PLAIN: Mapping[Any, values.Convert] = {
    str: str,
    int: values.to_int,
    float: values.to_float,
    values.Duration: values.Duration.parse,
}
_TAKES = "str, int, float, bool, Duration, Rest, a Literal, an Enum, or one of them | None"


@dataclass(frozen=True)
class Slot:
    """One parameter: how it is written in chat and how its word becomes a value."""

    name: str
    kind: Kind
    convert: values.Convert = str
    required: bool = True
    default: Any = None
    shown: str = ""
    by_keyword: bool = False

    @property
    def label(self) -> str:
        """Its part of the usage line."""
        text = self.shown or self.name
        match self.kind:
            case "flag":
                return f"[--{'no-' if self.default else ''}{_dashed(self.name)}]"
            case "option":
                text = f"--{_dashed(self.name)} {text}"
            case "words" | "rest":
                text += "…"
            case "word":
                pass
        return text if self.required else f"[{text}]"


@dataclass(frozen=True)
class Signature:
    """All of a command's parameters after the context."""

    slots: tuple[Slot, ...]

    @property
    def usage(self) -> str:
        """The words a user writes after the command's name."""
        return " ".join(slot.label for slot in self.slots)

    @cached_property
    def switches(self) -> Mapping[str, Slot]:
        """Flags and options by the word that sets them, `--force`."""
        found = {}
        for slot in self.slots:
            if slot.kind == "flag" and slot.default:
                found[f"--no-{_dashed(slot.name)}"] = slot
            elif slot.kind in {"flag", "option"}:
                found[f"--{_dashed(slot.name)}"] = slot
        return found

    @cached_property
    def only_rest(self) -> Slot | None:
        """The one slot, where the whole line goes to it as it is: the binder's short cut."""
        if len(self.slots) == 1 and self.slots[0].kind == "rest":
            return self.slots[0]
        return None


def read(function: Callable[..., Any], what: str) -> Signature:
    """Read a command's signature. `what` names it in errors.

    Raises BadInput that says which parameter cannot be used, and what to write instead.
    """
    given = parameters(function, what)
    hints = _hints(function, given[1:], what)
    slots = tuple(_slot(p, hints, f"{what}: parameter “{p.name}”") for p in given[1:])
    in_line = [slot for slot in slots if slot.kind not in {"flag", "option"}]
    for slot in in_line[:-1]:
        if slot.kind in {"words", "rest"}:
            raise BadInput(f"{what}: parameter “{slot.name}” takes all that follows, so "
                           "it must be the last one")  # fmt: skip
    return Signature(slots)


def parameters(function: Callable[..., Any], what: str) -> list[Parameter]:
    """The parameters, of which the first is the context. Raises BadInput without one."""
    if not callable(function):
        raise BadInput(f"{what} is not a function")
    try:
        given = list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):
        raise BadInput(f"{what} has no signature that Python can read") from None
    if not given or given[0].kind not in {
        Parameter.POSITIONAL_ONLY,
        Parameter.POSITIONAL_OR_KEYWORD,
    }:
        raise BadInput(f"{what} must take the context first: (ctx: Context, …)")
    return given


def _hints(function: Callable[..., Any], given: list[Parameter], what: str) -> dict[str, Any]:
    # Only the parameters that users fill: the context's own type may be imported for
    # type checking alone, and the return type does not matter here.
    wanted = {p.name: p.annotation for p in given if p.annotation is not Parameter.empty}
    bare = types.SimpleNamespace(__annotations__=wanted)
    names = getattr(inspect.unwrap(function), "__globals__", {})
    try:
        return typing.get_type_hints(bare, globalns=names, include_extras=True)
    except Exception as error:  # an annotation in quotes is code of the author's
        raise BadInput(f"{what}: a parameter's type cannot be read: {error}") from None


def _slot(parameter: Parameter, hints: Mapping[str, Any], where: str) -> Slot:
    if parameter.kind is Parameter.VAR_KEYWORD:
        raise BadInput(f"{where}: a command cannot take **{parameter.name}")
    if parameter.name not in hints:
        raise BadInput(f"{where} has no type; write {parameter.name}: str, or one of {_TAKES}")
    hint, optional = _without_none(hints[parameter.name])
    has_default = parameter.default is not Parameter.empty
    default = parameter.default if has_default else None
    by_keyword = parameter.kind is Parameter.KEYWORD_ONLY
    if hint is bool:
        return _flag(parameter, optional, default, by_keyword, where)
    if parameter.kind is Parameter.VAR_POSITIONAL:
        kind: Kind = "words"
    elif any(isinstance(m, values.RestOfLine) for m in getattr(hint, "__metadata__", ())):
        kind = "rest"
    else:
        kind = "option" if by_keyword else "word"
    convert, shown = _converter(hint, where)
    required = not (has_default or optional or kind == "words")
    return Slot(parameter.name, kind, convert, required, default, shown, by_keyword)


def _flag(
    parameter: Parameter, optional: bool, default: Any, by_keyword: bool, where: str
) -> Slot:
    if optional or parameter.kind is Parameter.VAR_POSITIONAL:
        raise BadInput(f"{where}: a bool is a flag, --{_dashed(parameter.name)}; write "
                       f"{parameter.name}: bool = False")  # fmt: skip
    return Slot(parameter.name, "flag", str, False, bool(default), "", by_keyword)


def _without_none(hint: Any) -> tuple[Any, bool]:
    """Take `X | None` apart."""
    if get_origin(hint) not in {Union, types.UnionType}:
        return hint, False
    rest = [part for part in get_args(hint) if part is not type(None)]
    return (rest[0], True) if len(rest) == 1 else (hint, False)


def _converter(hint: Any, where: str) -> tuple[values.Convert, str]:
    """A converter, and what to show in place of the parameter's name ('' = its name)."""
    if get_origin(hint) is typing.Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) is Literal:
        return _choice(list(get_args(hint)), [str(value) for value in get_args(hint)], where)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _choice(*values.members(hint), where)
    try:
        return _PLAIN[hint], ""
    except (KeyError, TypeError):
        name = getattr(hint, "__name__", None) or str(hint)
        raise BadInput(f"{where} cannot be of type {name}; take {_TAKES}") from None


def _choice(found: list[Any], names: list[str], where: str) -> tuple[values.Convert, str]:
    if not names:
        raise BadInput(f"{where} has nothing to choose from")
    return values.choice(found, names), "|".join(names)


def _dashed(name: str) -> str:
    return name.replace("_", "-")
