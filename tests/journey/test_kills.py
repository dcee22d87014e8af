"""Parts of it die, again and again, while people talk: what the rooms see of it."""

import asyncio
import os
import re
import signal
from pathlib import Path

import pytest

from tests.journey.home import Home, home, moves, note, pongs, said
from tests.journey.networks import NETWORKS, Network, Person, irc
from tests.journey.tap import tap
from tests.servers import RedisServer

pytestmark = pytest.mark.real
everywhere = pytest.mark.parametrize("network", NETWORKS, indirect=True)
ROOMS = [f"room{number}" for number in range(10)]


class Crowd:
    """Alice asks `!ping 1`, `!ping 2`, … in every room; bob sees what comes of it."""

    def __init__(self, network: Network, alice: Person, bob: Person) -> None:
        self.asked = 0
        self.bob = bob
        self._alice = alice
        self._rooms = [network.room(name) for name in ROOMS]

    @classmethod
    async def gather(cls, network: Network) -> "Crowd":
        """Both enter all rooms."""
        alice = await network.visit("alice", *ROOMS)
        return cls(network, alice, await network.visit("bob", *ROOMS))

    async def ask(self, rounds: int) -> None:
        """So many further questions in every room, at once."""
        for _ in range(rounds):
            self.asked += 1
            for room in self._rooms:
                await self._alice.say(room, f"!ping {self.asked}")
        await self._alice.roundtrip()

    def answers(self) -> list[list[str]]:
        """What the bot said, room by room."""
        return [said(self.bob, room) for room in self._rooms]

    async def all_answered(self, timeout: float = 45.0) -> None:
        """Wait until every room has the answer to the last question."""
        last = f"pong {self.asked}"
        await self.bob.until(
            lambda: all(last in answers for answers in self.answers()), last, timeout
        )
        await self.bob.roundtrip()

    def each_once_in_order(self) -> None:
        """Assert that every question has its answer, once, in the order of the questions."""
        for answers in self.answers():
            assert answers == pongs(range(1, self.asked + 1))


async def kill(at: Home, name: str) -> None:
    """`kill -9` a part, and wait until `up` has the next one ready."""
    os.kill(at.up.pid(name), signal.SIGKILL)
    await at.up.says(f"{name} was ended by SIGKILL")
    await at.up.says(f"ready: {name}")


@everywhere
async def test_a_backend_killed_again_and_again_loses_nothing(
    network: Network, tmp_path: Path
) -> None:
    crowd = await Crowd.gather(network)
    async with home(network, tmp_path / "d") as one:
        await one.join(*ROOMS)
        await crowd.bob.until(lambda: len(moves(crowd.bob)) == len(ROOMS), "it is in all")
        for _ in range(5):
            await crowd.ask(2)  # no pause: the kill finds some of them under way
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(kill(one, "backend"))
                tasks.create_task(crowd.ask(2))
        await crowd.all_answered()
        await one.quiet()
        crowd.each_once_in_order()
        assert len(moves(crowd.bob)) == len(ROOMS)  # it joined once, and never moved since
        assert (await one.status())["queues"]["dead"]["depth"] == 0


async def test_a_redis_killed_again_and_again_loses_nothing(
    network: Network, tmp_path: Path
) -> None:
    crowd = await Crowd.gather(network)
    async with home(network, tmp_path / "d") as one:
        await one.join(*ROOMS)
        for _ in range(4):
            await crowd.ask(2)
            async with asyncio.TaskGroup() as tasks:
                os.kill(int((one.up.data / "redis" / "pid").read_text()), signal.SIGKILL)
                tasks.create_task(crowd.ask(2))
                tasks.create_task(one.up.says("ready: redis"))
        await crowd.all_answered()
        await one.quiet()
        crowd.each_once_in_order()
        assert len(moves(crowd.bob)) == len(ROOMS)


async def test_while_redis_is_away_it_stays_listens_and_answers_later(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with irc("ngircd", ping=1) as network, tap(network.server.port) as wire:
        network.port = wire.port
        alice = await network.visit("alice", "ops")
        url = {"INSTABOT_REDIS_URL": redis_server.url}
        async with home(network, tmp_path / "d", **url) as one:
            await one.join("ops")
            await alice.say("#ops", "!ping 1")
            await alice.expect("pong 1")

            await redis_server.kill()
            # the server's next PING comes after some six seconds; people talk meanwhile
            seen = wire.count("PONG")
            await alice.say("#ops", "!ping 2", "and so on", "!ping 3", "!ping 4")
            await wire.sends("PONG", times=seen + 1)
            assert (await one.run("status")).code == 3
            assert said(alice, "#ops") == ["pong 1"]

            await redis_server.start()
            await alice.say("#ops", "!ping 5")
            await alice.expect("pong 5", 30)
            assert said(alice, "#ops") == pongs(range(1, 6))
            assert len(moves(alice)) == 1
            await one.quiet()
            await one.counted("#ops", heard=6, said=5)
            (row,) = (await one.rooms()).values()
            assert (row["state"], row["gap_since"]) == ("joined", 0)


async def test_after_a_kill_of_its_runtime_it_comes_back_and_owns_up_to_the_gap(
    network: Network, tmp_path: Path
) -> None:
    crowd = await Crowd.gather(network)
    async with home(network, tmp_path / "d") as one:
        await one.join(*ROOMS)
        await crowd.ask(3)
        await crowd.all_answered()
        await one.quiet()

        await kill(one, "runtime")
        came = 2 * len(ROOMS) + 1  # joined everywhere, quit once, joined everywhere
        await crowd.bob.until(lambda: len(moves(crowd.bob)) >= came, "it is back in all rooms")
        await crowd.ask(3)
        await crowd.all_answered()
        crowd.each_once_in_order()
        assert len(moves(crowd.bob)) == came

        # the hole is on record, with its times, in every place an operator looks
        rooms = await one.rooms()
        gaps = {gap["room"]: gap for gap in (await one.status())["gaps"]}
        for row in rooms.values():
            assert 0 < row["gap_since"] < row["gap_until"], row
            assert row["gap_until"] - row["gap_since"] < 30
            gap = gaps[row["id"]]
            assert (gap["since"], gap["until"]) == (row["gap_since"], row["gap_until"])
        text = (await one.run("status")).out
        assert re.search(r"gap .*#room0: lines may be missing from [\d:]+ to [\d:]+", text)
        async with one.tail("room0", "--since", "5m") as tail:
            await tail.shows("-- something may be missing since ")
            await tail.shows("-- back acmebot")
        note(f"the gap was {gap['until'] - gap['since']:.1f} s long")
