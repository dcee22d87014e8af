"""`Plugin`: a name and the four decorators that put functions under it."""

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Final, TypeVar, overload

from instabot.commands.signature import Signature, parameters, read
from instabot.commands.values import Duration
from instabot.errors import BadInput

F = TypeVar("F", bound=Callable[..., Any])

OPERATOR: Final = "operator"
"""The role that a command with effects demands unless it names another."""

TIMEOUT: Final = 30.0
"""Seconds that a function may take unless it says otherwise."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


@dataclass(frozen=True, kw_only=True)
class Handler:
    """A plugin's function and the terms on which it is called. `timeout` in seconds."""

    plugin: str
    name: str
    run: Callable[..., Any]
    timeout: float = TIMEOUT
    role: str = ""
    effect: bool = False
    background: bool = False

    @cached_property
    def is_async(self) -> bool:
        """Whether a call returns at once, with something to await or to iterate."""
        function = inspect.unwrap(self.run)
        if isinstance(function, partial):
            function = function.func
        elif not inspect.isroutine(function):
            function = type(function).__call__
        return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


@dataclass(frozen=True, kw_only=True)
class Command(Handler):
    """`!name usage`. `summary` is the docstring's first line, `text` all that follows it."""

    signature: Signature = field(repr=False)
    usage: str = ""
    summary: str = ""
    text: str = ""

    def line(self, prefix: str) -> str:
        """The usage line: `!roll [sides]`."""
        return f"{prefix}{self.name} {self.usage}".rstrip()


@dataclass(frozen=True, kw_only=True)
class Listener(Handler):
    """Called for each line that `pattern` is found in; for every line without one."""

    pattern: re.Pattern[str] | None = None
    takes_match: bool = False


@dataclass(frozen=True, kw_only=True)
class HookHandler(Handler):
    """Called with each delivery of the webhook `source`."""

    source: str


@dataclass(frozen=True, kw_only=True)
class Timer(Handler):
    """Called every so many `seconds`."""

    seconds: float


class Plugin:
    """A named set of functions. Everything wrong with one is said when it is registered.

    The decorators return the function as it was, so it can be called and tested as such.
    All raise BadInput.
    """

    def __init__(self, name: str) -> None:
        self.name = _checked(name, "a plugin")
        self.commands: dict[str, Command] = {}
        self.listeners: list[Listener] = []
        self.hooks: list[HookHandler] = []
        self.timers: list[Timer] = []

    def __repr__(self) -> str:
        return f"Plugin({self.name!r})"

    @overload
    def command(self, name: F, /) -> F: ...
    @overload
    def command(
        self, name: str | None = None, *, usage: str = "", effect: bool = False,
        role: str = "", background: bool = False, timeout: float = TIMEOUT,
    ) -> Callable[[F], F]: ...  # fmt: skip
    def command(
        self, name: Any = None, *, usage: str = "", effect: bool = False,
        role: str = "", background: bool = False, timeout: float = TIMEOUT,
    ) -> Any:  # fmt: skip
        """Answer `!name …`; the arguments come from the function's signature.

        `effect` says that it changes the world: it then demands a role ("operator" unless
        `role` names another) and is never silently run twice. `background` lets the room's
        next lines be answered meanwhile. `usage` replaces the line derived from the signature.
        """

        def register(function: F) -> F:
            called = _checked(name or _function_name(function), f"plugin “{self.name}”")
            what = f"plugin “{self.name}”, command “{called}”"
            if called in self.commands:
                raise BadInput(f"{what} is there twice")
            signature = read(function, what)
            summary, text = _doc(function)
            self.commands[called] = Command(
                plugin=self.name, name=called, run=function, signature=signature,
                usage=usage or signature.usage, summary=summary, text=text, effect=effect,
                role=role or (OPERATOR if effect else ""), background=background,
                timeout=_seconds(timeout, what),
            )  # fmt: skip
            return function

        if callable(name):
            function, name = name, None
            return register(function)
        return register

    @overload
    def listen(self, pattern: F, /) -> F: ...
    @overload
    def listen(
        self, pattern: str | re.Pattern[str] | None = None, *, timeout: float = TIMEOUT
    ) -> Callable[[F], F]: ...
    def listen(self, pattern: Any = None, *, timeout: float = TIMEOUT) -> Any:
        """Hear each line in which the regular expression `pattern` is found, or every line.

        The function takes `(ctx)` or `(ctx, match)`. Keep patterns free of nested repeats such
        as `(a+)+$`: no line ends them in time, and nothing but the watchdog stops one.
        """

        def register(function: F) -> F:
            named = _function_name(function)
            what = f"plugin “{self.name}”, listener “{named}”"
            found = _pattern(pattern, what)
            count = _arity(function, 1 if found is None else 2, what)
            self.listeners.append(
                Listener(plugin=self.name, name=named, run=function, pattern=found,
                         takes_match=count == 2, timeout=_seconds(timeout, what))
            )  # fmt: skip
            return function

        if callable(pattern):
            function, pattern = pattern, None
            return register(function)
        return register

    def hook(self, source: str, *, timeout: float = TIMEOUT) -> Callable[[F], F]:
        """Take the deliveries of a webhook: `(ctx, hook: Hook)`; what it returns is said."""
        what = f"plugin “{self.name}”, hook “{source}”"
        _checked(source, f"plugin “{self.name}”, a hook")

        def register(function: F) -> F:
            if _arity(function, 2, what) != 2:
                raise BadInput(f"{what} must take (ctx, hook)")
            self.hooks.append(
                HookHandler(plugin=self.name, name=_function_name(function), run=function,
                            source=source, timeout=_seconds(timeout, what))
            )  # fmt: skip
            return function

        return register

    def every(self, period: str | float, *, timeout: float = TIMEOUT) -> Callable[[F], F]:
        """Be called each `period` ("5m", "1h30m", or seconds, at least one): `(ctx)`."""
        what = f"plugin “{self.name}”, every {period}"
        try:
            seconds = Duration.parse(period) if isinstance(period, str) else float(period)
        except (ValueError, TypeError):
            raise BadInput(f"{what}: write a duration such as 5m or 1h30m") from None
        if not 1 <= seconds < math.inf:
            raise BadInput(f"{what}: a period is one second or more")

        def register(function: F) -> F:
            _arity(function, 1, what)
            self.timers.append(
                Timer(plugin=self.name, name=_function_name(function), run=function,
                      seconds=float(seconds), timeout=_seconds(timeout, what))
            )  # fmt: skip
            return function

        return register


def _checked(name: Any, whose: str) -> str:
    """Raises BadInput unless the name can be typed in a room and written in a key."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadInput(f"{whose} cannot be named {name!r}: use a-z, 0-9, - and _, at most 32")
    return name


def _function_name(function: Any) -> str:
    return str(getattr(function, "__name__", "")).strip("_").lower()


def _arity(function: Callable[..., Any], most: int, what: str) -> int:
    """How many of 1 to `most` positional arguments the function takes."""
    given = parameters(function, what)
    needed = [p for p in given if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
    if len(needed) > most or any(p.kind is p.KEYWORD_ONLY for p in needed):
        raise BadInput(f"{what}: parameter “{needed[-1].name}” is never given")
    return min(most, len([p for p in given if p.kind is not p.KEYWORD_ONLY]))


def _pattern(pattern: Any, what: str) -> re.Pattern[str] | None:
    try:
        return None if pattern is None else re.compile(pattern)
    except (re.error, TypeError, RecursionError, OverflowError) as error:
        raise BadInput(f"{what}: the pattern {pattern!r} cannot be used: {error}") from None


def _seconds(timeout: float, what: str) -> float:
    if not 0 < timeout < math.inf:
        raise BadInput(f"{what}: the timeout must be a number of seconds above 0")
    return float(timeout)


def _doc(function: Callable[..., Any]) -> tuple[str, str]:
    summary, _, text = (inspect.getdoc(function) or "").partition("\n")
    return summary.strip(), text.strip()
