"""What the broker's tests share: a caller that records and fails on demand, and a task's frame."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from instabot.broker.redis import Caller
from instabot.errors import Unreachable


class Recorder:
    """Passes commands on and remembers them. `fail` commands to come raise Unreachable after
    they were carried out, as when an answer is lost. `asked` is set by every command.
    """

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.commands: list[tuple[Any, ...]] = []
        self.fail = 0
        self.asked = asyncio.Event()

    async def execute_command(self, *command: Any) -> Any:
        """As the caller's."""
        self.commands.append(command)
        self.asked.set()
        reply = await self.caller.execute_command(*command)
        if self.fail:
            self.fail -= 1
            raise Unreachable("the answer was lost")
        return reply

    def __getattr__(self, name: str) -> Any:
        return getattr(self.caller, name)

    def count(self, name: str) -> int:
        """How often a command was sent."""
        return sum(command[0] == name for command in self.commands)


@asynccontextmanager
async def running(*jobs: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.TaskGroup]:
    """Run loops that never end by themselves beside the block; cancelled at its end.

    Cancelled until they are gone: fakeredis's blocking read may swallow a cancellation.
    """
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(job) for job in jobs]
        yield tasks
        for task in started:
            while not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=0.1)


class Basket:
    """Collects what is delivered; `until(n)` returns once there are n things."""

    def __init__(self) -> None:
        self.things: list[Any] = []
        self._changed = asyncio.Event()

    def put(self, things: Any) -> None:
        """Several at once."""
        self.things += things
        self._changed.set()

    async def until(self, count: int) -> list[Any]:
        """All things, once there are so many."""
        async with asyncio.timeout(10):
            while len(self.things) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.things
