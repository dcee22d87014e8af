import time
from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from instabot.broker.keys import BACKENDS
from instabot.broker.presence import STALE, Presence
from tests.contracts.queues import Queues, queues


@pytest_asyncio.fixture
async def q() -> AsyncIterator[Queues]:
    async with queues("fakeredis") as made:
        yield made


async def test_the_living_share_the_shards_fairly(q: Queues) -> None:
    one, two = Presence(q.client, BACKENDS, "one"), Presence(q.client, BACKENDS, "two")
    await one.beat({"pid": 1})
    assert one.share(16) == 16
    await two.beat({"pid": 2})
    await one.beat({"pid": 1})
    assert (one.share(16), two.share(5)) == (8, 3)
    await two.gone()
    await one.beat({"pid": 1})
    assert one.share(16) == 16


async def test_who_has_been_silent_for_long_counts_as_gone(q: Queues) -> None:
    dead = msgspec.json.encode({"id": "dead", "at": time.time() - STALE - 1})
    await q.raw("HSET", BACKENDS, "dead", dead)
    one = Presence(q.client, BACKENDS, "one")
    await one.beat({})
    assert one.peers == 1


@pytest.mark.parametrize(
    "row", [b"", b"\xff", b"[]", b"{}", b'{"at":"x"}', b"7", b'{"at":null}']
)
async def test_somebody_elses_bytes_do_not_end_us(q: Queues, row: bytes) -> None:
    await q.raw("HSET", BACKENDS, "strange", row)
    one = Presence(q.client, BACKENDS, "one")
    await one.beat({})
    assert one.peers == 1
