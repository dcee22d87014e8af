"""Run by test_database.py, which kills it: write batches of lines, and say which are kept."""

import asyncio
import sys
from itertools import count

from instabot.store import LogRow, Store

SIZE = 200


def batch(number: int) -> list[LogRow]:
    """The lines of one batch."""
    return [
        LogRow(
            shard=7,
            stream_id=f"{number}-{line}",
            room="7.k3f9qd",
            kind="say",
            text=f"line {line} " + "x" * 200,
            at=float(number),
        )
        for line in range(SIZE)
    ]


async def main() -> None:
    """Write until killed, from the batch that the second argument names."""
    async with await Store.open(sys.argv[1]) as store:
        for number in count(int(sys.argv[2])):
            await store.log.write(batch(number))
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()


asyncio.run(main())
