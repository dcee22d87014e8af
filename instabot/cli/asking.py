"""From a command's arguments to an open desk, and back to its exit code."""

import argparse
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from instabot import config
from instabot.errors import Unreachable

if TYPE_CHECKING:
    from instabot.broker.desk import Desk

Command = Callable[["Desk", config.Settings, argparse.Namespace], Awaitable[int]]
Args = argparse.Namespace


def settings_of(args: Args) -> config.Settings:
    """The settings, with what this command's flags say. Raises BadInput."""
    names = {setting.name for setting in config.SETTINGS} | {"data"}
    given = {name: value for name, value in vars(args).items() if name in names}
    return config.load(
        {name: str(value) if value is not None else None for name, value in given.items()}
    )


def redis_url(settings: config.Settings) -> str:
    """The Redis to talk to: the one that is set, else the embedded one of the data folder.

    Raises Unreachable when that one does not run.
    """
    if settings.redis:
        return settings.redis
    from instabot.broker.server import embedded_url, socket_path

    if not socket_path(settings.socket_folder).exists():
        raise Unreachable(
            f"nothing runs in the data folder {settings.data}: start `instabot up`, "
            "or give --redis URL"
        )
    return embedded_url(settings.socket_folder)


@asynccontextmanager
async def desk_of(settings: config.Settings) -> AsyncIterator["Desk"]:
    """An open desk. Raises Unreachable."""
    from instabot.broker.desk import Desk

    async with Desk.open(redis_url(settings), settings.shards) as desk:
        yield desk


def asks(command: Command) -> Callable[[Args], int]:
    """Make a command that talks to Redis into one that `main` can run."""

    async def talk(args: Args) -> int:
        settings = settings_of(args)
        async with desk_of(settings) as desk:
            return await command(desk, settings, args)

    def run(args: Args) -> int:
        return asyncio.run(talk(args))

    return run
