"""A message that ends its backend: real processes die of it, and its neighbours are answered."""

from pathlib import Path

import pytest

from instabot import wire
from instabot.backend.poison import Poison
from instabot.broker import blame
from instabot.broker.keys import key
from instabot.broker.scripts import Entry
from instabot.commands import Context, Plugin
from tests.backend.process import BackendProcess, supervised
from tests.backend.stage import Running, Stage, stage
from tests.servers import RedisServer

pytestmark = pytest.mark.real

KILLER = """
import os
from instabot.commands import Context, Plugin

plugin = Plugin("killer")

@plugin.command
async def die(ctx: Context) -> str:
    os._exit(9)

@plugin.command(background=True)
async def later(ctx: Context) -> str:
    os._exit(9)

@plugin.command
async def spin(ctx: Context) -> str:
    while True:
        pass

@plugin.listen(r"^(a+)+$")
async def never(ctx: Context) -> None: ...
"""


def plugins(folder: Path) -> str:
    home = folder / "plugins"
    home.mkdir()
    (home / "killer.py").write_text(KILLER)
    return str(home)


@pytest.mark.parametrize("command", ["!die", "!later"])
async def test_a_message_that_kills_without_a_word_is_a_dead_letter_in_the_end(
    redis_server: RedisServer, tmp_path: Path, command: str
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a", "#b")
        process = BackendProcess(s, "--plugins", plugins(tmp_path))
        await s.raw("HSETNX", "instabot:meta", "shards", "1")
        await s.hear("#a", "!ping 1", command, "!ping 2")
        await s.hear("#b", "!ping 3")
        async with supervised(process):
            (letter,) = await s.died(1, timeout=60)
            assert letter["w"] == "plugin killer ended the backend, 2 times"
            assert wire.decode_message(letter["d"].encode()).text == command  # type: ignore[union-attr]
            assert await s.said("#a", 2) == ["pong 1", "pong 2"]
            assert await s.said("#b", 1) == ["pong 3"]
            await s.quiet()
            assert process.starts <= blame.OFTEN + blame.TWICE + 1


@pytest.mark.slow
@pytest.mark.parametrize("line", ["!spin", "a" * 40 + "!"], ids=["command", "pattern"])
async def test_a_message_that_holds_the_interpreter_is_a_dead_letter_after_two_ends(
    redis_server: RedisServer, tmp_path: Path, line: str
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a", "#b")
        process = BackendProcess(s, "--plugins", plugins(tmp_path))
        await s.hear("#a", line, "!ping after")
        await s.hear("#b", "!ping")
        async with supervised(process):
            (letter,) = await s.died(1, timeout=60)
            assert letter["w"] == "plugin killer blocked the backend, 2 times"
            assert await s.said("#a", 1) == ["pong after"]
            assert await s.said("#b", 1) == ["pong"]
            await s.quiet()
            assert process.starts == 3


def killer() -> Plugin:
    plugin = Plugin("killer")

    @plugin.command
    async def die(ctx: Context) -> str:
        return "survived"

    @plugin.command(background=True)
    async def later(ctx: Context) -> str:
        return "survived later"

    return plugin


async def waiting(s: Stage, *lines: str) -> list[Entry]:
    """Lines that a dead backend left, in its group's history."""
    await s.hear("#a", *lines)
    await s.raw("XREADGROUP", "GROUP", "backend", "c", "STREAMS", key(0, "messages"), ">")
    rows = await s.raw("XRANGE", key(0, "messages"), "-", "+")
    return [Entry(0, number, f[1].decode(), f[3].decode(), f[5]) for number, f in rows]


def poison(s: Stage, run: Running, culprit: str = "") -> Poison:
    return Poison(s.client, run.evaluator, run.backend._ends, culprit)


async def frozen(run: Running) -> None:
    """The backend's own consumer reads no more."""
    for reader in run.backend._readers:
        reader.cancel()


async def test_a_suspect_that_survives_is_acquitted(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend(killer()) as run:
            await frozen(run)
            suspect, background, usual = await waiting(s, "!die", "!later", "!ping")
            for entry in (suspect, background):
                await s.raw(
                    *("XCLAIM", key(0, "messages"), "backend", "c", 0, entry.id),
                    *("RETRYCOUNT", blame.OFTEN),
                )
            entries = [suspect, background, usual]
            assert await poison(s, run).inspect(0, entries) == [usual]
            assert await s.said("#a", 2) == ["survived", "survived later"]
            assert await s.hash("blame") == {}


async def test_the_culprit_of_the_last_end_is_charged_once_and_newer_lines_never(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend(killer()) as run:
            await frozen(run)
            old = await waiting(s, "!die", "!ping", "hello")
            judge = poison(s, run, culprit="killer+other")
            judge._born += 1.0
            assert await judge.inspect(0, old) == old
            assert await judge.inspect(0, old) == old  # the shard was taken once more
            assert await s.hash("blame") == {old[0].id.decode(): "1"}
            judge._born = 0.0
            newer = (await waiting(s, "!die"))[-1:]
            assert await judge.inspect(0, newer) == newer
            assert len(await s.hash("blame")) == 1


async def test_what_was_blamed_twice_is_dead_and_says_why(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend(killer()) as run:
            await frozen(run)
            seen, unseen, chatter, fine = await waiting(s, "!die", "!die", "hello", "!ping")
            for entry in (seen, unseen, chatter):
                await blame.charge(s.client, 0, entry.id)
                await blame.charge(s.client, 0, entry.id)
            why = f"{seen.id.decode()}|why"
            await s.raw("HSET", key(0, "blame"), why, "plugin killer blocked the backend")
            assert await poison(s, run).inspect(0, [seen, unseen, chatter, fine]) == [fine]
            assert [letter["w"] for letter in await s.died(3)] == [
                "plugin killer blocked the backend, 2 times",
                "plugin killer ended the backend, 2 times",
                "the backend died of it, 2 times",
            ]
