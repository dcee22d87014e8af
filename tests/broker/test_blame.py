from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from instabot.broker import blame
from tests.contracts.queues import Queues, queues


@pytest_asyncio.fixture
async def q() -> AsyncIterator[Queues]:
    async with queues("valkey") as made:
        yield made


async def test_the_watchdogs_charges_are_found_with_their_reason(q: Queues) -> None:
    assert q.server
    blame.blame_now(q.server.url, 0, "1-0", "plugin loop blocked the backend")
    blame.blame_now(q.server.url, 0, "1-0", "plugin loop blocked the backend")
    assert await blame.charged(q.client, 0, [b"1-0", b"2-0"]) == {
        b"1-0": (2, "plugin loop blocked the backend")
    }


async def test_a_dead_redis_does_not_hold_the_watchdog_up() -> None:
    blame.blame_now("unix:///nowhere/redis.sock", 0, "1-0", "why")


async def test_what_was_delivered_suspiciously_often_is_a_suspect(q: Queues) -> None:
    await q.hear("1", "2")
    one, two = await q.fetch()
    for _ in range(blame.OFTEN - 1):
        await q.fetch(count=1, start="0")
    where = (0, "messages", "backend", [one.id, two.id])
    assert await blame.suspects(q.client, *where) == {one.id}


async def test_a_suspect_is_counted_before_it_is_tried_and_acquitted_after(q: Queues) -> None:
    assert [await blame.charge(q.client, 0, b"1-0") for _ in (1, 2)] == [1, 2]
    await blame.acquit(q.client, 0, [b"1-0"])
    await blame.acquit(q.client, 0, [])
    assert await blame.charged(q.client, 0, [b"1-0"]) == {}


@pytest.mark.parametrize("count", [1, 3])
async def test_charges_of_several_entries_are_kept_apart(q: Queues, count: int) -> None:
    ids = [b"%d-0" % n for n in range(count)]
    for number in ids:
        await blame.charge(q.client, 0, number)
    assert await blame.charged(q.client, 0, ids) == dict.fromkeys(ids, (1, ""))
