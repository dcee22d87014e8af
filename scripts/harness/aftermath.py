"""What is left in Redis after a run: it should be nothing, and every loss should be on record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from instabot import wire
from instabot.broker.keys import key
from instabot.errors import Malformed
from instabot.model import Heard, Notice, Say
from scripts.harness.checks import Gap
from scripts.harness.people import ASK, REPLY

PAGE = 1000


@dataclass
class Left:
    """Counts over all shards, and what the messages' stream still tells."""

    depth: int = 0
    unacked: int = 0
    dead: list[str] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    ingested: set[tuple[str, int]] = field(default_factory=set)
    queued: set[tuple[str, int]] = field(default_factory=set)
    losses: int = 0

    @property
    def empty(self) -> bool:
        """Whether nothing waits, runs or lies unacknowledged."""
        return self.depth == 0 and self.unacked == 0


async def waiting(redis: Redis, shards: int) -> Left:
    """Depths and unacknowledged entries of every group. Raises RedisError."""
    left = Left()
    for shard in range(shards):
        depths = await redis.hgetall(key(shard, "depth"))
        left.depth += sum(abs(int(value)) for value in depths.values())
        for name in ("messages", "control"):
            left.unacked += await _unacked(redis, key(shard, name))
    return left


async def _unacked(redis: Redis, stream: str) -> int:
    """Entries that were delivered and not acknowledged, or not delivered yet."""
    count = 0
    if not await redis.exists(stream):
        return 0
    for group in await redis.xinfo_groups(stream):
        # Counted by ids, as a group's lag is unknown after a Redis 7.0 was killed.
        after = "(" + group["last-delivered-id"].decode()
        count += group["pending"] + len(await _page(redis, stream, after))
    return count


async def reckon(redis: Redis, shards: int, names: Mapping[str, str]) -> Left:
    """As `waiting`, with dead letters, gap records and what was ingested. `names` by room id."""
    left = await waiting(redis, shards)
    for shard in range(shards):
        for fields in await _entries(redis, key(shard, "dead")):
            left.dead.append(" ".join(f"{k.decode()}={v[:80]!r}" for k, v in fields.items()))
        for fields in await _entries(redis, key(shard, "messages")):
            _read(fields, names, left)
        for fields in await _entries(redis, key(shard, "control")):
            _read_reply(fields, names, left)
    return left


def _read(fields: dict[bytes, bytes], names: Mapping[str, str], left: Left) -> None:
    try:
        message = wire.decode_message(fields.get(b"d", b""))
    except Malformed:
        return
    match message:
        case Heard(own=False, room=room, text=text) if asked := ASK.fullmatch(text):
            if not message.late:  # late ones are logged, by promise, and not answered
                left.ingested.add((names.get(room, room), int(asked[1])))
        case Notice(kind="gap", room=room, since=since, at=at):
            left.gaps.append(Gap(names.get(room, room), since, at))
        case Notice(kind="dataloss"):
            left.losses += 1


def _read_reply(fields: dict[bytes, bytes], names: Mapping[str, str], left: Left) -> None:
    try:
        control = wire.decode_control(fields.get(b"d", b""))
    except Malformed:
        return
    if isinstance(control, Say) and (said := REPLY.fullmatch(control.text)):
        left.queued.add((names.get(control.room, control.room), int(said[1])))


async def _entries(redis: Redis, stream: str) -> list[dict[bytes, bytes]]:
    found: list[dict[bytes, bytes]] = []
    last = "-"
    while page := await _page(redis, stream, last):
        found += [fields for _, fields in page]
        last = "(" + page[-1][0].decode()
    return found


async def _page(
    redis: Redis, stream: str, after: str
) -> list[tuple[bytes, dict[bytes, bytes]]]:
    # redis-py's annotation allows for decoded answers, which our client never gives.
    answer: Any = await redis.xrange(stream, after, "+", PAGE)
    return list(answer or ())
