"""A bridge in a process of its own, to be killed: `python -m tests.broker.bridge_process URL`."""

import asyncio
import sys

from instabot.broker.lists import Bridge
from instabot.broker.pipe import Pipe


async def main(url: str) -> None:
    """Bridge until killed, under the same name each time."""
    await Bridge(Pipe(url, "bridge"), Pipe(url, "bridge-wait", 8.0), "b", 2).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
