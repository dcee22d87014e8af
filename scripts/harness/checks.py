"""What a chaos run proves: pure functions over what a witness in every room has seen.

A room's lines reach all its members in one order, the IRC server's; so the order in which the
witness saw the questions is the order in which the bot had to answer them. Times are Unix
seconds of this machine, which runs everything.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

SLACK = 0.5
"""Seconds by which the witness' clock and the bot's may differ for the same line."""


@dataclass(frozen=True)
class Seen:
    """One thing that the witness saw. `number` is of an ask or a reply; `text` of the rest."""

    at: float
    room: str
    kind: Literal["ask", "reply", "other"]
    number: int = 0
    text: str = ""


@dataclass(frozen=True)
class Move:
    """The bot came or went. A QUIT has no room."""

    at: float
    kind: Literal["JOIN", "PART", "QUIT", "KICK"]
    room: str = ""


@dataclass(frozen=True, order=True)
class Gap:
    """The bot's own record that it may have missed what was said in a room between two times."""

    room: str
    since: float
    until: float


@dataclass
class Findings:
    """How the answers compare with the questions. Each list names its lines."""

    asked: int = 0
    answered: int = 0
    missing: list[Seen] = field(default_factory=list)
    repeated: list[Seen] = field(default_factory=list)
    disordered: list[Seen] = field(default_factory=list)
    unasked: list[Seen] = field(default_factory=list)
    other: list[Seen] = field(default_factory=list)
    first: dict[tuple[str, int], float] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)


def compare(events: Iterable[Seen]) -> Findings:
    """Match replies to questions, room by room.

    A repeated reply counts as repeated and is otherwise ignored: order is judged by each
    number's first reply. A reply that comes before its question is unasked.
    """
    found = Findings()
    rooms: dict[str, list[Seen]] = defaultdict(list)
    for event in events:
        rooms[event.room].append(event)
    for room in rooms.values():
        _compare_room(room, found)
    return found


def _compare_room(events: Sequence[Seen], found: Findings) -> None:
    asks: dict[int, tuple[int, Seen]] = {}
    replied: set[int] = set()
    furthest = -1
    for event in events:
        if event.kind == "ask":
            asks[event.number] = (len(asks), event)
        elif event.kind == "other":
            found.other.append(event)
        elif event.number not in asks:
            found.unasked.append(event)
        elif event.number in replied:
            found.repeated.append(event)
        else:
            replied.add(event.number)
            place, ask = asks[event.number]
            if place < furthest:
                found.disordered.append(event)
            furthest = max(furthest, place)
            found.first[event.room, event.number] = event.at
            found.waits.append(event.at - ask.at)
    found.asked += len(asks)
    found.answered += len(replied)
    found.missing += [ask for number, (_, ask) in asks.items() if number not in replied]


def in_gap(line: Seen, gaps: Iterable[Gap]) -> bool:
    """Whether a gap record of the line's room covers the time it was said."""
    return any(
        gap.room == line.room and gap.since - SLACK <= line.at <= gap.until + SLACK
        for gap in gaps
    )


def unrecorded(
    missing: Iterable[Seen], gaps: Collection[Gap], ingested: Collection[tuple[str, int]]
) -> list[Seen]:
    """The unanswered lines that nothing excuses.

    What lies in a gap record may be lost, unless it had been ingested: from there on nothing is.
    """
    return [
        line
        for line in missing
        if (line.room, line.number) in ingested or not in_gap(line, gaps)
    ]


def unexcused(found: Findings, kills: Collection[float]) -> list[Seen]:
    """The repeated replies without a kill of the runtime between the first and the repeat."""
    return [
        line
        for line in found.repeated
        if not any(
            found.first[line.room, line.number] - SLACK <= kill <= line.at for kill in kills
        )
    ]


def moves_beyond(moves: Iterable[Move], kills: int, rooms: int) -> dict[str, int]:
    """How often the bot came or went more than so many kills of its runtime explain.

    A killed runtime quits once and joins each room once more; nothing else makes it move.
    """
    seen = Counter[str](move.kind for move in moves)
    allowed = {"JOIN": kills * rooms, "QUIT": kills, "PART": 0, "KICK": 0}
    return {kind: seen[kind] - most for kind, most in allowed.items() if seen[kind] > most}
