"""The figures of `instabot status`: who runs, what waits, how the rooms are."""

import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from instabot.broker import keys
from instabot.broker.desk import Desk
from instabot.broker.keys import key
from instabot.broker.redis import pipelined
from instabot.broker.views import RoomView
from instabot.version import __version__

_COUNTED = {"joined": "joined", "lost": "lost", "refused": "refused", "parted": "parted"}
_RUNTIME = ("id", "pid", "rooms", "links", "up_s", "rss_mb")
_BACKEND = ("id", "pid", "in_flight", "up_s")


async def status(desk: Desk) -> dict[str, Any]:
    """What the contract calls `status --json`. Raises Unreachable."""
    rooms = await desk.rooms()
    states = Counter(_COUNTED.get(room.state, "joining") for room in rooms)
    return {
        "version": __version__,
        "redis": await server(desk),
        "shards": desk.shards,
        "runtimes": [_pick(row, _RUNTIME) for row in await desk.processes(keys.RUNTIMES)],
        "backends": [_pick(row, _BACKEND) for row in await desk.processes(keys.BACKENDS)],
        "queues": {
            "messages": await _queue(desk, "messages", "backend"),
            "control": await _queue(desk, "control", "runtime"),
            "dead": {"depth": await _dead(desk)},
        },
        "rooms": {word: states[word] for word in ("joined", "joining", "lost", "refused")},
        "gaps": [_gap(room) for room in rooms if room.gap_since],
    }


def _gap(room: RoomView) -> dict[str, Any]:
    """The latest time in which a room may have missed lines; `until` 0 while it lasts."""
    name = f"{room.network}/{room.name}"
    return {"room": room.id, "name": name, "since": room.gap_since, "until": room.gap_until}


def _pick(row: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: row.get(name, 0) for name in names}


async def server(desk: Desk) -> dict[str, Any]:
    """Which Redis it is and how fast it answers; the URL without its password."""
    started = time.perf_counter()
    await desk.raw("PING")
    took = time.perf_counter() - started
    text = (await desk.raw("INFO", "server")).decode()
    info = dict(line.partition(":")[::2] for line in text.splitlines())
    kind = "valkey" if "valkey_version" in info else "redis"
    return {
        "url": without_password(desk.url),
        "server": kind,
        "version": str(info.get(f"{kind}_version", "")),
        "ping_ms": round(took * 1000, 2),
    }


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return url
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}@{host}"))


async def _queue(desk: Desk, stream: str, group: str) -> dict[str, Any]:
    """Depth over all shards, and the age of the oldest entry that is not acknowledged."""
    shards = range(desk.shards)
    depths = await pipelined(
        desk.client, [("HGET", key(shard, "depth"), stream[0]) for shard in shards]
    )
    counts = [int(answer) if isinstance(answer, bytes) else 0 for answer in depths]
    ages = [await _age(desk, s, stream, group) for s in shards if counts[s] > 0]
    return {"depth": sum(counts), "oldest_s": round(max(ages, default=0.0), 1)}


async def _age(desk: Desk, shard: int, stream: str, group: str) -> float:
    name = key(shard, stream)
    pending, groups = await pipelined(
        desk.client, [("XPENDING", name, group), ("XINFO", "GROUPS", name)]
    )
    if isinstance(pending, Exception) or isinstance(groups, Exception):
        return 0.0  # the group vanishes and returns while the backend repairs data loss
    oldest = _first_pending(pending) or await _first_unread(desk, name, groups, group)
    return max(0.0, time.time() - int(oldest.partition(b"-")[0]) / 1000) if oldest else 0.0


def _first_pending(answer: Any) -> bytes:
    return answer[1] or b""


async def _first_unread(desk: Desk, name: str, groups: Any, group: str) -> bytes:
    last = b"0-0"
    for row in groups:
        facts = dict(zip(row[::2], row[1::2], strict=True))
        if facts.get(b"name") == group.encode():
            last = facts[b"last-delivered-id"]
    rows = await desk.raw("XRANGE", name, b"(" + last, "+", "COUNT", 1)
    return bytes(rows[0][0]) if rows else b""


async def _dead(desk: Desk) -> int:
    answers = await pipelined(
        desk.client, [("XLEN", key(shard, "dead")) for shard in range(desk.shards)]
    )
    return sum(answer for answer in answers if isinstance(answer, int))
