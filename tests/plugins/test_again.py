"""`!again` where no journal stands before the router; with one: tests/backend/test_journal.py."""

from instabot.plugins.again import plugin
from instabot.testing import Bot

__all__ = ["plugin"]  # the fixture `bot` takes it from here


async def test_without_a_question_there_is_nothing_to_run_again(bot: Bot) -> None:
    await bot.hears("!again k3f9")
    assert bot.said == ["Nothing here waits for the code k3f9."]


async def test_a_long_code_is_not_repeated_in_full(bot: Bot) -> None:
    await bot.hears("!again " + "x" * 300)
    assert bot.said == [f"Nothing here waits for the code {'x' * 20}."]


async def test_help_says_what_it_is_for(bot: Bot) -> None:
    await bot.hears("!help again")
    assert "!again code" in bot.said[0]
    assert any("A code works once" in line for line in bot.said)
