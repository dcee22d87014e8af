"""Child processes: started, watched, restarted under the same arguments, stopped in time.

A child's stdin is a pipe that stays open as long as we live; it ends when that closes, so a
`kill -9` of the supervisor ends it too. It says `ready: …` on its stdout once it is.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from instabot.errors import InstabotError

Say = Callable[[str], None]

FIRST_DELAY = 0.2
MOST_DELAY = 10.0


class Hopeless(InstabotError):
    """A child that found its settings wrong, before it was ever ready: trying again is useless."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.exit_code = code


class Child:
    """One supervised process. `run` owns it; the others only ask or nudge."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        say: Say,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        patience: float = 20.0,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.pid = 0
        self.starts = 0
        self.is_ready = False
        self.ready = asyncio.Event()
        self._argv = argv
        self._say = say
        self._env = dict(env) if env is not None else None
        self._cwd = cwd
        self._patience = patience
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._restarting = False
        self._over = asyncio.Event()

    async def run(self) -> None:
        """Start, and start again, until `stop`. Raises Hopeless."""
        delay = FIRST_DELAY
        try:
            while not self._stopping:
                code = await self._life()
                if self._stopping:
                    return
                if self.is_ready or self._restarting or code < 0:
                    delay = FIRST_DELAY
                    if not self._restarting:
                        self._say(f"{self.name} {_how(code)}, starting it again")
                    continue
                if not self.ready.is_set() and code == 2:
                    raise Hopeless(f"{self.name} does not start; see its message above", code)
                self._say(
                    f"{self.name} {_how(code)} before it was ready, next try in {delay:g} s"
                )
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._over.wait(), delay)
                delay = min(delay * 2, MOST_DELAY)
        finally:
            if self._process is not None and self._process.returncode is None:
                self._process.kill()
                await self._process.wait()

    async def _life(self) -> int:
        try:
            return await self._once()
        except OSError as error:  # no processes or descriptors left: that may pass
            self._say(f"{self.name} cannot be started: {error.strerror}")
            return 1

    async def _once(self) -> int:
        """One life of the child → how it ended (negative: by that signal)."""
        self.is_ready = self._restarting = False
        # Pipes of our own: asyncio's `wait` would last until a grandchild lets go of them too.
        stdin, keep = os.pipe()
        hear, stdout = os.pipe()
        try:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._argv,
                    stdin=stdin,
                    stdout=stdout,
                    env=self._env,
                    cwd=self._cwd,
                    start_new_session=True,  # Ctrl-C reaches us alone, and we stop all in order
                )
            except OSError:
                os.close(hear)
                raise
            finally:
                os.close(stdin)
                os.close(stdout)
            self.pid = self._process.pid
            self.starts += 1
            self._changed()
            async with asyncio.TaskGroup() as tasks:
                listening = tasks.create_task(self._listen(hear))
                code = await self._process.wait()
                await asyncio.wait([listening], timeout=0.1)  # its last words
                listening.cancel()
            return code
        finally:
            os.close(keep)

    async def _listen(self, hear: int) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(hear, "rb", 0)
        )
        try:
            while True:
                try:
                    raw = await reader.readline()
                except ValueError:  # a line without end: the reader dropped it
                    continue
                if not raw:
                    return
                self._heard(raw.decode(errors="replace").rstrip())
        finally:
            transport.close()

    def _heard(self, line: str) -> None:
        if line.startswith("ready:") and not self.is_ready:
            self.is_ready = True
            self.ready.set()
            self._changed()
        self._say(line)

    async def restart(self) -> None:
        """SIGTERM now, and the next one as soon as it is gone."""
        if self._process is not None and self._process.returncode is None:
            self._restarting = True
            await self._end(self._process)

    async def stop(self) -> None:
        """End it for good: SIGTERM, then SIGKILL when it takes too long."""
        self._stopping = True
        self._over.set()
        if self._process is not None and self._process.returncode is None:
            await self._end(self._process)

    def kill(self) -> None:
        """SIGKILL at once, to its whole group."""
        self._stopping = True
        self._over.set()
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self._patience):
                await process.wait()
        except TimeoutError:
            self._say(f"{self.name} did not stop within {self._patience:g} s, killing it")
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
