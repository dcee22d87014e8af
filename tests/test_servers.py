"""The tests' own servers and client do what the other tests rely on."""

import re
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from tests.chat import Chat, Closed, Line
from tests.servers import IrcServer, RedisServer, inspircd, ngircd

Irc = Callable[..., AbstractAsyncContextManager[IrcServer]]
both = pytest.mark.parametrize("irc", [ngircd, inspircd])


@pytest.mark.real
async def test_what_redis_acknowledged_survives_kill_9(redis_server: RedisServer) -> None:
    await _survives_kill_9(redis_server)


@pytest.mark.real
async def test_what_valkey_acknowledged_survives_kill_9(valkey_server: RedisServer) -> None:
    await _survives_kill_9(valkey_server)


async def _survives_kill_9(server: RedisServer) -> None:
    async with server.client() as client:
        for number in range(100):
            await client.rpush("list", number)
    await server.restart()
    async with server.client() as client:
        assert await client.llen("list") == 100
    assert server.socket.is_socket()


@pytest.mark.real
@both
async def test_two_people_talk(irc: Irc) -> None:
    async with irc() as server:
        alice = await Chat.connect(server.port, "alice")
        bob = await Chat.connect(server.tls_port, "bob", tls=server.context())
        await alice.join("#ops")
        await bob.join("#ops")
        await alice.expect("#ops bob joined")
        await bob.say("#ops", "hello", "\x01ACTION waves\x01")
        await alice.expect("#ops <bob> hello")
        await alice.expect("#ops * bob waves")
        await bob.quit("good night")
        await alice.expect(re.compile(r"bob quit: .*good night"))
        assert await alice.roundtrip() == []
        assert alice.transcript("#ops")[-1] == "#ops * bob waves"


@pytest.mark.real
@both
async def test_without_flood_control_a_thousand_lines_take_no_time(irc: Irc) -> None:
    async with irc() as server:
        alice = await Chat.connect(server.port, "alice")
        bob = await Chat.connect(server.port, "bob")
        await alice.join("#ops")
        await bob.join("#ops")
        await bob.say("#ops", *(f"line {number}" for number in range(1000)))
        last = await alice.expect("#ops <bob> line 999", timeout=5)
        assert last.text == "line 999"
        said = [line for line in alice.transcript("#ops") if "<bob>" in line]
        assert said == [f"#ops <bob> line {number}" for number in range(1000)]


@pytest.mark.real
@both
async def test_flood_control_slows_a_talker_down(irc: Irc) -> None:
    async with irc(flood=True) as server:
        bob = await Chat.connect(server.port, "bob")
        await bob.join("#ops")
        await bob.say("#ops", *(f"line {number}" for number in range(12)))
        start = bob.lines[-1].at
        await bob.roundtrip(timeout=30)
        assert bob.lines[-1].at - start > 1


@pytest.mark.real
@both
async def test_the_limits_asked_for_hold(irc: Irc) -> None:
    async with irc(max_joins=2, nick_length=12, password="sesame") as server:
        with pytest.raises(Closed):
            await Chat.connect(server.port, "mallory", password="wrong")
        bob = await Chat.connect(server.port, "bob", password="sesame")
        assert any("NICKLEN=12" in line.raw for line in bob.lines)
        if server.name == "inspircd":  # ngIRCd does not announce it
            assert any("CHANLIMIT=#:2" in line.raw for line in bob.lines)
        await bob.join("#a", "#b")
        bob.write("JOIN #c")
        await bob.expect(" 405 ")


@pytest.mark.real
@both
@pytest.mark.parametrize("certificate", ["wrong-name", "expired", "self-signed"])
async def test_a_bad_certificate_is_refused_by_a_careful_client(
    irc: Irc, certificate: str
) -> None:
    async with irc(certificate=certificate) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            await Chat.connect(server.tls_port, "bob", tls=server.context())


@pytest.mark.real
@both
async def test_a_killed_server_comes_back_on_its_port(irc: Irc) -> None:
    async with irc() as server:
        bob = await Chat.connect(server.port, "bob")
        await server.kill()
        await bob.gone.wait()
        await server.start()
        await Chat.connect(server.port, "bob")


def test_a_line_is_read_with_its_tags() -> None:
    line = Line.parse("@msgid=1;time=now :bob!b@h PRIVMSG #ops :hi there", 0.0)
    assert (line.tags["msgid"], line.nick, line.text) == ("1", "bob", "hi there")
    assert line.shown == "#ops <bob> hi there"
