"""History over CHATHISTORY. The server is a stand-in from the specification: none that offers
it can be installed where these tests run.
"""

import pytest

from instabot.adapters.base import Said
from instabot.errors import LinkError
from tests.adapters.scripted import Scripted, during, online

CAPS = "batch draft/chathistory message-tags server-time"


def said(server: Scripted, number: int, sender: str = "alice") -> str:
    stamp = f"2026-01-02T03:04:{number:02d}.000Z"
    return f"@batch=h;time={stamp};msgid=m{number} :{sender}!a@h PRIVMSG #ops :line {number}"


def batch(server: Scripted, *lines: str) -> None:
    server.send(":irc.test BATCH +h chathistory #ops", *lines, ":irc.test BATCH -h")


async def test_history_is_paged_by_message_until_a_page_is_short() -> None:
    async with online(CAPS, "CHATHISTORY=3") as (server, bot):
        async with during(bot.history("#ops", 1767323040.0, "m0")) as asking:
            await server.expect("CHATHISTORY AFTER #ops msgid=m0 3")
            batch(server, *(said(server, number) for number in (1, 2, 3)))
            await server.expect("CHATHISTORY AFTER #ops msgid=m3 3")
            batch(server, said(server, 4), said(server, 5, "bot"))
        lines = asking.result()
        assert lines is not None
        assert [line.ref for line in lines] == ["m1", "m2", "m3", "m4"]
        assert isinstance(lines[0], Said)
        assert lines[0].at == 1767323041.0
        assert server.events == []


async def test_a_message_the_server_forgot_falls_back_to_the_time() -> None:
    async with online(CAPS) as (server, bot):
        async with during(bot.history("#ops", 1767323040.5, "gone")) as asking:
            await server.expect("CHATHISTORY AFTER #ops msgid=gone 100")
            server.send("FAIL CHATHISTORY INVALID_MSGREFTYPE AFTER :Unknown message")
            await server.expect("CHATHISTORY AFTER #ops timestamp=2026-01-02T03:04:00.500Z 100")
            batch(server, said(server, 1))
        lines = asking.result()
        assert lines is not None
        assert [line.ref for line in lines] == ["m1"]


async def test_no_history_is_a_gap() -> None:
    async with online("batch") as (_, bot):
        assert not bot.remembers
        assert await bot.history("#ops", 0.0) is None
    async with online(CAPS) as (server, bot):
        assert bot.remembers
        async with during(bot.history("#ops", 0.0)) as asking:
            await server.expect("CHATHISTORY AFTER #ops timestamp=1970-01-01T00:00:00.000Z 100")
            server.send("FAIL CHATHISTORY INVALID_TARGET AFTER #ops :Not for you")
        assert asking.result() is None
        async with during(bot.history("#ops", 0.0)) as asking:
            await server.next()
            server.send(":irc.test 421 bot CHATHISTORY :Unknown command")
        assert asking.result() is None


async def test_an_empty_history_is_no_gap() -> None:
    async with online(CAPS) as (server, bot):
        async with during(bot.history("#ops", 5.0)) as asking:
            await server.next()
            batch(server)
        assert asking.result() == []


async def test_history_that_nobody_asked_for_is_not_heard_as_new() -> None:
    async with online(CAPS) as (server, _):
        batch(server, said(server, 1), said(server, 2, "bot"))
        server.send(
            ":irc.test BATCH +n netsplit a.test b.test",
            "@batch=n :carol!c@h QUIT :a.test b.test",
            ":irc.test BATCH -n",
            ":alice!a@h PRIVMSG #ops :now",
        )
        await server.barrier()
        assert server.said == ["<alice> now"]
        assert [event.who for event in server.happened] == ["carol"]


async def test_a_link_that_dies_ends_the_wait() -> None:
    async with online(CAPS) as (server, bot):
        async with during(bot.history("#ops", 5.0)) as asking:
            await server.next()
            server.hang_up()
        with pytest.raises(LinkError):
            asking.result()
