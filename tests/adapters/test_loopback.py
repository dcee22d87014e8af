"""The adapter without a network, and the faults that it can have."""

import uuid

import pytest

from instabot.adapters.base import Account, Event, Happened, Lost, Rejection, Said
from instabot.adapters.loopback import LONGEST, Loopback, Service
from instabot.errors import LinkError, Refused
from tests.adapters.scripted import during


@pytest.fixture
def service() -> Service:
    return Service.named(f"acme-{uuid.uuid4().hex}")


async def online(service: Service) -> tuple[Loopback, list[Event]]:
    events: list[Event] = []
    bot = Loopback(Account("local/acme", f"loopback://bot@{service.name}"), events.append)
    assert (await bot.connect()).me == "bot"
    await bot.join("#ops")
    return bot, events


async def test_people_and_bots_talk(service: Service) -> None:
    bot, events = await online(service)
    service.say("#OPS", "alice", "hi bot", account="alice_")
    await bot.say("#ops", "hi alice")
    await bot.say("#ops", "waves", "action")
    assert await bot.confirm() == []
    assert service.lines("#ops") == ["<alice> hi bot", "<bot> hi alice", "* bot waves"]
    assert (await service.heard("hi alice")).sender == "bot"
    (said,) = events
    assert isinstance(said, Said)
    assert (said.room, said.text, said.account) == ("#ops", "hi bot", "alice_")


async def test_a_service_lives_as_long_as_somebody_holds_it(service: Service) -> None:
    assert Service.named(service.name.upper()) is service
    assert Service.named("other") is not service


async def test_what_happens_in_a_room_is_told(service: Service) -> None:
    bot, events = await online(service)
    service.enter("#ops", "carol")
    service.set_topic("#ops", "carol", "deploys")
    service.leave("#ops", "carol")
    service.kick("#ops", "bot", "out")
    service.say("#ops", "alice", "unheard")
    kinds = [(event.kind, event.me) for event in events if isinstance(event, Happened)]
    assert kinds == [("joined", False), ("topic", False), ("left", False), ("kicked", True)]
    await bot.join("#ops")
    await service.joined("#ops")


async def test_logins_and_joins_can_be_refused(service: Service) -> None:
    service.faults.login = Refused("banned", "go away")
    with pytest.raises(Refused, match="go away"):
        await online(service)
    service.faults.login = None
    service.faults.joins["#vip"] = Refused("invite-only", "not you")
    service.room("#keyed").key = "open"
    bot, _ = await online(service)
    answers = await bot.join_many([("#vip", ""), ("#keyed", "x"), ("#new", ""), ("a b", "")])
    codes = {name: getattr(answer, "code", "") for name, answer in answers.items()}
    assert codes == {
        "#vip": "invite-only",
        "#keyed": "key",
        "#new": "",
        "a b": "no-such-room",
    }
    await bot.join("#keyed", "open")


async def test_pieces_can_be_refused(service: Service) -> None:
    bot, _ = await online(service)
    service.faults.reject = lambda room, text: "no shouting" if text.isupper() else ""
    await bot.say("#ops", "HELLO")
    await bot.say("#ops", "hello")
    await bot.say("#nowhere", "hello")
    assert await bot.confirm() == [
        Rejection("#ops", "no shouting", "HELLO"),
        Rejection("#nowhere", "not in the room", "hello"),
    ]
    assert await bot.confirm() == []


async def test_a_held_service_confirms_when_it_is_released(service: Service) -> None:
    bot, _ = await online(service)
    service.faults.held = True
    await bot.say("#ops", "one")
    async with during(bot.confirm()) as confirming, during(bot.ping()) as pinging:
        service.say("#ops", "alice", "still here")
        service.release()
    assert confirming.result() == []
    pinging.result()


async def test_a_cut_ends_waiting_and_is_reported_once(service: Service) -> None:
    bot, events = await online(service)
    service.faults.held = True
    async with during(bot.confirm()) as confirming:
        service.cut("cable", 5.0)
        service.cut("again")
    with pytest.raises(LinkError):
        confirming.result()
    assert events == [Lost("cable", 5.0)]
    with pytest.raises(LinkError):
        await bot.say("#ops", "x")
    await bot.close()


async def test_history_holds_what_others_said_meanwhile(service: Service) -> None:
    bot, _ = await online(service)
    first = service.say("#ops", "alice", "one")
    await bot.say("#ops", "mine")
    service.say("#ops", "alice", "two")
    found = await bot.history("#ops", first.at, first.ref)
    assert found is not None
    assert [said.text for said in found] == ["two"]
    service.faults.history = False
    assert await bot.history("#ops", 0.0) is None


async def test_long_and_dirty_text_is_split_clean(service: Service) -> None:
    bot, _ = await online(service)
    await bot.say("#ops", "a\r\nb\0\x01c\ud800\n\n" + "x" * (LONGEST + 1))
    assert [said.text for said in service.room("#ops").lines] == [
        "a",
        "bc\ufffd",
        "x" * LONGEST,
        "x",
    ]


async def test_a_spare_link_has_another_nick(service: Service) -> None:
    bot = Loopback(Account("local/acme", f"loopback://bot@{service.name}", spare=1), print)
    assert (await bot.connect()).me == "bot2"
    await bot.close()
