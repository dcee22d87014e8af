"""Which entries ended a backend: counted in the hash `blame`, entry id → how often.

A message that ends its backend twice is a dead letter. The watchdog counts from its own thread,
while the event loop is stuck; what dies without a word is counted before it is tried again.
"""

from collections.abc import Sequence
from typing import Any

from instabot.broker.keys import key
from instabot.broker.redis import Caller, our_errors, pipelined

TWICE = 2
OFTEN = 5
"""Deliveries after which an entry is suspect: neighbours of a culprit are delivered again too."""


def blame_now(url: str, shard: int, entry: str, why: str) -> None:
    """Count one end. Synchronous, for the watchdog's thread; a dead Redis is ignored."""
    import redis

    try:
        with redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1) as client:
            client.hincrby(key(shard, "blame"), entry, 1)
            client.hset(key(shard, "blame"), f"{entry}|why", why[:500])
    except redis.RedisError:
        return


async def charged(
    client: Caller, shard: int, ids: Sequence[bytes]
) -> dict[bytes, tuple[int, str]]:
    """How often each of these entries ended a backend, and what is known of why."""
    fields = [field for number in ids for field in (number, number + b"|why")]
    answers = (await pipelined(client, [("HMGET", key(shard, "blame"), *fields)]))[0]
    if isinstance(answers, Exception):
        with our_errors():
            raise answers
    counts = answers[::2]
    whys = answers[1::2]
    return {
        number: (int(count), (why or b"").decode())
        for number, count, why in zip(ids, counts, whys, strict=True)
        if count
    }


async def suspects(
    client: Caller, shard: int, stream: str, group: str, ids: Sequence[bytes]
) -> set[bytes]:
    """Those of these pending entries that were delivered suspiciously often."""
    with our_errors():
        rows: Any = await client.execute_command(
            "XPENDING", key(shard, stream), group, ids[0], ids[-1], len(ids)
        )
    # redis-py gives dicts, a pipe the raw rows: id, consumer, idle, times delivered.
    pairs = [tuple(row.values()) if isinstance(row, dict) else row for row in rows]
    return {pair[0] for pair in pairs if pair[3] >= OFTEN}


async def charge(client: Caller, shard: int, entry: bytes) -> int:
    """Count before trying a suspect once more → how often it was tried."""
    with our_errors():
        return int(await client.execute_command("HINCRBY", key(shard, "blame"), entry, 1))


async def acquit(client: Caller, shard: int, entries: Sequence[bytes]) -> None:
    """These came to an end."""
    if entries:
        with our_errors():
            fields = [f for entry in entries for f in (entry, entry + b"|why")]
            await client.execute_command("HDEL", key(shard, "blame"), *fields)
