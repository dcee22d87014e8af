"""`!more`."""

from instabot.commands import Context, Plugin
from instabot.testing import Bot

count = Plugin("count")


@count.command("count")
async def count_(ctx: Context, to: int) -> list[str]:
    """Count."""
    return [str(number) for number in range(1, to + 1)]


async def test_a_long_reply_is_read_to_its_end() -> None:
    bot = Bot(count)
    assert await bot.hears("!more") == ["there is no more"]
    assert await bot.hears("!count 10") == ["1", "2", "3", "4", "… 6 more lines: !more"]
    assert await bot.hears("!ping between") == ["pong between"]
    assert await bot.hears("!more", sender="bob") == [
        "5",
        "6",
        "7",
        "8",
        "… 2 more lines: !more",
    ]
    assert await bot.hears("!more") == ["9", "10"]
    assert await bot.hears("!more") == ["there is no more"]


async def test_the_same_message_again_gets_the_same_page() -> None:
    bot = Bot(count)
    await bot.hears("!count 20", id="m1")
    await bot.hears("!count 20", id="m1")
    page = await bot.hears("!more", id="m2")
    assert page[0] == "5"
    assert await bot.hears("!more", id="m2") == page
    assert (await bot.hears("!more", id="m3"))[0] == "9"


async def test_rooms_do_not_see_each_others_pages() -> None:
    bot = Bot(count)
    await bot.hears("!count 20", room="#a")
    assert await bot.hears("!more", room="#b") == ["there is no more"]


async def test_the_pointer_uses_the_rooms_prefix() -> None:
    bot = Bot(count, prefix=">>")
    assert (await bot.hears(">>count 7"))[-1] == "… 3 more lines: >>more"
