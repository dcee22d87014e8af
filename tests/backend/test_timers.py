"""`@plugin.every`: in the rooms that asked for it, once a slot, on whatever shard they live."""

from pathlib import Path

import pytest

from instabot.backend.schedule import Job, Slot
from instabot.commands import Context, Plugin
from instabot.model import Request
from tests.backend.stage import stage
from tests.servers import RedisServer

pytestmark = pytest.mark.real

BEFORE = 1_000_000.0
"""A slot in the past, with no deadline: the schedule itself queues those of now."""


def news() -> Plugin:
    plugin = Plugin("news")

    @plugin.every("30d")
    async def fresh(ctx: Context) -> list[str]:
        return [f"{ctx.room.name} {ctx.prefix} {n}" for n in range(7)]

    @plugin.every("30d")
    async def broken(ctx: Context) -> str:
        raise ZeroDivisionError

    return plugin


def turn(function: str = "fresh", plugin: str = "news") -> Request:
    slot = Slot.newest(Job(plugin, function, 3600.0), BEFORE)
    return Request(
        id=slot.id, verb="every", args={"plugin": plugin, "function": function}, at=BEFORE
    )


async def test_a_timer_runs_in_the_rooms_that_ask_for_it_and_is_cut_like_any_reply(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path, shards=2) as s:
        await s.want("#one", net="net", timers="standup, news", prefix="?")
        await s.want("#two", net="acme", timers="news")
        await s.want("#not", net="net3", timers="standup")
        assert len({room[0] for room in s.rooms.values()}) == 2  # both shards
        async with s.backend(news()):
            for name, prefix in {"#one": "?", "#two": "!"}.items():
                (text,) = await s.said(name, 1)
                lines = text.splitlines()
                assert lines[0] == f"{name} {prefix} 0"
                assert lines[4] == f"… 3 more lines: {prefix}more"
            await s.hear("#one", "?more")
            assert (await s.said("#one", 2))[1].splitlines()[-1] == "#one ? 6"
            await s.quiet()
            assert await s.says("#not") == []
        assert [await s.dead(shard) for shard in (0, 1)] == [[], []]


async def test_a_turn_delivered_twice_says_it_once(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path, shards=2) as s:
        await s.want("#one", net="net", timers="news")
        await s.want("#two", net="acme", timers="news")
        async with s.backend(news()) as run:
            await s.said("#one", 1)
            await s.said("#two", 1)
            await s.quiet()
            far = next(name for name in ("#one", "#two") if s.rooms[name][0] != "0")
            await run.handle_timer(turn())
            await run.handle_timer(turn())
            assert len(await s.says(far)) == 2  # that of the schedule, and this one


async def test_a_timer_of_a_plugin_that_went_is_nothing(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a", timers="gone,news")
        async with s.backend() as run:
            assert await run.handle_timer(turn(plugin="gone")) == []
            assert await run.handle_timer(Request(id="x", verb="every", at=0.0)) == []
