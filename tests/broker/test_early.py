"""Early delivery (`broker/consumer.py`): evaluating while the FETCH is still on its way."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest_asyncio

from instabot.broker import scripts
from instabot.broker.consumer import EARLY, Consumer
from instabot.broker.lease import Leases, Taken
from instabot.broker.scripts import Done, Entry
from tests.broker.shelf import Recorder, running
from tests.contracts.queues import Queues, queues


class Backend:
    """A consumer with early delivery that commits each entry with one reply as it comes."""

    def __init__(self, q: Queues, tasks: asyncio.TaskGroup) -> None:
        self.q = q
        self.leases = Leases(q.client, "backend", "b", 1, incarnation=1)
        self.pipe, self.blocking = Recorder(q.client), Recorder(q.blocking)
        self.got: list[str] = []
        self.sent_before: list[int] = []
        self.batches: list[int] = []
        self.changed = asyncio.Event()
        self.commits = tasks
        self.consumer = Consumer(
            self.pipe,
            self.blocking,
            self.leases,
            "messages",
            "backend",
            self.deliver,
            early=True,
        )

    async def start(self) -> None:
        await self.leases.tick()
        self.consumer.take(Taken(0, "", 0.0, 1, again=False))

    def deliver(self, entries: Sequence[Entry]) -> None:
        self.batches.append(len(entries))
        self.sent_before.append(self.pipe.count("EVALSHA") + self.pipe.count("EVAL"))
        for entry in entries:
            self.got.append((entry.data or b"").decode())
            self.commits.create_task(self.commit(entry))

    async def commit(self, entry: Entry) -> None:
        done = Done(entry, [(entry.room, entry.tenant, b"re " + (entry.data or b""))])
        await scripts.commit(self.pipe, 0, self.q.backend, [done], 100)
        self.consumer.settled([entry])
        self.changed.set()

    async def until(self, replies: list[str]) -> None:
        async with asyncio.timeout(10):
            while await self.q.texts("control") != replies:
                self.changed.clear()
                await self.changed.wait()


@pytest_asyncio.fixture
async def q() -> AsyncIterator[Queues]:
    async with queues("valkey") as made:
        yield made


async def test_what_the_wake_up_carries_is_answered_once_and_its_fetch_left_first(
    q: Queues,
) -> None:
    async with asyncio.TaskGroup() as tasks:
        backend = Backend(q, tasks)
        await backend.start()
        async with running(backend.consumer.run()):
            await backend.blocking.asked.wait()
            before = backend.pipe.count("EVALSHA") + backend.pipe.count("EVAL")
            await q.hear("1")
            await backend.until(["re 1"])

    assert backend.got == ["1"]
    assert backend.sent_before[0] > before  # the FETCH was on its way
    assert await q.depth("m") == {}


async def test_much_at_once_waits_for_its_fetch_and_comes_as_one_batch(q: Queues) -> None:
    texts = [str(n) for n in range(3 * EARLY)]
    async with asyncio.TaskGroup() as tasks:
        backend = Backend(q, tasks)
        await backend.start()
        async with running(backend.consumer.run()):
            await backend.blocking.asked.wait()
            await q.hear(*texts)
            await backend.until([f"re {text}" for text in texts])

    assert backend.batches == [3 * EARLY]


async def test_what_a_fetch_read_whose_answer_was_lost_is_read_again_from_history(
    q: Queues,
) -> None:
    texts = [str(n) for n in range(EARLY)]
    async with asyncio.TaskGroup() as tasks:
        backend = Backend(q, tasks)
        await backend.start()
        async with running(backend.consumer.run()):
            await backend.blocking.asked.wait()
            backend.pipe.fail = 1
            await q.hear(*texts)
            await backend.until([f"re {text}" for text in texts])

    assert backend.got == texts
    assert await q.depth("m") == {}


async def test_a_fetch_that_was_lost_means_one_more_evaluation_but_no_second_reply(
    q: Queues,
) -> None:
    async with asyncio.TaskGroup() as tasks:
        backend = Backend(q, tasks)
        await backend.start()
        async with running(backend.consumer.run()):
            await backend.blocking.asked.wait()
            backend.pipe.fail = 1  # carried out, but its answer never came
            await q.hear("1")
            await backend.until(["re 1"])
            await q.hear("2")
            await backend.until(["re 1", "re 2"])

    assert await q.texts("control") == ["re 1", "re 2"]
    assert await q.depth("m") == {}
