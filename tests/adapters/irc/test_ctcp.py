"""CTCP: answered politely, seldom, and never in a circle."""

import pytest

from instabot import __version__
from instabot.adapters.irc import ctcp
from tests.adapters.scripted import online


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("VERSION", f"VERSION Instabot {__version__}"),
        ("version", f"VERSION Instabot {__version__}"),
        ("PING 12 34", "PING 12 34"),
        ("CLIENTINFO", "CLIENTINFO ACTION CLIENTINFO PING SOURCE TIME VERSION"),
        ("SOURCE", f"SOURCE {ctcp.SOURCE}"),
    ],
)
async def test_queries_are_answered_by_notice(query: str, answer: str) -> None:
    async with online() as (server, _):
        server.send(f":alice!a@h PRIVMSG bot :\x01{query}\x01")
        await server.expect(f"NOTICE alice :\x01{answer}\x01")
        assert server.events == []


async def test_the_time_is_told() -> None:
    async with online() as (server, _):
        server.send(":alice!a@h PRIVMSG #ops :\x01TIME\x01")
        assert (await server.next()).startswith("NOTICE alice :\x01TIME 20")


async def test_a_flood_of_queries_gets_one_answer() -> None:
    async with online() as (server, _):
        server.send(*[":alice!a@h PRIVMSG bot :\x01PING 1\x01"] * 20)
        await server.expect("NOTICE alice :\x01PING 1\x01")
        await server.barrier()
        assert server.lines.empty()


async def test_notices_and_unknown_queries_get_none() -> None:
    async with online() as (server, _):
        server.send(
            ":alice!a@h NOTICE bot :\x01VERSION x\x01",
            ":alice!a@h NOTICE #ops :\x01PING 1\x01",
            ":alice!a@h PRIVMSG bot :\x01DCC SEND x\x01",
            ":alice!a@h PRIVMSG bot :\x01\x01",
            ":bot!b@h PRIVMSG bot :\x01VERSION\x01",
        )
        await server.barrier()
        assert server.lines.empty()
        assert server.events == []
