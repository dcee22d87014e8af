import stat
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from instabot.errors import BadInput, Unreachable
from instabot.store import Store
from instabot.store.database import Database
from instabot.store.migrate import _upgrade, prepare
from instabot.store.schema import HEAD, metadata
from instabot.store.url import place_of

OPENER = Path(__file__).with_name("open_store.py")


def open_at_once(url: str, count: int) -> None:
    """Several processes open the store; all have to succeed."""
    processes = [
        subprocess.Popen(
            [sys.executable, OPENER, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")


async def die_while_migrating(database: Database) -> None:
    """Migrate, and fail before the end."""
    async with database.write() as connection:
        await connection.run_sync(_upgrade)
        raise ZeroDivisionError


async def test_the_migrations_make_the_tables_of_the_schema(store: Store) -> None:
    async with store.database.read() as connection:
        difference = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync), metadata)
        )
    assert difference == []


def test_the_schema_knows_its_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", "instabot.store:migrations")
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


async def test_there_is_one_tenant_from_the_start(store: Store) -> None:
    async with store.database.read() as connection:
        assert list(await connection.scalars(sa.text("SELECT id FROM tenants"))) == ["local"]


async def test_opening_again_changes_nothing(url: str) -> None:
    async with await Store.open(url) as store:
        await store.meta.put("colour", "blue")
    async with await Store.open(url) as store:
        assert await store.meta.get("colour") == "blue"


async def test_backends_that_start_at_once_migrate_once(url: str) -> None:
    open_at_once(url, 3)
    async with await Store.open(url, migrate=False) as store:
        assert await store.meta.next_generation(7) == 4


async def test_a_migration_that_dies_leaves_nothing(url: str) -> None:
    database = Database(place_of(url), 5)
    await prepare(database)
    with pytest.raises(ZeroDivisionError):
        await die_while_migrating(database)
    async with database.read() as connection:
        assert await connection.run_sync(lambda sync: sa.inspect(sync).get_table_names()) == []
    await database.close()
    async with await Store.open(url) as store:
        await store.ping()


async def test_a_reader_before_the_first_backend_is_told_to_wait(url: str) -> None:
    with pytest.raises(Unreachable, match="start"):
        await Store.open(url, migrate=False)
    path = place_of(url).path
    assert path is None or not path.exists()


async def test_a_reader_of_an_empty_file_is_told_to_wait(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.touch()
    with pytest.raises(Unreachable, match="version none"):
        await Store.open(f"sqlite:///{path}", migrate=False)


@pytest.mark.parametrize("migrate", [True, False])
async def test_a_newer_store_is_left_alone(url: str, migrate: bool) -> None:
    async with await Store.open(url) as store, store.database.write() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(BadInput, match="newer Instabot"):
        await Store.open(url, migrate=migrate)


async def test_nobody_else_may_read_the_file(sqlite_store: Store) -> None:
    path = sqlite_store.database.place.path
    assert path
    await sqlite_store.meta.put("a", "b")
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_sqlite_keeps_a_write_ahead_log_and_waits_for_the_disk(
    sqlite_store: Store,
) -> None:
    async with sqlite_store.database.read() as connection:
        for pragma, expected in (
            ("journal_mode", "wal"),
            ("synchronous", 2),
            ("foreign_keys", 1),
            ("busy_timeout", 100),
        ):
            found = await connection.exec_driver_sql(f"PRAGMA {pragma}")
            assert found.scalar() == expected
