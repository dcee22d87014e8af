"""`!status`."""

import pytest

from instabot import __version__
from instabot.commands import Status
from instabot.testing import Bot


async def test_status_is_one_line() -> None:
    assert await Bot().hears("!status") == [
        f"instabot {__version__} · up 1m · 1 room joined · 0 messages waiting"
    ]


async def test_what_is_wrong_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    bot = Bot()

    async def status(tenant: str) -> Status:
        return Status(version="9.9", up=11520.4, joined=4012, lost=1, refused=2, waiting=1,
                      unsaid=3, dead=1)  # fmt: skip

    monkeypatch.setattr(bot, "status", status)
    assert await bot.hears("!status") == [
        "instabot 9.9 · up 3h 12m · 4012 rooms joined, 1 lost, 2 refused · "
        "1 message waiting, 3 replies unsaid, 1 dead letter"
    ]
