"""A taken nick is asked for again, without hammering."""

import itertools

from instabot.adapters.irc.nicks import alternatives
from tests.adapters.scripted import Scripted, meanwhile, scripted


def test_alternatives_differ_even_where_nicks_are_short() -> None:
    found = [nick[:9] for nick in alternatives("instabots")]
    assert len(set(found[2:])) == len(found) - 2
    assert list(itertools.islice(alternatives("bot"), 3)) == ["bot_", "bot__", "bot2"]


async def taken(server: Scripted, *tokens: str) -> None:
    """The login of a bot whose nick somebody else has."""
    await server.expect("CAP LS 302", "NICK bot", "USER bot 0 * :Instabot")
    server.send(":irc.test CAP * LS :", ":irc.test 433 * bot :Nickname is already in use")
    await server.expect("CAP END", "NICK bot_")
    await server.greet("bot_", *tokens)


async def test_the_nick_is_asked_for_when_its_holder_leaves() -> None:
    async with scripted() as server:
        bot = server.bot()
        await meanwhile(bot.connect(), taken(server))
        await server.expect("NICK bot")
        server.send(":irc.test 433 bot_ bot :Nickname is already in use")
        server.send(":other!o@h QUIT :bye", ":BOT!x@h QUIT :bye")
        await server.expect("NICK bot")
        server.send(":irc.test 433 bot_ bot :Nickname is already in use")
        server.send(":bot!x@h NICK Bot", ":Bot!x@h NICK away")
        await server.expect("NICK bot")
        server.send(":bot_!b@h NICK bot", ":bot!b@h QUIT :never")
        await server.barrier()
        assert server.lines.empty()
        assert (server.happened[-1].text, server.happened[-1].me) == ("bot", True)
        await bot.close()


async def test_where_there_is_monitor_the_server_says_when_it_is_free() -> None:
    async with scripted() as server:
        bot = server.bot()
        await meanwhile(bot.connect(), taken(server, "MONITOR=100"))
        await server.expect("MONITOR + bot")
        server.send(":irc.test 730 bot_ :bot!x@h")
        await server.barrier()
        server.send(":irc.test 731 bot_ :other,bot")
        await server.expect("NICK bot")
        await bot.close()


async def test_every_ping_tries_again() -> None:
    async with scripted() as server:
        bot = server.bot()
        await meanwhile(bot.connect(), taken(server))
        await server.expect("NICK bot")

        async def answer() -> None:
            await server.expect("NICK bot")
            ping = await server.next()
            server.send(ping.replace("PING", ":irc.test PONG irc.test"))

        await meanwhile(bot.ping(), answer())
        await bot.close()


async def test_a_nick_cut_by_the_server_is_the_one_we_wanted() -> None:
    async with scripted() as server:
        bot = server.bot("longest")

        async def script() -> None:
            await server.expect("CAP LS 302", "NICK longest", "USER longest 0 * :Instabot")
            server.send(":irc.test CAP * LS :")
            await server.expect("CAP END")
            await server.greet("longe", "NICKLEN=5")

        assert (await meanwhile(bot.connect(), script())).me == "longe"
        await server.barrier()
        assert server.lines.empty()
        await bot.close()


async def test_with_an_account_services_are_asked() -> None:
    async with scripted() as server:
        bot = server.bot()

        async def script() -> None:
            await server.expect("CAP LS 302", "NICK bot", "USER bot 0 * :Instabot")
            server.send(
                ":irc.test CAP * LS :", ":irc.test 433 * bot :Nickname is already in use"
            )
            await server.expect("CAP END", "NICK bot_")
            server.send(":irc.test 900 bot_ bot_!b@h acme :You are now logged in as acme")
            await server.greet("bot_")

        await meanwhile(bot.connect(), script())
        await server.expect("PRIVMSG NickServ :REGAIN bot", "NICK bot")
        await bot.close()
