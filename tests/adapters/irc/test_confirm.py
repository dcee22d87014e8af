"""What was said is confirmed, or refused with a reason, on every kind of server."""

import asyncio

import pytest

from instabot.adapters.base import Rejection
from instabot.adapters.irc import confirm
from instabot.adapters.irc.confirm import DROPPED
from instabot.errors import LinkError
from tests.adapters.scripted import Scripted, during, online

ECHO = "echo-message"
LABELS = "batch echo-message labeled-response message-tags"


async def pong(server: Scripted) -> str:
    """The barrier's PING has come; the line that answers it."""
    ping = await server.next()
    assert ping.startswith("PING :ib-")
    return f":irc.test PONG irc.test {ping.removeprefix('PING ')}"


async def test_a_barrier_confirms_where_nothing_is_echoed() -> None:
    async with online() as (server, bot):
        await bot.say("#ops", "one")
        await bot.say("#ops", "two")
        async with during(bot.confirm()) as confirming:
            await server.expect("PRIVMSG #ops :one", "PRIVMSG #ops :two")
            server.send(await pong(server))
        assert confirming.result() == []


async def test_what_is_said_in_one_turn_leaves_in_one_write() -> None:
    async with online() as (server, bot):
        before = server.writes
        for number in range(50):
            await bot.say("#ops", f"line {number}")
        for number in range(50):
            await server.expect(f"PRIVMSG #ops :line {number}")
        assert server.writes == before + 1


async def test_errors_before_the_barriers_answer_are_rejections() -> None:
    async with online() as (server, bot):
        await bot.say("#ops", "one")
        await bot.say("#OPS", "two")
        await bot.say("#dev", "three")
        await bot.say("#dev", "four")
        await bot.say("#web", "five")
        async with during(bot.confirm()) as confirming:
            for _ in range(5):
                await server.next()
            server.send(
                ":irc.test 404 bot #ops :Cannot send to channel",
                ":irc.test 404 bot #ops :Cannot send to channel",
                ":irc.test 404 bot #dev :You are quiet",
                ":irc.test 404 bot #dev-other :Not ours",
                await pong(server),
            )
        assert confirming.result() == [
            Rejection("#ops", "Cannot send to channel", "one"),
            Rejection("#OPS", "Cannot send to channel", "two"),
            Rejection("#dev", "You are quiet", ""),
        ]


async def test_without_an_echo_it_was_dropped() -> None:
    async with online(ECHO) as (server, bot):
        for text in ("same", "same", "coloured", "dropped"):
            await bot.say("#ops", text)
        await bot.say("#ops", "waves", "action")
        await bot.say("#dev", "refused")
        async with during(bot.confirm()) as confirming:
            for _ in range(6):
                await server.next()
            server.send(
                ":bot!b@h PRIVMSG #Ops :same",
                ":bot!b@h PRIVMSG #ops :same",
                ":bot!b@h PRIVMSG #ops :(colours taken out)",
                ":bot!b@h PRIVMSG #ops :\x01ACTION waves\x01",
                ":irc.test 404 bot #dev :Cannot send",
                await pong(server),
            )
        assert confirming.result() == [
            Rejection("#ops", DROPPED, "dropped"),
            Rejection("#dev", "Cannot send", "refused"),
        ]
        assert server.events == []


async def test_labels_tell_equal_lines_apart() -> None:
    async with online(LABELS) as (server, bot):
        await bot.say("#ops", "same")
        await bot.say("#ops", "same")
        await bot.say("#ops", "same", "notice")
        async with during(bot.confirm()) as confirming:
            labels = [(await server.next()).split(" ")[0] for _ in range(3)]
            server.send(
                f"{labels[1]} :irc.test 404 bot #ops :Too many repeats",
                f"{labels[0]};msgid=x :bot!b@h PRIVMSG #ops :same",
                f"{labels[2]} :irc.test ACK",
                await pong(server),
            )
        assert confirming.result() == [
            Rejection("#ops", "Too many repeats", "same"),
            Rejection("#ops", DROPPED, "same"),
        ]


async def test_a_labelled_answer_may_come_in_a_batch_or_as_a_standard_reply() -> None:
    async with online(LABELS) as (server, bot):
        await bot.say("#ops", "one")
        await bot.say("#ops", "two")
        async with during(bot.confirm()) as confirming:
            first = (await server.next()).split(" ")[0]
            second = (await server.next()).split(" ")[0]
            server.send(
                f"{first} :irc.test BATCH +1 labeled-response",
                "@batch=1 :bot!b@h PRIVMSG #ops :one",
                "@batch=1 :irc.test NOTE * X :noted",
                ":irc.test BATCH -1",
                f"{second} FAIL PRIVMSG TOO_LONG #ops :No essays please",
                await pong(server),
            )
        assert confirming.result() == [Rejection("#ops", "No essays please", "two")]


async def test_several_barriers_may_be_under_way() -> None:
    async with online() as (server, bot):
        await bot.say("#ops", "one")
        async with during(bot.confirm()) as first:
            await server.expect("PRIVMSG #ops :one")
            answer = await pong(server)
            await bot.say("#ops", "two")
            async with during(bot.confirm()) as second:
                await server.expect("PRIVMSG #ops :two")
                later = await pong(server)
                async with during(bot.ping()):
                    alive = await pong(server)
                    server.send(answer, ":irc.test 404 bot #ops :Enough", later, alive)
        assert first.result() == []
        assert second.result() == [Rejection("#ops", "Enough", "two")]


async def test_a_ping_leaves_what_was_said_to_the_next_barrier() -> None:
    async with online(ECHO) as (server, bot):
        await bot.say("#ops", "one")
        async with during(bot.ping()):
            await server.next()
            server.send(await pong(server))
        async with during(bot.confirm()) as confirming:
            server.send(":bot!b@h PRIVMSG #ops :one", await pong(server))
        assert confirming.result() == []


async def test_a_server_that_never_answers_is_a_dead_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(confirm.Confirmer.barrier, "__defaults__", (0.02,))
    async with online() as (_, bot):
        with pytest.raises(LinkError, match="did not answer"):
            await bot.confirm()


async def test_a_link_that_dies_confirms_nothing() -> None:
    async with online() as (server, bot):
        await bot.say("#ops", "one")
        async with during(bot.confirm()) as confirming:
            await server.next()
            server.hang_up()
        with pytest.raises(LinkError):
            confirming.result()
        with pytest.raises(LinkError):
            await bot.confirm()
        with pytest.raises(LinkError):
            await bot.say("#ops", "two")


async def test_giving_up_on_one_barrier_leaves_the_next_one_right() -> None:
    async with online() as (server, bot):
        await bot.say("#ops", "one")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await bot.confirm()
        await bot.say("#ops", "two")
        async with during(bot.confirm()) as confirming:
            await server.expect("PRIVMSG #ops :one")
            first = await pong(server)
            await server.expect("PRIVMSG #ops :two")
            server.send(first, ":irc.test 404 bot #ops :No", await pong(server))
        assert confirming.result() == [Rejection("#ops", "No", "two")]


async def test_what_nobody_confirms_does_not_grow_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with online(LABELS) as (_, bot):
        for number in range(confirm.KEPT + 50):
            await bot.say("#ops", str(number))
        said, labels = bot._confirmer._open, bot._confirmer._labels
        assert said is not None
        assert len(said.pieces) == confirm.KEPT
        assert labels is not None
        assert len(labels) <= confirm.KEPT
