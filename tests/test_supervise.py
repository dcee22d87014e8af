"""Children: restarted at once, with patience only for those that never get ready."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from instabot.supervise import Child, Hopeless

READY = "print('ready: it', os.getpid(), flush=True)\nsys.stdin.read()\n"


class Stage:
    """A child of a few lines of Python, and what it and its supervisor said."""

    def __init__(self, code: str, patience: float) -> None:
        self.lines: asyncio.Queue[str] = asyncio.Queue()
        argv = [sys.executable, "-c", f"import os, signal, sys, time\n{code}"]
        self.child = Child("it", argv, self.lines.put_nowait, patience=patience)

    async def until(self, start: str) -> list[str]:
        """The lines up to one that begins so."""
        seen = []
        async with asyncio.timeout(10):
            while True:
                seen.append(await self.lines.get())
                if seen[-1].startswith(start):
                    return seen


@asynccontextmanager
async def on_stage(code: str = READY, patience: float = 5.0) -> AsyncIterator[Stage]:
    stage = Stage(code, patience)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stage.child.run())
        try:
            yield stage
        finally:
            await stage.child.stop()


async def test_a_child_is_ready_when_it_says_so() -> None:
    async with on_stage("print('warming up', flush=True)\n" + READY) as stage:
        assert await stage.until("ready") == ["warming up", f"ready: it {stage.child.pid}"]
        assert stage.child.ready.is_set()
    assert stage.child.starts == 1


async def test_a_child_that_is_killed_is_back_at_once() -> None:
    async with on_stage() as stage:
        await stage.until("ready")
        for starts in (2, 3):
            os.kill(stage.child.pid, signal.SIGKILL)
            lines = await stage.until("ready")
            assert lines[0] == "it was ended by SIGKILL, starting it again"
            assert stage.child.starts == starts


async def test_a_child_that_leaves_a_grandchild_behind_is_back_at_once_too() -> None:
    # The grandchild keeps the child's stdin, stdout and stderr open.
    fork = "if os.fork() == 0:\n    time.sleep(3)\n    os._exit(0)\n"
    async with on_stage(fork + READY) as stage:
        await stage.until("ready")
        async with asyncio.timeout(2):
            os.kill(stage.child.pid, signal.SIGKILL)
            await stage.until("ready")


async def test_a_restart_ends_the_old_one_politely_and_says_nothing_of_a_failure() -> None:
    code = "signal.signal(signal.SIGTERM, lambda *_: (print('bye', flush=True), os._exit(0)))\n"
    async with on_stage(code + READY) as stage:
        await stage.until("ready")
        first = stage.child.pid
        await stage.child.restart()
        assert await stage.until("ready") == ["bye", f"ready: it {stage.child.pid}"]
        assert stage.child.pid != first


async def test_an_exit_before_ready_is_tried_again_ever_more_slowly() -> None:
    async with on_stage("sys.exit(3)") as stage:
        said = [(await stage.until("it ended"))[0] for _ in range(2)]
        assert said == [
            "it ended with code 3 before it was ready, next try in 0.2 s",
            "it ended with code 3 before it was ready, next try in 0.4 s",
        ]


async def test_wrong_settings_end_the_trying() -> None:
    stage = Stage("sys.exit(2)", 5)
    with pytest.raises(Hopeless) as caught:
        await stage.child.run()
    assert caught.value.exit_code == 2


async def test_an_exit_after_ready_is_no_failure_to_start() -> None:
    async with on_stage("print('ready: it', flush=True)\nsys.exit(2)") as stage:
        await stage.until("ready")
        assert await stage.until("ready") == [
            "it ended with code 2, starting it again",
            "ready: it",
        ]


async def test_a_child_that_will_not_go_is_killed() -> None:
    stubborn = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    async with on_stage(stubborn + READY, patience=0.2) as stage:
        await stage.until("ready")
        await stage.child.stop()
        assert await stage.until("it did not stop") == [
            "it did not stop within 0.2 s, killing it"
        ]


async def test_a_child_s_stdin_stays_open_while_we_live_and_ends_with_the_wait() -> None:
    async with on_stage(READY + "print('stdin closed', flush=True)") as stage:
        await stage.until("ready")
        assert stage.lines.empty()


async def test_a_line_without_end_does_not_stop_the_listening() -> None:
    code = "print('x' * 200_000, flush=True)\n" + READY
    async with on_stage(code) as stage:
        await stage.until("ready")


async def test_a_program_that_is_not_there_is_no_crash() -> None:
    lines: asyncio.Queue[str] = asyncio.Queue()
    child = Child("it", ["/nowhere/program"], lines.put_nowait)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(child.run())
        assert await lines.get() == "it cannot be started: No such file or directory"
        await child.stop()
