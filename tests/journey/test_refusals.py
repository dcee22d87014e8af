"""`instabot join` where the bot is not let in: one line that says why, within 15 seconds."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass

import pytest
import pytest_asyncio

from tests.chat import Chat
from tests.journey.home import BOT, moves
from tests.journey.networks import irc_url
from tests.journey.tap import tap
from tests.servers import IrcServer, Missing, inspircd, ngircd
from tests.servers.certs import Certificate
from tests.servers.ports import HOST, free_port
from tests.whole import Result, Up, up

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]


@dataclass
class Asked:
    """What `instabot join` came to, and in how many seconds."""

    result: Result
    took: float


class Door:
    """A running `instabot up` and a server with rooms that are closed in different ways."""

    def __init__(self, one: Up, server: IrcServer) -> None:
        self.up = one
        self.server = server

    async def join(self, url: str, *more: str) -> Asked:
        """Ask to be let in."""
        start = time.monotonic()
        result = await self.up.run("join", url, *more)
        return Asked(result, time.monotonic() - start)

    async def refused(self, url: str, why: str, *more: str) -> None:
        """Ask, and assert that the one line on stderr says why, in time."""
        asked = await self.join(url, *more)
        assert (asked.result.code, asked.result.out) == (1, ""), asked
        assert asked.result.err.count("\n") == 1, asked
        assert why in asked.result.err, asked
        assert asked.took < 15, asked


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    async with AsyncExitStack() as stack:
        try:
            server = await stack.enter_async_context(ngircd())
        except Missing as error:
            pytest.skip(str(error))
        one = await stack.enter_async_context(up(tmp_path_factory.mktemp("up") / "d"))
        yield Door(one, server)


async def closed(server: IrcServer, room: str, mode: str) -> Chat:
    """A room that its operator, alice, has closed by a mode."""
    alice = await Chat.connect(server.port, f"a{room.lstrip('#')}")
    await alice.join(room)
    alice.write(f"MODE {room} {mode}")
    await alice.roundtrip()
    return alice


async def test_nobody_listens_there_or_nobody_answers(door: Door) -> None:
    why, closed = "the server cannot be reached", free_port()
    nobody = irc_url(closed, BOT, ["ops"]).replace(HOST, "localhost")
    with mute() as silent:
        nothing = f"{why} ({HOST}:{silent}: no answer within"
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(door.refused(nobody, f"{why} (localhost:{closed}: "))
            tasks.create_task(door.refused(irc_url(silent, BOT, ["ops"]), nothing))


@contextmanager
def mute() -> Iterator[int]:
    """A port where a dial gets no answer at all, as behind a firewall: its backlog is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((HOST, 0))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.mark.parametrize("certificate", ["wrong-name", "self-signed"])
async def test_the_certificate_is_bad(door: Door, certificate: Certificate) -> None:
    async with inspircd(certificate=certificate) as server:
        url = irc_url(server.tls_port, BOT, ["ops"], "ircs", ca_file=str(server.ca_file))
        await door.refused(url, "TLS failed")
        # only who says so in so many words is let off
        asked = await door.join(f"{url}&tls_verify=false")
        assert asked.result.code == 0, asked


async def test_the_password_is_wrong_and_then_right(door: Door) -> None:
    async with ngircd(password="sesame") as server:
        url = irc_url(server.tls_port, f"{BOT}:simsala", ["ops"], "ircs", sasl="none")
        url += f"&ca_file={server.ca_file}"
        await door.refused(url, "wrong password")
        asked = await door.join(url.replace("simsala", "sesame"))
        assert asked.result.code == 0, asked


@pytest.mark.parametrize(
    ("room", "mode", "why"),
    [
        ("ban", "+b *!*@*", "the bot is banned"),
        ("inv", "+i", "the room is invite only"),
        ("key", "+k sesame", "the room's key is wrong or missing (--key)"),
        ("full", "+l 1", "the room is full"),
    ],
)
async def test_the_room_is_closed_and_is_asked_once(
    door: Door, room: str, mode: str, why: str
) -> None:
    alice = await closed(door.server, f"#{room}", mode)
    async with tap(door.server.port) as wire:
        # a room beside it, so that the bot has a reason to come back
        assert (await door.join(irc_url(wire.port, room, [f"beside-{room}"]))).result.code == 0
        await door.refused(irc_url(wire.port, room, [room]), why)
        assert wire.joins(f"#{room}") == 1
        if room != "full":  # that one may change by itself, and is tried again in a while
            wire.cut()
            await wire.sends(f"JOIN #beside-{room}", times=2)
            assert (await door.up.run("say", f"beside-{room}", "I am back")).code == 0
            assert wire.joins(f"#{room}") == 1
        assert moves(alice, room) == []

        # whoever opens the room and asks again is let in
        alice.write(f"MODE #{room} -{mode.replace(' 1', '').lstrip('+')}")
        await alice.roundtrip()
        asked = await door.join(irc_url(wire.port, room, [room]))
        assert asked.result.code == 0, asked
        await alice.expect(f"#{room} {room} joined")
    alice.close()


async def test_the_key_opens_the_room(door: Door) -> None:
    alice = await closed(door.server, "#locked", "+k sesame")
    url = irc_url(door.server.port, "keyholder", ["locked"])
    assert (await door.join(url, "--key", "sesame")).result.code == 0
    await alice.expect("#locked keyholder joined")
    alice.close()


async def test_the_nick_is_in_use_and_the_bot_takes_one_like_it(door: Door) -> None:
    holder = await Chat.connect(door.server.port, "wanted")
    await holder.join("#nick")
    assert (await door.join(irc_url(door.server.port, "wanted", ["nick"]))).result.code == 0
    await holder.expect("#nick wanted_ joined")
    await holder.say("#nick", "wanted_: ping by name")
    await holder.expect("#nick <wanted_> pong by name")
    # when it is free again the bot gets it back
    watcher = await Chat.connect(door.server.port, "watcher")
    await watcher.join("#nick")
    await holder.quit()
    await watcher.expect("wanted_ is now wanted")
    watcher.close()


async def test_every_nick_like_it_is_in_use(door: Door) -> None:
    names = ["taken", "taken_", "taken__", *(f"taken{n}" for n in range(2, 12))]
    holders = [await Chat.connect(door.server.port, name) for name in names]
    url = irc_url(door.server.port, "taken", ["nick"])
    await door.refused(url, "the nick is taken (taken and its like are taken)")
    for chat in holders:
        chat.close()


async def test_the_server_says_too_fast(door: Door) -> None:
    connections = 0

    async def throttle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.write(b"ERROR :Closing link: Trying to reconnect too fast, throttled.\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(throttle, HOST, 0) as server:
        port = server.sockets[0].getsockname()[1]
        await door.refused(irc_url(port, BOT, ["ops"]), "the server says: too fast")
        assert connections == 1  # and the bot took the hint


async def test_a_mistake_of_ours_is_told_apart_from_a_refusal(door: Door) -> None:
    here = f"irc://{HOST}:{door.server.port}"
    for url in ("irc://", "irc://host/#a b", f"{here}/#a?rate=fast", here):
        asked = await door.join(url)
        assert (asked.result.code, asked.result.out) == (2, ""), asked
        assert asked.result.err.count("\n") == 1, asked
    await door.refused("ftp://127.0.0.1/#a", "the settings are wrong (no adapter for 'ftp'")
