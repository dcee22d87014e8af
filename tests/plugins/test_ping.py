"""`!ping`."""

from instabot.plugins.ping import plugin
from instabot.testing import Bot


async def test_ping_repeats_what_follows_as_it_was_typed() -> None:
    bot = Bot(plugin)
    assert await bot.hears("!ping") == ["pong"]
    assert await bot.hears("!ping  ") == ["pong"]
    assert await bot.hears("!ping hello") == ["pong hello"]
    assert await bot.hears("!ping  two  spaces ") == ["pong  two  spaces "]
    assert await bot.hears("""!ping it's "quoted" \\o/ 你好""") == [
        """pong it's "quoted" \\o/ 你好"""
    ]
    assert await bot.hears("instabot: ping hello") == ["pong hello"]
