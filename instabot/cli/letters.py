"""`dead list | show | redrive | drop`: what could not be handled, and why."""

from typing import TYPE_CHECKING

from instabot import config
from instabot.cli.asking import Args, asks
from instabot.cli.output import ago, document, say, table
from instabot.cli.parsing import Adder, command, group, seconds
from instabot.errors import InstabotError

if TYPE_CHECKING:
    from instabot.broker.desk import Desk

Settings = config.Settings


def add(commands: Adder) -> None:
    """Add this file's commands."""
    dead = group(
        commands, "dead", "Look at dead letters, send them again.", "instabot dead list"
    )
    listed = command(
        dead,
        "list",
        "List the newest dead letters.",
        "instabot dead list --most 20",
        asks(_list),
        as_json=True,
    )
    listed.add_argument("--most", type=int, default=100, metavar="N", help="default 100")
    show = command(
        dead,
        "show",
        "Show one dead letter.",
        "instabot dead show 7:1763971200000-0",
        asks(_show),
        as_json=True,
    )
    show.add_argument("letter", metavar="ID")
    for verb, text in (
        ("redrive", "Send dead letters through their queue again."),
        ("drop", "Delete dead letters."),
    ):
        example = f"instabot dead {verb} 7:1763971200000-0"
        parser = command(dead, verb, text, example, asks(_settle))
        parser.set_defaults(verb=verb)
        parser.add_argument("ids", metavar="ID", nargs="+")
        parser.add_argument("--timeout", type=seconds, default=15.0, metavar="S")


async def _list(desk: "Desk", settings: Settings, args: Args) -> int:
    from instabot.broker.letters import letters

    found = await letters(desk, max(1, args.most))
    if args.json:
        document(found)
    elif found:
        rows = [(x.id, ago(x.at), x.queue, x.room or "-", x.why[:120]) for x in found]
        table(("ID", "AGO", "QUEUE", "ROOM", "WHY"), rows)
    else:
        say("no dead letters")
    return 0


async def _show(desk: "Desk", settings: Settings, args: Args) -> int:
    from instabot.broker.letters import letter

    found = await letter(desk, args.letter)
    if args.json:
        document(found)
        return 0
    for name in ("id", "queue", "room", "tenant", "why", "data"):
        say(f"{name:<7} {getattr(found, name)}")
    return 0


async def _settle(desk: "Desk", settings: Settings, args: Args) -> int:
    from instabot.broker.letters import settle

    count = await settle(desk, args.verb, args.ids, args.timeout)
    done = "sent again" if args.verb == "redrive" else "dropped"
    say(f"{count} {done}")
    if count < len(set(args.ids)):
        raise InstabotError(f"{len(set(args.ids)) - count} of them are not there (any more)")
    return 0
