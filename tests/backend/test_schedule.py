"""`@plugin.every`: slots, and the loop that queues each once."""

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instabot.backend.schedule import LOOK, Job, Schedule, Slot, jobs, run, wait_or_stop
from instabot.commands import Context, Plugin
from instabot.errors import BadInput, Fenced, Unreachable
from instabot.model import Request

FIVE = Job("news", "fetch", 300.0)
NIGHTLY = Job("backup", "all", 86400.0)


def queued(schedule: Schedule, now: float) -> list[str]:
    """What is due, noted as queued."""
    due = schedule.due(now)
    for slot in due:
        schedule.done(slot)
    return [slot.id for slot in due]


# -- slots ---------------------------------------------------------------------------------


def test_a_slot_has_the_same_id_on_every_backend() -> None:
    early, late = Schedule((FIVE,)), Schedule((FIVE,))
    assert queued(early, 3000.0) == ["every:news:fetch:3000000"]
    assert queued(late, 3299.9) == ["every:news:fetch:3000000"]


def test_slots_begin_at_multiples_of_the_interval_since_the_epoch() -> None:
    assert Slot.newest(FIVE, 3200.0).begins == 3000.0
    assert Schedule((FIVE,)).due(3299.9)[0].begins == 3000.0


def test_a_slot_is_due_once() -> None:
    schedule = Schedule((FIVE,))
    assert queued(schedule, 3000.0) == ["every:news:fetch:3000000"]
    assert queued(schedule, 3000.0) == []
    assert queued(schedule, 3299.9) == []
    assert queued(schedule, 3300.0) == ["every:news:fetch:3300000"]


def test_missed_slots_run_once_and_not_once_each() -> None:
    schedule = Schedule((FIVE,))
    queued(schedule, 3000.0)
    assert queued(schedule, 3000.0 + 7 * 300) == ["every:news:fetch:5100000"]


def test_a_clock_that_goes_back_repeats_nothing() -> None:
    schedule = Schedule((FIVE,))
    queued(schedule, 6000.0)
    assert queued(schedule, 3000.0) == []
    assert queued(schedule, 6300.0) == ["every:news:fetch:6300000"]


def test_the_longest_due_comes_first() -> None:
    assert queued(Schedule((FIVE, NIGHTLY)), 86400 + 600.0) == [
        "every:backup:all:86400000",
        "every:news:fetch:87000000",
    ]


def test_a_slot_that_was_not_queued_stays_due() -> None:
    schedule = Schedule((FIVE,))
    assert schedule.due(3000.0) == schedule.due(3100.0) == [Slot(FIVE, 3_000_000)]


def test_reloading_plugins_repeats_no_slot_of_an_unchanged_job() -> None:
    schedule = Schedule((FIVE,))
    queued(schedule, 3000.0)
    schedule.replace([NIGHTLY, FIVE])
    assert queued(schedule, 3000.0) == ["every:backup:all:0"]


def test_a_changed_interval_never_falls_below_the_mark_of_the_old_one() -> None:
    now = 1_764_000_000.0
    minutes = Slot.newest(FIVE, now)
    hours = Slot.newest(Job("news", "fetch", 3600.0), now + 3600)
    assert hours.job.source == minutes.job.source
    assert hours.number > minutes.number


def test_jobs_come_from_the_plugins_timers() -> None:
    plugin = Plugin("news")

    @plugin.every("5m")
    async def fetch(ctx: Context) -> None:
        pass

    assert jobs([Plugin("idle"), plugin]) == (FIVE,)


def test_two_timers_of_one_name_are_refused_for_they_would_share_a_mark() -> None:
    plugin = Plugin("news")

    @plugin.every("5m")
    @plugin.every("1h")
    async def fetch(ctx: Context) -> None:
        pass

    with pytest.raises(BadInput, match=r"news.*two timers named fetch"):
        jobs([plugin])


@pytest.mark.parametrize("every", [0.0, -5.0, 0.5, float("inf"), float("nan")])
def test_an_interval_that_makes_no_sense_is_refused_with_the_jobs_name(every: float) -> None:
    with pytest.raises(ValueError, match="every:news:fetch"):
        Job("news", "fetch", every)


def test_a_slots_request_says_what_to_call_and_is_void_when_the_next_begins() -> None:
    request = Slot(FIVE, 3_000_000).request(3001.0)
    assert request == Request(
        id="every:news:fetch:3000000",
        verb="every",
        args={"plugin": "news", "function": "fetch", "seconds": 300.0, "begins": 3000.0},
        by="plugin news",
        at=3001.0,
        deadline=3300.0,
    )


def test_all_jobs_of_a_plugin_share_a_shard() -> None:
    other = Job("news", "prune", 60.0)
    assert Slot(FIVE, 1).shard(16) == Slot(other, 99).shard(16) == 0


@given(
    every=st.floats(1, 1e7),
    times=st.lists(st.floats(0, 4e9), min_size=1, max_size=30),
)
def test_whatever_the_clock_does_no_slot_comes_twice(every: float, times: list[float]) -> None:
    schedule = Schedule((Job("p", "f", every),))
    ids = [slot for now in times for slot in queued(schedule, now)]
    assert len(ids) == len(set(ids))
    assert len(queued(schedule, 5e9)) == 1


@given(now=st.floats(0, 4e9), every=st.floats(1, 1e6))
def test_the_wait_never_passes_the_begin_of_a_slot(now: float, every: float) -> None:
    wait = Schedule((Job("p", "f", every), NIGHTLY)).wait(now)
    assert 0 <= wait <= LOOK
    assert (now + wait) // every <= now // every + 1


def test_without_jobs_there_is_a_look_now_and_then() -> None:
    assert Schedule().wait(12.0) == LOOK


# -- the loop ------------------------------------------------------------------------------


@dataclass
class Machine:
    """A clock that moves only when the loop waits, and a queue which notes what it is given."""

    now: float = 3000.0
    until: float = 3600.0
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    got: list[tuple[float, str]] = field(default_factory=list)
    answers: list[bool | Exception] = field(default_factory=list)

    async def wait(self, stop: asyncio.Event, seconds: float) -> None:
        self.now += seconds
        if self.now >= self.until:
            stop.set()

    async def queue(self, slot: Slot, request: Request) -> bool:
        assert request.id == slot.id
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        if answer:
            self.got.append((self.now, slot.id))
        return answer

    async def runs(self, *jobs: Job) -> list[tuple[float, str]]:
        await run(
            Schedule(jobs), self.queue, clock=lambda: self.now, stop=self.stop, wait=self.wait
        )
        return self.got


async def test_the_loop_queues_each_slot_as_it_begins() -> None:
    assert await Machine(now=3123.0, until=3900.0).runs(FIVE) == [
        (3123.0, "every:news:fetch:3000000"),
        (3300.0, "every:news:fetch:3300000"),
        (3600.0, "every:news:fetch:3600000"),
    ]


@pytest.mark.parametrize("trouble", [Unreachable("Redis is away"), Fenced("not ours"), False])
async def test_what_cannot_be_queued_is_tried_again_soon(trouble: bool | Exception) -> None:
    machine = Machine(until=3100.0, answers=[trouble, trouble])
    assert await machine.runs(FIVE) == [(3000.0 + 2 * LOOK, "every:news:fetch:3000000")]


async def test_while_the_queue_is_away_for_long_the_newest_slot_alone_remains() -> None:
    machine = Machine(until=4000.0, answers=[Unreachable("Redis is away")] * 150)
    assert await machine.runs(FIVE) == [
        (3000.0 + 150 * LOOK, "every:news:fetch:3600000"),
        (3900.0, "every:news:fetch:3900000"),
    ]


async def test_the_loop_ends_at_once_when_told_to_stop() -> None:
    stop, asked = asyncio.Event(), asyncio.Event()

    async def queue(slot: Slot, request: Request) -> bool:
        asked.set()
        return True

    async with asyncio.timeout(2), asyncio.TaskGroup() as tasks:
        tasks.create_task(run(Schedule((NIGHTLY,)), queue, clock=lambda: 1.0, stop=stop))
        await asked.wait()
        stop.set()


async def test_waiting_ends_by_time_too() -> None:
    await wait_or_stop(asyncio.Event(), 0)
