"""One `up` per data folder: its lock, and the note it leaves for `instabot restart`.

The lock is a file lock, so that it vanishes with the process however that ends; the note,
`up.json`, is only believed while the lock is held.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from instabot.errors import BadInput, InstabotError


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """A child of `up`: `starts` counts its starts, `ready` says that the last one is through."""

    pid: int
    starts: int
    ready: bool


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What `up` says of itself."""

    pid: int
    children: dict[str, Child] = {}


@contextmanager
def lock(data: Path) -> Iterator[None]:
    """Hold the data folder. Raises BadInput while another `up` does."""
    # Inherited by nobody: the children must not keep the folder locked after a kill -9.
    descriptor = os.open(data / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _take(descriptor):
            note = read(data)
            who = f" (process {note.pid})" if note else ""
            raise BadInput(
                f"`instabot up` already runs for the data folder {data}{who}; "
                "stop it, or choose another folder with --data"
            )
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    """Take the lock; tries again for a moment, since `running` takes it for an instant."""
    for _ in range(10):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            time.sleep(0.02)
    return False


def write(data: Path, note: Note) -> None:
    """Replace the note in one step."""
    part = data / "up.json.new"
    part.write_bytes(msgspec.json.encode(note))
    part.replace(data / "up.json")


def read(data: Path) -> Note | None:
    """The last note, or None; it may be that of a dead `up`."""
    try:
        return msgspec.json.decode((data / "up.json").read_bytes(), type=Note)
    except (OSError, msgspec.MsgspecError):
        return None


def running(data: Path) -> Note | None:
    """The note of the `up` that holds this data folder now, or None."""
    try:
        descriptor = os.open(data / "up.lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return read(data)
    finally:
        os.close(descriptor)
    return None


async def restart_backend(data: Path, timeout: float) -> int:
    """Ask `up` for another backend and wait for it → its process id. Raises InstabotError."""
    note = running(data)
    if note is None:
        raise InstabotError(
            f"no `instabot up` runs for the data folder {data}; start it, or restart the "
            "backend where it runs"
        )
    before = note.children.get("backend")
    with contextlib.suppress(ProcessLookupError):
        os.kill(note.pid, signal.SIGHUP)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        note = running(data)
        if note is None:
            raise InstabotError("`instabot up` ended meanwhile")
        now = note.children.get("backend")
        if now and now.ready and now.starts > (before.starts if before else 0):
            return now.pid
        # `up` has no other door than its note; it is another process, so we look again.
        await asyncio.sleep(0.05)
    raise InstabotError(f"the backend was not ready again within {timeout:g} s; see its log")
