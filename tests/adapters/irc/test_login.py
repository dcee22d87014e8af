"""Logging in: capabilities, accounts, nicks, and the ways to be turned away."""

import base64
import logging
import ssl
from pathlib import Path

import pytest

from instabot.adapters.base import Account, Identity
from instabot.adapters.irc import IRC
from instabot.errors import LinkError, Refused
from tests.adapters.scripted import Scripted, during, meanwhile, online, scripted
from tests.servers.certs import make

SECRET = "hunter2 and more"


async def test_a_server_without_capabilities_greets_the_bot() -> None:
    async with scripted() as server:
        bot = server.bot()

        async def script() -> None:
            await server.expect("CAP LS 302", "NICK bot", "USER bot 0 * :Instabot")
            server.send(":irc.test 421 * CAP :Unknown command")
            await server.greet("bot", "CHANLIMIT=#:20")

        assert await meanwhile(bot.connect(), script()) == Identity("bot", 20)
        await bot.close()


async def test_capabilities_come_in_several_lines_and_only_known_ones_are_asked_for() -> None:
    async with scripted() as server:
        bot = server.bot()

        async def script() -> None:
            await server.expect("CAP LS 302", "NICK bot", "USER bot 0 * :Instabot")
            server.send(
                ":irc.test CAP * LS * :batch draft/multiline=max-bytes=4096 sts=port=6697",
                ":irc.test CAP * LS :server-time message-tags away-notify",
            )
            await server.expect("CAP REQ :batch message-tags server-time")
            server.send(":irc.test CAP * ACK :batch message-tags server-time")
            await server.expect("CAP END")
            await server.greet("bot")

        await meanwhile(bot.connect(), script())
        await bot.close()


async def test_a_refused_list_is_asked_for_one_by_one() -> None:
    async with scripted() as server:
        bot = server.bot()

        async def script() -> None:
            await server.expect("CAP LS 302", "NICK bot", "USER bot 0 * :Instabot")
            server.send(":irc.test CAP * LS :batch server-time")
            await server.expect("CAP REQ :batch server-time")
            server.send(":irc.test CAP * NAK :batch server-time")
            await server.expect("CAP REQ :batch", "CAP REQ :server-time")
            server.send(":irc.test CAP * NAK :batch", ":irc.test CAP * ACK :server-time")
            await server.expect("CAP END")
            await server.greet("bot")

        await meanwhile(bot.connect(), script())
        await bot.close()


async def test_capabilities_come_and_go_later() -> None:
    async with online("server-time") as (server, bot):
        server.send(":irc.test CAP bot NEW :batch away-notify")
        await server.expect("CAP REQ :batch")
        server.send(":irc.test CAP bot ACK :batch", ":irc.test CAP bot DEL :server-time")
        await server.barrier()
        assert bot._session.caps == {"batch"}


async def test_new_capabilities_refused_together_are_asked_for_one_by_one() -> None:
    async with online() as (server, bot):
        server.send(":irc.test CAP bot NEW :batch server-time=x")
        await server.expect("CAP REQ :batch server-time")
        server.send(":irc.test CAP bot NAK :batch server-time")
        await server.expect("CAP REQ :batch", "CAP REQ :server-time")
        server.send(":irc.test CAP bot NAK :batch", ":irc.test CAP bot ACK :server-time")
        await server.barrier()
        assert server.lines.empty()
        assert bot._session.caps == {"server-time"}


async def _sasl(
    server: Scripted, offer: str = "sasl=PLAIN,EXTERNAL", mech: str = "PLAIN"
) -> None:
    await server.expect("CAP LS 302", "NICK bot", "USER bot 0 * :Instabot")
    server.send(f":irc.test CAP * LS :{offer}")
    await server.expect("CAP REQ :sasl")
    server.send(":irc.test CAP * ACK :sasl")
    await server.expect(f"AUTHENTICATE {mech}")
    server.send("AUTHENTICATE +")


def plain_bot(server: Scripted, secret: str = SECRET, **settings: str) -> IRC:
    return server.bot(secret=secret, sasl="plain", allow_plaintext_password="true", **settings)


async def test_an_account_logs_in_by_sasl_plain() -> None:
    async with scripted() as server:
        bot = plain_bot(server, user="acme")

        async def script() -> None:
            await _sasl(server)
            answer = await server.next()
            told = base64.b64decode(answer.removeprefix("AUTHENTICATE "))
            assert told == f"\0acme\0{SECRET}".encode()
            server.send(
                ":irc.test 900 bot bot!b@h acme :You are now logged in as acme",
                ":irc.test 903 bot :SASL authentication successful",
            )
            await server.expect("CAP END")
            await server.greet("bot")

        assert (await meanwhile(bot.connect(), script())).me == "bot"
        await bot.close()


@pytest.mark.parametrize("length", [100, 291, 292, 293, 1000])
async def test_long_passwords_go_in_chunks_of_400_bytes(length: int) -> None:
    async with scripted() as server:
        bot = plain_bot(server, "s" * length)

        async def script() -> None:
            await _sasl(server)
            chunks: list[str] = []
            while not chunks or len(chunks[-1]) == 400:
                chunks.append((await server.next()).removeprefix("AUTHENTICATE "))
            told = base64.b64decode("".join(chunks).replace("+", "", chunks[-1] == "+"))
            assert told.endswith(b"s" * length)
            server.send(":irc.test 903 bot :Welcome back")
            await server.expect("CAP END")
            await server.greet("bot")

        await meanwhile(bot.connect(), script())
        await bot.close()


async def test_a_wrong_account_password_is_refused_and_never_falls_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with scripted() as server:
        bot = plain_bot(server)

        async def script() -> None:
            await _sasl(server)
            await server.next()
            server.send(f":irc.test 904 bot :SASL authentication failed for {SECRET}")
            await server.hung_up.wait()

        with pytest.raises(Refused, match="account login failed") as caught:
            await meanwhile(bot.connect(), script())
        assert caught.value.code == "password"
        assert server.lines.empty()
    assert SECRET not in str(caught.value) + caplog.text


@pytest.mark.parametrize("offer", ["batch", "sasl=EXTERNAL", ""])
async def test_without_sasl_on_the_server_the_bot_stays_away(offer: str) -> None:
    async with scripted() as server:

        async def script() -> None:
            await server.expect("CAP LS 302", "NICK bot", "USER bot 0 * :Instabot")
            server.send(f":irc.test CAP * LS :{offer}")
            if offer:
                asked = await server.next()
                server.send(f":irc.test CAP * ACK {asked.removeprefix('CAP REQ ')}")
            await server.hung_up.wait()

        with pytest.raises(Refused, match="no SASL PLAIN") as caught:
            await meanwhile(plain_bot(server).connect(), script())
        assert (caught.value.code, caught.value.final) == ("password", False)


async def test_a_server_that_knows_no_capabilities_does_not_get_an_account_holder() -> None:
    async with scripted() as server:

        async def script() -> None:
            await server.expect("CAP LS 302", "NICK bot", "USER bot 0 * :Instabot")
            server.send(":irc.test 001 bot :Welcome")
            await server.hung_up.wait()

        with pytest.raises(Refused, match="no SASL PLAIN"):
            await meanwhile(plain_bot(server).connect(), script())


async def test_an_account_logs_in_by_its_certificate(tmp_path: Path) -> None:
    files = make(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(files.ca))
    context.load_cert_chain(files.certificate, files.key)
    context.verify_mode = ssl.CERT_REQUIRED
    async with scripted(context) as server:
        bot = server.bot(
            sasl="external",
            ca_file=str(files.ca),
            cert_file=str(files.certificate),
            key_file=str(files.key),
        )

        async def script() -> None:
            await _sasl(server, mech="EXTERNAL")
            await server.expect("AUTHENTICATE +")
            assert server.transport is not None
            assert server.transport.get_extra_info("peercert")
            server.send(":irc.test 903 bot :SASL authentication successful")
            await server.expect("CAP END")
            await server.greet("bot")

        await meanwhile(bot.connect(), script())
        await bot.close()


async def test_the_servers_password_goes_first() -> None:
    async with scripted() as server:
        bot = server.bot(secret=SECRET, allow_plaintext_password="true")

        async def script() -> None:
            await server.expect(
                "CAP LS 302", f"PASS :{SECRET}", "NICK bot", "USER bot 0 * :Instabot"
            )
            server.send(":irc.test CAP * LS :")
            await server.expect("CAP END")
            await server.greet("bot")

        await meanwhile(bot.connect(), script())
        await bot.close()


async def test_over_plaintext_the_password_stays_here() -> None:
    async with scripted() as server:
        with pytest.raises(Refused, match="unencrypted") as caught:
            await server.bot(secret=SECRET).connect()
        assert caught.value.code == "config"
        assert server.transport is None


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (":irc.test 464 bot :Password incorrect", "password"),
        (":irc.test 465 bot :You are banned from this server", "banned"),
        (":irc.test 463 bot :Your host isn't among the privileged", "banned"),
        ("ERROR :Closing Link: bot (Bad Password)", "password"),
        ("ERROR :Closing Link: bot[h] (K-Lined)", "banned"),
        (":irc.test 432 bot bot :Erroneous Nickname", "nick"),
    ],
)
async def test_a_refusal_is_told_by_its_code(line: str, code: str) -> None:
    async with scripted() as server:

        async def script() -> None:
            await server.expect("CAP LS 302", "NICK bot", "USER bot 0 * :Instabot")
            server.send(line)
            server.hang_up()

        with pytest.raises(Refused) as caught:
            await meanwhile(server.bot().connect(), script())
        assert caught.value.code == code
        assert server.events == []


@pytest.mark.parametrize(
    ("line", "least"),
    [
        ("ERROR :Trying to reconnect too fast.", 30),
        ("ERROR :Closing Link: Throttled: try again later", 30),
        ("ERROR :Too many connections from your host", 30),
        (":irc.test 465 bot :Throttled", 30),
        ("ERROR :Server shutting down", 0),
        ("", 0),
    ],
)
async def test_a_server_in_trouble_means_dial_again(line: str, least: float) -> None:
    async with scripted() as server:

        async def script() -> None:
            await server.expect("CAP LS 302", "NICK bot", "USER bot 0 * :Instabot")
            server.send(line)
            server.hang_up()

        with pytest.raises(LinkError) as caught:
            await meanwhile(server.bot().connect(), script())
        assert caught.value.delay >= least
        assert str(caught.value)


async def test_a_taken_nick_leads_to_another_and_too_many_to_a_refusal() -> None:
    async with scripted() as server:
        bot = server.bot("bot")

        async def script() -> None:
            await server.expect("CAP LS 302", "NICK bot", "USER bot 0 * :Instabot")
            server.send(":irc.test CAP * LS :")
            server.send(":irc.test 433 * bot :Nickname is already in use")
            await server.expect("CAP END", "NICK bot_")
            server.send(":irc.test 437 * bot_ :Nick/channel is temporarily unavailable")
            await server.expect("NICK bot__")
            server.send(":irc.test 436 * bot__ :Nickname collision")
            await server.expect("NICK bot2")
            await server.greet("bot2")
            await server.expect("NICK bot")

        assert (await meanwhile(bot.connect(), script())).me == "bot2"
        await bot.close()
    async with scripted() as server:

        async def refuse() -> None:
            await server.expect("CAP LS 302")
            while not server.hung_up.is_set():
                line = await server.next()
                if line.startswith("NICK"):
                    server.send(f":irc.test 433 * {line[5:]} :Nickname is already in use")
                if line == "NICK bot11":
                    return

        with pytest.raises(Refused, match="taken") as caught:
            await meanwhile(server.bot("bot").connect(), refuse())
        assert (caught.value.code, caught.value.final) == ("nick", False)


async def test_nobody_listens() -> None:
    async with scripted() as server:
        port = server.port
    bot = IRC(Account("local/net", f"irc://bot@127.0.0.1:{port}"), lambda event: None)
    with pytest.raises(LinkError, match=f"127.0.0.1:{port}"):
        await bot.connect()
    await bot.close()


async def test_giving_up_while_connecting_frees_the_socket() -> None:
    async with scripted() as server:
        bot = server.bot()
        async with during(bot.connect()) as connecting:
            await server.expect("CAP LS 302")
            await bot.close()
            await server.hung_up.wait()
        with pytest.raises(LinkError):
            connecting.result()
