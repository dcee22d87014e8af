"""`status`, `doctor`, `schema`."""

import asyncio
from typing import TYPE_CHECKING, Any

from instabot import config
from instabot.cli.asking import Args, asks, settings_of
from instabot.cli.output import clock, document, say, span
from instabot.cli.parsing import Adder, command

if TYPE_CHECKING:
    from instabot.broker.desk import Desk

_MOST_GAPS = 10
"""Rooms with a gap that `status` names; `--json` has all."""


def add(commands: Adder) -> None:
    """Add this file's commands."""
    command(
        commands,
        "status",
        "Say who runs, what waits and how the rooms are.",
        "instabot status --json",
        asks(_status),
        as_json=True,
    )
    command(
        commands,
        "doctor",
        "Look for what is wrong and say how to mend it.",
        "instabot doctor",
        _doctor,
        store=True,
        as_json=True,
    )
    command(
        commands,
        "schema",
        "Print the JSON Schema of the wire.",
        "instabot schema > wire.json",
        _schema,
        redis=False,
    )


async def _status(desk: "Desk", settings: config.Settings, args: Args) -> int:
    from instabot.broker.overview import status

    facts = await status(desk)
    if args.json:
        document(facts)
    else:
        _tell(facts)
    return 0


def _tell(facts: dict[str, Any]) -> None:
    redis, queues, rooms = facts["redis"], facts["queues"], facts["rooms"]
    say(f"instabot {facts['version']}")
    say(
        f"redis    {redis['server']} {redis['version']} at {redis['url']}, {redis['ping_ms']} ms"
    )
    for row in facts["runtimes"]:
        held = f"{row['rooms']} rooms, {row['links']} links"
        say(f"runtime  {row['id']}, {held}, up {span(row['up_s'])}, {row['rss_mb']} MB")
    for row in facts["backends"]:
        say(f"backend  {row['id']}, {row['in_flight']} in flight, up {span(row['up_s'])}")
    for role in ("runtime", "backend"):
        if not facts[f"{role}s"]:
            say(f"{role}  none runs")
    for name in ("messages", "control"):
        row = queues[name]
        say(f"{name:<8} {row['depth']} waiting, the oldest for {span(row['oldest_s'])}")
    say(f"dead     {queues['dead']['depth']} letters")
    say("rooms    " + ", ".join(f"{count} {word}" for word, count in rooms.items()))
    for gap in facts["gaps"][:_MOST_GAPS]:
        until = f"to {clock(gap['until'])}" if gap["until"] else "on"
        say(f"gap      {gap['name']}: lines may be missing from {clock(gap['since'])} {until}")
    if len(facts["gaps"]) > _MOST_GAPS:
        say(f"gap      {len(facts['gaps']) - _MOST_GAPS} more rooms: instabot status --json")


def _doctor(args: Args) -> int:
    from instabot.cli import doctor

    findings = asyncio.run(doctor.examine(settings_of(args)))
    if args.json:
        document(findings)
    else:
        for finding in findings:
            say(f"{finding.grade:<5} {finding.what}")
            if finding.cure:
                say(f"      → {finding.cure}")
    return 1 if any(finding.grade == "wrong" for finding in findings) else 0


def _schema(args: Args) -> int:
    from instabot import wire

    document(wire.schema())
    return 0
