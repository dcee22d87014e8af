"""What a plugin author gets told at registration, and what the signature becomes."""

from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any, Literal

import pytest

from instabot.commands import Context, Duration, Plugin, Rest
from instabot.errors import BadInput


class Colour(Enum):
    RED = "r"
    BLUE = "b"


def usage_of(function: Callable[..., Any], **terms: Any) -> str:
    plugin = Plugin("test")
    plugin.command("it", **terms)(function)
    return plugin.commands["it"].line("!")


def problem_of(function: Any) -> str:
    with pytest.raises(BadInput) as caught:
        Plugin("test").command("it")(function)
    return str(caught.value)


def test_the_usage_line_comes_from_the_signature() -> None:
    def roll(ctx: Context, sides: int, times: int = 1) -> None: ...
    def paint(
        ctx: Context, colour: Colour, where: Literal["wall", "door"] = "wall"
    ) -> None: ...
    def say(ctx: Context, to: str, text: Rest) -> None: ...
    def add(ctx: Context, *numbers: float) -> None: ...
    def deploy(
        ctx: Context, app: str | None, *, dry_run: bool = False, env: str = "x"
    ) -> None: ...

    assert usage_of(roll) == "!it sides [times]"
    assert usage_of(paint) == "!it red|blue [wall|door]"
    assert usage_of(say) == "!it to text…"
    assert usage_of(add) == "!it [numbers…]"
    assert usage_of(deploy) == "!it [app] [--dry-run] [--env env]"


def test_a_usage_of_ones_own_replaces_the_derived_one() -> None:
    def roll(ctx: Context, sides: int = 6) -> None: ...

    assert usage_of(roll, usage="[2-100]") == "!it [2-100]"


def test_the_docstring_becomes_summary_and_text() -> None:
    plugin = Plugin("dice")

    @plugin.command
    async def roll(ctx: Context) -> str:
        """Roll a die.

        It is fair.
        """
        return "4"

    command = plugin.commands["roll"]
    assert (command.summary, command.text) == ("Roll a die.", "It is fair.")


async def test_a_decorated_function_stays_what_it_was() -> None:
    plugin = Plugin("dice")

    @plugin.command()
    async def roll(ctx: Any, sides: int = 6) -> int:
        return sides

    assert await roll(None, 8) == 8


def test_annotations_in_quotes_are_read_and_the_contexts_own_need_not_be() -> None:
    def roll(ctx: "OnlyForTypeChecking", sides: "int" = 6) -> "Nowhere":  # type: ignore[name-defined] # noqa: F821
        ...

    assert usage_of(roll) == "!it [sides]"


def no_context() -> None: ...
def no_type(ctx: Context, sides) -> None: ...  # type: ignore[no-untyped-def]
def wrong_type(ctx: Context, when: dict[str, str]) -> None: ...
def two_types(ctx: Context, when: int | str) -> None: ...
def many_named(ctx: Context, **rest: str) -> None: ...
def rest_first(ctx: Context, text: Rest, sides: int = 6) -> None: ...
def maybe_flag(ctx: Context, force: bool | None = None) -> None: ...
def unknown_name(ctx: Context, sides: "Sides") -> None: ...  # type: ignore[name-defined] # noqa: F821


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (no_context, "must take the context first"),
        (no_type, "parameter “sides” has no type; write sides: str"),
        (wrong_type, "parameter “when” cannot be of type dict"),
        (two_types, "parameter “when” cannot be of type"),
        (many_named, "parameter “rest”: a command cannot take **rest"),
        (rest_first, "parameter “text” takes all that follows, so it must be the last"),
        (maybe_flag, "parameter “force”: a bool is a flag, --force; write force: bool = False"),
        (unknown_name, "a parameter's type cannot be read: name 'Sides' is not defined"),
        (17, "is not a function"),
    ],
)
def test_a_bad_signature_is_refused_at_registration(function: Any, words: str) -> None:
    problem = problem_of(function)
    assert words in problem
    assert problem.startswith("plugin “test”, command “it”")


@pytest.mark.parametrize("name", ["", "Roll", "a b", "!roll", "ü", "x" * 33, 5])
def test_a_name_that_cannot_be_typed_is_refused(name: Any) -> None:
    with pytest.raises(BadInput, match="cannot be named"):
        Plugin(name)


def test_the_same_command_twice_is_refused() -> None:
    plugin = Plugin("dice")
    plugin.command("roll")(lambda ctx: "1")
    with pytest.raises(BadInput, match="command “roll” is there twice"):
        plugin.command("roll")(lambda ctx: "2")


def test_an_effect_demands_the_role_operator_unless_it_names_another() -> None:
    plugin = Plugin("ops")
    plugin.command("a", effect=True)(lambda ctx: "")
    plugin.command("b", effect=True, role="deployer")(lambda ctx: "")
    plugin.command("c")(lambda ctx: "")
    assert [plugin.commands[name].role for name in "abc"] == ["operator", "deployer", ""]


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_a_timeout_that_is_no_time_is_refused(timeout: float) -> None:
    with pytest.raises(BadInput, match="the timeout must be a number of seconds above 0"):
        Plugin("x").command("a", timeout=timeout)(lambda ctx: "")


def test_listeners_take_the_match_where_they_ask_for_it() -> None:
    plugin = Plugin("tickets")
    plugin.listen(r"#(\d+)")(lambda ctx, match: "")
    plugin.listen(r"#(\d+)")(lambda ctx: "")
    plugin.listen(lambda ctx: "")
    assert [one.takes_match for one in plugin.listeners] == [True, False, False]
    assert [bool(one.pattern) for one in plugin.listeners] == [True, True, False]


def test_what_listeners_hooks_and_timers_cannot_use_is_refused() -> None:
    plugin = Plugin("x")
    with pytest.raises(BadInput, match="the pattern '\\(' cannot be used"):
        plugin.listen("(")(lambda ctx: "")
    with pytest.raises(BadInput, match="parameter “b” is never given"):
        plugin.listen("a")(lambda ctx, match, b: "")
    with pytest.raises(BadInput, match="must take \\(ctx, hook\\)"):
        plugin.hook("github")(lambda ctx: "")
    with pytest.raises(BadInput, match="parameter “b” is never given"):
        plugin.every("5m")(lambda ctx, b: "")
    with pytest.raises(BadInput, match="write a duration such as 5m"):
        plugin.every("often")
    with pytest.raises(BadInput, match="one second or more"):
        plugin.every(0.1)


def test_periods_are_durations_or_seconds() -> None:
    plugin = Plugin("x")
    plugin.every("1h30m")(lambda ctx: "")
    plugin.every(90)(lambda ctx: "")
    assert [one.seconds for one in plugin.timers] == [5400, 90]


def test_it_is_known_whether_a_function_blocks() -> None:
    plugin = Plugin("x")

    class Callable:
        async def __call__(self, ctx: Context) -> None: ...

    async def coroutine(ctx: Context) -> None: ...
    async def generator(ctx: Context) -> Any:
        yield "x"

    plugin.command("a")(coroutine)
    plugin.command("b")(generator)
    plugin.command("c")(Callable())
    plugin.command("d")(partial(coroutine))
    plugin.command("e")(lambda ctx: "")
    assert [c.is_async for c in plugin.commands.values()] == [True, True, True, True, False]


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [
        ("5m", 300, "5m"),
        ("1h30m", 5400, "1h 30m"),
        ("1.5H", 5400, "1h 30m"),
        ("2w1d", 1296000, "2w 1d"),
        ("250ms", 0.25, "0.25s"),
        ("90061s", 90061, "1d 1h"),
        ("0s", 0, "0s"),
    ],
)
def test_durations_read_and_written(text: str, seconds: float, shown: str) -> None:
    assert Duration.parse(text) == pytest.approx(seconds)
    assert str(Duration.parse(text)) == shown


@pytest.mark.parametrize(
    "text",
    ["", "5", "m", "5 m", "-5m", "5y", "1h30", "\N{ARABIC-INDIC DIGIT FIVE}m", "1" * 99 + "s"],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a duration such as 5m"):
        Duration.parse(text)
