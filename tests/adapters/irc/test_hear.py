"""What the bot hears, and what it makes of it."""

import pytest

from instabot.adapters.base import Happened, Lost, Said
from tests.adapters.scripted import online


async def test_lines_actions_and_notices_are_heard() -> None:
    async with online() as (server, _):
        server.send(
            ":alice!a@h PRIVMSG #ops :hello: world",
            ":alice!a@h PRIVMSG #ops :\x01ACTION waves\x01",
            ":alice!a@h NOTICE #ops :psst",
            ":alice!a@h PRIVMSG #ops hello",
            ":alice!a@h  PRIVMSG  #ops  :two  spaces",
            ":irc.test NOTICE #ops :from the server",
        )
        await server.barrier()
        heard = [event for event in server.events if isinstance(event, Said)]
        assert [(said.sender, said.text, said.kind) for said in heard] == [
            ("alice", "hello: world", "say"),
            ("alice", "waves", "action"),
            ("alice", "psst", "notice"),
            ("alice", "hello", "say"),
            ("alice", "two  spaces", "say"),
            ("irc.test", "from the server", "notice"),
        ]
        assert {said.room for said in heard} == {"#ops"}


async def test_tags_tell_when_who_and_which() -> None:
    async with online("server-time account-tag message-tags") as (server, _):
        server.send(
            "@time=2026-01-02T03:04:05.678Z;msgid=abc\\:1;account=alice_ :al!a@h PRIVMSG #ops :hi"
        )
        await server.barrier()
        assert server.events == [
            Said("#ops", "al", "hi", 1767323045.678, "say", "alice_", "abc;1")
        ]


async def test_a_line_to_the_rooms_operators_belongs_to_the_room() -> None:
    async with online("", "STATUSMSG=@+", "CHANTYPES=#") as (server, _):
        server.send(
            ":alice!a@h PRIVMSG @#ops :for ops",
            ":alice!a@h PRIVMSG &ops :not here",
            ":alice!a@h PRIVMSG bot :privately",
            ":alice!a@h PRIVMSG #ops :",
        )
        await server.barrier()
        assert server.said == ["<alice> for ops"]
        assert [event.room for event in server.events if isinstance(event, Said)] == ["#ops"]


async def test_the_bots_own_lines_are_not_heard() -> None:
    async with online("echo-message") as (server, _):
        server.send(":bot!b@h PRIVMSG #ops :mine", ":Bot!b@h PRIVMSG #ops :not mine")
        await server.barrier()
        assert server.said == ["<Bot> not mine"]


async def test_what_happens_in_rooms_is_told() -> None:
    async with online() as (server, bot):
        await server.let_in(bot)
        server.send(
            ":alice!a@h JOIN #ops",
            ":alice!a@h JOIN #ops account :Alice",
            ":alice!a@h TOPIC #ops :new topic",
            ":alice!a@h MODE #ops +o bob",
            ":alice!a@h MODE bot +i",
            ":alice!a@h NICK :alicia",
            ":carol!c@h QUIT :a.test b.test",
            ":alicia!a@h PART #ops",
        )
        await server.barrier()
        told = [(event.room, event.kind, event.who, event.text) for event in server.happened]
        assert told == [
            ("#ops", "joined", "alice", ""),
            ("#ops", "joined", "alice", ""),
            ("#ops", "topic", "alice", "new topic"),
            ("#ops", "mode", "alice", "+o bob"),
            ("", "nick", "alice", "alicia"),
            ("", "left", "carol", "a.test b.test"),
            ("#ops", "left", "alicia", ""),
        ]


async def test_the_bots_new_nick_is_its_own_from_then_on() -> None:
    async with online("echo-message") as (server, _):
        server.send(":bot!b@h NICK robot", ":robot!b@h PRIVMSG #ops :mine")
        server.send(":bot!x@h PRIVMSG #ops :somebody else's")
        await server.barrier()
        (renamed,) = server.happened
        assert (renamed.who, renamed.text, renamed.me) == ("bot", "robot", True)
        assert isinstance(renamed, Happened)
        assert server.said == ["<bot> somebody else's"]


async def test_the_end_is_reported_once_with_the_servers_words() -> None:
    async with online() as (server, bot):
        server.send("ERROR :Closing Link: bot[h] (Reconnecting too fast)")
        server.hang_up()
        lost = await server.until_lost()
        assert "too fast" in lost.reason
        assert lost.delay > 0
        await bot.close()
        await bot.close()
        assert server.events == [lost]


async def test_closing_is_no_loss() -> None:
    async with online() as (server, bot):
        await bot.close("good\nnight")
        await server.expect("QUIT :good night")
        await bot.close()
        assert not [event for event in server.events if isinstance(event, Lost)]


@pytest.mark.parametrize(
    ("line", "mask"),
    [
        (":bot!~b@cloak.test JOIN #x", "bot!~b@cloak.test"),
        (":irc.test 396 bot vhost.test :is now your displayed host", "bot!~{u}@vhost.test"),
        (":irc.test 396 bot me@vhost.test :is now your hidden host", "bot!me@vhost.test"),
        (":bot!x@y CHGHOST new host.test", "bot!new@host.test"),
    ],
)
async def test_the_bots_mask_is_learnt(line: str, mask: str) -> None:
    async with online("chghost") as (server, bot):
        server.send(line)
        await server.barrier()
        assert bot._session.mask == mask.replace("{u}", "u" * 10)


async def test_pieces_fit_as_relayed_once_the_mask_is_known() -> None:
    async with online() as (server, bot):
        unknown = bot.split("#ops", "x" * 2000)
        await server.let_in(bot)
        known = bot.split("#ops", "x" * 2000)
        assert len(known[0]) > len(unknown[0])
        assert len(f":bot!~bot@bots.test PRIVMSG #ops :{known[0]}\r\n") == 512
