"""Says that cannot wait for their message's end: once, in the right shard, and never dropped."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from instabot.backend.speech import DEADLINE, Speech
from instabot.broker.keys import key
from instabot.broker.lease import Leases
from instabot.broker.scripts import Caps, Entry
from instabot.errors import Fenced
from tests.backend.stage import Stage, stage
from tests.broker.shelf import Recorder
from tests.servers import RedisServer
from tests.servers.process import until

pytestmark = pytest.mark.real


@asynccontextmanager
async def speaking(
    server: RedisServer, folder: Path
) -> AsyncIterator[tuple[Stage, Recorder, Speech]]:
    """Two shards, of which we hold one or both, and ten lines' room in each."""
    async with stage(server, folder, shards=2) as s:
        s.rooms = {"#here": "0.here", "#there": "1.there"}
        client = Recorder(s.client)
        leases = Leases(client, "backend", "b", 1)
        await leases.tick()  # shard 0 alone
        yield s, client, Speech(client, leases, Caps(10, 10))


async def test_a_reply_has_a_deadline_and_the_id_it_was_given(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with speaking(redis_server, tmp_path) as (_, _, speech):
        say = speech.say("m:0", "0.here", "hi", "request")
        assert (say.id, say.room, say.text, say.request) == ("m:0", "0.here", "hi", "request")
        assert say.at <= time.time()
        assert say.deadline == say.at + DEADLINE


async def test_a_line_sent_again_is_said_once_in_rooms_of_any_shard(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with speaking(redis_server, tmp_path) as (s, client, speech):
        client.fail = 1  # carried out, but its answer is lost
        await speech.send("m:1", "1.there", "local", "hi")
        await speech.send("m:1", "1.there", "local", "hi")
        await speech.send("m:2", "0.here", "local", "ho")
        assert [say.text for say in await s.says("#there")] == ["hi"]
        assert [say.text for say in await s.says("#here")] == ["ho"]
        assert await s.depth(1, "c:1.there") == 1


async def test_progress_is_numbered_and_fenced_by_its_messages_shard(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with speaking(redis_server, tmp_path) as (s, _, speech):
        heard = s.line("#here", "!build")
        entry = Entry(0, b"1-1", "0.here", "local", b"")
        saying = speech.progress(entry, heard)
        await saying("fetching")
        await saying("compiling")
        assert [say.id for say in await s.says("#here")] == [f"{heard.id}:p1", f"{heard.id}:p2"]
        again = speech.progress(entry, heard)  # after a crash
        await again("fetching")
        assert len(await s.says("#here")) == 2
        await s.raw("SET", key(0, "lease:backend"), "other:1")
        with pytest.raises(Fenced):
            await again("compiling")


async def test_a_full_queue_holds_a_line_up_and_does_not_drop_it(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with speaking(redis_server, tmp_path) as (s, client, speech):
        await s.raw("HSET", key(1, "depth"), "c", "10")
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(speech.send("m:1", "1.there", "local", "late"))
            tried = client.count("EVALSHA") + client.count("EVAL")
            await until(
                lambda: _more(client, tried + 2), "the queue was found full, and tried again"
            )
            assert not sending.done()
            await s.raw("HDEL", key(1, "depth"), "c")
        assert [say.text for say in await s.says("#there")] == ["late"]


async def _more(client: Recorder, count: int) -> bool:
    return client.count("EVALSHA") + client.count("EVAL") > count
