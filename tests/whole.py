"""A whole `instabot up` as a child process, for tests that look at it from outside."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.servers.process import until

COMMAND = (sys.executable, "-P", "-m", "instabot")


def environment(data: Path, **more: str) -> dict[str, str]:
    """The environment of a user whose data folder this is."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("INSTABOT_")}
    return {**clean, "INSTABOT_DATA": str(data), "NO_COLOR": "1", **more}


class Result:
    """What a command came to."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def __repr__(self) -> str:
        return f"Result({self.code}, {self.out!r}, {self.err!r})"


async def instabot(
    *args: str, env: Mapping[str, str], stdin: bytes = b"", timeout: float = 60
) -> Result:
    """Run a command to its end."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *args,
        env=env,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(timeout):
        out, err = await process.communicate(stdin)
    return Result(process.returncode or 0, out.decode(), err.decode())


class Up:
    """A running `instabot up`; `lines` is all that it said on stdout so far."""

    def __init__(self, process: asyncio.subprocess.Process, data: Path) -> None:
        self.process = process
        self.data = data
        self.lines: list[str] = []
        self.env = environment(data)

    async def says(self, start: str, timeout: float = 30) -> str:
        """Read on to a line that begins so."""
        assert self.process.stdout is not None
        async with asyncio.timeout(timeout):
            while raw := await self.process.stdout.readline():
                self.lines.append(raw.decode().rstrip())
                if self.lines[-1].startswith(start):
                    return self.lines[-1]
        raise AssertionError(f"it ended without {start!r}: {self.lines}")

    def children(self) -> dict[str, Any]:
        """Name → pid, starts and ready, as it notes them."""
        note: dict[str, Any] = json.loads((self.data / "up.json").read_text())["children"]
        return note

    def pid(self, name: str) -> int:
        return int(self.children()[name]["pid"])

    async def run(self, *args: str, stdin: bytes = b"") -> Result:
        """An `instabot` command against it."""
        return await instabot(*args, env=self.env, stdin=stdin)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop → its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(40):
            while self.process.stdout and (raw := await self.process.stdout.readline()):
                self.lines.append(raw.decode().rstrip())
            return await self.process.wait()


@asynccontextmanager
async def up(data: Path, *args: str, ready: str = "ready", **env: str) -> AsyncIterator[Up]:
    """`instabot up` with these arguments, ready; stopped at the end, its server too."""
    with (data.parent / f"{data.name}.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            "up",
            "--no-web",
            *args,
            env=environment(data, **env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    one = Up(process, data)
    try:
        if ready:
            while await one.says(ready) != ready:
                pass
        yield one
    finally:
        await one.stop()


async def gone(pid: int) -> None:
    """Wait until a process that is not our child has ended."""

    async def check() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        # A zombie whose parent has not looked yet is as good as gone.
        stat = await asyncio.to_thread(_state, pid)
        return stat == "Z"

    await until(check, f"process {pid} ends")


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
