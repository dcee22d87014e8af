import asyncio

from instabot.store import Store


async def test_a_fact_is_kept_and_replaced(store: Store) -> None:
    assert await store.meta.get("shards") is None
    await store.meta.put("shards", "16")
    await store.meta.put("shards", "32")
    assert await store.meta.get("shards") == "32"


async def test_generations_rise_for_each_shard_apart(store: Store) -> None:
    assert [await store.meta.next_generation(3) for _ in range(3)] == [1, 2, 3]
    assert await store.meta.next_generation(4) == 1


async def test_no_two_callers_get_the_same_generation(store: Store) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(store.meta.next_generation(0)) for _ in range(10)]
    assert sorted(task.result() for task in tasks) == list(range(1, 11))
