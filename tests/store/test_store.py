import os
from pathlib import Path

import pytest

from instabot.errors import BadInput, Unreachable
from instabot.store import Store


async def test_a_store_answers_until_it_is_closed_and_may_be_closed_twice(url: str) -> None:
    store = await Store.open(url)
    await store.ping()
    await store.close()
    await store.close()


async def test_a_reader_sees_what_the_backend_writes(url: str) -> None:
    async with await Store.open(url) as backend, await Store.open(url, migrate=False) as tail:
        await backend.meta.put("colour", "blue")
        assert await tail.meta.get("colour") == "blue"


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary, " * 100)
    with pytest.raises(BadInput, match=r"notes\.txt is not a SQLite database"):
        await Store.open(f"sqlite:///{path}")
    assert path.read_text() == "Dear diary, " * 100


async def test_a_folder_that_cannot_be_made_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unreachable, match=r"store\.db"):
        await Store.open(f"sqlite:///{tmp_path}/file/store.db")


async def test_a_folder_in_the_files_place_is_unreachable(tmp_path: Path) -> None:
    os.mkdir(tmp_path / "store.db")
    with pytest.raises(Unreachable, match=r"store\.db"):
        await Store.open(f"sqlite:///{tmp_path}/store.db")


async def test_a_postgresql_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    pytest.importorskip("asyncpg")
    with pytest.raises(Unreachable, match="does not answer"):
        await Store.open(f"postgresql://bot:geheim@/bot?host={tmp_path}", patience=2)


@pytest.mark.real
async def test_a_missing_database_is_said_to_be_missing(
    request: pytest.FixtureRequest,
) -> None:
    url: str = request.getfixturevalue("cluster").database()
    with pytest.raises(BadInput, match="no such database"):
        await Store.open(url.replace("/test", "/other"))
