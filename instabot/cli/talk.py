"""`say` and `tail`: speak in a room, listen to it."""

import re
import time
from datetime import datetime
from typing import TYPE_CHECKING

from instabot import config, values
from instabot.cli.asking import Args, asks
from instabot.cli.output import clock, say
from instabot.cli.parsing import Adder, command, seconds
from instabot.errors import BadInput
from instabot.model import Heard, Message, Notice, room_shard

if TYPE_CHECKING:
    from instabot.broker.desk import Desk

Settings = config.Settings
_MOST_TEXT = 20_000


def add(commands: Adder) -> None:
    """Add this file's commands."""
    speak = command(
        commands,
        "say",
        "Say a line in a room, and wait until the chat server has it.",
        "instabot say libera/ops 'back in five minutes'",
        asks(_say),
    )
    speak.add_argument("room", metavar="ROOM", help="an id, NETWORK/NAME, or a unique NAME")
    speak.add_argument("text", metavar="TEXT", nargs="+")
    speak.add_argument("--timeout", type=seconds, default=30.0, metavar="S", help="default 30")
    speak.add_argument("--no-wait", action="store_true", help="only queue it")
    tail = command(
        commands,
        "tail",
        "Print what is said in a room, as it is said.",
        "instabot tail libera/ops --since 10m",
        asks(_tail),
    )
    tail.add_argument("room", metavar="ROOM")
    tail.add_argument("--since", metavar="T", help="from 10m, 2h or 2026-11-24T08:00 ago or on")


async def _say(desk: "Desk", settings: Settings, args: Args) -> int:
    text = " ".join(args.text)
    if not text.strip():
        raise BadInput("there is nothing to say: the text is empty")
    if len(text) > _MOST_TEXT:
        raise BadInput(f"{len(text)} characters are more than the {_MOST_TEXT} for one `say`")
    room = await desk.room(args.room)
    final = ("accepted", "done") if args.no_wait else ("done",)
    wish = {"room": room.id, "text": text}
    await desk.ask(room_shard(room.id), "say", wish, timeout=args.timeout, final=final)
    return 0


async def _tail(desk: "Desk", settings: Settings, args: Args) -> int:
    since = None if args.since is None else moment(args.since, time.time())
    room = await desk.room(args.room)
    async for message in desk.tail(room, since):
        if line := shown(message):
            say(line)
    return 0


def moment(text: str, now: float) -> float:
    """`10m` (ago), `08:30` (today), an ISO 8601 time → Unix seconds. Raises BadInput."""
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", text):
            text = f"{datetime.fromtimestamp(now).date()}T{text.zfill(5)}"  # noqa: DTZ006 - local
        if re.match(r"\d{4}-", text):
            return datetime.fromisoformat(text).timestamp()
        return now - float(values.seconds(text))
    except ValueError:
        raise BadInput(
            f"{text!r} is no time; write 10m, 2h, 08:30 or 2026-11-24T08:30"
        ) from None


def shown(message: Message) -> str:
    """A message as a line, or '' for what was not said in the room."""
    match message:
        case Heard(kind="action"):
            return f"{clock(message.at)} * {message.sender} {message.text}"
        case Heard():
            return f"{clock(message.at)} <{message.sender}> {message.text}"
        case Notice(kind="gap"):
            return (
                f"{clock(message.at)} -- something may be missing since {clock(message.since)}"
            )
        case Notice():
            return (
                f"{clock(message.at)} -- {message.kind} {message.who} {message.text}".rstrip()
            )
    return ""
