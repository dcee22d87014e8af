"""The heartbeat, and the trimming, whatever Redis says."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from instabot.backend import upkeep
from instabot.backend.upkeep import Upkeep
from instabot.broker.keys import BACKENDS, key
from instabot.broker.lease import Leases
from tests.backend.stage import Stage, stage
from tests.servers import RedisServer
from tests.servers.process import until

pytestmark = pytest.mark.real


async def test_a_heartbeat_says_how_we_are_and_keeps_the_number_of_shards(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        keep = Upkeep(s.client, "b", 5, 60.0, lambda: 3)
        await keep.beat()
        facts = msgspec.json.decode(await s.raw("HGET", BACKENDS, "b"))
        assert (facts["id"], facts["in_flight"]) == ("b", 3)
        assert facts["rss_mb"] > 1
        assert await s.raw("HGET", "instabot:meta", "shards") == b"5"
        other = Upkeep(s.client, "c", 5, 60.0, lambda: 0)
        await other.beat()
        assert (keep.share(), other.share()) == (5, 3)


async def test_keys_that_hold_something_else_end_neither_loop(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "BEAT", 0.01)
    monkeypatch.setattr(upkeep, "TRIM", 0.01)
    async with stage(redis_server, tmp_path) as s:
        keep = Upkeep(s.client, "b", 1, 0.0, lambda: 0)
        leases = Leases(s.client, "backend", "b", 1)
        await leases.tick()
        await s.raw("SET", BACKENDS, "by hand")
        await s.raw("SET", key(0, "messages"), "by hand")
        async with asyncio.TaskGroup() as tasks:
            loops = [
                tasks.create_task(keep.beats()),
                tasks.create_task(keep.trims(leases)),
            ]
            await until(lambda: _shards(s), "a beat was tried")
            await s.raw("DEL", BACKENDS, key(0, "messages"))
            await until(lambda: _beats(s), "a beat came through")
            assert not any(loop.done() for loop in loops)
            for loop in loops:
                loop.cancel()


async def _shards(s: Stage) -> bool:
    return bool(await s.raw("HEXISTS", "instabot:meta", "shards"))


async def _beats(s: Stage) -> bool:
    return bool(await s.raw("HEXISTS", BACKENDS, "b"))
