"""`scripts/bench`: how much Instabot does, beside the seed transliterated, in the same run."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

import uvloop

from scripts.harness import machine, measures
from scripts.harness.figures import Column, Figure, figures, ratios, table
from scripts.harness.measures import Plan
from scripts.harness.product import Product
from scripts.harness.stage import REDISES, SERVERS
from scripts.harness.subjects import Seed
from tests.servers import Missing, used

KINDS = ("ceiling", "commands", "chatter", "latency", "memory", "idle", "join")
SEED = "seed"


def main(argv: list[str] | None = None) -> int:
    """Measure and print → 0, or 1 when a measurement failed, or 2 without a needed server."""
    args = _parser().parse_args(argv)
    plan = _plan(args)
    try:
        result = uvloop.run(_bench(args, plan))
    except Missing as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print(json.dumps(result, indent=2) if args.json else _text(result, plan))
    return 1 if result["failed"] else 0


async def _bench(args: argparse.Namespace, plan: Plan) -> dict[str, Any]:
    subjects = _subjects(args)
    columns: dict[str, dict[str, float]] = {}
    failed: dict[str, str] = {}
    about = machine.describe()
    limits: dict[str, float] = {}
    if plan.wants("ceiling"):
        measures.note("ceiling")
        limits = await measures.ceiling(plan)
    for name, make in subjects.items():
        columns[name] = await _measure(name, make, plan, failed)
    rows = figures(plan.sizes, plan.flights)
    return {
        "machine": {**about, "servers": ", ".join(sorted(used))},
        "command": " ".join(["scripts/bench", *sys.argv[1:]]),
        "ceiling": limits,
        "figures": columns,
        "ratios": _ratios(rows, columns),
        "failed": failed,
    }


async def _measure(
    name: str, make: measures.Make, plan: Plan, failed: dict[str, str]
) -> dict[str, float]:
    column: dict[str, float] = {}
    steps: dict[str, Callable[[], Any]] = {
        "talking": lambda: measures.talk(make, plan),
        "sitting on one link": lambda: measures.sit(make, plan, own_links=False),
    }
    if name != SEED:  # whose links are always a room's own
        steps["sitting on a link each"] = lambda: measures.sit(make, plan, own_links=True)
    for step, measure in steps.items():
        measures.note(f"{name}: {step}")
        try:
            found: dict[str, float] = await measure()
        except (RuntimeError, TimeoutError, OSError) as error:
            failed[f"{name}: {step}"] = str(error)
            measures.note(f"failed: {error}")
            continue
        column.update(found)
    if name == SEED:
        # One connection per room is all it knows: the same figures stand in both places.
        same = {key: column[key] for key in column if key.startswith(_SITTING)}
        column.update({f"links_{key}": value for key, value in same.items()})
    return column


_SITTING = ("rss_", "slope", "join", "rejoin", "idle_")


def _subjects(args: argparse.Namespace) -> dict[str, measures.Make]:
    found: dict[str, measures.Make] = {}
    if args.log in ("on", "both"):
        found["log on"] = lambda stage: Product(stage, log=True)
    if args.log in ("off", "both"):
        found["log off"] = lambda stage: Product(stage, log=False)
    if args.subjects == "seed":
        found.clear()
    if args.subjects != "instabot":
        found[SEED] = Seed
    return found


def _ratios(rows: list[Figure], columns: Mapping[str, Column]) -> dict[str, dict[str, float]]:
    if SEED not in columns:
        return {}
    return {
        name: ratios(rows, column, columns[SEED])
        for name, column in columns.items()
        if name != SEED
    }


def _text(result: dict[str, Any], plan: Plan) -> str:
    lines = [f"{name}: {value}" for name, value in result["machine"].items()]
    lines += [f"command: {result['command']}", ""]
    for name, rate in result["ceiling"].items():
        lines.append(f"ceiling, {name}: {rate:,.0f} commands/s")
    lines += ["", table(figures(plan.sizes, plan.flights), result["figures"], SEED)]
    lines += [f"FAILED {step}: {why}" for step, why in result["failed"].items()]
    return "\n".join(lines)


def _plan(args: argparse.Namespace) -> Plan:
    quick = args.quick
    return Plan(
        server=args.server,
        redis=args.redis,
        seconds=args.seconds or (3.0 if quick else 10.0),
        warm_up=1.0 if quick else 3.0,
        latency_seconds=5.0 if quick else 20.0,
        idle_seconds=5.0 if quick else 20.0,
        rooms=100,
        sizes=(1, 100, 1000) if quick else (1, 1000, 10000),
        flights=(50, 400),
        only=frozenset(args.only),
    )


def _kinds(text: str) -> list[str]:
    kinds = text.split(",")
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{', '.join(unknown)}: choose from {', '.join(KINDS)}"
        )
    return kinds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=__doc__,
        epilog="example: scripts/bench --quick --only commands,latency --log off",
    )
    parser.add_argument(
        "--only",
        type=_kinds,
        default=list(KINDS),
        metavar="KIND,…",
        help=f"of {', '.join(KINDS)}",
    )
    parser.add_argument("--quick", action="store_true", help="minutes instead of half an hour")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--server", choices=SERVERS, default="inspircd", help="the IRC server")
    parser.add_argument("--redis", choices=REDISES, default="redis", help="the Redis")
    parser.add_argument(
        "--log", choices=("on", "off", "both"), default="both", help="the rooms' log"
    )
    parser.add_argument(
        "--subjects",
        choices=("both", "instabot", "seed"),
        default="both",
        help="whom to measure",
    )
    parser.add_argument("--seconds", type=float, metavar="S", help="for each rate")
    return parser
