"""How messages end when Redis refuses, or when their shard is another's."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from instabot.backend.ends import Ends
from instabot.broker.consumer import Consumer
from instabot.broker.keys import key
from instabot.broker.lease import Leases, Taken
from instabot.broker.scripts import Dead, Done
from instabot.commands import Context, Plugin
from tests.backend.stage import stage
from tests.contracts.queues import Queues, queues
from tests.servers import RedisServer
from tests.servers.process import until

pytestmark = pytest.mark.real


async def ends_of(q: Queues, tasks: asyncio.TaskGroup) -> tuple[Ends, Consumer, Leases]:
    """The ends of the backend `b:1` that holds shard 0, and the consumer that they tell."""
    leases = Leases(q.client, "backend", "b", 1, incarnation=1)
    await leases.tick()
    ends = Ends(tasks, q.client, leases, 3)
    consumer = Consumer(
        q.client, q.blocking, leases, "messages", "backend", lambda entries: None
    )
    ends.consumer = consumer
    return ends, consumer, leases


async def test_acks_commits_and_dead_letters_leave_the_counters_right() -> None:
    async with queues("valkey") as q, asyncio.TaskGroup() as tasks:
        ends, _, _ = await ends_of(q, tasks)
        await q.hear("chatter", "question", "poison", "waits")
        chatter, question, poison, _ = await q.fetch()
        ends.ack([chatter])
        ends.ack([])
        ends.commit(Done(question, [("0.a", "t", b"reply")]))
        ends.commit(Dead(poison, "why"))
        await ends.idle()
        assert await q.texts("control") == ["reply"]
        assert await q.texts("dead") == ["poison"]
        assert await q.depth("m") == await q.true_depth("m") == {"m": 1, "m:0.a": 1, "m@t": 1}
        assert await q.depth("c") == await q.true_depth("c") == {"c": 1, "c:0.a": 1, "c@t": 1}


async def test_replies_beyond_a_rooms_cap_are_dead_letters() -> None:
    async with queues("valkey") as q, asyncio.TaskGroup() as tasks:
        ends, _, _ = await ends_of(q, tasks)
        await q.hear("question")
        (question,) = await q.fetch()
        ends.commit(Done(question, [("0.a", "t", b"%d" % n) for n in range(5)]))
        await ends.idle()
        assert await q.texts("control") == ["0", "1", "2"]
        assert await q.texts("dead") == ["3", "4"]


async def test_an_end_on_a_shard_that_is_anothers_is_void_and_delivered_anew() -> None:
    async with queues("valkey") as q, asyncio.TaskGroup() as tasks:
        ends, consumer, leases = await ends_of(q, tasks)
        await q.hear("question", "chatter", "effect")
        question, chatter, effect = await q.fetch()
        consumer.take(Taken(0, "", 0.0, 0, again=False))
        flying = consumer._shards[0].flying
        flying.update(entry.id for entry in (question, chatter, effect))
        await q.raw("SET", key(0, "lease:backend"), "other:1")
        ends.commit(Done(question, [("0.a", "t", b"reply")]))
        ends.ack([chatter])
        ends.void(effect)
        await ends.idle()
        assert await q.texts("control") == []
        assert flying == set()
        assert leases._fenced.is_set()
        assert len(await q.pending("messages", "backend")) == 3


async def test_a_redis_that_refuses_for_a_while_costs_nothing(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    plugin = Plugin("gate")
    inside, door = asyncio.Event(), asyncio.Event()

    @plugin.command
    async def wait(ctx: Context) -> str:
        inside.set()
        await door.wait()
        return "waited"

    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend(plugin):
            await s.hear("#a", "!wait", "chatter")
            await inside.wait()
            await s.logged()
            with capture_logs() as logs:
                # An operator's mistake in an ACL, mended later.
                await s.raw("ACL", "SETUSER", "default", "-evalsha", "-eval")
                door.set()
                await until(lambda: _refused(logs), "Redis has refused a commit")
                await s.raw("ACL", "SETUSER", "default", "+evalsha", "+eval")
            assert await s.said("#a", 1) == ["waited"]
            await s.hear("#a", "!wait")
            assert await s.said("#a", 2) == ["waited", "waited"]
            await s.quiet()


async def _refused(logs: Any) -> bool:
    return any(row["event"] == "Redis refuses" for row in logs)
