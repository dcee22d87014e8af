"""The rooms' log: every line once, never in a command's way, and nothing that was not wanted."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from instabot.broker.keys import key
from instabot.model import Notice
from instabot.store.log import LogRow
from tests.backend.stage import Running, Stage, stage
from tests.servers import RedisServer

pytestmark = pytest.mark.real


async def texts(run: Running, room: str) -> list[str]:
    return [row.text for row in await run.store.log.last(room, 1000)]


async def test_lines_and_notices_are_kept_once_though_they_are_delivered_twice(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        room = s.rooms["#a"]
        async with s.backend() as run:
            written = asyncio.Event()
            write = run.store.log.write

            async def last_words(rows: Sequence[LogRow]) -> int:
                await write(rows)
                written.set()
                await asyncio.Event().wait()  # it dies before the rows are acknowledged
                return 0

            run.store.log.write = last_words  # type: ignore[method-assign]
            await s.hear("#a", "one", "two")
            await written.wait()
            run.crash()
        async with s.backend() as run:
            await s.hear("#a", "three", own=True, sender="bot")
            await s.put(Notice(id="n", room=room, kind="left", at=1.0, who="bob"))
            await s.logged()
            rows = await run.store.log.last(room)
            assert [row.text for row in rows] == ["one", "two", "three", ""]
            assert rows[0].network == "local/net"
            assert rows[2].own
            assert (rows[3].kind, rows[3].sender) == ("left", "bob")


async def test_a_slow_store_delays_no_command(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend() as run:
            writing, door = asyncio.Event(), asyncio.Event()
            write = run.store.log.write

            async def slow(rows: Sequence[LogRow]) -> int:
                writing.set()
                await door.wait()
                return await write(rows)

            run.store.log.write = slow  # type: ignore[method-assign]
            await s.hear("#a", "!ping 0")
            await writing.wait()
            await s.hear("#a", *(f"!ping {n}" for n in range(1, 30)))
            assert await s.said("#a", 30) == [f"pong {n}" for n in range(30)]
            assert await s.depth(0, "l") == 30
            door.set()
            await s.logged()
            assert await texts(run, s.rooms["#a"]) == [f"!ping {n}" for n in range(30)]


async def test_rooms_that_want_no_log_have_none_not_even_of_their_last_lines(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#secret", log="false")
        await s.want("#open", net="acme")
        async with s.backend() as run:
            await s.hear("#secret", "psst")
            await s.hear("#open", "hello")
            await s.ask("part", rooms=[s.rooms["#secret"]])
            await s.ask("part", net="acme", rooms=[s.rooms["#open"]])
            await s.hear("#secret", "said before the runtime knew")
            await s.hear("#open", "last words")
            await s.logged()
            assert await texts(run, s.rooms["#secret"]) == []
            assert await texts(run, s.rooms["#open"]) == ["hello", "last words"]


@pytest.mark.parametrize("kind", ["BadInput", "driver"])
async def test_a_row_that_can_never_be_kept_takes_no_other_along(
    redis_server: RedisServer, tmp_path: Path, kind: str
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        hostile = "0." + "x" * 100 if kind == "BadInput" else "0.driver"
        with capture_logs() as logs:
            async with s.backend() as run:
                if kind == "driver":
                    _refuse(run, hostile)
                neighbours = [s.line("#a", f"line {n}") for n in range(20)]
                bad = s.line(hostile, "hostile")
                await s.put(*neighbours[:10], bad, *neighbours[10:])
                await s.logged()
                assert await texts(run, s.rooms["#a"]) == [f"line {n}" for n in range(20)]
        (row,) = [row for row in logs if row["event"] == "a line cannot be logged"]
        assert row["key"].startswith("0:")
        assert await s.dead() == []


def _refuse(run: Running, room: str) -> None:
    write = run.store.log.write

    async def driver(rows: Sequence[LogRow]) -> int:
        if any(row.room == room for row in rows):
            raise ValueError("a driver's own complaint")
        return await write(rows)

    run.store.log.write = driver  # type: ignore[method-assign]


async def test_the_store_away_keeps_the_lines_for_later(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend() as run:
            run.away.go()
            await s.hear("#a", "kept", "!ping")
            await run.away.asked.wait()
            assert await s.said("#a", 1) == ["pong"]
            assert await s.depth(0, "l") == 2
            run.away.come()
            await s.logged()
            assert await texts(run, s.rooms["#a"]) == ["kept", "!ping"]


async def groups(s: Stage) -> set[bytes]:
    return {row[1] for row in await s.raw("XINFO", "GROUPS", key(0, "messages"))}


async def test_the_log_switched_off_leaves_nothing_behind_and_on_again_it_works(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend() as run:
            await s.hear("#a", "logged")
            await s.logged()
            run.crash()
        await s.hear("#a", "waits for the log")
        assert await s.depth(0, "l") == 1
        async with s.backend(room_log=False):
            assert await groups(s) == {b"backend"}
            assert "l" not in await s.hash("depth")
            await s.hear("#a", "unlogged", "!ping")
            assert await s.said("#a", 1) == ["pong"]
            await s.quiet()
            assert "l" not in await s.hash("depth")
        async with s.backend() as run:
            assert await groups(s) == {b"backend", b"log"}
            await s.hear("#a", "logged again")
            await s.logged()
            assert await texts(run, s.rooms["#a"]) == ["logged", "logged again"]
