"""The outgoing half of a link: turns, budget, barriers, outcomes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from instabot.adapters.base import Identity, Kind, Rejection
from instabot.errors import LinkError, Refused
from instabot.runtime import sender as module
from instabot.runtime.budget import Budget
from instabot.runtime.sender import Sender

Lines = Sequence[tuple[str, Kind]]


class Paper:
    """An adapter that writes down what it is told; `barriers` are ended by the test."""

    def __init__(self, *, confirms: bool = True) -> None:
        self.said: list[str] = []
        self.barriers: list[asyncio.Future[Sequence[Rejection]]] = []
        self.asked = asyncio.Event()
        self.faults: dict[str, Exception] = {}
        if not confirms:
            self.confirm = None  # type: ignore[method-assign, assignment]

    async def connect(self) -> Identity:
        return Identity("bot")

    async def join(self, room: str, key: str = "") -> None: ...

    async def say(self, room: str, text: str, kind: Kind = "say") -> None:
        await asyncio.sleep(0)
        if text in self.faults:
            raise self.faults[text]
        self.said.append(f"{room} {text}")

    async def part(self, room: str, reason: str = "") -> None: ...

    async def close(self, reason: str = "") -> None: ...

    async def confirm(self) -> Sequence[Rejection]:
        barrier: asyncio.Future[Sequence[Rejection]] = (
            asyncio.get_running_loop().create_future()
        )
        self.barriers.append(barrier)
        self.asked.set()
        return await barrier

    async def barrier(self, number: int) -> asyncio.Future[Sequence[Rejection]]:
        while len(self.barriers) <= number:
            self.asked.clear()
            await self.asked.wait()
        return self.barriers[number]


class Splitting(Paper):
    """Cuts at spaces."""

    def split(self, room: str, text: str, kind: Kind = "say") -> Sequence[str]:
        if text == "uncuttable":
            raise ZeroDivisionError
        return text.split()


class Desk:
    """A sender with its adapter. `broken` are the errors that the link was told of."""

    def __init__(self, tasks: asyncio.TaskGroup, adapter: Paper, budget: Budget) -> None:
        self.tasks = tasks
        self.adapter = adapter
        self.allowed = True
        self.broken: list[LinkError] = []
        self.sender = Sender(tasks, budget, lambda: self.allowed, self.broken.append)
        self.sender.attach(adapter)

    def say(self, room: str, *texts: str) -> asyncio.Task[list[str]]:
        """A room's task; a link that goes away ends it with the words of the error."""
        lines: Lines = [(text, "say") for text in texts]

        async def saying() -> list[str]:
            try:
                return await self.sender.say(room, lines)
            except LinkError as error:
                return ["LinkError", str(error)]

        return self.tasks.create_task(saying())


@asynccontextmanager
async def desk(adapter: Paper | None = None, rate: float = 0) -> AsyncIterator[Desk]:
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        yield Desk(tasks, adapter or Paper(), Budget(rate, 2))


async def test_rooms_take_turns_under_a_flood_limit() -> None:
    async with desk(rate=10_000) as d:
        d.say("#long", *(f"page {n}" for n in range(4)))
        d.say("#short", "hi")
        (await d.adapter.barrier(0)).set_result([])
        (await d.adapter.barrier(1)).set_result([])
        assert d.adapter.said == [
            "#long page 0",
            "#short hi",
            "#long page 1",
            "#long page 2",
            "#long page 3",
        ]


async def test_one_barrier_confirms_all_that_went_out_in_a_flush() -> None:
    async with desk() as d:
        saying = [d.say(f"#r{n}", "hi") for n in range(20)]
        barrier = await d.adapter.barrier(0)
        assert len(d.adapter.said) == 20
        assert not any(task.done() for task in saying)
        barrier.set_result([])
        assert [await task for task in saying] == [[""]] * 20
        assert len(d.adapter.barriers) == 1


async def test_a_long_flush_is_confirmed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH", 3)
    async with desk() as d:
        saying = [d.say(f"#r{n}", "hi") for n in range(6)]
        (await d.adapter.barrier(0)).set_result([])
        (await d.adapter.barrier(1)).set_result([])
        assert [await task for task in saying] == [[""]] * 6


async def test_an_adapter_that_cannot_confirm_is_believed() -> None:
    class Plain(Paper):
        confirm = None  # type: ignore[assignment]

    async with desk(Plain()) as d:
        assert await d.say("#ops", "a", "b") == ["", ""]


async def test_the_link_going_away_fails_what_is_not_confirmed_and_says_so() -> None:
    async with desk() as d:
        saying = d.say("#ops", "hi")
        await d.adapter.barrier(0)
        d.sender.detach(LinkError("cut"))
        assert await saying == ["LinkError", "cut"]
        assert await d.say("#ops", "again") == ["LinkError", "not connected"]
        d.adapter.barriers[0].set_result([])


async def test_a_link_error_of_the_adapter_fails_the_batch_and_is_told_to_the_link() -> None:
    async with desk() as d:
        d.adapter.faults["hi"] = LinkError("broken pipe")
        assert await d.say("#ops", "hi") == ["LinkError", "broken pipe"]
        assert [str(error) for error in d.broken] == ["broken pipe"]


@pytest.mark.parametrize("error", [LinkError("x"), Refused("other", "x"), RuntimeError("x")])
async def test_a_barrier_that_fails_fails_its_batches(error: Exception) -> None:
    async with desk() as d:
        saying = d.say("#ops", "hi")
        (await d.adapter.barrier(0)).set_exception(error)
        assert (await saying)[0] == "LinkError"
        assert len(d.broken) == 1


async def test_a_refused_piece_is_its_lines_fate_and_no_others() -> None:
    async with desk() as d:
        d.adapter.faults["b"] = Refused("other", "too rude")
        saying = d.say("#ops", "a", "b", "c")
        (await d.adapter.barrier(0)).set_result([])
        assert await saying == ["", "too rude", ""]
        assert d.adapter.said == ["#ops a", "#ops c"]


async def test_a_bug_of_the_adapter_with_one_text_costs_that_text_and_not_the_link() -> None:
    async with desk() as d:
        d.adapter.faults["b"] = ValueError("cannot encode")
        saying = d.say("#ops", "a", "b", "c")
        (await d.adapter.barrier(0)).set_result([])
        assert await saying == ["", "the adapter failed at say: ValueError", ""]
        assert d.broken == []


async def test_a_text_that_cannot_be_cut_is_refused_alone() -> None:
    async with desk(Splitting()) as d:
        saying = d.say("#ops", "uncuttable", "two words")
        (await d.adapter.barrier(0)).set_result([])
        assert await saying == ["the adapter failed at split: ZeroDivisionError", ""]
        assert await d.say("#ops", "", " ") == ["", ""]


@pytest.mark.parametrize(
    ("rejections", "verdict"),
    [
        ([Rejection("#ops", "no", "a1")], ["no", "", ""]),
        ([Rejection("#ops", "no", "a1"), Rejection("#ops", "no", "a2")], ["no", "", ""]),
        ([Rejection("#ops", "no", "b1"), Rejection("#ops", "no", "a2")], ["no", "no", ""]),
        ([Rejection("#ops", "no")], ["", "", "no"]),
        ([Rejection("#ops", "no")] * 2, ["", "no", "no"]),
        ([Rejection("#ops", "no")] * 5, ["no", "no", "no"]),
        ([Rejection("#ops", "no")] * 99, ["no", "no", "no"]),
        ([Rejection("#OPS", "no", "c1")], ["", "", "no"]),
        ([Rejection("#elsewhere", "no", "a1")], ["", "", ""]),
        ([Rejection("#ops", "", "a1")], ["refused", "", ""]),
    ],
)
async def test_a_rejection_hits_the_line_that_its_piece_came_from(
    rejections: list[Rejection], verdict: list[str]
) -> None:
    async with desk(Splitting()) as d:
        saying = d.say("#ops", "a1 a2", "b1", "c1")
        (await d.adapter.barrier(0)).set_result(rejections)
        assert await saying == verdict


async def test_a_rejection_prefers_the_piece_it_quotes_whole() -> None:
    async with desk() as d:
        saying = d.say("#ops", "bad luck", "bad")
        (await d.adapter.barrier(0)).set_result([Rejection("#ops", "no", "bad")])
        assert await saying == ["", "no"]


async def test_a_rejection_told_by_an_earlier_barrier_finds_its_batch() -> None:
    async with desk() as d:
        first = d.say("#a", "one")
        await d.adapter.barrier(0)
        second = d.say("#b", "two")
        await d.adapter.barrier(1)
        d.adapter.barriers[0].set_result([Rejection("#b", "no", "two")])
        assert await first == [""]
        d.adapter.barriers[1].set_result([])
        assert await second == ["no"]


async def test_nothing_is_said_while_the_lease_is_not_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.0)
    async with desk() as d:
        d.allowed = False
        saying = d.say("#ops", "hi")
        for _ in range(50):
            await asyncio.sleep(0)
        assert d.adapter.said == []
        d.allowed = True
        (await d.adapter.barrier(0)).set_result([])
        assert await saying == [""]


async def test_a_lease_that_ends_in_the_middle_of_a_batch_stops_the_rest_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.0)
    async with desk() as d:
        honest = d.adapter.say

        async def say(room: str, text: str, kind: Kind = "say") -> None:
            await honest(room, text, kind)
            d.allowed = text != "b"

        d.adapter.say = say  # type: ignore[method-assign]
        saying = d.say("#ops", "a", "b", "c")
        for _ in range(50):
            await asyncio.sleep(0)
        assert d.adapter.said == ["#ops a", "#ops b"]
        d.sender.detach(LinkError("another runtime took over"))
        assert (await saying)[0] == "LinkError"
        await _ended(d)
        assert d.adapter.said == ["#ops a", "#ops b"]


async def _ended(d: Desk) -> None:
    while d.sender._running:  # noqa: ASYNC110 - it announces nothing
        await asyncio.sleep(0)


async def test_a_room_that_is_dropped_while_it_waits_is_not_spoken_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.0)
    async with desk() as d:
        d.allowed = False
        gone, stays = d.say("#gone", "hi"), d.say("#stays", "hi")
        for _ in range(5):
            await asyncio.sleep(0)
        gone.cancel()
        d.allowed = True
        (await d.adapter.barrier(0)).set_result([])
        assert await stays == [""]
        assert d.adapter.said == ["#stays hi"]


async def test_a_pump_of_an_old_link_leaves_the_new_one_alone() -> None:
    async with desk() as d:
        old = d.say("#ops", "old")
        await d.adapter.barrier(0)
        d.sender.detach(LinkError("cut"))
        new_adapter = Paper()
        d.sender.attach(new_adapter)
        new = d.say("#ops", "new")
        (await new_adapter.barrier(0)).set_result([])
        assert await new == [""]
        d.adapter.barriers[0].set_exception(LinkError("late"))
        assert await old == ["LinkError", "cut"]
        assert d.broken == []


async def test_a_large_reply_goes_out_whole_and_in_order() -> None:
    async with desk(Splitting()) as d:
        text = " ".join(str(n) for n in range(5000))
        saying = d.say("#ops", text)
        (await d.adapter.barrier(0)).set_result([])
        assert await saying == [""]
        assert d.adapter.said == [f"#ops {n}" for n in range(5000)]
