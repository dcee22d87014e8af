"""Desired state: the store's, copied to Redis whole or in part, and again when Redis lost it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from instabot import wire
from instabot.broker.keys import key
from instabot.model import Network, Room
from tests.backend.stage import URL, Stage, stage
from tests.servers import RedisServer
from tests.servers.process import until

pytestmark = pytest.mark.real


async def generation(s: Stage, shard: int = 0) -> int:
    numbers = {
        (await s.hash(name, shard)).get("generation", "0") for name in ("rooms", "networks")
    }
    assert len(numbers) == 1, numbers
    return int(numbers.pop())


async def test_taking_a_shard_writes_its_hashes_whole_and_above_every_generation(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a", "#b")
        # Redis is ahead of the store, and knows what nobody wants any more.
        for name in ("rooms", "networks"):
            await s.raw("HSET", key(0, name), "generation", "500", "stale", "x")
        async with s.backend() as run:
            rooms = await s.hash("rooms")
            assert rooms.keys() == {*s.rooms.values(), "generation"}
            assert (await s.hash("networks")).keys() == {"local/net", "generation"}
            assert await generation(s) > 500
            assert run.places.generation(0) == await generation(s)
            room = wire.decode_room(rooms[s.rooms["#a"]].encode())
            assert (room.name, room.network) == ("#a", "local/net")
        before = await generation(s)
        async with s.backend():
            assert await generation(s) > before


async def test_a_change_writes_its_own_fields_under_the_next_generation(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend() as run:
            await s.raw("HSET", key(0, "rooms"), "mark", "untouched")
            before = await generation(s)
            await s.ask("network.put", name="net", settings={"prefix": "?"})
            assert await generation(s) == before + 1 == run.places.generation(0)
            assert (await s.hash("rooms"))["mark"] == "untouched"
            await s.hear("#a", "!ping no", "?ping yes")
            assert await s.said("#a", 1) == ["pong yes"]
            await s.quiet()
            assert len(await s.says("#a")) == 1


async def test_a_removed_network_takes_its_rooms_and_no_others(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a", "#b")
        await s.want("#c", net="acme")
        async with s.backend() as run:
            await s.ask("network.remove", name="net")
            assert run.places.places.keys() == {s.rooms["#c"]}
            assert run.places.networks.keys() == {"local/acme"}
            assert (await s.hash("rooms")).keys() == {s.rooms["#c"], "generation"}
            await s.hear("#a", "!ping")
            await s.hear("#c", "!ping")
            assert await s.said("#c", 1) == ["pong"]
            await s.quiet()
            assert await s.says("#a") == []


def lost(logs: Any) -> list[str]:
    return [row["event"] for row in logs if row["event"].startswith("Redis lost")]


async def test_all_data_lost_while_running_is_written_anew_reported_and_everything_goes_on(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path, shards=2) as s:
        await s.want("#a")
        with capture_logs() as logs:
            async with s.backend(lease_ttl=1.0) as run:
                await s.hear("#a", "!ping before")
                await s.said("#a", 1)
                before = run.places.generation(1)
                await s.raw("FLUSHALL")
                await until(lambda: _more(s, 1, before), "desired state is there again")
                assert s.rooms["#a"] in await s.hash("rooms", 1)
                await until(lambda: _groups(s, 1), "the groups are there again")
                await s.hear("#a", "!ping after")
                assert await s.said("#a", 1) == ["pong after"]
                await s.quiet()
                await s.logged()
                assert [row.text for row in await run.store.log.last(s.rooms["#a"])] == [
                    "!ping before",
                    "!ping after",
                ]
                await run.backend._upkeep.beat()
                assert await s.raw("HGET", "instabot:meta", "shards") == b"2"
        assert lost(logs) == ["Redis lost its data: queued lines are gone"]


async def _more(s: Stage, shard: int, before: int) -> bool:
    return int((await s.hash("rooms", shard)).get("generation", "0")) > before


async def _groups(s: Stage, shard: int) -> bool:
    if not await s.raw("EXISTS", key(shard, "messages")):
        return False
    rows = await s.raw("XINFO", "GROUPS", key(shard, "messages"))
    return {row[1] for row in rows} == {b"backend", b"log"}


async def test_hashes_alone_lost_are_written_anew_though_the_lease_is_there(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        with capture_logs() as logs:
            async with s.backend(lease_ttl=1.0) as run:
                # The lease has seen our own generation: what it sees next is news.
                await until(lambda: _seen(run.leases.held, run.places.generation(0)), "seen")
                before = run.places.generation(0)
                await s.raw("DEL", key(0, "rooms"), key(0, "networks"))
                await until(lambda: _more(s, 0, before), "desired state is there again")
                assert (await s.hash("rooms")).keys() == {s.rooms["#a"], "generation"}
        assert lost(logs) == ["Redis lost desired state: writing it anew"]


async def _seen(held: Any, generation: int) -> bool:
    return bool(held[0].generation == generation)


async def test_a_store_that_hangs_at_one_shard_costs_the_others_nothing(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path, shards=2) as s:
        await s.want("#one", net="net")
        await s.want("#zero", net="acme")
        async with s.backend(lease_ttl=1.0) as run:
            hanging, tries = asyncio.Semaphore(0), 0
            whole = run.store.rooms.networks

            async def networks(shard: int) -> list[Network]:
                nonlocal tries
                if shard == 1 and tries < 4:
                    tries += 1
                    hanging.release()
                    await asyncio.Event().wait()
                return await whole(shard)

            run.store.rooms.networks = networks  # type: ignore[method-assign,assignment]
            # As if another had had the shard meanwhile: it has to be read anew.
            await s.raw("HSET", key(1, "resume"), "owner:backend", "other:1")
            await s.raw("DEL", key(1, "lease:backend"))
            for _ in range(4):  # twice as long as a lease lives
                await hanging.acquire()
                assert run.leases.valid(0)
            await s.hear("#zero", "!ping")
            await s.hear("#one", "!ping")
            assert await s.said("#zero", 1) == ["pong"]
            assert await s.said("#one", 1) == ["pong"]


async def test_a_lease_back_after_a_moment_does_not_read_the_store_again(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend(lease_ttl=1.0, room_log=False) as run:
            before = await generation(s)
            run.away.go()
            await s.raw("DEL", key(0, "lease:backend"))
            await until(lambda: _ours(s, run.leases.token), "the lease is ours again")
            await s.hear("#a", "!ping")
            assert await s.said("#a", 1) == ["pong"]
            assert await generation(s) == before


async def _ours(s: Stage, token: str) -> bool:
    return bool(await s.raw("GET", key(0, "lease:backend")) == token.encode())


async def test_a_rooms_settings_go_before_its_networks(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s, s.backend() as run:
        network = Network(
            id="local/net", tenant="local", name="net", url=URL,
            settings={"prefix": "?", "log": "OFF", "egress": "yes"},
        )  # fmt: skip
        plain = Room(id="0.a", network="local/net", tenant="local", name="#a")
        own = Room(
            id="0.b", network="local/net", tenant="local", name="#b",
            settings={"prefix": ".", "log": "true", "egress": "false"},
        )  # fmt: skip
        place = run.places.place(plain, network)
        assert (place.prefix, place.logged, place.egress) == ("?", False, True)
        place = run.places.place(own, network)
        assert (place.prefix, place.logged, place.egress) == (".", True, False)


async def test_a_reload_of_a_shard_leaves_no_room_without_an_answer(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend() as run:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(run.places.take(0))
                await s.hear("#a", *(f"!ping {n}" for n in range(50)))
                tasks.create_task(run.places.take(0))
            assert await s.said("#a", 50) == [f"pong {n}" for n in range(50)]
