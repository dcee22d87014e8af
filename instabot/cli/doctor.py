"""`instabot doctor`: each check gives one finding, and what is wrong comes with its cure."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Literal

import msgspec

from instabot import upstate
from instabot.broker import keys
from instabot.broker.desk import Desk
from instabot.broker.overview import status
from instabot.cli.asking import desk_of
from instabot.config import Settings
from instabot.errors import InstabotError

Grade = Literal["ok", "note", "wrong"]


class Finding(msgspec.Struct, frozen=True):
    """One line of the report; `cure` is empty where nothing is to be done."""

    grade: Grade
    what: str
    cure: str = ""


async def examine(settings: Settings) -> list[Finding]:
    """All checks, from the machine up to the rooms."""
    findings = [*_machine(settings), *_key(settings), *_store(settings)]
    try:
        async with desk_of(settings) as desk:
            findings += [finding async for finding in _running(desk)]
    except InstabotError as error:
        findings.append(Finding("wrong", str(error), "start it: instabot up"))
    return findings


def _machine(settings: Settings) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("ok", f"Python {version}")
    data = settings.data
    if not data.is_dir():
        yield Finding(
            "note", f"the data folder {data} is not there yet", "instabot up makes it"
        )
    elif data.stat().st_mode & 0o077:
        cure = f"chmod 700 {data}"
        yield Finding("wrong", f"others may look into the data folder {data}", cure)
    else:
        yield Finding("ok", f"data folder {data}")
    note = upstate.running(data)
    if note is not None:
        yield Finding("ok", f"`instabot up` runs as process {note.pid}")
    elif not settings.redis:
        yield Finding("note", f"no `instabot up` runs for {data}", "instabot up")


def _key(settings: Settings) -> Iterator[Finding]:
    from instabot.secrets import Keyring

    if not settings.key_file.exists():
        yield Finding("note", f"no key file yet at {settings.key_file}", "instabot up makes it")
        return
    yield _try(f"key file {settings.key_file}", lambda: Keyring.load(settings.key_file))


def _store(settings: Settings) -> Iterator[Finding]:
    from instabot.store.url import place_of

    yield _try("store's URL can be used", lambda: place_of(settings.store))


def _try(what: str, check: Callable[[], object]) -> Finding:
    try:
        check()
    except InstabotError as error:
        return Finding("wrong", str(error))
    return Finding("ok", what)


async def _running(desk: Desk) -> AsyncIterator[Finding]:
    facts = await status(desk)
    redis = facts["redis"]
    name = f"{redis['server']} {redis['version']}"
    yield Finding("ok", f"{name} at {redis['url']} answers in {redis['ping_ms']} ms")
    async for finding in _durable(desk):
        yield finding
    for role, where in (("runtime", keys.RUNTIMES), ("backend", keys.BACKENDS)):
        rows = await desk.processes(where)
        ids = ", ".join(str(row["id"]) for row in rows)
        if rows:
            yield Finding("ok", f"{role}: {ids}")
        else:
            yield Finding("wrong", f"no {role} runs", f"instabot up, or instabot {role}")
    for queue in ("messages", "control"):
        depth, oldest = facts["queues"][queue]["depth"], facts["queues"][queue]["oldest_s"]
        if oldest > 60:
            what = f"{depth} entries wait in {queue}, the oldest for {oldest:.0f} s"
            yield Finding("wrong", what, "see the log of the backend and of the runtime")
    dead = facts["queues"]["dead"]["depth"]
    if dead:
        yield Finding("note", f"{dead} dead letters", "instabot dead list")
    for room in await desk.rooms():
        if room.state in ("lost", "refused"):
            what = f"{room.network}/{room.name} is {room.state}: {room.reason} {room.text}"
            yield Finding("wrong", what.rstrip(), f"instabot join {room.network} {room.name}")


async def _durable(desk: Desk) -> AsyncIterator[Finding]:
    """Would this Redis keep what it takes?"""
    wanted = {
        "maxmemory-policy": ("noeviction", "it may throw entries away"),
        "appendonly": ("yes", "it forgets everything when it is killed"),
    }
    for name, (value, otherwise) in wanted.items():
        try:
            answer = await desk.config(name)
        except InstabotError:
            yield Finding(
                "note", f"Redis does not show its setting {name}", f"check for {value}"
            )
            continue
        if answer == value:
            yield Finding("ok", f"Redis has {name} {value}")
        else:
            cure = f"CONFIG SET {name} {value}, and in its file"
            yield Finding("wrong", f"Redis has {name} {answer}: {otherwise}", cure)
