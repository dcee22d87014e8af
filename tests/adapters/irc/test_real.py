"""The adapter on real servers: ngIRCd (no tags, no echo) and InspIRCd (labels and echoes)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from instabot.adapters.base import Account, Event, Happened, Lost, Said
from instabot.adapters.irc import IRC
from instabot.adapters.irc.confirm import DROPPED
from instabot.errors import LinkError, Refused
from tests.adapters.scripted import during
from tests.chat import Chat
from tests.servers import IrcServer, inspircd, ngircd
from tests.servers.certs import Certificate

pytestmark = pytest.mark.real
Irc = Callable[..., AbstractAsyncContextManager[IrcServer]]
both = pytest.mark.parametrize("irc", [ngircd, inspircd])


class Bot(IRC):
    """The adapter, its events kept."""

    def __init__(self, account: Account) -> None:
        self.events: list[Event] = []
        super().__init__(account, self.events.append)

    @property
    def said(self) -> list[Said]:
        """What it heard people say."""
        return [event for event in self.events if isinstance(event, Said)]


def make(url: str, nick: str = "bot", secret: str = "", **settings: str) -> Bot:
    url = url.replace("://", f"://{nick}@")
    return Bot(Account("local/net", url, settings, lambda: secret))


@asynccontextmanager
async def in_room(
    server: IrcServer, room: str = "#ops", **settings: str
) -> AsyncIterator[tuple[Bot, Chat]]:
    """A bot and alice, the room's operator, in one room."""
    alice = await Chat.connect(server.port, "alice")
    await alice.join(room)
    bot = make(server.url, **settings)
    await bot.connect()
    await bot.join(room)
    await alice.expect(f"{room} bot joined")
    try:
        yield bot, alice
    finally:
        await bot.close()
        alice.close()


@both
async def test_lines_go_both_ways_whole_and_are_confirmed(irc: Irc) -> None:
    async with irc() as server, in_room(server) as (bot, alice):
        await alice.say("#ops", "!ping 1", "\x01ACTION waves\x01")
        await bot.ping()
        assert [(said.text, said.kind) for said in bot.said] == [
            ("!ping 1", "say"),
            ("waves", "action"),
        ]
        text = "wörds and 👩‍👩‍👧 " * 200 + "x" * 600
        for piece in bot.split("#ops", text):
            await bot.say("#ops", piece)
        await bot.say("#ops", "end")
        assert await bot.confirm() == []
        await alice.expect("#ops <bot> end")
        heard = [line.text for line in alice.lines if line.command == "PRIVMSG"]
        assert "".join(heard) == text + "end"


@both
async def test_nothing_said_can_speak_for_the_bot(irc: Irc) -> None:
    async with irc() as server, in_room(server) as (bot, alice):
        await bot.say("#ops", "hi\rQUIT :owned\nJOIN #evil\0x\x01VERSION\x01")
        await bot.say("#ops", "next")
        assert await bot.confirm() == []
        await alice.expect("#ops <bot> next")
        assert alice.transcript("#ops")[-4:] == [
            "#ops <bot> hi",
            "#ops <bot> QUIT :owned",
            "#ops <bot> JOIN #evilxVERSION",
            "#ops <bot> next",
        ]


@both
async def test_latin_1_is_heard_and_the_next_line_too(irc: Irc) -> None:
    async with irc() as server, in_room(server) as (bot, alice):
        alice.send(b"PRIVMSG #ops :caf\xe9\r\nPRIVMSG #ops :next\r\n")
        await alice.roundtrip()
        await bot.ping()
        assert [said.text for said in bot.said] == ["café", "next"]


@both
async def test_a_moderated_room_refuses_with_its_words(irc: Irc) -> None:
    async with irc() as server, in_room(server) as (bot, alice):
        await bot.say("#ops", "heard")
        assert await bot.confirm() == []
        alice.write("MODE #ops +m")
        await alice.roundtrip()
        await bot.say("#ops", "unheard")
        (refused,) = await bot.confirm()
        assert (refused.room, refused.text) == ("#ops", "unheard")
        assert refused.reason != DROPPED


async def test_without_errors_a_missing_echo_tells_that_it_was_dropped() -> None:
    async with inspircd() as server, in_room(server) as (bot, alice):
        alice.write("MODE #ops +m")
        await alice.roundtrip()
        await bot.say("#ops", "psst", "notice")
        (refused,) = await bot.confirm()
        assert refused.text == "psst"


@both
@pytest.mark.parametrize(
    ("modes", "code"), [("+i", "invite-only"), ("+l 1", "full"), ("+k sesame", "key")]
)
async def test_a_closed_room_is_refused_and_its_key_opens_it(
    irc: Irc, modes: str, code: str
) -> None:
    async with irc() as server:
        alice = await Chat.connect(server.port, "alice")
        await alice.join("#ops")
        alice.write(f"MODE #ops {modes}")
        await alice.roundtrip()
        bot = make(server.url)
        await bot.connect()
        with pytest.raises(Refused) as caught:
            await bot.join("#ops")
        assert caught.value.code == code
        if code == "key":
            await bot.join("#ops", "sesame")
        await bot.close()


@both
async def test_a_banned_bot_is_refused_and_a_kicked_one_is_outside(irc: Irc) -> None:
    async with irc() as server, in_room(server) as (bot, alice):
        alice.write("MODE #ops +b bot!*@*")
        alice.write("KICK #ops bot :no bots")
        await alice.roundtrip()
        await bot.ping()
        kicked = [event for event in bot.events if isinstance(event, Happened) and event.me]
        assert [(event.kind, event.room) for event in kicked] == [
            ("joined", "#ops"),
            ("kicked", "#ops"),
        ]
        with pytest.raises(Refused) as caught:
            await bot.join("#ops")
        assert (caught.value.code, caught.value.final) == ("banned", True)


@both
async def test_hundreds_of_rooms_are_joined_in_a_moment(irc: Irc) -> None:
    async with irc(max_joins=1000) as server:
        bot = make(server.url)
        identity = await bot.connect()
        assert identity.room_limit is None or identity.room_limit > 0
        names = [f"#room-{number}" for number in range(500)]
        start = asyncio.get_running_loop().time()
        for at in range(0, len(names), bot.join_batch):
            batch = [(name, "") for name in names[at : at + bot.join_batch]]
            assert not any((await bot.join_many(batch)).values())
        assert asyncio.get_running_loop().time() - start < 5
        await bot.close()


@both
async def test_too_many_rooms_are_refused(irc: Irc) -> None:
    async with irc(max_joins=3) as server:
        bot = make(server.url)
        identity = await bot.connect()
        answers = await bot.join_many([(f"#r{number}", "") for number in range(5)])
        codes = [getattr(answer, "code", "") for answer in answers.values()]
        assert codes == ["", "", "", "too-many", "too-many"]
        if irc is ngircd:
            assert identity.room_limit == 3
        await bot.close()


@both
async def test_a_taken_nick_is_got_back(irc: Irc) -> None:
    async with irc() as server:
        holder = await Chat.connect(server.port, "bot")
        bot = make(server.url)
        assert (await bot.connect()).me == "bot_"
        await holder.quit()
        await bot.ping()
        await bot.ping()
        renamed = [event for event in bot.events if isinstance(event, Happened) and event.me]
        assert [(event.who, event.text) for event in renamed] == [("bot_", "bot")]
        await bot.close()


@both
async def test_the_servers_password_decides(irc: Irc) -> None:
    async with irc(password="sesame") as server:
        ca_file = str(server.ca_file)
        for secret in ("wrong", ""):
            with pytest.raises(Refused) as caught:
                await make(server.tls_url, secret=secret, ca_file=ca_file).connect()
            assert caught.value.code == "password"
        bot = make(server.tls_url, secret="sesame", ca_file=ca_file)
        assert (await bot.connect()).me == "bot"
        await bot.close()


@both
@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        ("self-signed", "self-signed"),
        ("wrong-name", "another name|another address"),
        ("expired", "expired"),
    ],
)
async def test_a_bad_certificate_is_refused_in_words(
    irc: Irc, certificate: Certificate, words: str
) -> None:
    async with irc(certificate=certificate) as server:
        with pytest.raises(Refused, match=words) as caught:
            await make(server.tls_url, ca_file=str(server.ca_file)).connect()
        assert (caught.value.code, caught.value.final) == ("tls", False)
        bot = make(server.tls_url, tls_verify="false")
        await bot.connect()
        await bot.close()


async def test_an_unknown_authority_is_refused() -> None:
    async with ngircd() as server:
        with pytest.raises(Refused, match="authority"):
            await make(server.tls_url).connect()


@both
async def test_a_killed_server_is_a_loss_reported_once(irc: Irc) -> None:
    async with irc() as server, in_room(server) as (bot, _):
        async with during(bot.confirm()) as confirming:
            await server.kill()
        lost = [event for event in bot.events if isinstance(event, Lost)]
        assert len(lost) <= 1
        try:
            confirming.result()
            await bot.ping()
        except LinkError:
            pass
        assert len([event for event in bot.events if isinstance(event, Lost)]) == 1


@both
async def test_a_throttling_server_confirms_late_but_all(irc: Irc) -> None:
    async with irc(flood=True) as server, in_room(server) as (bot, alice):
        for number in range(6):
            await bot.say("#ops", f"line {number}")
        assert await bot.confirm() == []
        await alice.expect("#ops <bot> line 5")
