"""Dead letters as an operator sees them: listed, shown, sent again, dropped.

A letter's id is `SHARD:STREAM-ID`, e.g. `7:1763971200000-0`. The stream `dead` has the fields
`q` queue, `i` id there, `r` room, `t` tenant, `w` why, `d` the entry's bytes.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from instabot.broker.desk import Desk
from instabot.broker.keys import key
from instabot.broker.redis import table
from instabot.errors import BadInput


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One dead letter; `at` in Unix seconds, `data` as it came, bad UTF-8 replaced."""

    id: str
    at: float
    queue: str
    room: str
    tenant: str
    why: str
    data: str


async def letters(desk: Desk, most: int = 100) -> list[Letter]:
    """The newest dead letters of all shards, oldest first."""
    found = []
    for shard in range(desk.shards):
        rows = await desk.raw("XREVRANGE", key(shard, "dead"), "+", "-", "COUNT", most)
        found += [_letter(shard, number, table(row)) for number, row in rows]
    return sorted(found, key=lambda letter: (letter.at, letter.id))[-most:]


async def letter(desk: Desk, text: str) -> Letter:
    """One dead letter. Raises BadInput when there is none of that id."""
    shard, number = split_id(text, desk.shards)
    rows = await desk.raw("XRANGE", key(shard, "dead"), number, number)
    if not rows:
        raise BadInput(f"there is no dead letter {text!r}; `instabot dead list` lists them")
    return _letter(shard, rows[0][0], table(rows[0][1]))


async def settle(desk: Desk, verb: str, ids: Sequence[str], timeout: float) -> int:
    """`redrive` or `drop` letters → how many the backend found. Raises as `Desk.ask`."""
    by_shard: dict[int, list[str]] = {}
    for text in ids:
        shard, number = split_id(text, desk.shards)
        by_shard.setdefault(shard, []).append(number)
    count = 0
    for shard, numbers in by_shard.items():
        args: dict[str, Any] = {"shard": shard, "ids": numbers}
        answer = await desk.ask(shard, f"dead.{verb}", args, timeout=timeout)
        count += int(answer.data.get("count", 0))
    return count


def split_id(text: str, shards: int) -> tuple[int, str]:
    """`7:1763971200000-0` → 7 and the stream's id. Raises BadInput."""
    match = re.fullmatch(r"(\d{1,4}):(\d{1,20}-\d{1,20})", text, re.ASCII)
    if not match or int(match[1]) >= shards:
        raise BadInput(
            f"{text!r} is not a dead letter's id, which looks like 7:1763971200000-0"
        )
    return int(match[1]), match[2]


def _letter(shard: int, number: bytes, fields: dict[bytes, bytes]) -> Letter:
    def text(name: bytes) -> str:
        return fields.get(name, b"").decode(errors="replace")

    return Letter(
        id=f"{shard}:{number.decode()}",
        at=int(number.partition(b"-")[0]) / 1000,
        queue=text(b"q"),
        room=text(b"r"),
        tenant=text(b"t"),
        why=text(b"w"),
        data=text(b"d"),
    )
