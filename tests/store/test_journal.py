import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instabot.errors import BadInput
from instabot.store import Entry, Store
from instabot.store.journal import _id

ROOM = "7.k3f9qd"
DEPLOY: dict[str, Any] = {
    "room": ROOM,
    "command": "deploy",
    "text": "web",
    "sender": "alice",
    "account": "alice@services",
}


async def test_an_effect_is_begun_once_and_finished(store: Store) -> None:
    begun = await store.journal.begin("m1", at=10.0, **DEPLOY)
    assert begun == Entry(
        message="m1",
        tenant="local",
        state="started",
        asked_at=0.0,
        started=10.0,
        finished=0.0,
        reply="",
        code="",
        fresh=True,
        **DEPLOY,
    )
    again = await store.journal.begin("m1", at=11.0, **DEPLOY)
    assert (again.fresh, again.state, again.started) == (False, "started", 10.0)
    done = await store.journal.finish("m1", "deployed", at=12.0)
    assert (done.state, done.reply, done.finished) == ("finished", "deployed", 12.0)
    rerun = await store.journal.begin("m1", at=13.0, **DEPLOY)
    assert (rerun.fresh, rerun.state, rerun.reply) == (False, "finished", "deployed")


async def test_the_first_reply_stays(store: Store) -> None:
    await store.journal.begin("m1", at=10.0, **DEPLOY)
    first = await store.journal.finish("m1", "deployed", at=11.0)
    assert await store.journal.finish("m1", "something else", at=12.0) == first
    assert await store.journal.get("m1") == first


async def test_what_never_began_cannot_finish(store: Store) -> None:
    with pytest.raises(BadInput, match="ever begun"):
        await store.journal.finish("m1", "deployed", at=11.0)
    assert await store.journal.get("m1") is None


async def test_of_many_who_begin_at_once_one_runs(url: str) -> None:
    async with await Store.open(url) as one, await Store.open(url) as two:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(store.journal.begin("m1", at=1.0, **DEPLOY))
                for store in (one, two) * 5
            ]
        assert sum(task.result().fresh for task in tasks) == 1


async def test_an_interrupted_effect_asks_and_is_confirmed_once(store: Store) -> None:
    await store.journal.begin("m1", at=10.0, **DEPLOY)
    asked = await store.journal.ask("m1", "k3f9", at=20.0, **DEPLOY)
    assert (asked.state, asked.code, asked.started, asked.asked_at) == ("asked", "k3f9", 10, 20)
    assert await store.journal.by_code("local", ROOM, "k3f9") == asked
    assert await store.journal.confirm("m1", at=30.0)
    assert not await store.journal.confirm("m1", at=31.0)
    found = await store.journal.by_code("local", ROOM, "k3f9")
    assert found
    assert (found.state, found.started) == ("started", 30.0)
    await store.journal.finish("m1", "deployed", at=40.0)
    found = await store.journal.by_code("local", ROOM, "k3f9")
    assert found
    assert (found.state, found.reply) == ("finished", "deployed")


async def test_an_old_effect_asks_before_it_begins(store: Store) -> None:
    asked = await store.journal.ask("m1", "k3f9", at=20.0, **DEPLOY)
    assert (asked.state, asked.started, asked.text) == ("asked", 0.0, "web")
    begun = await store.journal.begin("m1", at=21.0, **DEPLOY)
    assert (begun.fresh, begun.state) == (False, "asked")


async def test_a_repeated_question_is_the_same_question(store: Store) -> None:
    first = await store.journal.ask("m1", "k3f9", at=20.0, **DEPLOY)
    assert await store.journal.ask("m1", "other", at=21.0, **DEPLOY) == first


async def test_an_effect_interrupted_after_its_confirmation_asks_anew(store: Store) -> None:
    await store.journal.ask("m1", "k3f9", at=20.0, **DEPLOY)
    await store.journal.confirm("m1", at=21.0)
    asked = await store.journal.ask("m1", "other", at=22.0, **DEPLOY)
    assert (asked.state, asked.code) == ("asked", "other")
    assert await store.journal.by_code("local", ROOM, "k3f9") is None


async def test_a_finished_effect_asks_nothing(store: Store) -> None:
    await store.journal.begin("m1", at=10.0, **DEPLOY)
    done = await store.journal.finish("m1", "deployed", at=12.0)
    assert await store.journal.ask("m1", "k3f9", at=20.0, **DEPLOY) == done
    assert not await store.journal.confirm("m1", at=21.0)


async def test_a_code_holds_in_its_room_alone(store: Store) -> None:
    await store.journal.ask("m1", "k3f9", at=20.0, **DEPLOY)
    await store.journal.ask("m2", "k3f9", at=21.0, **DEPLOY)
    latest = await store.journal.by_code("local", ROOM, "k3f9")
    assert latest
    assert latest.message == "m2"
    assert await store.journal.by_code("local", "7.other0", "k3f9") is None
    assert await store.journal.by_code("acme", ROOM, "k3f9") is None
    assert await store.journal.by_code("local", ROOM, "") is None
    with pytest.raises(BadInput, match="needs a code"):
        await store.journal.ask("m3", "", at=22.0, **DEPLOY)


async def test_hostile_ids_stay_apart(store: Store) -> None:
    ids = ["x" * 9_000, "x" * 9_000 + "y", "a\x00b", "a\ufffdb", "\ud800", "'; --", "é", ""]
    for id_ in ids:
        begun = await store.journal.begin(
            id_, at=1.0, **(DEPLOY | {"text": "a\x00" + "x" * 10**6})
        )
        assert begun.fresh
        assert begun.text == "a\ufffd" + "x" * 10**6
    for id_ in ids:
        assert not (await store.journal.begin(id_, at=1.0, **DEPLOY)).fresh


@given(st.text(st.characters(codec=None, categories=None)))
def test_a_key_is_short_and_printable(message: str) -> None:
    assert len(_id(message)) <= 200
    assert _id(message).isascii()
    assert "\x00" not in _id(message)
