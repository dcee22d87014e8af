"""A supervisor as systemd is one: what ends is started again at once, under the same id."""

import asyncio
import signal
import time
from contextlib import suppress

from tests.servers.process import Died, Process


class Keeper:
    """Keeps one process running while `keep` runs.

    `killed` holds the Unix times of our own kills; `ends` tells of every end that we did not
    cause. Only the keeper starts the process meanwhile.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self.killed: list[float] = []
        self.frozen: list[float] = []
        self.ends: list[str] = []
        self._ours = False
        self._pause = 0.0

    async def keep(self) -> None:
        """Start the process again whenever it ends; runs until cancelled."""
        while True:
            code = await self.process.wait()
            if not self._ours:
                name = self.process.name
                self.ends.append(f"{name} ended with {code}: {self.process.log(400).strip()}")
            pause, self._pause, self._ours = self._pause, 0.0, False
            await asyncio.sleep(pause)
            with suppress(Died):  # it ended while starting: the next turn sees that
                await self.process.start()

    def kill(self, pause: float = 0.0) -> None:
        """SIGKILL; it is started again after `pause` seconds. Nothing while it is gone."""
        if self.process.running:
            self._ours, self._pause = True, pause
            self.killed.append(time.time())
            self.process.signal(signal.SIGKILL)

    async def freeze(self, seconds: float) -> None:
        """SIGSTOP for so long, then SIGCONT, if that process still lives."""
        if self.process.running:
            self.frozen.append(time.time())
            self.process.freeze()
            await asyncio.sleep(seconds)
            self.process.thaw()
