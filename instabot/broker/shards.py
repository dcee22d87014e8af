"""How many shards there are: fixed at the first start, kept in `instabot:meta`."""

from instabot.broker.keys import META
from instabot.broker.redis import Caller, our_errors


async def shard_count(client: Caller, default: int) -> int:
    """The number of shards; the first who asks decides. Raises Unreachable."""
    with our_errors():
        await client.execute_command("HSETNX", META, "shards", str(default))
        return int(await client.execute_command("HGET", META, "shards") or default)
