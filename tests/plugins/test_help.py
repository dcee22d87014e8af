"""`!help`."""

from instabot.commands import Context, Plugin
from instabot.testing import Bot

dice = Plugin("dice")


@dice.command
async def roll(ctx: Context, sides: int = 6) -> str:
    """Roll a die.

    It has six sides unless you say otherwise.
    """
    return "4"


@dice.command
async def flip(ctx: Context) -> str:
    """Flip a coin."""
    return "heads"


@dice.command(effect=True)
async def burn(ctx: Context, what: str) -> str:
    """Burn it."""
    return "ash"


async def test_the_list_names_commands_by_plugin() -> None:
    assert await Bot(dice).hears("!help") == [
        "!help COMMAND explains: dice: flip, roll · help · more · ping · status"
    ]


async def test_the_list_hides_what_one_may_not_run() -> None:
    [line] = await Bot(dice).hears("!help", account="al", roles={"operator"})
    assert "dice: burn, flip, roll" in line


async def test_a_command_is_explained() -> None:
    bot = Bot(dice)
    expected = ["!roll [sides] — Roll a die.", "It has six sides unless you say otherwise."]
    assert await bot.hears("!help roll") == expected
    assert await bot.hears("!help !ROLL") == expected
    assert await bot.hears("!help burn") == [
        "!burn what — Burn it.", "needs the role “operator”",
    ]  # fmt: skip
    assert await bot.hears("!help ping") == [
        "!ping [text…] — Answer pong, and repeat what follows."
    ]


async def test_a_plugins_commands_are_listed_with_their_usage() -> None:
    assert await Bot(dice).hears("!help dice") == [
        "!burn what — Burn it.", "!flip — Flip a coin.", "!roll [sides] — Roll a die.",
    ]  # fmt: skip


async def test_an_unknown_command_gets_the_nearest_one() -> None:
    bot = Bot(dice)
    assert await bot.hears("!help rol") == ["there is no command “rol”; did you mean !roll?"]
    assert await bot.hears("!help 你") == ["there is no command “你”; !help lists them"]
    assert await bot.hears("!help a b") == ["usage: !help [command]"]


async def test_hundreds_of_commands_stay_within_five_lines() -> None:
    many = Plugin("many")
    for number in range(400):
        many.command(f"command-{number}")(roll)
    lines = await Bot(many).hears("!help")
    assert len(lines) == 5
    assert lines[-1].endswith("more lines: !more")
    assert all(len(line.encode()) <= 400 for line in lines)
