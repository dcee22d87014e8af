import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from instabot.broker.keys import key
from instabot.broker.lease import Leases, Taken
from instabot.errors import Superseded, Unreachable
from tests.broker.shelf import Recorder, running
from tests.contracts.queues import Queues, queues


@pytest_asyncio.fixture
async def q() -> AsyncIterator[Queues]:
    async with queues("fakeredis") as made:
        await made.raw("FLUSHALL")
        yield made


class Watched:
    """Leases of two shards, and what they told."""

    def __init__(self, q: Queues, name: str, incarnation: int = 1, ttl: float = 60.0) -> None:
        self.client = Recorder(q.client)
        self.leases = Leases(self.client, "runtime", name, 2, ttl=ttl, incarnation=incarnation)
        self.told: list[str] = []
        self.taken: list[Taken] = []
        self.trouble = 0
        self.lost = asyncio.Event()
        self.leases.on_taken.append(self._take)
        self.leases.on_lost.append(self._lose)
        self.leases.on_generation.append(self._generation)

    async def _take(self, taken: Taken) -> None:
        if self.trouble:
            self.trouble -= 1
            raise Unreachable("not now")
        self.taken.append(taken)
        self.told.append(f"took {taken.shard}" + " again" * taken.again)

    async def _lose(self, shard: int) -> None:
        self.told.append(f"lost {shard}")
        self.lost.set()

    async def _generation(self, shard: int, number: int) -> None:
        self.told.append(f"generation {number} of {shard}")


async def expire(q: Queues, shard: int) -> None:
    await q.raw("DEL", key(shard, "lease:runtime"))


async def test_free_shards_are_taken_once_and_then_renewed(q: Queues) -> None:
    one = Watched(q, "one")
    await one.leases.tick()
    await one.leases.tick()
    assert one.told == ["took 0", "took 1"]
    assert one.leases.valid(0)
    assert not one.leases.valid(7)


async def test_another_waits_and_takes_what_has_run_out(q: Queues) -> None:
    one, two = Watched(q, "one"), Watched(q, "two")
    await one.leases.tick()
    await two.leases.tick()
    assert two.told == []
    await expire(q, 1)
    await two.leases.tick()
    assert two.told == ["took 1"]
    assert two.taken[0].before == "one:1"
    await one.leases.tick()
    assert one.told[2:] == ["lost 1"]


async def test_a_lease_that_ran_out_unnoticed_is_taken_again_with_what_is_in_flight(
    q: Queues,
) -> None:
    one = Watched(q, "one")
    await one.leases.tick()
    await expire(q, 0)
    await one.leases.tick()
    assert one.told == ["took 0", "took 1", "took 0 again"]


async def test_a_shard_that_another_had_meanwhile_is_first_lost(q: Queues) -> None:
    one, two = Watched(q, "one"), Watched(q, "two")
    await one.leases.tick()
    await expire(q, 0)
    await two.leases.tick()
    await two.leases.release([0])
    await one.leases.tick()
    assert one.told[2:] == ["lost 0", "took 0"]


async def test_the_next_incarnation_takes_over_at_once_and_the_old_one_must_exit(
    q: Queues,
) -> None:
    old, new = Watched(q, "one", 1), Watched(q, "one", 2)
    await old.leases.tick()
    await new.leases.tick()
    assert new.told == ["took 0", "took 1"]
    with pytest.raises(Superseded, match="one:2"):
        await old.leases.tick()


async def test_no_word_is_said_in_the_last_fifth_of_a_lease(
    q: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Watched(q, "one", ttl=10.0)
    now = 1000.0
    monkeypatch.setattr("instabot.broker.lease.time.monotonic", lambda: now)
    await one.leases.tick()
    now = 1007.9
    assert one.leases.valid(0)
    now = 1008.1
    assert not one.leases.valid(0)
    await one.leases.tick()
    assert one.leases.valid(0)


async def test_a_shard_that_could_not_be_settled_in_is_told_again(q: Queues) -> None:
    one = Watched(q, "one")
    one.trouble = 1
    with pytest.raises(Unreachable):
        await one.leases.tick()
    assert 0 not in one.leases.held
    await one.leases.tick()
    assert one.told == ["took 0", "took 1"]


async def test_whom_a_shard_was_taken_from_is_remembered_until_it_is_settled_in(
    q: Queues,
) -> None:
    two, one = Watched(q, "two"), Watched(q, "one")
    await two.leases.tick()
    await two.leases.release()
    one.trouble = 1
    with pytest.raises(Unreachable):
        await one.leases.tick()
    await one.leases.tick()
    assert [taken.before for taken in one.taken] == ["two:1", "two:1"]
    await expire(q, 0)
    await one.leases.tick()
    assert (one.taken[2].before, one.taken[2].again) == ("one:1", True)


async def test_a_rising_generation_is_told(q: Queues) -> None:
    one = Watched(q, "one")
    await one.leases.tick()
    await q.raw("HSET", key(1, "rooms"), "generation", 5)
    await one.leases.tick()
    await one.leases.tick()
    assert one.told[2:] == ["generation 5 of 1"]


async def test_a_refused_script_has_the_leases_looked_at_at_once(q: Queues) -> None:
    one = Watched(q, "one")
    await one.leases.tick()
    await q.raw("SET", key(0, "lease:runtime"), "two:1")
    async with running(one.leases.run()), asyncio.timeout(10):  # long before ttl / 3
        one.leases.fenced()
        one.client.asked.clear()
        await one.lost.wait()
    assert one.told[2:] == ["lost 0"]


async def test_what_is_released_is_free_at_once(q: Queues) -> None:
    one, two = Watched(q, "one"), Watched(q, "two")
    await one.leases.tick()
    await one.leases.release()
    await two.leases.tick()
    assert two.told == ["took 0", "took 1"]
    await one.leases.release()  # not ours any more
    assert await q.raw("GET", key(0, "lease:runtime")) == b"two:1"


async def test_when_redis_lost_its_data_the_shards_are_still_ours_and_nothing_is_given_up(
    q: Queues,
) -> None:
    ours = Watched(q, "one")
    await ours.leases.tick()
    await q.raw("FLUSHALL")
    await ours.leases.tick()
    assert ours.told == ["took 0", "took 1", "took 0 again", "took 1 again"]
