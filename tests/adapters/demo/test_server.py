"""The demo server: people with their own clients talk to the bot, and nothing ends it."""

import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from instabot.adapters.base import Account, Event
from instabot.adapters.demo import Server, serve
from instabot.adapters.demo.client import Client
from instabot.adapters.irc import IRC
from tests.chat import Chat, Closed
from tests.servers.process import until


@pytest_asyncio.fixture
async def demo() -> AsyncIterator[Server]:
    server = await serve()
    yield server
    await server.close()


async def test_people_talk(demo: Server) -> None:
    alice = await Chat.connect(demo.port, "alice")
    bob = await Chat.connect(demo.port, "bob")
    await alice.join("#demo")
    await bob.join("#demo")
    await alice.expect("#demo bob joined")
    await bob.say("#demo", "hello", "\x01ACTION waves\x01", "ünïcode: :) ")
    await alice.expect("#demo <bob> hello")
    await alice.expect("#demo * bob waves")
    await alice.expect("#demo <bob> ünïcode: :) ")
    bob.write("NICK robert")
    await alice.expect("bob is now robert")
    alice.write("TOPIC #demo :news")
    await bob.expect("TOPIC #demo :news")
    alice.write("KICK #demo robert :out")
    await bob.expect("robert was kicked by alice: out")
    bob.write("PRIVMSG #demo :still here?")
    await bob.expect(" 404 robert #demo")
    await bob.quit("bye")
    await alice.say("#nowhere", "hello")
    await alice.expect(" 404 alice #nowhere")


async def test_the_bot_sits_in_the_demo(demo: Server) -> None:
    events: list[Event] = []
    bot = IRC(Account("local/demo", f"irc://bot@127.0.0.1:{demo.port}"), events.append)
    assert (await bot.connect()).me == "bot"
    await bot.join("#demo")
    alice = await Chat.connect(demo.port, "alice")
    await alice.join("#demo")
    await bot.say("#demo", "pong")
    assert await bot.confirm() == []
    await alice.expect("#demo <bot> pong")
    await bot.say("#secret", "x")
    (refused,) = await bot.confirm()
    assert refused.room == "#secret"
    await bot.close("bye")
    await alice.expect("bot quit: Quit: bye")


ANSWERS = {
    "NICK alice": " 433 ",
    "NICK 1abc": " 432 ",
    "NICK": " 431 ",
    "USER a b c d": " 462 ",
    "JOIN bad": " 403 ",
    "JOIN": " 461 ",
    "PART #none": " 403 ",
    "TOPIC #demo": " 331 ",
    "NAMES #demo": " 353 bob = #demo :@alice bob",
    "WHO #demo": " 352 bob #demo ",
    "WHO": " 315 bob * ",
    "MODE #demo": " 324 bob #demo :+nt",
    "MODE #demo b": " 368 ",
    "MODE #demo +o bob": " 482 ",
    "MODE bob": " 221 ",
    "KICK #demo alice": " 482 ",
    "WHOIS alice": " 311 bob alice ~alice localhost",
    "WHOIS nobody": " 401 ",
    "ISON alice nobody": " 303 bob :alice",
    "USERHOST alice": " 302 bob :alice=+~alice@localhost",
    "LIST": " 322 bob #demo 2",
    "PRIVMSG nobody :x": " 401 ",
    "PRIVMSG": " 412 ",
    "AWAY :lunch": " 306 ",
    "MOTD": " 422 ",
    "CAP LS 302": "CAP bob LS :",
    "CAP REQ :sasl": "CAP bob NAK :sasl",
    "WIBBLE": " 421 bob WIBBLE",
}


async def test_every_question_has_its_answer(demo: Server) -> None:
    alice = await Chat.connect(demo.port, "alice")
    bob = await Chat.connect(demo.port, "bob")
    await alice.join("#demo")
    await bob.join("#demo")
    for asked, answer in ANSWERS.items():
        bob.write(asked)
        await bob.expect(answer, timeout=3)


async def test_bytes_that_are_not_utf8_reach_the_others(demo: Server) -> None:
    alice = await Chat.connect(demo.port, "alice")
    bob = await Chat.connect(demo.port, "bob")
    await alice.join("#demo")
    await bob.join("#demo")
    bob.send(b"PRIVMSG #demo :caf\xe9 \x80\x81\r\nPRIVMSG #demo :a\rQUIT\0\r\n")
    await alice.expect("#demo <bob> café")
    await alice.expect("#demo <bob> a QUIT")


async def test_an_endless_line_ends_its_own_connection_only(demo: Server) -> None:
    alice = await Chat.connect(demo.port, "alice")
    bob = await Chat.connect(demo.port, "bob")
    bob.send(b"x" * 20_000)
    with pytest.raises(Closed):
        await bob.expect("never")
    await alice.roundtrip()
    assert "bob" not in demo.clients


async def test_before_the_login_only_the_login_counts(demo: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", demo.port)
    writer.write(b"JOIN #demo\r\nCAP LS 302\r\nNICK al\r\nUSER al 0 * :Al\r\nPING x\r\n")
    seen = await reader.readuntil(b"PONG demo.instabot :x\r\n")
    assert b" 451 " in seen
    assert b" 001 " not in seen
    writer.write(b"CAP END\r\n")
    await reader.readuntil(b" 001 al ")
    writer.close()
    await writer.wait_closed()


WORDS = st.sampled_from(
    [
        "PRIVMSG",
        "NOTICE",
        "JOIN",
        "PART",
        "NICK",
        "USER",
        "QUIT",
        "TOPIC",
        "MODE",
        "KICK",
        "WHO",
        "WHOIS",
        "NAMES",
        "LIST",
        "ISON",
        "USERHOST",
        "CAP",
        "LS",
        "REQ",
        "END",
        "PING",
        "PASS",
        "AWAY",
        "#a",
        "#b,#a",
        "alice",
        "bob",
        "0",
        ":",
        "*",
        "\x00",
    ]
)


class Sink(asyncio.Transport):
    """A transport that nobody reads."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        line = bytes(data)
        assert line.endswith(b"\r\n")
        assert line.count(b"\n") == 1
        assert len(line) <= 512

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing to close."""

    def get_write_buffer_size(self) -> int:
        return 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.lists(WORDS | st.text(max_size=10), max_size=6) | st.binary(), max_size=30))
async def test_nothing_that_a_client_sends_raises(lines: list[list[str] | bytes]) -> None:
    server = Server()
    clients = [Client(server) for _ in range(2)]
    for client, name in zip(clients, "ab", strict=True):
        client.connection_made(Sink())
        client.data_received(f"NICK {name}\r\nUSER {name} 0 * :x\r\nJOIN #a\r\n".encode())
    for index, line in enumerate(lines):
        raw = line if isinstance(line, bytes) else " ".join(line).encode(errors="replace")
        clients[index % 2].data_received(raw + b"\r\n")
    for client in clients:
        client.connection_lost(None)
    assert not server.connections
    assert not server.rooms
    assert not server.clients


@pytest.mark.real
async def test_it_runs_as_a_program(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "instabot.adapters.demo", "127.0.0.1", "0"]
    program = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    try:
        assert program.stdout is not None
        line = (await program.stdout.readline()).decode()
        found = re.fullmatch(r"irc://127\.0\.0\.1:(\d+)/#demo\n", line)
        assert found is not None
        alice = await Chat.connect(int(found[1]), "alice")
        await alice.join("#demo")
        await alice.quit()
    finally:
        program.terminate()
        await program.wait()


def irssi(home: Path, port: int) -> list[str]:
    return ["irssi", "--home", str(home), "-c", "127.0.0.1", "-p", str(port), "-n", "carol"]


def weechat(home: Path, port: int) -> list[str]:
    server = f"/server add demo 127.0.0.1/{port} -notls -nicks=carol"
    return ["weechat", "-d", str(home), "-r", server, "-r", "/connect demo"]


@pytest.mark.real
@pytest.mark.parametrize("client", [irssi, weechat])
async def test_a_persons_own_client_joins_and_talks(
    demo: Server, tmp_path: Path, client: Callable[[Path, int], list[str]]
) -> None:
    argv = client(tmp_path, demo.port)
    if shutil.which(argv[0]) is None or shutil.which("tmux") is None:
        pytest.skip(f"needs {argv[0]} and tmux: apt-get install {argv[0]} tmux")
    tmux = ["tmux", "-S", str(tmp_path / "tmux"), "-f", "/dev/null"]
    alice = await Chat.connect(demo.port, "alice")
    await alice.join("#demo")
    await run(*tmux, "new-session", "-d", "-x", "100", "-y", "30", *argv)
    try:

        async def logged_in() -> bool:
            return "no message of the day" in await run(*tmux, "capture-pane", "-p")

        await until(logged_in, f"{argv[0]} logged in", timeout=20)
        await run(*tmux, "send-keys", "/join #demo", "Enter")
        await alice.expect("#demo carol joined")
        await run(*tmux, "send-keys", "hello from a terminal", "Enter")
        await alice.expect("#demo <carol> hello from a terminal")
        await alice.say("#demo", "welcome carol")

        async def shown() -> bool:
            return "welcome carol" in await run(*tmux, "capture-pane", "-p")

        await until(shown, "the line on the screen")
        await run(*tmux, "send-keys", "/quit", "Enter")
        await alice.expect(re.compile("carol quit"))
    finally:
        await run(*tmux, "kill-server", check=False)


async def run(*argv: str, check: bool = True) -> str:
    """Run a program to its end; what it printed."""
    done = await asyncio.to_thread(
        subprocess.run, argv, capture_output=True, text=True, timeout=20, check=check
    )
    return done.stdout
