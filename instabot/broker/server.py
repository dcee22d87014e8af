"""The embedded Redis or Valkey: found, started, adopted, kept alive, and stopped last.

It listens on a unix socket alone, in a private folder, and writes an append-only file. It
outlives an `instabot up` that is killed; the next one adopts it. The process holds a lock
(inherited by file descriptor), so that no two servers ever write one append-only file.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import signal
import stat
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from instabot.broker.binary import Binary
from instabot.errors import BadInput, InstabotError

_LONGEST = 103
"""Bytes in a unix socket's path: `sun_path` holds 104 with its NUL on macOS, 108 on Linux."""
_LOG_BYTES = 10_000_000


class Stubborn(InstabotError):
    """The server does not start, or does not answer; the text says what its log says."""


def socket_path(folder: Path, env: Mapping[str, str] = os.environ) -> Path:
    """Where the server of this folder listens.

    A path too long for a socket is replaced by one in a private folder under the runtime
    directory, named after the long one; the server's folder holds a note of it, because the
    runtime directory differs between sessions. Raises BadInput where that folder is not ours.
    """
    path = folder / "redis.sock"
    if len(os.fsencode(path)) <= _LONGEST:
        return path
    noted = _read_note(folder)
    if noted:
        return noted
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    bases = [env.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"]  # noqa: S108
    for base in filter(os.path.isdir, bases):
        short = Path(base) / f"instabot-{os.getuid()}" / f"{digest}.sock"
        if len(os.fsencode(short)) <= _LONGEST:
            _private(short.parent)
            return short
    raise BadInput(f"the path {path} is too long for a socket; choose a shorter data folder")


def _read_note(folder: Path) -> Path | None:
    """The socket noted by the last start, unless the folder was copied from elsewhere."""
    try:
        home, socket = (folder / "socket").read_text().splitlines()
    except (OSError, ValueError):
        return None
    return Path(socket) if home == str(folder) and Path(socket).parent.is_dir() else None


def _private(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    there = folder.lstat()
    if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.getuid() or there.st_mode & 0o077:
        raise BadInput(f"{folder} is not a private folder of ours: remove it")


def embedded_url(folder: Path) -> str:
    """The URL under which everybody finds the embedded server of this folder."""
    return _url(socket_path(folder))


def _url(socket: Path) -> str:
    return f"unix://{quote(str(socket))}"


class Server:
    """One embedded server. `memory` in bytes (0 = half of what there is).

    One task at a time calls `start`, then `watch`, then `stop`.
    """

    def __init__(self, folder: Path, binary: Callable[[], Binary], memory: int = 0) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.version = ""
        self.pid = 0
        self._binary = binary
        self._memory = memory or half_of_memory()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return _url(self.socket)

    async def start(self, patience: float = 600.0) -> str:
        """Adopt the server that runs, else start one → `adopted` or `started`.

        Returns once it answers, that is after it read its file. Raises Stubborn, BadInput.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.socket = socket_path(self.folder)
        (self.folder / "socket").write_text(f"{self.folder}\n{self.socket}\n")
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if await self._runs(lock):
                await self._answers(patience)
                return "adopted"
            await self._spawn(lock)
        finally:
            os.close(lock)
        await self._answers(patience)
        return "started"

    async def _runs(self, lock: int) -> bool:
        """Is a server at work here? Takes the lock when none is."""
        for _ in range(40):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return False
            except OSError:
                if await self._ask("PING") is not None:
                    return True
                noted = self._noted_pid()
                if noted.isdecimal() and not self._exists(int(noted)):
                    self._sweep(int(noted))
            # Starting, or killed a moment ago while it rewrote its file in a child.
            await asyncio.sleep(0.25)
        raise Stubborn(
            f"a server holds {self.folder / 'lock'} but does not answer; "
            f"end it: kill {self._noted_pid()}"
        )

    def _noted_pid(self) -> str:
        try:
            return (self.folder / "pid").read_text().strip()
        except OSError:
            return "PID"

    async def _spawn(self, lock: int) -> None:
        binary = await asyncio.to_thread(self._binary)
        log = self.folder / "redis.log"
        if log.exists() and log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        with log.open("ab") as out:
            os.chmod(log, 0o600)
            self._process = await asyncio.create_subprocess_exec(
                binary.name,
                *self._arguments(),
                executable=str(binary.path),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.folder,
                pass_fds=(lock,),
                start_new_session=True,  # Ctrl-C must not end it before the others
            )

    def _arguments(self) -> list[str]:
        return [
            *("--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"),
            *("--dir", str(self.folder), "--pidfile", str(self.folder / "pid")),
            *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
            *("--aof-load-truncated", "yes", "--maxmemory-policy", "noeviction"),
            *("--maxmemory", str(self._memory), "--daemonize", "no"),
        ]

    async def _answers(self, patience: float) -> None:
        """Wait until it answers; while it reads a long file it says so, and we wait on."""
        async with asyncio.timeout(patience):
            while True:
                # PING is refused while it reads its file, INFO is not.
                if await self._ask("PING") == "+PONG\r\n":
                    info = await self._ask("INFO server")
                    if info:
                        break
                if self._process is not None and self._process.returncode is not None:
                    raise Stubborn(f"the server stopped at once; {self._last_words()}")
                await asyncio.sleep(0.01)
        fields = dict(line.partition(":")[::2] for line in info.splitlines())
        kind = "valkey" if "valkey_version" in fields else "redis"
        self.version = f"{kind} {fields[f'{kind}_version']}"
        self.pid = int(fields["process_id"])

    def _last_words(self) -> str:
        log = self.folder / "redis.log"
        lines = log.read_text(errors="replace").splitlines()[-3:]
        return f"{log} ends with: {' / '.join(line.strip() for line in lines)}"

    async def _ask(self, command: str) -> str | None:
        """Say one inline command; None where nobody answers within two seconds."""
        try:
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_unix_connection(str(self.socket))
                try:
                    writer.write(f"{command}\r\n".encode())
                    head = (await reader.readline()).decode()
                    if head.startswith("$"):
                        return (await reader.readexactly(int(head[1:]))).decode()
                    return head or None
                finally:
                    writer.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return None

    async def ended(self) -> None:
        """Return when the server is gone, whoever started it."""
        if self._process is not None:
            await self._process.wait()
            self._sweep(self._process.pid)
            self._process = None
            return
        while self._alive():
            await self._connection_ends()
            if not self._exists(self.pid):
                self._sweep(self.pid)
                return
            await asyncio.sleep(0.02)

    async def keep(self, report: Callable[[str], None]) -> None:
        """Start it again whenever it ends, on the same socket; runs until cancelled."""
        while True:
            await self.ended()
            report("redis ended, starting it again")
            delay = 0.1
            while True:
                try:
                    await self.start()
                    break
                except InstabotError as error:
                    report(f"redis does not start: {error}")
                await asyncio.sleep(delay)
                delay = min(delay * 2, 10.0)
            report(f"ready: redis {self.url} ({self.version})")

    async def _connection_ends(self) -> None:
        """Hold a connection for as long as it lasts; a process that dies closes it."""
        try:
            reader, writer = await asyncio.open_unix_connection(str(self.socket))
        except OSError:
            return
        try:
            await reader.read()
        except OSError:
            pass
        finally:
            writer.close()

    def _exists(self, pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True

    def _sweep(self, pid: int) -> None:
        """End what a killed server left: a child that rewrites the file still holds the lock.

        The server leads its own process group, so whoever is left in it is that child.
        """
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)

    def _alive(self) -> bool:
        """Does anybody hold the lock?"""
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(lock)
        return False

    async def stop(self, patience: float = 15.0) -> None:
        """SIGTERM: it writes what is left and goes. Not running is no error."""
        if not self.pid:
            return
        try:
            self._signal(signal.SIGTERM)
            async with asyncio.timeout(patience):
                await self.ended()
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self.ended()
        except ProcessLookupError:
            pass
        self.pid = 0

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
        else:
            os.kill(self.pid, number)


def half_of_memory() -> int:
    """Half of this machine's memory, or of what its cgroup allows; in bytes."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        limit = "max"
    return min(total, int(limit) if limit.isdecimal() else total) // 2
