"""`@plugin.every("5m")`: which slots are due, and the loop that queues each of them once.

A slot is one turn of one job; slots begin at multiples of the interval since the Unix epoch, on
every machine alike. Any number of backends may queue the same slot: its id is the same
everywhere, and INGEST keeps a high-water mark for each job (`source`, `number`), which has no
expiry. After a pause only the newest slot is due, so what was missed runs once.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from instabot.commands import Plugin
from instabot.errors import BadInput, Fenced, Unreachable
from instabot.model import Request

VERB = "every"
SHORTEST = 1.0
"""Shorter intervals (seconds) are refused: a queue is not a timer."""
LOOK = 5.0
"""The loop looks at least this often (seconds): a clock may jump, a queue may come back."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """One function to be called every `every` seconds."""

    plugin: str
    function: str
    every: float

    def __post_init__(self) -> None:
        if not SHORTEST <= self.every < float("inf"):
            raise ValueError(
                f"{self.source} runs every {self.every:g} s; {SHORTEST:g} s is the shortest"
            )

    @property
    def source(self) -> str:
        """The name of the job's high-water mark at INGEST."""
        return f"{VERB}:{self.plugin}:{self.function}"


@dataclass(frozen=True, slots=True)
class Slot:
    """One turn of a job. `number` is the Unix millisecond when it begins.

    A count of intervals would fall when a job's interval is made longer, and every slot of
    years to come would be below the high-water mark.
    """

    job: Job
    number: int

    @classmethod
    def newest(cls, job: Job, now: float) -> "Slot":
        """The slot of `job` in which `now` lies."""
        return cls(job, int(now // job.every * job.every * 1000))

    @property
    def id(self) -> str:
        """`every:PLUGIN:FUNCTION:NUMBER`, the same on every backend."""
        return f"{self.job.source}:{self.number}"

    @property
    def begins(self) -> float:
        """Unix seconds."""
        return self.number / 1000

    def shard(self, shards: int) -> int:
        """Where the slot is queued: all jobs of a plugin share a shard, hence run in order."""
        return zlib.crc32(self.job.plugin.encode()) % shards

    def request(self, now: float) -> Request:
        """The entry for `messages`. It is void once the next slot has begun."""
        return Request(
            id=self.id,
            verb=VERB,
            args={
                "plugin": self.job.plugin,
                "function": self.job.function,
                "seconds": self.job.every,
                "begins": self.begins,
            },
            by=f"plugin {self.job.plugin}",
            at=now,
            deadline=self.begins + self.job.every,
        )


@dataclass(slots=True)
class Schedule:
    """The jobs, and the last slot of each that is known to be queued. No clock, no waiting."""

    jobs: tuple[Job, ...] = ()
    queued: dict[Job, int] = field(default_factory=dict)

    def due(self, now: float) -> list[Slot]:
        """The newest slot of every job that is not queued yet, the longest due first."""
        newest = (Slot.newest(job, now) for job in self.jobs)
        due = [slot for slot in newest if slot.number > self.queued.get(slot.job, -1)]
        return sorted(due, key=lambda slot: slot.begins)

    def done(self, slot: Slot) -> None:
        """Note that the slot is queued; `due` will not name it, or an older one, again."""
        self.queued[slot.job] = max(slot.number, self.queued.get(slot.job, -1))

    def wait(self, now: float) -> float:
        """Seconds until the next slot begins (at most LOOK)."""
        begins = ((now // job.every + 1) * job.every for job in self.jobs)
        return min(LOOK, *(begin - now for begin in begins), LOOK)

    def replace(self, jobs: Iterable[Job]) -> None:
        """Take over the jobs of a reloaded plugin set; unchanged ones keep their place."""
        self.jobs = tuple(jobs)
        self.queued = {job: n for job, n in self.queued.items() if job in self.jobs}


def jobs(plugins: Iterable[Plugin]) -> tuple[Job, ...]:
    """Every `@plugin.every`. Raises BadInput for two of one name: they would share a mark."""
    found: dict[str, Job] = {}
    for plugin in plugins:
        for timer in plugin.timers:
            job = Job(plugin.name, timer.name, timer.seconds)
            if job.source in found:
                raise BadInput(
                    f"plugin “{plugin.name}” has two timers named {timer.name}; rename one"
                )
            found[job.source] = job
    return tuple(found.values())


class Queue(Protocol):
    """How a slot gets onto `messages`: INGEST with the mark (`slot.job.source`, `slot.number`)."""

    async def __call__(self, slot: Slot, request: Request) -> bool:
        """True once it is there (added, or a duplicate); False where it is for others to do
        (not our shard) or must be tried again (FULL). Raises Unreachable, Fenced."""
        ...


async def wait_or_stop(stop: asyncio.Event, seconds: float) -> None:
    """Wait for the stop event, but no longer than `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass


async def run(
    schedule: Schedule,
    queue: Queue,
    *,
    clock: Callable[[], float],
    stop: asyncio.Event,
    wait: Callable[[asyncio.Event, float], Awaitable[None]] = wait_or_stop,
) -> None:
    """Queue slots as they become due, until `stop` is set.

    A slot that could not be queued stays due: it is tried again at each look until the next
    slot of its job takes its place.
    """
    while not stop.is_set():
        for slot in schedule.due(clock()):
            try:
                if await queue(slot, slot.request(clock())):
                    schedule.done(slot)
            except (Unreachable, Fenced) as error:
                log.warning("a scheduled job waits for its queue", slot=slot.id, why=str(error))
        await wait(stop, schedule.wait(clock()))
