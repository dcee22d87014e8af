"""Entering rooms, being refused, being sent elsewhere, and leaving."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instabot.adapters.base import Happened
from instabot.adapters.irc import rooms
from instabot.adapters.irc.rooms import join_lines
from instabot.errors import LinkError, Refused
from tests.adapters.scripted import during, online


async def test_a_join_ends_with_the_bots_own_join_in_whatever_spelling() -> None:
    async with online("", "CASEMAPPING=rfc1459") as (server, bot):
        async with during(bot.join("#Ops[1]", "key")) as joining:
            await server.expect("JOIN #Ops[1] key")
            server.send(":alice!a@h JOIN #ops{1}", ":bot!~b@h JOIN #ops{1}")
        joining.result()
        assert [event.me for event in server.happened] == [False, True]
        assert bot.fold("#Ops[1]") == bot.fold("#ops{1}")


@pytest.mark.parametrize(
    ("numeric", "code", "final"),
    [
        ("403", "no-such-room", True),
        ("405", "too-many", False),
        ("437", "throttled", False),
        ("471", "full", False),
        ("473", "invite-only", True),
        ("474", "banned", True),
        ("475", "key", True),
        ("476", "no-such-room", True),
        ("477", "register-first", False),
    ],
)
async def test_a_refused_join_says_why(numeric: str, code: str, final: bool) -> None:
    async with online() as (server, bot):
        async with during(bot.join("#ops")) as joining:
            await server.expect("JOIN #ops")
            server.send(f":irc.test {numeric} bot #other :Not this one")
            server.send(f":irc.test {numeric} bot #OPS :Cannot join")
        with pytest.raises(Refused, match="Cannot join") as caught:
            joining.result()
        assert (caught.value.code, caught.value.final) == (code, final)


async def test_many_rooms_go_in_one_line_and_keyed_ones_first() -> None:
    async with online("", "TARGMAX=JOIN:3") as (server, bot):
        assert bot.join_batch == 3
        wanted = [("#a", ""), ("#b", "k"), ("#c", ""), ("bad room", ""), ("#A", "")]
        async with during(bot.join_many(wanted)) as joining:
            await server.expect("JOIN #b,#a,#c k")
            server.send(":bot!b@h JOIN #a", ":irc.test 475 bot #b :Bad key", ":bot!b@h JOIN #c")
        answers = joining.result()
        assert {name for name, answer in answers.items() if answer is None} == {
            "#a",
            "#c",
            "#A",
        }
        assert isinstance(answers["#b"], Refused)
        assert isinstance(answers["bad room"], Refused)


async def test_joining_twice_asks_once() -> None:
    async with online() as (server, bot):
        await server.let_in(bot)
        await bot.join("#OPS")
        await server.barrier()
        assert server.lines.empty()


async def test_a_forwarded_join_is_refused_and_the_other_room_left() -> None:
    async with online() as (server, bot):
        async with during(bot.join("#ops")) as joining:
            await server.expect("JOIN #ops")
            server.send(
                ":irc.test 470 bot #ops ##overflow :Forwarding to another channel",
                ":bot!b@h JOIN ##overflow",
            )
            await server.expect("PART ##overflow")
            server.send(":bot!b@h PART ##overflow")
        with pytest.raises(Refused, match="##overflow"):
            joining.result()
        await server.barrier()
        assert server.happened == []


async def test_silence_after_a_join_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "PATIENCE", 0.05)
    async with online() as (server, bot):
        async with during(bot.join_many([("#a", ""), ("#b", "")])) as joining:
            await server.expect("JOIN #a,#b")
            server.send(":bot!b@h JOIN #b")
        answers = joining.result()
        assert answers["#b"] is None
        silent = answers["#a"]
        assert isinstance(silent, Refused)
        assert (silent.code, silent.final) == ("other", False)


async def test_a_link_that_dies_ends_a_join() -> None:
    async with online() as (server, bot):
        async with during(bot.join("#ops")) as joining:
            await server.expect("JOIN #ops")
            server.send("ERROR :Server shutting down")
            server.hang_up()
        with pytest.raises(LinkError, match="shutting down"):
            joining.result()
        with pytest.raises(LinkError):
            await bot.join("#ops")


async def test_a_name_or_key_that_would_break_the_line_never_leaves() -> None:
    async with online("", "CHANNELLEN=10") as (server, bot):
        for name in ("ops", "#a b", "#a,#b", "#a\rQUIT", "", ":#a", "#" + "x" * 10):
            with pytest.raises(Refused) as caught:
                await bot.join(name)
            assert caught.value.code == "no-such-room"
        with pytest.raises(Refused) as caught:
            await bot.join("#a", "key\r\nQUIT")
        assert caught.value.code == "key"
        await server.barrier()
        assert server.lines.empty()


async def test_leaving_waits_for_the_server_and_leaving_twice_is_no_error() -> None:
    async with online() as (server, bot):
        await server.let_in(bot)
        async with during(bot.part("#ops", "good\r\nnight")) as parting:
            await server.expect("PART #ops :good night")
            server.send(":bot!b@h PART #ops :good night")
        parting.result()
        await bot.part("#ops")
        left = server.happened[0]
        assert (left.room, left.kind, left.me) == ("#ops", "left", True)


async def test_a_kick_puts_the_bot_outside() -> None:
    async with online() as (server, bot):
        await server.let_in(bot)
        server.send(":alice!a@h KICK #ops carol :bye", ":alice!a@h KICK #ops bot :no bots")
        await server.barrier()
        assert [(event.who, event.me) for event in server.happened] == [
            ("carol", False),
            ("bot", True),
        ]
        assert isinstance(server.happened[1], Happened)
        assert server.happened[1].text == "alice: no bots"
        async with during(bot.join("#ops")):
            await server.expect("JOIN #ops")
            server.send(":bot!b@h JOIN #ops")


names = st.text(alphabet="abcé[]", min_size=1, max_size=60).map(lambda name: f"#{name}")


@given(st.lists(st.tuples(names, st.text(alphabet="xyz", max_size=20)), max_size=60))
def test_join_lines_are_short_and_hold_every_room_with_its_key(
    wanted: list[tuple[str, str]],
) -> None:
    found = []
    for line in join_lines(wanted):
        assert len(line.encode()) <= 510
        _, channels, *keys = line.split(" ")
        given_keys = keys[0].split(",") if keys else []
        asked = channels.split(",")
        found += list(
            zip(asked, given_keys + [""] * (len(asked) - len(given_keys)), strict=True)
        )
    assert sorted(found) == sorted(wanted)
