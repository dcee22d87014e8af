"""From the links to `messages`: every line once, in its room's order, whatever Redis does."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import fakeredis
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from instabot import wire
from instabot.adapters.base import Said
from instabot.broker.keys import key
from instabot.broker.lease import Leases
from instabot.broker.redis import Backoff
from instabot.broker.scripts import Caps
from instabot.errors import Unreachable
from instabot.model import Heard, Message, Network, Notice, Room
from instabot.runtime import outbox as module
from instabot.runtime.board import Board
from instabot.runtime.guard import Tasks
from instabot.runtime.outgoing import Outgoing

NET = Network(id="local/net", tenant="local", name="net", url="loopback://bot@x")


_STARTS = itertools.count(1)


class Redis:
    """A fake Redis that goes away, fills up, or loses its answers, as a test says."""

    def __init__(self) -> None:
        self.server = fakeredis.FakeServer()
        self.client = fakeredis.FakeAsyncRedis(server=self.server, protocol=2)
        self.away = False
        self.deaf = 0
        self.tries = asyncio.Event()
        self.thawed = asyncio.Event()
        self.thawed.set()

    async def execute_command(self, *command: Any) -> Any:
        self.tries.set()
        await self.thawed.wait()
        if self.away:
            raise Unreachable("Redis is away")
        answer = await self.client.execute_command(*command)  # type: ignore[no-untyped-call]
        if self.deaf and command[0].startswith("EVAL"):
            self.deaf -= 1
            raise Unreachable("the answer was lost")
        return answer

    async def execute_many(self, commands: Any) -> list[Any]:
        self.tries.set()
        if self.away:
            raise Unreachable("Redis is away")
        pipe = self.client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        return list(await pipe.execute(raise_on_error=False))

    async def tried(self, times: int = 1) -> None:
        for _ in range(times):
            self.tries.clear()
            await self.tries.wait()

    async def messages(self) -> list[Message]:
        rows: Any = await self.client.xrange(key(0, "messages"))
        return [wire.decode_message(fields[b"d"]) for _, fields in rows]

    async def texts(self, room: str = "0.ops") -> list[str]:
        return [
            m.text for m in await self.messages() if isinstance(m, Heard) and m.room == room
        ]


class Ear:
    """One process's Outgoing, with the lease of shard 0."""

    def __init__(self, redis: Redis, outgoing: Outgoing, leases: Leases) -> None:
        self.redis = redis
        self.outgoing = outgoing
        self.leases = leases

    def hear(self, *texts: str, room: str = "0.ops", tenant: str = "local") -> None:
        network = msgspec.structs.replace(NET, id=f"{tenant}/net", tenant=tenant)
        place = Room(id=room, network=network.id, tenant=tenant, name=room)
        for text in texts:
            said = Said(place.name, "alice", text, time.time())
            self.outgoing.heard(network, place, said, "bot")

    async def idle(self) -> None:
        async with asyncio.timeout(20):
            await self.outgoing.idle()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Backoff", lambda: Backoff(0.0001, 0.001))


@asynccontextmanager
async def ear(
    redis: Redis, folder: Path, *, name: str = "rt", spool: int = 1 << 20, cap: int = 10_000
) -> AsyncIterator[Ear]:
    """In the end the process is killed: what is neither in Redis nor on disk is gone."""
    async with Tasks() as tasks:
        # Two of a test's processes may start in the same millisecond.
        leases = Leases(redis, "runtime", name, 1, ttl=60.0, incarnation=next(_STARTS))
        board = Board(redis, name, leases.token)
        outgoing = Outgoing(tasks, redis, leases, board, folder, Caps(cap, cap), spool)

        async def taken(what: Any) -> None:
            outgoing.recover(0, late=what.before.rpartition(":")[0] not in {"", name})

        leases.on_taken.append(taken)

        async def lost(shard: int) -> None:
            outgoing.lost(shard)

        leases.on_lost.append(lost)
        if not redis.away:
            await leases.tick()
        yield Ear(redis, outgoing, leases)
        for task in list(tasks._tasks):
            task.cancel()
        for outbox in outgoing._outboxes.values():
            if outbox._spool:
                outbox._spool._file.close()
    await redis.client.aclose()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_lines_of_one_turn_go_in_one_batch_and_in_order(tmp_path: Path) -> None:
    redis = Redis()
    async with ear(redis, tmp_path) as e:
        e.hear(*(str(n) for n in range(600)))
        await e.idle()
        assert await redis.texts() == [str(n) for n in range(600)]
        assert files(tmp_path) == []


async def test_while_redis_is_away_lines_go_to_disk_and_come_first_afterwards(
    tmp_path: Path,
) -> None:
    redis = Redis()
    async with ear(redis, tmp_path) as e:
        e.hear("1")
        await e.idle()
        redis.away = True
        e.hear("2", "3")
        await redis.tried()
        e.hear("4")
        await redis.tried()
        assert files(tmp_path) == ["0-local.spool"]
        redis.away = False
        e.hear("5")
        await e.idle()
        assert await redis.texts() == ["1", "2", "3", "4", "5"]
        assert files(tmp_path) == []


async def test_a_full_queue_spools_and_drains_when_there_is_room_again(tmp_path: Path) -> None:
    redis = Redis()
    async with ear(redis, tmp_path, cap=3) as e:
        e.hear(*"123456")
        await redis.tried(2)
        assert await redis.texts() == ["1", "2", "3"]
        await redis.client.delete(key(0, "depth"))
        await e.idle()
        assert await redis.texts() == list("123456")


async def test_a_lost_answer_doubles_nothing(tmp_path: Path) -> None:
    redis = Redis()
    async with ear(redis, tmp_path) as e:
        redis.deaf = 3
        e.hear(*"123")
        e.hear(*"456")
        await e.idle()
        assert await redis.texts() == list("123456")


async def test_being_fenced_loses_nothing(tmp_path: Path) -> None:
    redis = Redis()
    async with ear(redis, tmp_path) as e:
        await redis.client.delete(key(0, "lease:runtime"))
        e.hear(*"123")
        await redis.tried(2)
        await e.leases.tick()
        await e.idle()
        assert await redis.texts() == list("123")


async def test_the_spool_survives_the_process_and_goes_before_new_lines(tmp_path: Path) -> None:
    redis = Redis()
    async with ear(redis, tmp_path) as e:
        e.hear("1")
        await e.idle()
        redis.away = True
        e.hear("2", "3")
        await redis.tried(2)
    redis.away = False
    async with ear(redis, tmp_path) as e:
        e.hear("4")
        await e.idle()
        assert await redis.texts() == ["1", "2", "3", "4"]
        assert not any(m.late for m in await redis.messages() if isinstance(m, Heard))


async def test_a_graceful_end_puts_on_disk_what_is_still_in_memory(tmp_path: Path) -> None:
    redis = Redis()
    async with ear(redis, tmp_path) as e:
        redis.away = True
        e.hear("1", "2")
        e.outgoing.park()
    redis.away = False
    async with ear(redis, tmp_path) as e:
        await e.idle()
        assert await redis.texts() == ["1", "2"]


async def test_memory_overflowing_during_an_ingest_keeps_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IN_MEMORY", 5)
    redis = Redis()
    async with ear(redis, tmp_path) as e:
        e.hear("0", "1")
        await redis.tried()  # their INGEST is under way
        e.hear(*"23456789")
        await e.idle()
        assert await redis.texts() == list("0123456789")


async def test_what_fits_nowhere_is_counted_and_becomes_a_gap_record(tmp_path: Path) -> None:
    redis = Redis()
    async with ear(redis, tmp_path, spool=400) as e:
        redis.away = True
        e.hear("1")
        await redis.tried()
        e.hear(*(f"line {n}" for n in range(20)))
        e.hear("other", room="0.dev")
        redis.away = False
        await e.idle()
        e.hear("after")
        await e.idle()
        kept = await redis.texts()
        gaps = {m.room: m.count for m in await redis.messages() if isinstance(m, Notice)}
        assert kept[-1] == "after"
        assert len(kept) - 2 + gaps["0.ops"] == 20
        assert gaps["0.dev"] == 1
        assert await redis.texts("0.dev") == []


async def test_a_count_of_what_fitted_nowhere_survives_a_graceful_end(tmp_path: Path) -> None:
    redis = Redis()
    async with ear(redis, tmp_path, spool=400) as e:
        redis.away = True
        e.hear("1")
        await redis.tried()
        e.hear(*(f"line {n}" for n in range(20)))
        e.outgoing.park()
    redis.away = False
    async with ear(redis, tmp_path, spool=400) as e:
        await e.idle()
        gaps = [m.count for m in await redis.messages() if isinstance(m, Notice)]
        assert len(await redis.texts()) - 1 + sum(gaps) == 20


async def test_without_a_disk_memory_has_to_do_and_the_rest_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IN_MEMORY", 3)
    redis = Redis()
    folder = tmp_path / "file"
    folder.write_text("no folder")
    async with ear(redis, folder) as e:
        redis.away = True
        e.hear(*"12345")
        await redis.tried(2)
        redis.away = False
        await e.idle()
        gaps = [m.count for m in await redis.messages() if isinstance(m, Notice)]
        assert (await redis.texts(), gaps) == (list("123"), [2])
        e.hear("6")
        await e.idle()
        assert await redis.texts() == list("1236")


async def test_tenants_wait_in_files_of_their_own_whatever_they_are_called(
    tmp_path: Path,
) -> None:
    redis = Redis()
    async with ear(redis, tmp_path) as e:
        redis.away = True
        e.hear("1")
        e.hear("2", tenant="../../evil", room="0.evil")
        await redis.tried(4)
        assert files(tmp_path) == ["0-..%2F..%2Fevil.spool", "0-local.spool"]
    redis.away = False
    async with ear(redis, tmp_path) as e:
        await e.idle()
        assert await redis.texts("0.evil") == ["2"]
        assert {m.tenant for m in await redis.messages()} == {"local", "../../evil"}


async def test_lines_kept_while_another_host_had_the_shard_are_late(tmp_path: Path) -> None:
    redis = Redis()
    async with ear(redis, tmp_path / "a", name="a") as e:
        redis.away = True
        e.hear("1", "2")
        await redis.tried(2)
    redis.away = False
    await redis.client.delete(key(0, "lease:runtime"))
    async with ear(redis, tmp_path / "b", name="b") as e:
        e.hear("3")
        await e.idle()
    await redis.client.delete(key(0, "lease:runtime"))
    async with ear(redis, tmp_path / "a", name="a") as e:
        e.hear("4")
        await e.idle()
        said = [(m.text, m.late) for m in await redis.messages() if isinstance(m, Heard)]
        assert said == [("3", False), ("1", True), ("2", True), ("4", False)]


async def test_lines_of_a_shard_that_was_lost_meanwhile_are_late_and_need_no_lease(
    tmp_path: Path,
) -> None:
    redis = Redis()
    async with ear(redis, tmp_path, name="a") as e:
        await redis.client.set(key(0, "lease:runtime"), "b:99999")
        e.hear("1")
        await redis.tried(2)
        await e.leases.tick()
        await e.idle()
        said = [(m.text, m.late) for m in await redis.messages() if isinstance(m, Heard)]
        assert said == [("1", True)]


async def test_strays_of_a_shard_that_is_anothers_by_now_are_found_and_late(
    tmp_path: Path,
) -> None:
    redis = Redis()
    async with ear(redis, tmp_path, name="a") as e:
        redis.away = True
        e.hear("1")
        await redis.tried(2)
    redis.away = False
    await redis.client.set(key(0, "lease:runtime"), "b:99999")
    async with ear(redis, tmp_path, name="a") as e:
        assert e.outgoing.left_over() == {0}
        e.outgoing.recover(0, late=True)
        await e.idle()
        assert e.outgoing.left_over() == set()
        said = [(m.text, m.late) for m in await redis.messages() if isinstance(m, Heard)]
        assert said == [("1", True)]


async def test_a_server_that_refuses_the_script_ends_nothing(tmp_path: Path) -> None:
    redis = Redis()
    async with ear(redis, tmp_path) as e:
        await redis.client.set(key(0, "messages"), "not a stream")
        e.hear("1")
        await redis.tried(3)
        await redis.client.delete(key(0, "messages"))
        await e.idle()
        assert await redis.texts() == ["1"]


STEPS = st.lists(
    st.sampled_from(["hear", "hear", "hear", "away", "back", "deaf", "full", "drain", "tick",
                     "wait", "restart"]),
    max_size=40,
)  # fmt: skip


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS)
async def test_whatever_redis_does_every_line_comes_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    redis, said = Redis(), 0
    steps = [*steps, "end"]
    while steps:
        redis_was_away, redis.away = redis.away, False
        async with ear(redis, folder, cap=6) as e:
            redis.away = redis_was_away
            while (step := steps.pop(0)) not in {"restart", "end"}:
                if step == "hear":
                    e.hear(str(said), str(said + 1))
                    said += 2
                elif step in {"away", "back"}:
                    redis.away = step == "away"
                elif step == "deaf":
                    redis.deaf = 1
                elif step == "full":
                    await redis.client.hset(key(0, "depth"), "m", "999")
                elif step == "drain":
                    await redis.client.delete(key(0, "depth"))
                elif step == "tick" and not redis.away:
                    redis.deaf = 0
                    await redis.client.delete(key(0, "lease:runtime"))
                    await e.leases.tick()
                else:
                    for _ in range(3):
                        await asyncio.sleep(0)
            if step == "end":
                redis.away, redis.deaf = False, 0
                e.outgoing._caps = Caps()
                await e.idle()
            e.outgoing.park()  # a kill loses what INGEST did not acknowledge; a stop nothing
    assert await redis.texts() == [str(n) for n in range(said)]


async def test_a_line_heard_after_the_last_words_goes_to_disk_all_the_same(
    tmp_path: Path,
) -> None:
    redis = Redis()
    async with ear(redis, tmp_path) as e:
        e.hear("1")
        await redis.tried()  # its INGEST is under way
        e.outgoing.park()
        e.hear("2")
        assert files(tmp_path) == ["0-local.spool"]
    async with ear(redis, tmp_path) as e:
        await e.idle()
        assert await redis.texts() == ["1", "2"]


async def test_a_spool_that_somebody_emptied_is_set_aside_and_we_go_on(tmp_path: Path) -> None:
    redis = Redis()
    async with ear(redis, tmp_path) as e:
        redis.away = True
        e.hear("1")
        await redis.tried(2)
        (tmp_path / "0-local.spool").write_bytes(b"")
        redis.away = False
        await e.idle()
        e.hear("2")
        await e.idle()
        assert await redis.texts() == ["2"]
        assert files(tmp_path) == ["0-local.broken"]


async def test_while_redis_is_frozen_a_kill_takes_no_more_than_half_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = Redis()
    async with ear(redis, tmp_path) as e:
        e.hear("1")
        await e.idle()
        redis.thawed.clear()
        e.hear("2")
        await redis.tried()  # its INGEST is under way, and stays so
        asked = time.time()
        monkeypatch.setattr(time, "time", lambda: asked + module.SLOW / 2)
        e.hear("3")
        assert files(tmp_path) == []
        monkeypatch.setattr(time, "time", lambda: asked + module.SLOW * 1.1)
        e.hear("4")
        assert files(tmp_path) == ["0-local.spool"]
        e.hear("5")
        redis.thawed.set()  # and then it is killed: a new process finds the disk

    redis.client = fakeredis.FakeAsyncRedis(server=redis.server, protocol=2)
    async with ear(redis, tmp_path) as e:
        await e.idle()
        assert await redis.texts() == ["1", "2", "3", "4", "5"]


async def test_the_beat_of_the_lease_never_passes_a_line_that_a_kill_would_take(
    tmp_path: Path,
) -> None:
    redis = Redis()
    async with ear(redis, tmp_path) as e:
        before = time.time()
        e.hear("1")
        await e.idle()
        assert e.outgoing.safe_until(0) >= before  # nothing waits: all is well until now
        redis.thawed.clear()
        heard = time.time()
        e.hear("2")
        await redis.tried()
        assert heard <= e.outgoing.safe_until(0) <= time.time()
        unsafe = e.outgoing.safe_until(0)
        e.hear("3")
        assert e.outgoing.safe_until(0) == unsafe  # the oldest counts
        redis.thawed.set()
        await e.idle()
        assert e.outgoing.safe_until(0) > unsafe
