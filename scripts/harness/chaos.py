"""`scripts/chaos`: kill and freeze the parts of Instabot while people talk; check every line."""

import argparse
import asyncio
import json
import random
import shutil
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop
from redis.exceptions import RedisError

from instabot.broker.desk import Desk
from instabot.errors import InstabotError
from scripts.harness.aftermath import Left, reckon, waiting
from scripts.harness.faults import PARTS, Fault, schedule
from scripts.harness.keeper import Keeper
from scripts.harness.people import Talkers, Witness
from scripts.harness.product import Product
from scripts.harness.stage import REDISES, SERVERS, Stage, stage
from scripts.harness.subjects import Seed, Subject
from scripts.harness.verdict import Verdict, judge
from tests.servers import Missing, used
from tests.servers.process import until

EXAMPLES = """examples:
  scripts/chaos --rooms 200 --messages 10000 --kill backend --kills 20
  scripts/chaos --kill redis --kills 10 --stop
  scripts/chaos --kill runtime --kills 5 --server inspircd
  scripts/chaos --redis-down 60 --seconds 120
  scripts/chaos --kill backend,runtime,redis --stop --seed 7"""


@dataclass
class Run:
    """Everything that plays in one run."""

    args: argparse.Namespace
    stage: Stage
    subject: Subject
    witness: Witness = field(default_factory=Witness)
    keepers: dict[str, Keeper] = field(default_factory=dict)


def main(argv: list[str] | None = None) -> int:
    """Run → 0 when every promise held, 1 when one was broken, 2 without a needed server."""
    args = _parse(argv)
    try:
        verdict = uvloop.run(_chaos(args))
    except Missing as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(verdict.facts(), indent=2))
    else:
        print(verdict.table())
    return 1 if verdict.violations else 0


async def _chaos(args: argparse.Namespace) -> Verdict:
    async with stage(args.server, args.redis) as where:
        subject = Product(where) if args.subject == "instabot" else Seed(where)
        run = Run(args, where, subject)
        try:
            await subject.up()
            rooms = [f"#room{number}" for number in range(args.rooms)]
            took = await subject.join(rooms)
            _note(f"{args.rooms} rooms joined in {took:.1f} s")
            await _play(run, rooms)
            left = await _reckon(run)
        finally:
            await subject.down()
            if args.logs:
                _keep_logs(where, args.logs)
    return judge(_setting(args), run.witness, run.keepers, left, args.rooms)


async def _play(run: Run, rooms: list[str]) -> None:
    """Talk and hit at once, then wait until all is answered."""
    rng = random.Random(run.args.seed)
    parts = (run.subject.backend, run.subject.runtime, run.stage.redis)
    run.keepers |= {name: Keeper(part) for name, part in zip(PARTS, parts, strict=True)}
    talkers = Talkers(rooms, random.Random(rng.random()))
    async with AsyncExitStack() as stack:
        chat = await run.witness.connect(run.stage.irc.port, rooms)
        stack.callback(chat.close)
        await talkers.connect(run.stage.irc.port)
        stack.callback(talkers.close)
        async with asyncio.TaskGroup() as keeping:
            tasks = [keeping.create_task(k.keep()) for k in run.keepers.values()]
            await _hit_and_talk(run, talkers, rng)
            await talkers.barrier()
            await chat.barrier()  # now the witness has seen every question
            await _settle(run)
            for task in tasks:
                task.cancel()
        await chat.barrier()


async def _hit_and_talk(run: Run, talkers: Talkers, rng: random.Random) -> None:
    args = run.args
    faults = schedule(
        rng, args.messages / args.rate, args.kill, args.kills, args.stops, args.redis_down
    )
    async with asyncio.TaskGroup() as group:
        talking = group.create_task(talkers.talk(args.messages, args.rate))
        group.create_task(_progress(run, talking))
        start = time.perf_counter()
        for fault in faults:
            await asyncio.sleep(max(0.0, start + fault.at - time.perf_counter()))
            keeper = run.keepers[fault.part]
            if fault.kind == "kill":
                _note(_told(fault))
                keeper.kill(fault.seconds)
            else:
                _note(_told(fault))
                group.create_task(keeper.freeze(fault.seconds))


async def _progress(run: Run, talking: "asyncio.Task[None]") -> None:
    while not talking.done():
        await asyncio.wait([talking], timeout=5)
        _note(f"asked {run.witness.asked}, answered {run.witness.answered}")


async def _settle(run: Run) -> None:
    """Wait until the queues are empty and the rooms silent, at most `--drain` seconds."""

    async def still() -> bool:
        missing = run.witness.asked - run.witness.answered
        if missing > 0 and time.time() - run.witness.last < 5:
            return False
        try:
            return (await _waiting(run)).empty
        except (InstabotError, RedisError, OSError):
            return False

    try:
        await until(still, "empty queues", run.args.drain, every=0.25)
    except TimeoutError as error:
        _note(f"{error}; judging as it is")
    _note(f"asked {run.witness.asked}, answered {run.witness.answered}, settled")


async def _waiting(run: Run) -> Left:
    if isinstance(run.subject, Seed):
        return Left()  # its queues are lists, of which nothing is left but what nobody took
    async with Desk.open(run.stage.redis.url) as desk, run.stage.redis.client() as redis:
        return await waiting(redis, desk.shards)


async def _reckon(run: Run) -> Left:
    if isinstance(run.subject, Seed):
        return Left()
    async with Desk.open(run.stage.redis.url) as desk, run.stage.redis.client() as redis:
        names = {room.id: room.name for room in await desk.rooms()}
        return await reckon(redis, desk.shards, names)


def _told(fault: Fault) -> str:
    length = f" for {fault.seconds:.1f} s" if fault.seconds else ""
    return f"{fault.at:6.1f} s: {fault.kind} {fault.part}{length}"


def _setting(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "seed": args.seed,
        "rooms": args.rooms,
        "messages": args.messages,
        "rate": args.rate,
        "servers": ", ".join(sorted(used)),
    }


def _keep_logs(where: Stage, target: str) -> None:
    """Copy what the processes wrote to where the user wants it."""
    folder = Path(target)
    folder.mkdir(parents=True, exist_ok=True)
    for log in where.home.glob("*.log"):
        shutil.copy(log, folder / log.name)


def _note(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--seconds", type=_positive, default=60.0, metavar="S", help="how long (default 60)")
    add("--messages", type=int, metavar="N", help="how many questions, instead of --seconds")
    add("--rate", type=_positive, default=150.0, help="questions a second (default 150)")
    add("--rooms", type=int, default=50, help="default 50")
    add("--seed", type=int, default=1, help="the same seed hits alike (default 1)")
    add("--kill", type=_parts, default=[], metavar="PART,…", help=f"of {', '.join(PARTS)}")
    add("--kills", type=int, metavar="N", help="of each (default: one in six seconds)")
    add("--stop", action="store_true", help="freeze each part for 1 to 6 s, now and then")
    add("--stops", type=int, metavar="N", help="of each (default: one in twenty seconds)")
    add("--redis-down", type=float, default=0.0, metavar="S", help="and Redis away so long")
    add("--drain", type=_positive, default=120.0, metavar="S", help="patience at the end")
    add(
        "--subject",
        choices=("instabot", "seed"),
        default="instabot",
        help="the seed, transliterated, shows that the checks find what is lost",
    )
    add("--server", choices=SERVERS, default="ngircd", help="the IRC server")
    add("--redis", choices=REDISES, default="redis", help="the Redis")
    add("--logs", metavar="DIR", help="keep the processes' output there")
    add("--json", action="store_true", help="one JSON document on stdout")
    args = parser.parse_args(argv)
    args.messages = args.messages or int(args.seconds * args.rate)
    length = args.messages / args.rate
    args.kills = args.kills if args.kills is not None else max(1, int(length / 6))
    args.stops = (args.stops or max(1, int(length / 20))) if args.stop or args.stops else 0
    return args


def _positive(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0")
    return value


def _parts(text: str) -> list[str]:
    parts = text.split(",")
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{', '.join(unknown)}: choose from {', '.join(PARTS)}"
        )
    return parts
