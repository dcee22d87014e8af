"""Plugins that remember, while the store is away."""

from pathlib import Path

import pytest

from instabot.commands import Context, Plugin
from tests.backend.stage import stage
from tests.servers import RedisServer

pytestmark = pytest.mark.real


def counting() -> Plugin:
    plugin = Plugin("count")

    @plugin.command
    async def count(ctx: Context) -> str:
        number = int(await ctx.memory.get("n") or 0) + 1
        await ctx.memory.put("n", b"%d" % number)
        return str(number)

    @plugin.command(role="")
    async def forget(ctx: Context) -> str:
        await ctx.memory.delete("n")
        return "forgotten"

    return plugin


async def test_a_command_that_remembers_waits_for_the_store_and_is_answered_after(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a", "#b")
        async with s.backend(counting(), room_log=False) as run:
            await s.hear("#a", "!count")
            assert await s.said("#a", 1) == ["1"]
            run.away.go()
            await s.hear("#a", "!count", "!forget")
            await run.away.asked.wait()
            await s.hear("#b", "!ping")
            assert await s.said("#b", 1) == ["pong"]
            run.away.come()
            assert await s.said("#a", 3) == ["1", "2", "forgotten"]
            await s.hear("#a", "!count")
            assert (await s.said("#a", 4))[3] == "1"


async def test_an_effect_that_has_begun_is_not_run_again(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    plugin = Plugin("ship")
    runs = 0

    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend(plugin, room_log=False) as run:

            @plugin.command(effect=True)
            async def ship(ctx: Context) -> str:
                nonlocal runs
                runs += 1
                run.away.go()
                try:
                    await ctx.memory.get("n")
                finally:
                    run.away.come()
                return "shipped"

            run.backend._swap((plugin,))
            await s.ask("role.grant", network="net", account="ann", role="operator")
            await s.hear("#a", "!ship", account="ann")
            (text,) = await s.said("#a", 1)
            assert text.startswith("something went wrong (trace ")
            await s.quiet()
            assert runs == 1
