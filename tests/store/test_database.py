import asyncio
import gc
import itertools
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from instabot.errors import Unreachable
from instabot.model import Network
from instabot.store import LogRow, Store

WRITER = Path(__file__).with_name("write_log.py")


PROGRAM = (
    "import asyncio, resource, sys\n"
    "from instabot.errors import Unreachable\n"
    "from instabot.store import LogRow, Store\n"
    "async def main():\n"
    "    async with await Store.open(sys.argv[1]) as store:\n"
    "        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
    "        row = LogRow(shard=1, stream_id='1-0', room='1.a', kind='say', at=1.0,\n"
    "                     text='x' * 1_000_000)\n"
    "        try:\n"
    "            await store.log.write([row])\n"
    "        except Unreachable as error:\n"
    "            sys.stdout.write(str(error))\n"
    "        assert await store.log.read('1.a') == []\n"
    "asyncio.run(main())\n"
)


def line(number: int, text: str = "") -> LogRow:
    return LogRow(
        shard=7, stream_id=f"{number}-0", room="7.k3f9qd", kind="say", text=text, at=1.0
    )


def beside(store: Store) -> sqlite3.Connection:
    """Another process's connection, as it were."""
    assert store.database.place.path
    return sqlite3.connect(store.database.place.path, isolation_level=None)


def kill_a_writer(url: str, first: int, batches: int) -> int:
    """Start a writer, kill it -9 after some batches; the last one that it said was kept."""
    with subprocess.Popen(
        [sys.executable, WRITER, url, str(first)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        said = [process.stdout.readline() for _ in range(batches)]
        process.kill()
        said += process.stdout.readlines()
    return int([text for text in said if text.endswith("\n")][-1])


def run_capped(url: str) -> "subprocess.CompletedProcess[str]":
    """A process whose files may have 200,000 bytes, and that writes more."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, url], capture_output=True, text=True, check=False
    )


async def test_a_writer_killed_in_a_batch_leaves_whole_batches(url: str) -> None:
    first, kept = 1, set[int]()
    for batches in (1, 3, 8):
        last = kill_a_writer(url, first, batches)
        kept |= set(range(first, last + 1))
        first = last + 2  # the one after the last may be there or not
    async with await Store.open(url) as store:
        rows = await store.log.read("7.k3f9qd", limit=100_000)
        sizes = Counter(row.stream_id.partition("-")[0] for row in rows)
        assert set(sizes.values()) == {200}
        assert kept <= {int(number) for number in sizes}
        assert await store.log.write([line(first + 1)]) == 1


async def test_a_killed_writer_leaves_a_sound_file(sqlite_url: str) -> None:
    kill_a_writer(sqlite_url, 1, 3)
    async with await Store.open(sqlite_url) as store, store.database.read() as connection:
        check = await connection.exec_driver_sql("PRAGMA integrity_check")
        assert check.scalar() == "ok"


async def test_a_locked_store_is_waited_for_and_then_unreachable(sqlite_store: Store) -> None:
    await sqlite_store.meta.put("colour", "blue")
    other = beside(sqlite_store)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(Unreachable, match="locked by another process"):
        await sqlite_store.meta.put("colour", "red")
    assert time.monotonic() - began >= 0.1
    assert await sqlite_store.meta.get("colour") == "blue"
    other.execute("COMMIT")
    await sqlite_store.meta.put("colour", "red")
    assert await sqlite_store.meta.get("colour") == "red"
    other.close()


async def test_a_writer_waits_for_the_one_before_it(sqlite_store: Store) -> None:
    trying = asyncio.Event()

    async def second() -> None:
        trying.set()
        await sqlite_store.meta.put("order", "second")

    async with asyncio.TaskGroup() as group, sqlite_store.database.write() as connection:
        await connection.execute(sa.text("INSERT INTO meta VALUES ('order', 'first')"))
        group.create_task(second())
        await trying.wait()
    assert await sqlite_store.meta.get("order") == "second"


async def test_a_writer_that_waits_too_long_is_told_to_come_back(sqlite_store: Store) -> None:
    async with sqlite_store.database.write():
        with pytest.raises(Unreachable, match="too busy"):
            await sqlite_store.meta.put("colour", "red")
    await sqlite_store.meta.put("colour", "red")


async def test_a_full_disk_is_unreachable_and_loses_nothing(sqlite_store: Store) -> None:
    assert await sqlite_store.log.write([line(1, "before")]) == 1
    async with sqlite_store.database.write() as connection:
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar()
        await connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Unreachable, match="disk is full"):
        await sqlite_store.log.write([line(2, "small"), line(3, "x" * 100_000)])
    assert [row.text for row in await sqlite_store.log.read("7.k3f9qd")] == ["before"]
    async with sqlite_store.database.write() as connection:
        await connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert await sqlite_store.log.write([line(2, "small"), line(3, "x" * 100_000)]) == 2


async def test_a_file_that_may_grow_no_more_is_unreachable(sqlite_url: str) -> None:
    async with await Store.open(sqlite_url):
        pass
    done = run_capped(sqlite_url)
    assert done.stderr == ""
    assert "disk" in done.stdout


async def test_a_cancelled_write_is_whole_or_nothing_and_blocks_nobody(store: Store) -> None:
    sizes = set()
    for number in range(1, 31):
        rows = [
            LogRow(shard=7, stream_id=f"{number}-{seq}", room=f"7.{number}", kind="say", at=1.0)
            for seq in range(100)
        ]
        try:
            async with asyncio.timeout(number / 5000):
                await store.log.write(rows)
        except TimeoutError:
            pass
        sizes.add(len(await store.log.read(f"7.{number}")))
    assert sizes <= {0, 100}
    assert await store.log.write([line(1000)]) == 1


async def write_without_end(store: Store) -> None:
    """One transaction that grows until it is cancelled."""
    async with store.database.write() as connection:
        for number in itertools.count():
            insert = sa.text("INSERT INTO meta VALUES (:key, '')")
            await connection.execute(insert, [{"key": f"{number}.{n}"} for n in range(1000)])


async def test_a_cancelled_write_frees_the_lock_at_once(sqlite_store: Store) -> None:
    gc.disable()  # it must not be what ends the cancelled transaction
    try:
        for _ in range(5):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(write_without_end(sqlite_store), 0.02)
            await sqlite_store.meta.put("colour", "red")
        assert await sqlite_store.meta.get("0.0") is None
    finally:
        gc.enable()


@pytest.mark.real
async def test_a_postgresql_that_drops_us_is_unreachable_once(
    request: pytest.FixtureRequest,
) -> None:
    url: str = request.getfixturevalue("cluster").database()
    async with await Store.open(url) as store, await Store.open(url) as admin:
        await store.meta.put("colour", "blue")
        async with admin.database.write() as connection:
            await connection.execute(
                sa.text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        with pytest.raises(Unreachable, match="does not answer"):
            await store.meta.get("colour")
        assert await store.meta.get("colour") == "blue"


async def test_an_error_shows_no_secret(store: Store, network: Callable[..., Network]) -> None:
    async with store.database.write() as connection:
        await connection.execute(sa.text("DROP TABLE roles"))
        await connection.execute(sa.text("DROP TABLE rooms"))
        await connection.execute(sa.text("DROP TABLE networks"))
    with pytest.raises(sa.exc.DBAPIError) as caught:
        await store.rooms.put_network(network(url="irc://geheim"), 1)
    assert "geheim" not in str(caught.value)
