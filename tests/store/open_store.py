"""Run by test_migrate.py in several processes: open a store when told to."""

import asyncio
import sys

from instabot.store import Store


async def main() -> None:
    """Say `ready`, wait for a line, open the store and use it."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    async with await Store.open(sys.argv[1]) as store:
        await store.meta.next_generation(7)


asyncio.run(main())
