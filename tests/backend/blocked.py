"""A backend in small, run as a process by test_watchdog.py: a loop, a plugin, a watchdog.

    python blocked.py FOLDER LIMIT COMMAND     prints `ready`, then calls COMMAND

What the watchdog blames goes to FOLDER/blame.json.
"""

import asyncio
import json
import sys
from pathlib import Path

import structlog
import uvloop

from instabot.backend.loader import Loader
from instabot.backend.router import Router
from instabot.backend.watchdog import Watchdog
from instabot.commands import Context
from instabot.model import Heard, Room
from instabot.testing import Bot, InMemory

PLUGIN = """
import asyncio
import re
import threading
import time

from instabot.commands import Context, Plugin

plugin = Plugin("culprit")


def deeper():
    while True:
        pass


@plugin.command
async def spin(ctx: Context) -> str:
    deeper()


@plugin.command
async def sleep(ctx: Context) -> str:
    time.sleep(60)


@plugin.command
async def backtrack(ctx: Context) -> str:
    return str(re.match("(a+)+$", "a" * 40 + "b"))


@plugin.command
async def hold(ctx: Context) -> str:
    return str(sum(range(10**12)))


@plugin.command
async def stubborn(ctx: Context) -> str:
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass


@plugin.command
def thread(ctx: Context) -> str:
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        pass
    return "done"


@plugin.command
async def wait(ctx: Context) -> str:
    await asyncio.sleep(2.5)
    return "done"
"""


def tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def main(folder: Path, limit: float, command: str) -> None:
    (folder / "culprit.py").write_text(PLUGIN)
    loader = Loader(folder, points=())
    router = Router(loader.load())

    def blame(plugin: str, message: str, room: str, stack: str) -> None:
        (folder / "blame.json").write_text(json.dumps([plugin, message, room, stack]))
        if command == "stubborn":
            raise OSError("Redis is away")

    watchdog = Watchdog(blame, loader.owner, limit=limit, dump=folder / "holdup.txt")
    watchdog.start(asyncio.get_running_loop())
    room = Room(id="7.k3f9qd", network="local/net", tenant="local", name="#ops")
    heard = Heard(id="m1", room=room.id, sender="ann", text=f"!{command}", at=0.0)
    call = router.match(heard)
    assert call is not None
    tell("ready")
    tell(
        await router.answer(
            call, Context(heard, room, InMemory(), Bot(), structlog.get_logger())
        )
    )
    watchdog.stop()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]))
