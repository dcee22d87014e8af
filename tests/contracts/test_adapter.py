"""What every adapter must do, whatever it speaks: the same tests in every home."""

import asyncio
from collections.abc import AsyncIterator, Awaitable

import pytest
import pytest_asyncio

from instabot.adapters.base import (
    Alive,
    Confirms,
    Folds,
    Happened,
    History,
    JoinsMany,
    Lost,
    Said,
    Splits,
)
from instabot.errors import LinkError, Refused
from tests.contracts.homes import HOMES, Home, Member
from tests.servers import Missing

pytestmark = pytest.mark.real


@pytest_asyncio.fixture(params=HOMES)
async def home(request: pytest.FixtureRequest) -> AsyncIterator[Home]:
    """A service, for each that an adapter of ours speaks."""
    opened = HOMES[request.param]()
    try:
        home = await opened.__aenter__()
    except Missing as error:
        pytest.skip(str(error))
    yield home
    await opened.__aexit__(None, None, None)


@pytest_asyncio.fixture
async def bot(home: Home) -> AsyncIterator[Member]:
    """A bot that sits in #ops."""
    member = home.bot()
    assert (await member.adapter.connect()).me == "bot"
    await member.adapter.join("#ops")
    yield member
    await member.adapter.close()


async def settled(bot: Member) -> None:
    """Everything that the service had said is reported."""
    assert isinstance(bot.adapter, Alive)
    await bot.adapter.ping()


def said(bot: Member) -> list[tuple[str, str, str]]:
    return [
        (event.room, event.sender, event.text)
        for event in bot.events
        if isinstance(event, Said)
    ]


async def refusal(act: Awaitable[object]) -> Refused:
    with pytest.raises(Refused) as caught:
        await act
    assert str(caught.value)
    return caught.value


async def test_what_a_service_refuses_is_told_with_a_reason(home: Home) -> None:
    nobody = await home.nobody()
    assert (await refusal(nobody.adapter.connect())).code
    assert nobody.events == []
    await nobody.adapter.close()


async def test_lines_are_heard_once_in_order_and_whole(home: Home, bot: Member) -> None:
    lines = [f"line {number} ünïcode 👋" for number in range(30)]
    await home.says("#ops", *lines)
    await settled(bot)
    assert said(bot) == [("#ops", "alice", line) for line in lines]


async def test_what_is_said_arrives_and_is_confirmed(home: Home, bot: Member) -> None:
    assert isinstance(bot.adapter, Confirms)
    for number in range(5):
        await bot.adapter.say("#ops", f"reply {number}")
    assert list(await bot.adapter.confirm()) == []
    for number in range(5):
        await home.hears("#ops", f"reply {number}")
    await settled(bot)
    assert said(bot) == []


async def test_what_a_service_does_not_take_is_a_rejection(home: Home, bot: Member) -> None:
    assert isinstance(bot.adapter, Confirms)
    await bot.adapter.say("#elsewhere", "nobody there")
    await bot.adapter.say("#ops", "somebody here")
    (refused,) = await bot.adapter.confirm()
    assert (refused.room, refused.text) == ("#elsewhere", "nobody there")
    assert refused.reason
    await home.hears("#ops", "somebody here")


async def test_a_long_text_is_split_and_nothing_of_it_lost(home: Home, bot: Member) -> None:
    assert isinstance(bot.adapter, Splits)
    assert isinstance(bot.adapter, Confirms)
    text = "".join(f"wörd{number} " for number in range(300)) + "end"
    pieces = bot.adapter.split("#ops", f"{text}\r\n\nlast\0")
    assert "".join(pieces) == text + "last"
    assert list(bot.adapter.split("#ops", "\r\n\0")) == []
    for piece in pieces:
        await bot.adapter.say("#ops", piece)
    assert list(await bot.adapter.confirm()) == []
    for piece in pieces:
        await home.hears("#ops", piece)


async def test_a_closed_room_stays_closed_and_the_open_ones_open(
    home: Home, bot: Member
) -> None:
    assert (await refusal(bot.adapter.join(home.closed))).code
    for nonsense in ("", "#a b", "#a\r\nQUIT"):
        assert (await refusal(bot.adapter.join(nonsense))).code == "no-such-room"
    assert isinstance(bot.adapter, JoinsMany)
    assert bot.adapter.join_batch > 1
    answers = await bot.adapter.join_many([("#a", ""), (home.closed, ""), ("#ops", "")])
    assert {name: answer is None for name, answer in answers.items()} == {
        "#a": True,
        home.closed: False,
        "#ops": True,
    }


async def test_names_have_one_spelling(bot: Member) -> None:
    assert isinstance(bot.adapter, Folds)
    assert bot.adapter.fold("#OPS") == bot.adapter.fold("#ops")
    assert bot.adapter.fold("#ops") != bot.adapter.fold("#opt")


async def test_outside_a_room_nothing_is_heard(home: Home, bot: Member) -> None:
    await bot.adapter.part("#ops", "good night")
    await bot.adapter.part("#ops")
    await bot.adapter.part("#never")
    await home.says("#ops", "unheard")
    await settled(bot)
    assert said(bot) == []
    await bot.adapter.join("#ops")
    await home.says("#ops", "heard")
    await settled(bot)
    assert said(bot) == [("#ops", "alice", "heard")]


async def test_a_kick_is_reported_and_the_way_back_open(home: Home, bot: Member) -> None:
    await home.kicks("#ops")
    await settled(bot)
    kicks = [e for e in bot.events if isinstance(e, Happened) and e.kind == "kicked"]
    assert [(kick.room, kick.who, kick.me) for kick in kicks] == [("#ops", "bot", True)]
    await bot.adapter.join("#ops")


async def test_history_is_lines_or_a_gap(bot: Member) -> None:
    assert isinstance(bot.adapter, History)
    remembered = await bot.adapter.history("#ops", 0.0)
    assert remembered == ([] if bot.adapter.remembers else None)


async def test_the_end_of_a_service_is_one_loss(home: Home, bot: Member) -> None:
    await settled(bot)
    await home.dies()
    with pytest.raises(LinkError):
        await settled(bot)
    with pytest.raises(LinkError):
        await bot.adapter.say("#ops", "anybody?")
    with pytest.raises(LinkError):
        await bot.adapter.join("#other")
    async with asyncio.timeout(10):
        await bot.lost.wait()
    assert len([event for event in bot.events if isinstance(event, Lost)]) == 1
    assert isinstance(bot.events[-1], Lost)


async def test_closing_twice_is_no_error_and_no_loss(bot: Member) -> None:
    await bot.adapter.close("bye")
    await bot.adapter.close()
    assert not [event for event in bot.events if isinstance(event, Lost)]
    with pytest.raises(LinkError):
        await bot.adapter.say("#ops", "from beyond")


async def test_closing_before_connecting_is_no_error(home: Home) -> None:
    member = home.bot()
    await member.adapter.close()
    assert member.events == []
