from instabot.broker.shards import shard_count
from tests.contracts.queues import queues


async def test_the_first_who_asks_decides_how_many_shards_there_are() -> None:
    async with queues("fakeredis") as q:
        assert await shard_count(q.client, 8) == 8
        assert await shard_count(q.client, 16) == 8
