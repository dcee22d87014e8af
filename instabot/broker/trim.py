"""Trimming: only what every group has acknowledged, by age or by memory, whichever comes first.

Run by the holder of the backend's lease. Never MAXLEN (it would drop the newest or the unread),
never XDEL (it makes a group's lag unknown).
"""

import time
from typing import Any

from instabot.broker.keys import key
from instabot.broker.redis import Caller, our_errors, pairs

MEMORY_HIGH = 0.6
"""Above this part of maxmemory, what is acknowledged goes at once, whatever its age."""

_HEX = set("0123456789abcdef")


async def trim(client: Caller, shard: int, retention: float) -> int:
    """Trim both streams of a shard → how many entries went. `retention` in seconds."""
    keep_after = f"{int((time.time() - retention) * 1000)}-0"
    if await memory_used(client) > MEMORY_HIGH:
        keep_after = "18446744073709551615-0"
    gone = 0
    for stream in ("messages", "control"):
        name = key(shard, stream)
        acked = await _acknowledged(client, name)
        if acked:
            least = min(acked, keep_after, key=_order)
            with our_errors():
                gone += await client.execute_command("XTRIM", name, "MINID", "~", least)
    return gone


async def forget_epochs(client: Caller, shard: int, retention: float) -> int:
    """Drop the high-water marks of processes that ended long ago → how many went.

    A source's newest mark stays, however old; an older one is needed for as long as a spool of
    that process may turn up, which `retention` (seconds) is ample for.
    """
    with our_errors():
        answer = await client.execute_command("HGETALL", key(shard, "seen"))
    marks: dict[str, list[tuple[int, str]]] = {}
    for name, _ in pairs(answer):
        source, _, epoch = _text(name).rpartition("|")
        if source and epoch and set(epoch) <= _HEX:
            marks.setdefault(source, []).append((int(epoch, 16), _text(name)))
    before = (time.time() - retention) * 1000
    old = [name for epochs in marks.values() for at, name in sorted(epochs)[:-1] if at < before]
    if old:
        with our_errors():
            await client.execute_command("HDEL", key(shard, "seen"), *old)
    return len(old)


async def _acknowledged(client: Caller, name: str) -> str:
    """The id before which every group has acknowledged everything; '' where there is none."""
    least = ""
    with our_errors():
        if not await client.execute_command("EXISTS", name):
            return ""
        for row in await client.execute_command("XINFO", "GROUPS", name):
            group = {_text(field): value for field, value in pairs(row)}
            edge = _text(group["last-delivered-id"])
            if int(group["pending"]):
                edge = await _oldest(client, name, group["name"])
            least = min(least or edge, edge, key=_order)
    return least


async def _oldest(client: Caller, name: str, group: bytes) -> str:
    """The oldest entry that a group has not acknowledged."""
    # The short form: redis-py cannot read the long one's reply through `execute_command`.
    answer = await client.execute_command("XPENDING", name, group)
    least = answer["min"] if isinstance(answer, dict) else answer[1]
    return _text(least or "0-0")  # acknowledged meanwhile: trim nothing this time


async def memory_used(client: Caller) -> float:
    """The part of maxmemory in use; 0 where no limit is set."""
    with our_errors():
        answer: Any = await client.execute_command("INFO", "memory")
    if not isinstance(answer, dict):
        lines = answer.decode().splitlines()
        answer = dict(line.split(":", 1) for line in lines if ":" in line)
    most = int(answer.get("maxmemory", 0))
    return int(answer["used_memory"]) / most if most else 0.0


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _order(number: str) -> tuple[int, int]:
    ms, _, seq = number.partition("-")
    return int(ms), int(seq or 0)
