"""The same tests over both databases: SQLite always, a private PostgreSQL where there is one."""

import glob
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from instabot.model import Network
from instabot.store import Store

ENABLE = (
    "PostgreSQL is not tested: install Debian's `postgresql`, or put initdb on PATH, "
    "and pip install 'instabot[postgres]'"
)
_numbers = count()


class Cluster:
    """A PostgreSQL of our own, reachable over a unix socket alone."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        # PostgreSQL refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(folder, self._user)

    def start(self) -> None:
        """Make it and start it; returns when it answers."""
        data, socket = self._folder / "data", self._folder
        self._run("initdb", "-D", data, "-U", "instabot", "-A", "trust", "-E", "UTF8", "-N")
        options = f"-c listen_addresses='' -c unix_socket_directories={socket} -c fsync=off"
        self._run("pg_ctl", "-D", data, "-w", "-l", data / "log", "-o", options, "start")

    def stop(self) -> None:
        """Stop it and wait for its end."""
        self._run("pg_ctl", "-D", self._folder / "data", "-w", "-m", "immediate", "stop")

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"test{next(_numbers)}"
        self._run("createdb", "-h", self._folder, "-U", "instabot", name)
        return f"postgresql://instabot@/{name}?host={self._folder}"

    def _run(self, program: str, *arguments: str | Path) -> None:
        subprocess.run(
            [self._programs / program, *arguments],
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
            cwd=self._folder,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A private PostgreSQL; skips where there is none."""
    found = shutil.which("initdb") or max(
        glob.glob("/usr/lib/postgresql/*/bin/initdb"), default=""
    )
    if not found or importlib.util.find_spec("asyncpg") is None:
        pytest.skip(ENABLE)
    # Not pytest's own folder: a socket's path is short, and user postgres must reach it.
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as folder:
        ours = Cluster(Path(found).resolve().parent, Path(folder))
        ours.start()
        try:
            yield ours
        finally:
            ours.stop()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite store that is not there yet."""
    return f"sqlite:///{tmp_path}/data/store.db"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real)])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty store, on each database in turn."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_url"))
    return str(request.getfixturevalue("cluster").database())


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """An open store, on each database in turn."""
    async with await Store.open(url) as opened:
        yield opened


@pytest.fixture
async def sqlite_store(sqlite_url: str) -> AsyncIterator[Store]:
    """An open SQLite store that waits a tenth of a second for a lock."""
    async with await Store.open(sqlite_url, patience=0.1) as opened:
        yield opened


@pytest.fixture
def network() -> Callable[..., Network]:
    """Networks by their name."""

    def make(name: str = "libera", url: str = "ircs://bot@irc.libera.chat") -> Network:
        return Network(id=f"local/{name}", tenant="local", name=name, url=url)

    return make
