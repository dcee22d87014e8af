"""One function for each kind of figure; each plays on a stage of its own."""

import asyncio
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scripts.harness.load import Load, Tally
from scripts.harness.machine import Cpu, rss
from scripts.harness.stage import Stage, stage
from scripts.harness.subjects import Subject, environment, module
from tests.servers.ports import free_port, listens
from tests.servers.process import Process, folder, running, until

Make = Callable[[Stage], Subject]
CHATTER = 49
"""Lines that are no command before each question of the chatter measurement."""


@dataclass(frozen=True)
class Plan:
    """How long and how large. Seconds, rooms, commands in flight."""

    server: str
    redis: str
    seconds: float
    warm_up: float
    latency_seconds: float
    idle_seconds: float
    rooms: int
    sizes: tuple[int, ...]
    flights: tuple[int, ...]
    only: frozenset[str]

    def wants(self, *names: str) -> bool:
        """Whether any of these kinds is asked for."""
        return bool(self.only & set(names))


def note(text: str) -> None:
    """Progress, on stderr."""
    print(f"  {text}", file=sys.stderr, flush=True)


async def talk(make: Make, plan: Plan) -> dict[str, float]:
    """Commands and chatter a second, and reply latency. Raises on any wrong answer."""
    found: dict[str, float] = {}
    if not plan.wants("commands", "chatter", "latency"):
        return found
    names = [f"#room{number}" for number in range(plan.rooms)]
    async with stage(plan.server, plan.redis) as where:
        subject = make(where)
        try:
            await subject.up()
            await subject.join(names)
            load = Load(where.irc.port, names)
            await load.connect()
            await _talk(load, subject, where, plan, found)
            load.close()
        finally:
            await subject.down()
    return found


async def _talk(
    load: Load, subject: Subject, where: Stage, plan: Plan, found: dict[str, float]
) -> None:
    parts = {
        "runtime": subject.runtime,
        "backend": subject.backend,
        "redis": where.redis,
        "irc": where.irc,
    }
    for flight in plan.flights if plan.wants("commands") else ():
        cpu = Cpu(parts)
        tally = _right(await load.closed_loop(flight, plan.seconds, plan.warm_up))
        found[f"commands_{flight}"] = tally.rate
        note(f"{tally.rate:,.0f} commands/s, {flight} in flight; CPU {_shares(cpu)}")
    if plan.wants("chatter"):
        cpu = Cpu(parts)
        tally = _right(
            await load.closed_loop(plan.rooms, plan.seconds, plan.warm_up, chatter=CHATTER)
        )
        found["chatter"] = tally.rate * CHATTER
        note(f"{found['chatter']:,.0f} chatter lines/s; CPU {_shares(cpu)}")
    if plan.wants("latency"):
        tally = _right(await load.steady(50, plan.latency_seconds))
        cuts = statistics.quantiles(tally.latencies, n=100, method="inclusive")
        found["p50"], found["p99"] = cuts[49] * 1e3, cuts[98] * 1e3
        note(f"p50 {found['p50']:.2f} ms, p99 {found['p99']:.2f} ms")


async def sit(make: Make, plan: Plan, own_links: bool) -> dict[str, float]:
    """Memory at each number of rooms, then idle CPU, then all rooms joined once more."""
    found: dict[str, float] = {}
    if not plan.wants("memory", "idle", "join"):
        return found
    kind = "links_" if own_links else ""
    async with stage(plan.server, plan.redis) as where:
        subject = make(where)
        try:
            await subject.up()
            await asyncio.sleep(2)  # let imports and first beats settle
            empty = rss(subject.runtime)
            found[f"{kind}rss_0"] = empty / 1e6
            sizes = await _grow(subject, plan.sizes, own_links, empty, found, kind)
            found[f"{kind}slope"] = _slope(sizes)
            if plan.wants("idle"):
                await _idle(subject, where, plan, found, kind)
            if plan.wants("join"):
                found[f"{kind}rejoin"] = await subject.rejoin()
                note(f"killed runtime back in all rooms after {found[f'{kind}rejoin']:.1f} s")
        finally:
            await subject.down()
    return found


async def _grow(
    subject: Subject,
    sizes: Sequence[int],
    own_links: bool,
    empty: float,
    found: dict[str, float],
    kind: str,
) -> list[tuple[int, float]]:
    points, there = [], 0
    for size in sizes:
        took = await subject.join([f"#room{n}" for n in range(there, size)], own_links)
        there = size
        await asyncio.sleep(2)
        weight = rss(subject.runtime)
        points.append((size, weight))
        found[f"{kind}rss_{size}"] = (weight - empty) / size / 1e3
        note(f"{size:,} rooms: {weight / 1e6:.1f} MB, joined in {took:.1f} s")
    found[f"{kind}join"] = took
    return points


async def _idle(
    subject: Subject, where: Stage, plan: Plan, found: dict[str, float], kind: str
) -> None:
    parts = {"runtime": subject.runtime, "backend": subject.backend, "redis": where.redis}
    cpu = Cpu(parts)
    await asyncio.sleep(plan.idle_seconds)
    for name, percent in cpu.percent().items():
        found[f"{kind}idle_{name}"] = percent
    note(f"idle CPU {_shares(cpu)}")


async def ceiling(plan: Plan) -> dict[str, float]:
    """What the load could ask alone, and through the IRC server with the cheapest bot."""
    names = [f"#room{number}" for number in range(plan.rooms)]
    flight = plan.flights[-1]
    found: dict[str, float] = {}
    with folder() as home:
        port = free_port()

        async def ready() -> bool:
            return await listens(port)

        argv = module("echo", "server", str(port))
        async with running(Process("posing", argv, home, ready=ready, env=environment())):
            found["load alone"] = (await _loop(port, names, flight, plan)).rate
    async with stage(plan.server, plan.redis) as where:
        argv = module("echo", "bot", str(where.irc.port), *names)
        echo = Process("echo", argv, where.home, env=environment())
        async with running(echo):

            async def joined() -> bool:
                return "joined all" in echo.log()

            await until(joined, "the echo in all rooms")
            through = await _loop(where.irc.port, names, flight, plan)
            found[f"echo through {plan.server}"] = through.rate
    return found


async def _loop(port: int, names: Sequence[str], flight: int, plan: Plan) -> Tally:
    load = Load(port, names)
    await load.connect()
    tally = _right(await load.closed_loop(flight, plan.seconds, plan.warm_up))
    load.close()
    return tally


def _right(tally: Tally) -> Tally:
    if tally.wrong:
        raise RuntimeError(f"{tally.wrong} answers were repeated, out of order or unasked")
    return tally


def _slope(points: Sequence[tuple[int, float]]) -> float:
    (few, light), (many, heavy) = points[-2], points[-1]
    return (heavy - light) / (many - few) / 1e3


def _shares(cpu: Cpu) -> str:
    return ", ".join(f"{name} {percent:.1f} %" for name, percent in cpu.percent().items())
