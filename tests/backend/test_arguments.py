"""Words, quotes, flags, and the promise that no text breaks them."""

from enum import Enum
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instabot.backend.arguments import Misused, bind, words
from instabot.commands import Context, Duration, Plugin, Rest
from instabot.errors import CommandError

plugin = Plugin("test")


class Colour(Enum):
    RED = 1
    DARK_BLUE = 2


@plugin.command
def roll(ctx: Context, sides: int = 6, times: int = 1) -> None: ...
@plugin.command
def paint(ctx: Context, colour: Colour, where: Literal["wall", "door", 3] = "wall") -> None: ...
@plugin.command
def wait(ctx: Context, how_long: Duration, factor: float = 1.0) -> None: ...
@plugin.command
def tell(ctx: Context, who: str, text: Rest) -> None: ...
@plugin.command
def add(ctx: Context, *numbers: float) -> None: ...
@plugin.command
def note(ctx: Context, pin: bool = False, *, tag: str = "-", text: Rest = "none") -> None: ...
@plugin.command
def deploy(
    ctx: Context, app: str, ref: str | None, force: bool = False, *,
    env: Literal["prod", "test"] = "test", notify: bool = True,
) -> None: ...  # fmt: skip
@plugin.command
def ping(ctx: Context, text: Rest = "") -> None: ...


def call(line: str) -> Any:
    """The arguments of a line; only the positional ones where there are no others."""
    name, _, rest = line.partition(" ")
    args, named = bind(plugin.commands[name], rest)
    return (*args, named) if named else tuple(args)


def refusal(line: str) -> str:
    with pytest.raises(Misused) as caught:
        call(line)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("don't stop", ["don't", "stop"]),
        ('say "hello there" now', ["say", "hello there", "now"]),
        ("say “hello there” now", ["say", "hello there", "now"]),
        ('„so nicht“ "', ["„so", "nicht“", '"']),
        (r"C:\new \"x", [r"C:\new", r"\"x"]),
        ('an "unbalanced quote', ["an", '"unbalanced', "quote"]),
        ('5" pipe', ['5"', "pipe"]),
        ('"" x', ["", "x"]),
        ('--env="big one" x', ["--env=big one", "x"]),
        ('"a"b c', ['"a"b', "c"]),
        ("  a\t b \n", ["a", "b"]),
        ("", []),
    ],
)
def test_a_line_is_split_as_people_mean_it(text: str, expected: list[str]) -> None:
    assert [word.text for word in words(text)] == expected


def test_words_become_what_the_signature_says() -> None:
    assert call("roll") == (6, 1)
    assert call("roll 20 3") == (20, 3)
    assert call("roll -5") == (-5, 1)
    assert call("paint RED Door") == (Colour.RED, "door")
    assert call("paint dark_blue 3") == (Colour.DARK_BLUE, 3)
    assert call("wait 1h30m 1e3") == (Duration(5400), 1000.0)
    assert call("add 1 2.5 -3") == (1.0, 2.5, -3.0)
    assert call("add") == ()


def test_the_rest_of_the_line_is_verbatim() -> None:
    assert call("ping   two  spaces ") == ("  two  spaces ",)
    assert call("ping    ") == ("",)
    assert call("""tell bob  it's "quoted"  \\n --force""") == (
        "bob",
        """ it's "quoted"  \\n --force""",
    )


def test_flags_and_options_stand_anywhere_before_the_rest() -> None:
    test = {"env": "test", "notify": True}
    assert call("deploy web") == ("web", None, False, test)
    assert call("deploy --force web main") == ("web", "main", True, test)
    assert call("deploy web --ENV=prod main --no-notify") == (
        "web", "main", False, {"env": "prod", "notify": False},
    )  # fmt: skip
    assert call("deploy web --env prod") == ("web", None, False, test | {"env": "prod"})
    assert call("deploy web -- --force") == ("web", "--force", False, test)
    assert call('deploy web "--force"') == ("web", "--force", False, test)
    assert call("note --pin --tag x  buy  milk --pin") == (
        True, {"tag": "x", "text": " buy  milk --pin"},
    )  # fmt: skip
    assert call("note --pin") == (True, {"tag": "-", "text": "none"})


def test_what_does_not_fit_is_said_in_words() -> None:
    assert refusal("roll x") == "sides must be a whole number, not “x”"
    assert refusal("roll 1.5") == "sides must be a whole number, not “1.5”"
    assert refusal("roll ٣") == "sides must be a whole number, not “٣”"
    assert refusal("add 1 nan") == "numbers must be a number, not “nan”"
    assert refusal("add 1e999") == "numbers must be a number, not “1e999”"
    assert refusal("paint green") == "colour must be one of red, dark_blue, not “green”"
    assert refusal("wait 5") == "how_long must be a duration such as 5m, 1h30m or 2d, not “5”"
    assert refusal("deploy web --fast") == "there is no --fast"
    assert refusal("deploy web --env") == "--env needs a value"
    assert refusal("deploy web --force=yes") == "--force takes no value"
    assert refusal("deploy web --env=" + "x" * 90).endswith("not “" + "x" * 39 + "…”")


@pytest.mark.parametrize("line", ["roll 1 2 3", "paint", "tell bob", "tell bob  ", "deploy"])
def test_too_few_and_too_many_words_leave_it_to_the_usage_line(line: str) -> None:
    assert refusal(line) == ""


FRAGMENTS = st.sampled_from(
    ['"', "“", "”", "'", "\\", "--", "--force", "--env", "=", " ", "\t", "\n", "9", "-1", "1e9",
     "a", "don't", "\0", "\ud800", "५", "red", "5m", "--no-notify", "x" * 99]
)  # fmt: skip
TEXT = st.one_of(st.text(), st.lists(FRAGMENTS).map("".join))


@given(name=st.sampled_from(sorted(plugin.commands)), text=TEXT)
def test_no_text_raises_anything_but_a_command_error(name: str, text: str) -> None:
    try:
        args, named = bind(plugin.commands[name], text)
    except CommandError:
        return
    assert all(isinstance(key, str) for key in named)
    assert isinstance(args, list)


@given(text=TEXT)
def test_words_stand_where_they_say(text: str) -> None:
    at = 0
    for word in words(text):
        assert at <= word.start < word.end <= len(text)
        assert word.text in text or word.quoted or word.text.startswith("--")
        at = word.end


@given(text=st.text(alphabet='"“ a', min_size=1000, max_size=3000))
def test_many_quotes_take_no_long_time(text: str) -> None:
    assert len(words(text)) <= len(text)
