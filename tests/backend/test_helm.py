"""What `!status` and `!help` are told."""

from pathlib import Path

import pytest

from instabot import wire
from instabot.backend.helm import Backstage
from instabot.backend.router import Router
from instabot.broker.keys import key
from instabot.broker.pipe import Pipe
from instabot.errors import Unreachable
from instabot.model import Live
from tests.backend.stage import OURS, Stage, stage
from tests.broker.shelf import Recorder
from tests.servers import RedisServer

pytestmark = pytest.mark.real


def backstage(client: Pipe | Recorder) -> Backstage:
    return Backstage(client, 2, lambda: Router(OURS))


async def rooms(s: Stage, shard: int, *states: str) -> None:
    for number, state in enumerate(states):
        live = Live(state=state)  # type: ignore[arg-type]
        await s.raw("HSET", key(shard, "live"), f"{shard}.{number}", wire.encode(live))


async def test_status_counts_rooms_and_queues_of_every_shard(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path, shards=2) as s:
        await rooms(s, 0, "joined", "joined", "lost", "refused", "parted")
        await rooms(s, 1, "joined", "wanted", "connecting", "joining")
        await s.raw("HSET", key(0, "live"), "0.hand", "not json")
        await s.raw("HSET", key(0, "depth"), "m", "3", "c", "1", "m:0.a", "3")
        await s.raw("HSET", key(1, "depth"), "m", "4")
        await s.raw("XADD", key(1, "dead"), "*", "d", "x")
        status = await backstage(s.client).status("local")
        assert (status.joined, status.joining, status.lost, status.refused) == (3, 3, 1, 1)
        assert (status.waiting, status.unsaid, status.dead) == (7, 1, 1)
        assert status.version
        assert status.up >= 0


async def test_keys_that_hold_something_else_count_as_nothing(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path, shards=2) as s:
        await rooms(s, 0, "joined")
        for name in ("live", "depth", "dead"):
            await s.raw("SET", key(1, name), "by hand")
        status = await backstage(s.client).status("local")
        assert (status.joined, status.waiting, status.dead) == (1, 0, 0)


async def test_many_who_ask_at_once_are_served_by_one_look(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path, shards=2) as s:
        helm = backstage(s.client)
        first = await helm.status("local")
        await rooms(s, 0, "joined")
        assert await helm.status("local") is first


async def test_redis_away_is_said_so(tmp_path: Path) -> None:
    client = Pipe(f"unix://{tmp_path}/nothing.sock", "test")
    with pytest.raises(Unreachable):
        await backstage(client).status("local")


async def test_the_commands_are_those_of_now(redis_server: RedisServer, tmp_path: Path) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend() as run:
            helm = run.evaluator._helm
            assert [c.name for c in helm.commands()] == ["again", "more", "ping", "status"]
            run.backend._swap(OURS[:1])
            assert [c.name for c in helm.commands()] == ["again"]
            run.backend._swap(OURS)
            await s.hear("#a", "!status")
            (text,) = await s.said("#a", 1)
            assert "0 rooms joined" in text
