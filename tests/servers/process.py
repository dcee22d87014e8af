"""A child process that tests start, freeze, kill and restart, always by its own pid."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

used: dict[str, None] = {}
"""The real servers started so far, as "name version", in order; printed when tests end."""


class Missing(Exception):
    """The server's program is not installed; the text says how to get it."""


class Died(Exception):
    """The process ended, or did not become ready; the text holds the end of its log."""


def program(name: str, package: str) -> str:
    """The path of a program; system programs' folders count too. Raises Missing."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    found = shutil.which(name, path=path)
    if found is None:
        raise Missing(f"{name} is not installed: apt-get install {package}")
    return found


def version(argv: Sequence[str]) -> str:
    """The first line that `argv` prints, e.g. "ngIRCd 26.1-…"."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    return (done.stdout or done.stderr).partition("\n")[0].strip()


async def until(
    check: Callable[[], Awaitable[bool]], what: str, timeout: float = 15.0, every: float = 0.01
) -> None:
    """Wait until another process has come to a state that it does not announce.

    The one place that polls; inside a process, wait for an event. Raises TimeoutError that
    names `what`.
    """
    deadline = time.monotonic() + timeout
    while not await check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        await asyncio.sleep(every)


@contextmanager
def folder(user: str | None = None) -> Iterator[Path]:
    """A short-named temporary folder, owned by `user` where we may give things away.

    Not pytest's tmp_path: that one is closed to other users, and too long for a unix socket.
    """
    with tempfile.TemporaryDirectory(prefix="ib-", ignore_cleanup_errors=True) as name:
        if user is not None:
            shutil.chown(name, user, user)
        yield Path(name)


def unprivileged() -> str | None:
    """The user that servers refusing to run as root get; None where we are not root."""
    return "irc" if os.geteuid() == 0 else None


class Process:
    """A program run in a folder, its output kept in `NAME.log` there.

    `ready` is asked until it says yes; without it the process counts as ready at once. All
    methods act on the process started last.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        folder: Path,
        *,
        ready: Callable[[], Awaitable[bool]] | None = None,
        user: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.folder = folder
        self.env = dict(env) if env is not None else None
        self.starts = 0
        self._ready = ready
        self._user = user
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process started last. Raises Died before the first start."""
        if self._popen is None:
            raise Died(f"{self.name} was never started")
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it has been started and not ended since; a frozen one runs."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def returncode(self) -> int | None:
        """How the last one ended: None while it runs, negative for a signal."""
        return None if self._popen is None else self._popen.poll()

    def log(self, last: int = 4000) -> str:
        """The last characters that it wrote to stdout and stderr."""
        path = self.folder / f"{self.name}.log"
        return path.read_text(errors="replace")[-last:] if path.exists() else ""

    async def start(self, timeout: float = 15.0) -> None:
        """Start it and wait until it is ready. Raises Died when it ends or stays silent."""
        if self.running:
            raise Died(f"{self.name} runs already")
        self._spawn()
        if self._ready is None:
            return
        try:
            await until(self._is_ready, f"{self.name} ready", timeout)
        except TimeoutError as error:
            await self.kill()
            raise Died(f"{error}\n{self.log()}") from None

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        await self._end(signal.SIGKILL, 30.0)

    async def stop(self, timeout: float = 10.0) -> None:
        """SIGTERM, and SIGKILL if that does not end it in time; a frozen one is thawed."""
        self.thaw()
        await self._end(signal.SIGTERM, timeout)

    async def restart(self) -> None:
        """Kill it where it stands and start it again in the same folder."""
        await self.kill()
        await self.start()

    async def wait(self) -> int:
        """Wait until it ends by itself; how it ended, as `returncode`."""
        if self._popen is None:
            raise Died(f"{self.name} was never started")
        return await asyncio.to_thread(self._popen.wait)

    def freeze(self) -> None:
        """SIGSTOP: it keeps its connections but answers nothing."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.signal(signal.SIGCONT)

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens when the process is gone."""
        if self._popen is not None:
            self._popen.send_signal(number)

    def _spawn(self) -> None:
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self._popen = subprocess.Popen(
                [*_wrapper(self._user), *self.argv],
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us; we stop our servers ourselves
            )
        self.starts += 1

    async def _is_ready(self) -> bool:
        if not self.running:
            raise Died(f"{self.name} ended with {self.returncode}\n{self.log()}")
        return self._ready is None or await self._ready()

    async def _end(self, number: int, timeout: float) -> None:
        popen = self._popen
        if popen is None:
            return
        popen.send_signal(number)
        try:
            await asyncio.to_thread(popen.wait, timeout)
        except subprocess.TimeoutExpired:
            popen.kill()
            await asyncio.to_thread(popen.wait)


AnyProcess = TypeVar("AnyProcess", bound=Process)


def _wrapper(user: str | None) -> list[str]:
    # setpriv execs, so the pid stays ours; it lets no server outlive a test run that is killed.
    setpriv = shutil.which("setpriv")
    if setpriv is not None:
        change = ["--reuid", user, "--regid", user, "--clear-groups"] if user else []
        return [setpriv, "--pdeathsig", "KILL", *change, "--"]
    if user is not None:
        raise Missing("setpriv is needed to leave root: apt-get install util-linux")
    return []


@asynccontextmanager
async def running(process: AnyProcess) -> AsyncIterator[AnyProcess]:
    """Start a process, and stop it in the end, whatever became of it meanwhile."""
    try:
        await process.start()
        yield process
    finally:
        await process.stop()
