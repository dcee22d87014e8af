"""The first minute: `instabot up --demo`, a chat client, a question, an answer."""

import asyncio
import os
import re
import signal
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.chat import Chat
from tests.journey.home import moves, note, said
from tests.servers.ports import free_port
from tests.whole import Up, gone, up

ROOM, BOT = "#demo", "instabot"


async def visit(one: Up, nick: str = "you") -> Chat:
    """Talk to it as the last line but one of its output says."""
    found = re.fullmatch(r"irc://127\.0\.0\.1:(\d+)/#demo", one.lines[-2])
    assert found, one.lines
    chat = await Chat.connect(int(found[1]), nick)
    await chat.join(ROOM)
    return chat


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder whose demo has a port of its own: the usual one may be taken meanwhile."""
    folder = tmp_path / "d"
    folder.mkdir(0o700)
    (folder / "demo-port").write_text(str(free_port()))
    return folder


def redis_pid(one: Up) -> int:
    """The embedded server's process; it is nobody's child, so that it outlives a killed `up`."""
    return int((one.data / "redis" / "pid").read_text())


async def test_it_says_what_is_ready_how_to_talk_to_it_and_answers(data: Path) -> None:
    async with up(data, "--demo") as one:
        # redis first, `ready` last and after the bot is in the room
        kinds = [" ".join(line.split()[:2]) for line in one.lines if line.startswith("ready:")]
        assert kinds[0] == "ready: redis"
        assert sorted(kinds[1:]) == ["ready: backend", "ready: demo", "ready: runtime"]
        assert one.lines[-1] == "ready"
        told = "\n".join(one.lines)
        port = one.lines[-2].rpartition(":")[2].partition("/")[0]
        assert f"irssi -c 127.0.0.1 -p {port}" in told
        assert f"weechat irc://you@127.0.0.1:{port}/#demo" in told

        # whoever looks at the processes can tell them apart
        family = psutil.Process(one.process.pid).children(recursive=True)
        family.append(psutil.Process(redis_pid(one)))
        commands = {child.pid: " ".join(child.cmdline()) for child in family}
        for name in ("runtime", "backend"):
            assert [p for p in commands if f"instabot {name}" in commands[p]] == [one.pid(name)]
        servers = [p for p in commands if re.search("(valkey|redis)-server ", commands[p])]
        assert servers == [redis_pid(one)]

        you = await visit(one)
        assert any(BOT in line.text for line in you.lines if line.command == "353")  # NAMES
        await you.say(ROOM, "!help")
        line = await you.expect(f"{ROOM} <{BOT}> !help COMMAND explains: ")
        assert {"ping", "status", "convert"} <= set(re.findall(r"\w+", line.text))
        await you.say(ROOM, "!convert 10 km to miles")
        await you.expect(f"{ROOM} <{BOT}> 10 km = 6.214 mi")
        await you.say(ROOM, "!convert 70 F to C")
        await you.expect(f"{ROOM} <{BOT}> 70 °F = 21.11 °C")
        await you.say(ROOM, f"{BOT}: ping by name")
        await you.expect(f"{ROOM} <{BOT}> pong by name")

        # silence for what is no command, an answer for one addressed by name
        await you.say(ROOM, "!nosuch", "hello all", "!!!", "!ping end")
        await you.expect(f"{ROOM} <{BOT}> pong end")
        assert said(you, ROOM, BOT)[-2:] == ["pong by name", "pong end"]
        await you.say(ROOM, f"{BOT}: nosuch")
        await you.expect(f"{ROOM} <{BOT}> ")


async def test_it_goes_on_where_it_was_after_a_stop_and_after_a_kill(data: Path) -> None:
    async with up(data, "--demo") as one:
        first = one.lines[-2]
        assert await one.stop(signal.SIGTERM) == 0

    # the second start is quick, and the room is the same
    start = time.monotonic()
    async with up(data, "--demo") as one:
        note(f"the second start took {time.monotonic() - start:.1f} s")
        assert one.lines[-2] == first
        you = await visit(one)
        await you.say(ROOM, "!ping again")
        await you.expect(f"{ROOM} <{BOT}> pong again")

        # kill -9 of `up` itself: its children end, and the server is there for the next one
        children = [one.pid(name) for name in ("runtime", "backend", "demo")]
        server = redis_pid(one)
        os.kill(one.process.pid, signal.SIGKILL)
        async with asyncio.TaskGroup() as tasks:
            for pid in children:
                tasks.create_task(gone(pid))
    async with up(data, "--demo") as one:
        assert one.lines[0].endswith("adopted)")
        assert redis_pid(one) == server
        you = await visit(one)
        await you.say(ROOM, "!ping")
        await you.expect(f"{ROOM} <{BOT}> pong")
    await gone(server)


async def test_the_room_does_not_notice_a_new_backend(data: Path) -> None:
    async with up(data, "--demo") as one:
        you = await visit(one)
        runtime, backends = one.pid("runtime"), [one.pid("backend")]
        for number, by in enumerate(("SIGHUP", "command")):
            if by == "SIGHUP":
                one.process.send_signal(signal.SIGHUP)
            else:
                assert (await one.run("restart", "backend")).code == 0
            await you.say(ROOM, f"!ping {number} soon")
            await you.expect(f"{ROOM} <{BOT}> pong {number} soon")
            await gone(backends[-1])
            await you.say(ROOM, f"!ping {number}")
            await you.expect(f"{ROOM} <{BOT}> pong {number}")
            backends.append(one.pid("backend"))
        assert len(set(backends)) == 3
        assert one.pid("runtime") == runtime
        assert said(you, ROOM, BOT) == ["pong 0 soon", "pong 0", "pong 1 soon", "pong 1"]
        assert moves(you, BOT) == []
