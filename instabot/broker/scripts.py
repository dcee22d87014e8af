"""The Lua scripts, one typed function each. Every one takes a batch and is safe to repeat.

The scripts are in `lua/`, with their keys and arguments; the rules they rest on are in
docs/protocol.md. All raise Unreachable, and Fenced where the lease is no longer ours.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from instabot.broker import keys
from instabot.broker.keys import key
from instabot.broker.redis import Caller, Full, NoScript, our_errors, pairs, pipelined, table

KEEP_IDS_MS = 3 * 24 * 3600 * 1000
"""How long service ids are remembered; longer than any history we ask a service for."""

GROUPS = {"messages": ("backend", "log"), "control": ("runtime",)}
"""The groups a stream is born with."""

LETTERS = {("messages", "log"): "l", ("messages", "backend"): "m", ("control", "runtime"): "c"}
"""Which counters of `depth` a group moves; a group not named here moves none."""


class Entry(NamedTuple):
    """One entry of a stream as fetched; `data` is None when it was trimmed meanwhile."""

    shard: int
    id: bytes
    room: str
    tenant: str
    data: bytes | None


class Item(NamedTuple):
    """What INGEST appends: `source` and `counter` are a high-water mark, `ref` an id of its own."""

    room: str
    tenant: str
    data: bytes
    source: str = ""
    counter: int = 0
    ref: str = ""


class Caps(NamedTuple):
    """The most entries that may wait: in a shard, for one tenant of it, unlogged, per room."""

    shard: int = 200_000
    tenant: int = 100_000
    log: int = 1_000_000
    room: int = 10_000


class Done(NamedTuple):
    """What COMMIT does for one message: its replies (room, tenant, data) and answers."""

    entry: Entry
    replies: Sequence[tuple[str, str, bytes]] = ()
    answers: Sequence[bytes] = ()


class Said(NamedTuple):
    """What CONFIRM does for one Say: `own` goes to `messages`, `answer` to whoever asked."""

    entry: Entry
    own: bytes = b""
    answer: bytes = b""


class Dead(NamedTuple):
    """What DEAD does for one entry."""

    entry: Entry
    why: str
    answer: bytes = b""


class Lease(NamedTuple):
    """What LEASE answered: `state` 1 renewed, 2 taken, 0 another's, -1 superseded."""

    state: int
    before: str
    beat: float
    generation: int


@cache
def _source(name: str) -> tuple[str, str]:
    text = files("instabot.broker").joinpath("lua", f"{name}.lua").read_text("utf-8")
    return text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _call(name: str, keys: Sequence[str], argv: Sequence[Any]) -> tuple[Any, ...]:
    return ("EVALSHA", _source(name)[1], len(keys), *keys, *argv)


async def run(client: Caller, name: str, keys: Sequence[str], argv: Sequence[Any]) -> Any:
    """Run a script by its checksum, loading it when the server does not know it yet."""
    try:
        with our_errors():
            return await client.execute_command(*_call(name, keys, argv))
    except NoScript:
        with our_errors():
            return await client.execute_command(
                "EVAL", _source(name)[0], len(keys), *keys, *argv
            )


async def load(client: Caller) -> None:
    """Load every script, so that pipelines may call them by checksum."""
    with our_errors():
        for path in files("instabot.broker").joinpath("lua").iterdir():
            text, _ = _source(path.name.removesuffix(".lua"))
            await client.execute_command("SCRIPT", "LOAD", text)


async def lease_all(
    client: Caller,
    shards: Sequence[int],
    role: str,
    name: str,
    incarnation: int,
    ttl_ms: int,
    beat: Callable[[int], float] = lambda shard: time.time(),
) -> list[Lease]:
    """LEASE on many shards in one round trip, in the order given.

    `beat` says for each shard up to when all is well, in Unix seconds: should we die, whatever
    we had to do there after that moment may be undone. Not Redis's clock: a frozen Redis carries
    out later what a process asked that is dead by then.
    """
    calls = []
    for shard in shards:
        names = [key(shard, f"lease:{role}"), key(shard, "resume"), key(shard, "rooms")]
        argv = [name, incarnation, ttl_ms, role, int(beat(shard) * 1000)]
        calls.append(_call("lease", names, argv))
    leases = []
    for answer in await pipelined(client, calls):
        try:
            with our_errors():
                if isinstance(answer, Exception):
                    raise answer
        except NoScript:
            await load(client)
            return await lease_all(client, shards, role, name, incarnation, ttl_ms, beat)
        state, before, last, generation = answer
        leases.append(
            Lease(state, before.decode(), int(last or 0) / 1000, int(generation or 0))
        )
    return leases


async def release(client: Caller, shard: int, role: str, token: str) -> None:
    """Give one lease up; not holding it is no error."""
    await run(client, "release", [key(shard, f"lease:{role}")], [token])


async def ingest(
    client: Caller,
    shard: int,
    items: Sequence[Item],
    now: float,
    *,
    token: str = "",
    role: str = "runtime",
    stream: str = "messages",
    caps: Caps = Caps(),  # noqa: B008 - immutable
) -> str:
    """Append items, each once → one letter each: Added, Duplicate, Full.

    With a token the call is fenced by the lease of `role`; without one (requests, hooks,
    replies to another shard) each item needs a `ref`.
    """
    names = [key(shard, n) for n in (stream, "seen", "ids", "depth", "groups", f"lease:{role}")]
    letter = stream[0]
    argv: list[Any] = [token, letter, caps.shard, caps.tenant, caps.log, int(now * 1000)]
    argv += [KEEP_IDS_MS, ",".join(GROUPS[stream])]
    for item in items:
        argv += (item.source, item.counter, item.ref, item.room, item.tenant, item.data)
    try:
        return (await run(client, "ingest", names, argv)).decode()  # type: ignore[no-any-return]
    except Full:
        return "F" * len(items)


async def fetch(
    client: Caller,
    shard: int,
    stream: str,
    group: str,
    role: str,
    token: str,
    count: int,
    start: str,
) -> tuple[list[Entry], bytes]:
    """Read on in a group: from `>` what nobody has seen, from an id what this group holds.

    → the entries, and the last id: theirs, or where there are none the group's.
    """
    names = [key(shard, stream), key(shard, f"lease:{role}")]
    rows, *last = await run(client, "fetch", names, [token, group, count, start])
    return [entry(shard, row) for row in rows], last[0] if last else rows[-1][0]


def entry(shard: int, row: Sequence[Any]) -> Entry:
    """An entry from its raw row: id, flat fields (None where it was trimmed)."""
    number, fields = row
    if not fields:
        return Entry(shard, number, "", "", None)
    try:
        return Entry(shard, number, fields[1].decode(), fields[3].decode(), fields[5])
    except (IndexError, UnicodeDecodeError):
        # Somebody wrote into our stream by hand: the wire refuses this, so a dead letter tells.
        return Entry(shard, number, "", "", b"not an entry of ours: " + b" ".join(fields))


async def reread(client: Caller, shard: int, stream: str, ids: Sequence[bytes]) -> list[Entry]:
    """Read entries again by id; one that was trimmed comes back without data."""
    name = key(shard, stream)
    answers = await pipelined(client, [("XRANGE", name, number, number) for number in ids])
    return [_again(shard, number, rows) for number, rows in zip(ids, answers, strict=True)]


def _again(shard: int, number: bytes, rows: Any) -> Entry:
    if isinstance(rows, Exception):
        with our_errors():
            raise rows
    fields = [part for pair in pairs(rows[0][1]) for part in pair] if rows else None
    return entry(shard, (number, fields))


async def commit(
    client: Caller, shard: int, token: str, batch: Sequence[Done], room_cap: int
) -> int:
    """Acknowledge messages and queue their replies, in one step → how many were acknowledged."""
    streams = ("messages", "control", "depth", "dead", "groups", "lease:backend")
    argv: list[Any] = [token, room_cap]
    for done in batch:
        entry, replies, answers = done
        argv += (entry.id, entry.room, entry.tenant, len(replies), len(answers))
        for reply in replies:
            argv += reply
        for answer in answers:
            argv += (keys.ANSWERS, answer)
    return int(await run(client, "commit", [key(shard, n) for n in streams], argv))


async def ack(
    client: Caller,
    shard: int,
    stream: str,
    group: str,
    role: str,
    token: str,
    entries: Sequence[Entry],
) -> int:
    """Acknowledge entries that need nothing further → how many were acknowledged."""
    rooms: dict[tuple[str, str], list[bytes]] = {}
    for entry in entries:
        rooms.setdefault((entry.room, entry.tenant), []).append(entry.id)
    argv: list[Any] = [token, group, LETTERS[stream, group]]
    for (room, tenant), ids in rooms.items():
        argv += (room, tenant, len(ids), *ids)
    names = [key(shard, stream), key(shard, "depth"), key(shard, f"lease:{role}")]
    return int(await run(client, "ack", names, argv))


async def confirm(client: Caller, shard: int, token: str, batch: Sequence[Said]) -> int:
    """Acknowledge what was said in the rooms → how many were acknowledged."""
    streams = ("control", "messages", "depth", "groups", "lease:runtime")
    argv: list[Any] = [token]
    for entry, own, answer in batch:
        argv += (entry.id, entry.room, entry.tenant, own, answer, keys.ANSWERS)
    return int(await run(client, "confirm", [key(shard, n) for n in streams], argv))


async def dead(
    client: Caller,
    shard: int,
    stream: str,
    group: str,
    role: str,
    token: str,
    batch: Sequence[Dead],
) -> int:
    """Move entries to the dead letters with their reasons → how many were moved."""
    names = [key(shard, n) for n in (stream, "dead", "depth", f"lease:{role}")]
    argv: list[Any] = [token, group, LETTERS[stream, group], stream]
    for entry, why, answer in batch:
        argv += (entry.id, entry.room, entry.tenant, why[:500], entry.data or b"")
        argv += (answer, keys.ANSWERS)
    return int(await run(client, "dead", names, argv))


async def put(
    client: Caller,
    shard: int,
    token: str,
    fields: Sequence[tuple[str, str, bytes]],
    *,
    whole: bool = False,
    generation: int = 0,
) -> int:
    """Write desired state: fields are (`n` or `r`, id, JSON or b"" to delete) → the generation."""
    names = [key(shard, n) for n in ("networks", "rooms", "lease:backend")]
    argv: list[Any] = [token, int(whole), generation or ""]
    for field in fields:
        argv += field
    return int(await run(client, "put", names, argv))


async def groups(
    client: Caller,
    shard: int,
    stream: str,
    role: str,
    token: str,
    wanted: Sequence[tuple[str, bytes]],
    *,
    exactly: bool = False,
) -> list[str]:
    """Create missing groups (name, last id known) → those that had vanished with their data.

    `exactly` also destroys groups not named, which is how the log and the compatibility egress
    are switched off: a group nobody reads would pin trimming for ever.
    """
    names = [key(shard, n) for n in (stream, "groups", f"lease:{role}", "depth")]
    argv: list[Any] = [token, int(exactly)]
    for group, last in wanted:
        argv += (group, last, LETTERS.get((stream, group), ""))
    return [name.decode() for name in await run(client, "groups", names, argv)]


async def read_hash(client: Caller, name: str) -> dict[str, bytes]:
    """A whole hash, field → value."""
    with our_errors():
        rows = table(await client.execute_command("HGETALL", name))
    return {field.decode(): value for field, value in rows.items()}


async def letters(
    client: Caller, shard: int, ids: Sequence[str]
) -> dict[str, dict[bytes, bytes]]:
    """Dead letters by id, those that there are."""
    name = key(shard, "dead")
    answers = await pipelined(client, [("XRANGE", name, number, number) for number in ids])
    return {
        number: table(rows[0][1])
        for number, rows in zip(ids, answers, strict=True)
        if rows and not isinstance(rows, Exception)
    }


async def bury(client: Caller, shard: int, ids: Sequence[str]) -> int:
    """Delete dead letters → how many there were."""
    if not ids:
        return 0
    with our_errors():
        return int(await client.execute_command("XDEL", key(shard, "dead"), *ids))


async def forget_unlogged(client: Caller, shard: int) -> None:
    """The log is off: what it has not written counts no more."""
    with our_errors():
        await client.execute_command("HDEL", key(shard, "depth"), "l")
