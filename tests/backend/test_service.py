"""The whole backend: starting, stopping, failing in part, being killed, and reloading plugins."""

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from instabot import config
from instabot.backend.service import serve
from instabot.broker.keys import key
from instabot.commands import Context, Plugin
from instabot.errors import BadInput, Superseded
from tests.backend.process import BackendProcess, supervised
from tests.backend.stage import Stage, stage
from tests.servers import RedisServer
from tests.servers.process import running, until

pytestmark = pytest.mark.real


async def test_killed_again_and_again_under_load_it_answers_every_line_once_and_in_order(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        names = [f"#room{n}" for n in range(5)]
        await s.want(*names)
        process = BackendProcess(s)
        async with supervised(process):
            for kill in range(4):
                for name in names:
                    await s.hear(name, *(f"!ping {kill * 20 + n}" for n in range(20)))
                process.signal(signal.SIGKILL)
            for name in names:
                assert await s.said(name, 80, 30) == [f"pong {n}" for n in range(80)]
            await s.quiet()
            await s.logged()
        assert await s.dead() == []
        assert sum([len(await s.says(name)) for name in names]) == 400


async def test_a_sigterm_under_load_stops_within_seconds_and_loses_no_line(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a", "#b")
        process = BackendProcess(s)
        asked = 0
        for _ in range(3):
            async with running(process):
                await s.hear("#a", *(f"!ping {n}" for n in range(asked, asked + 300)))
                await s.hear("#b", *(f"!ping {n}" for n in range(asked, asked + 300)))
                asked += 300
                process.signal(signal.SIGTERM)
                async with asyncio.timeout(8):
                    assert await process.wait() == 0
            # It gave its shard up, and left nothing half done: what is not answered still waits.
            assert not await s.raw("EXISTS", key(0, "lease:backend"))
            answered = len(await s.says("#a")) + len(await s.says("#b"))
            assert answered + await s.depth(0, "m") == 2 * asked
        async with running(process):
            wanted = [f"pong {n}" for n in range(asked)]
            assert await s.said("#a", asked, 30) == wanted
            assert await s.said("#b", asked, 30) == wanted
            await s.quiet()
        assert len(await s.says("#a")) == asked


PLUGIN = """
from instabot.commands import Context, Plugin

plugin = Plugin("mine")

@plugin.command
async def mine(ctx: Context) -> str:
    return "{}"
"""


async def hears_until(s: Stage, name: str, line: str, wanted: str) -> None:
    """Ask again until the answer is another one: the reload is another process's affair."""

    async def answers() -> bool:
        before = len(await s.says(name))
        await s.hear(name, line, "!ping mark")
        said = await s.said(name, before + 1)
        while said[-1] != "pong mark":
            said = await s.said(name, len(said) + 1)
        return wanted in said[before:]

    await until(answers, f"{line} is answered with {wanted!r}", every=0.3)


async def test_plugins_of_the_folder_come_change_break_and_go_while_it_runs(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "mine.py").write_text(PLUGIN.format("one"))
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        process = BackendProcess(s, "--plugins", str(folder), "--reload")
        async with running(process):
            await s.hear("#a", "!mine")
            assert await s.said("#a", 1) == ["one"]
            (folder / "mine.py").write_text(PLUGIN.format("two"))
            await hears_until(s, "#a", "!mine", "two")
            (folder / "mine.py").write_text("this is not python")
            await until(
                lambda: _says(process, "keeps its older version"), "the mistake is told"
            )
            await hears_until(s, "#a", "!mine", "two")
            (folder / "new.py").write_text(PLUGIN.replace("mine", "new").format("new"))
            await hears_until(s, "#a", "!new", "new")
            (folder / "mine.py").unlink()
            await hears_until(
                s, "#a", "bot: mine", "I know no command “mine”; !help lists them."
            )
            assert process.starts == 1


async def _says(process: BackendProcess, text: str) -> bool:
    return text in process.log()


async def test_asked_to_stop_while_redis_is_away_it_stops(tmp_path: Path) -> None:
    flags = {"data": str(tmp_path), "redis": f"unix://{tmp_path}/none.sock", "id": "b"}
    stop = asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(serve(config.load(flags, env={}), stop))
        await asyncio.wait([serving], timeout=0.5)
        assert not serving.done()
        stop.set()


async def test_a_plugin_folder_that_is_none_is_said_before_anything_is_opened(
    tmp_path: Path,
) -> None:
    flags = {"data": str(tmp_path), "redis": "redis://127.0.0.1:1", "plugins": "/none"}
    with pytest.raises(BadInput, match="/none is not a folder"):
        await serve(config.load(flags, env={}), asyncio.Event())
    assert not (tmp_path / "instabot.db").exists()


async def test_a_newer_process_of_its_name_ends_it(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        with pytest.raises(BaseExceptionGroup) as caught:
            await _superseded(s)
        assert caught.value.subgroup(Superseded)


async def _superseded(s: Stage) -> None:
    async with s.backend(lease_ttl=1.0):
        await s.raw("SET", key(0, "lease:backend"), f"b:{10**15}")
        await asyncio.Event().wait()


async def test_a_part_that_fails_does_not_end_the_others(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path, shards=2) as s:
        await s.want("#zero", net="acme")
        await s.want("#one", net="net")
        async with s.backend() as run:
            # Somebody's bytes lie where the queue of shard 1 was.
            await s.raw("SET", key(1, "messages"), "by hand")
            await s.hear("#zero", *(f"!ping {n}" for n in range(5)))
            assert await s.said("#zero", 5) == [f"pong {n}" for n in range(5)]
            assert run.leases.held.keys() == {0, 1}
            await s.raw("DEL", key(1, "messages"))
            await s.hear("#one", "!ping")
            assert await s.said("#one", 1) == ["pong"]


async def test_a_start_waits_and_says_why_while_a_shard_cannot_be_served(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        await s.raw("SET", key(0, "groups"), "by hand")
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(20):
            process = BackendProcess(s)
            starting = tasks.create_task(process.start())
            try:
                await until(lambda: _says(process, "shard cannot be served"), "it says why")
                await s.raw("DEL", key(0, "groups"))
                await starting
                await s.hear("#a", "!ping")
                assert await s.said("#a", 1) == ["pong"]
            finally:
                await process.stop()


async def test_after_a_thousand_lines_nothing_is_left_in_memory(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    plugin = Plugin("quick")

    @plugin.command(background=True)
    async def quick(ctx: Context) -> None: ...

    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend(plugin) as run:
            await s.hear(
                "#a", *(f"{c} {n}" for n in range(333) for c in ("!ping", "hi", "!quick"))
            )
            await s.quiet()
            await s.logged()
            backend = run.backend
            await backend._lanes.idle()
            assert run.evaluator.running == {}
            assert run.evaluator._behind == set()
            assert run.evaluator.sorting is None
            assert len(backend._lanes) == 0
            assert backend._consumer._shards[0].flying == set()
            assert backend._consumer.window.free == 4096
            assert backend._logbook.consumer.window.free == 8192


async def test_a_second_backend_takes_over_when_the_first_one_stops(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with AsyncExitStack() as first:
            await first.enter_async_context(s.backend(id="one"))
            async with s.backend(id="two", lease_ttl=1.0) as two:
                await s.hear("#a", "!ping 1")
                assert await s.said("#a", 1) == ["pong 1"]
                assert two.leases.held == {}
                await first.aclose()
                await s.hear("#a", "!ping 2")
                assert await s.said("#a", 2) == ["pong 1", "pong 2"]
                assert two.leases.held.keys() == {0}
