"""One table for all connections, and links that weigh little while nobody talks."""

import gc
import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from instabot.adapters.base import Rejection
from instabot.adapters.irc import IRC
from instabot.adapters.irc.lines import Line
from instabot.adapters.irc.session import Session
from instabot.adapters.irc.table import hears, is_error, table
from tests.adapters.scripted import during, online

TOKENS = ("CHANTYPES=#", "CHANLIMIT=#:50", "NICKLEN=30", "NETWORK=test")


class Ear:
    @hears("privmsg welcome")
    def first(self, line: Line) -> None: ...

    @hears("4xx")
    def second(self, line: Line) -> None: ...

    def other(self, line: Line) -> None: ...


class Nose:
    @hears("nicknameinuse privmsg")
    def third(self, line: Line) -> None: ...


def test_handlers_have_their_turn_in_the_order_of_the_parts() -> None:
    assert table(("nose", Nose), ("ear", Ear)) == {
        "433": (("nose", Nose.third), ("ear", Ear.second)),
        "PRIVMSG": (("nose", Nose.third), ("ear", Ear.first)),
        "001": (("ear", Ear.first),),
        "4XX": (("ear", Ear.second),),
    }
    assert [is_error(word) for word in ("404", "502", "372", "4XX", "JOIN")] == [
        True, True, False, False, False,
    ]  # fmt: skip


def owned(bot: IRC) -> Iterator[Any]:
    """Every object that this bot alone holds, but for the event loop's."""
    ours = "instabot.adapters.irc"
    seen: set[int] = set()
    waiting: list[Any] = [bot]
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, type | ModuleType | FunctionType):
            continue
        seen.add(id(each))
        if type(each).__module__.startswith(ours) and type(each).__name__ != "Features":
            waiting += gc.get_referents(each)
            yield each
        elif isinstance(each, dict | list | set):
            yield each


async def test_a_link_at_rest_owns_few_objects_and_no_container() -> None:
    async with online("echo-message", *TOKENS) as (server, bot):
        await server.let_in(bot)
        await bot.say("#ops", "hello")
        async with during(bot.confirm()) as confirming:
            await server.expect("PRIVMSG #ops :hello")
            ping = await server.next()
            server.send(ping.replace("PING", ":irc.test PONG irc.test"))
        assert confirming.result() == [
            Rejection("#ops", "the server dropped it without a word", "hello")
        ]
        server.send("BATCH +x netsplit a b", "BATCH -x")
        await server.barrier()
        things = list(owned(bot))
        assert [each for each in things if isinstance(each, dict | list | set)] == []
        assert not [each for each in things if hasattr(each, "__dict__")]
        assert sum(map(sys.getsizeof, things)) < 1000, [type(each).__name__ for each in things]


async def test_links_to_one_network_share_what_the_server_says_of_itself() -> None:
    async with (
        online("batch server-time", *TOKENS) as (_, one),
        online("server-time batch", *TOKENS) as (_, two),
        online("batch", *TOKENS, "NICKLEN=9") as (_, three),
    ):
        assert one._session.features is two._session.features
        assert one._session.caps is two._session.caps
        assert three._session.features.number("NICKLEN") == 9
        assert one._session.features.number("NICKLEN") == 30


async def test_many_rooms_are_entered_and_left_one_by_one() -> None:
    async with online() as (_, bot):
        session: Session = bot._session
        names = [f"#{number}" for number in range(30)]
        for name in [*names, *names]:
            session.entered(name)
        assert sorted(session.inside) == sorted(names)
        for name in names[5:]:
            session.left(name)
        session.left("#nowhere")
        assert sorted(session.inside) == sorted(names[:5])
        for name in ("#a", "#a"):
            session.entered(name)
        assert sorted(session.inside) == sorted([*names[:5], "#a"])
