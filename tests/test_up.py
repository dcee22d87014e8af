"""`instabot up` from outside: one whole system, killed piece by piece."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from instabot import config
from instabot.up import child_arguments, child_environment, node_name
from tests.servers import RedisServer
from tests.whole import Up, environment, gone, instabot, up


def server_pid(one: Up) -> int:
    return int((one.data / "redis" / "pid").read_text())


async def test_it_says_what_is_ready_and_then_that_all_is(tmp_path: Path) -> None:
    async with up(tmp_path / "d") as one:
        kinds = [" ".join(line.split()[:2]) for line in one.lines]
        assert kinds[0] == "ready: redis"
        assert sorted(kinds[1:-1]) == ["ready: backend", "ready: runtime"]
        assert one.lines[-1] == "ready"
        assert (tmp_path / "d").stat().st_mode & 0o777 == 0o700
        commands = {name: psutil.Process(one.pid(name)).cmdline() for name in one.children()}
        for name in ("runtime", "backend"):
            assert f"instabot {name}" in " ".join(commands[name])
        assert await one.stop(signal.SIGTERM) == 0


async def test_ctrl_c_stops_all_and_exits_130(tmp_path: Path) -> None:
    async with up(tmp_path / "d") as one:
        pids = [server_pid(one), *(one.pid(name) for name in one.children())]
        assert await one.stop(signal.SIGINT) == 130
    for pid in pids:
        await gone(pid)


async def test_whoever_is_killed_is_restarted_under_the_same_id(tmp_path: Path) -> None:
    async with up(tmp_path / "d") as one:
        for name in ("runtime", "backend"):
            before = psutil.Process(one.pid(name)).cmdline()
            os.kill(one.pid(name), signal.SIGKILL)
            assert await one.says(name) == f"{name} was ended by SIGKILL, starting it again"
            await one.says(f"ready: {name}")
            assert psutil.Process(one.pid(name)).cmdline() == before
        os.kill(server_pid(one), signal.SIGKILL)
        await one.says("ready: redis")
        assert (await one.run("status")).code == 0


@pytest.mark.parametrize("by", ["signal", "command"])
async def test_the_backend_alone_is_restarted_on_request(tmp_path: Path, by: str) -> None:
    async with up(tmp_path / "d") as one:
        runtime, backend = one.pid("runtime"), one.pid("backend")
        if by == "signal":
            one.process.send_signal(signal.SIGHUP)
            await one.says("ready: backend")
        else:
            result = await one.run("restart", "backend")
            assert result.out == f"backend restarted, process {one.pid('backend')}\n"
        assert one.pid("backend") != backend
        assert one.pid("runtime") == runtime
        await gone(backend)


async def test_after_a_kill_its_children_end_and_the_next_adopts_the_server(
    tmp_path: Path,
) -> None:
    async with up(tmp_path / "d") as one:
        children = [one.pid(name) for name in one.children()]
        server = server_pid(one)
        await one.stop(signal.SIGKILL)
    async with up(tmp_path / "d") as two:
        assert two.lines[0].endswith("adopted)")
        assert server_pid(two) == server
        for pid in children:
            await gone(pid)


async def test_a_second_up_for_the_same_folder_is_refused(tmp_path: Path) -> None:
    async with up(tmp_path / "d") as one:
        result = await one.run("up", "--no-web")
        assert result.code == 2
        assert "already runs" in result.err
        assert result.err.count("\n") == 1


async def test_a_redis_that_is_given_is_used_and_left_running(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    async with up(tmp_path / "d", "--redis", redis_server.url) as one:
        assert one.lines[0].startswith(f"ready: redis {redis_server.url} (redis ")
        assert not (tmp_path / "d" / "redis").exists()
    assert await redis_server.answers()


async def test_a_redis_that_is_not_there_is_exit_code_3(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{nobody.getsockname()[1]}"
        result = await instabot("up", "--redis", url, env=environment(tmp_path / "d"))
    assert result.code == 3
    assert result.err.count("\n") == 1


async def test_wrong_settings_of_a_child_end_the_whole_with_the_child_s_reason(
    tmp_path: Path,
) -> None:
    env = environment(tmp_path / "d", INSTABOT_STORE_URL="sqlite://")
    result = await instabot("up", env=env)
    assert result.code == 2
    assert "backend does not start" in result.err
    assert "Traceback" not in result.err


async def test_the_demo_s_bot_sits_in_its_room_and_answers(tmp_path: Path) -> None:
    async with up(tmp_path / "d", "--demo") as one:
        (url,) = [line for line in one.lines if line.startswith("irc://")]
        host, port = url.removeprefix("irc://").partition("/")[0].split(":")
        assert host == "127.0.0.1"
        assert url.endswith("/#demo")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"NICK you\r\nUSER you 0 * :you\r\nJOIN #demo\r\n")
        await heard(reader, b" 366 ")
        writer.write(b"PRIVMSG #demo :!ping hello\r\n")
        assert b"pong hello" in await heard(reader, b"PRIVMSG #demo")
        writer.close()
        (room,) = (await one.run("rooms", "--json")).json
        assert (room["network"], room["name"], room["state"]) == ("demo", "#demo", "joined")


async def heard(reader: asyncio.StreamReader, part: bytes) -> bytes:
    async with asyncio.timeout(15):
        while line := await reader.readline():
            if part in line:
                return line
    raise AssertionError(f"the connection ended before {part!r}")


def test_a_child_s_secrets_travel_by_environment_not_by_argument(tmp_path: Path) -> None:
    settings = config.load({"data": str(tmp_path), "plugins": str(tmp_path)}, {})
    url = "redis://:hunter2@h"
    for role in ("runtime", "backend"):
        assert "hunter2" not in " ".join(child_arguments(settings, role, "n"))
    assert child_environment(settings, url)["INSTABOT_REDIS_URL"] == url
    assert "--plugins" in child_arguments(settings, "backend", "n")
    assert "--plugins" not in child_arguments(settings, "runtime", "n")


def test_a_data_folder_keeps_its_name_and_a_copy_of_it_gets_another(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    name = node_name(one)
    assert node_name(one) == name
    (two / "node").write_text((one / "node").read_text())
    assert node_name(two) != name
    (one / "node").write_text("garbage")
    assert node_name(one)
