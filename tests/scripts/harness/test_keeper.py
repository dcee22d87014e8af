"""The keeper starts again what ends, and tells our kills from the process' own ends."""

import asyncio
import sys
from pathlib import Path

from scripts.harness.keeper import Keeper
from tests.servers.process import Process, until


async def test_a_killed_process_is_back_at_once(tmp_path: Path) -> None:
    process = Process("sleeper", ["sleep", "60"], tmp_path)
    keeper = Keeper(process)
    await process.start()
    first = process.pid
    async with asyncio.TaskGroup() as group:
        task = group.create_task(keeper.keep())
        keeper.kill()

        async def back() -> bool:
            return process.starts == 2 and process.running

        await until(back, "the sleeper back")
        assert process.pid != first
        task.cancel()
        await process.kill()
    assert (len(keeper.killed), keeper.ends) == (1, [])


async def test_an_end_of_its_own_is_told_with_its_last_words(tmp_path: Path) -> None:
    code = "print('out of luck'); raise SystemExit(3)"
    process = Process("failing", [sys.executable, "-c", code], tmp_path)
    keeper = Keeper(process)
    await process.start()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(keeper.keep())

        async def told() -> bool:
            return bool(keeper.ends)

        await until(told, "its end")
        task.cancel()
        await process.kill()
    assert keeper.ends[0] == "failing ended with 3: out of luck"


async def test_a_frozen_process_is_thawed(tmp_path: Path) -> None:
    process = Process("sleeper", ["sleep", "60"], tmp_path)
    await process.start()
    keeper = Keeper(process)
    await keeper.freeze(0.01)
    assert process.running
    assert len(keeper.frozen) == 1
    await process.stop()
    assert process.returncode == -15
