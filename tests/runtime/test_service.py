"""The runtime as a process: real servers, real signals."""

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from instabot import wire
from instabot.broker import scripts
from instabot.broker.keys import key
from instabot.broker.scripts import Item
from instabot.model import Heard, Join, Live, Network, Room, Say
from tests.chat import Chat
from tests.servers import IrcServer, Process, RedisServer
from tests.servers.process import until
from tests.whole import environment

pytestmark = pytest.mark.real
NET, OPS = "local/net", "0.ops"


class Scene:
    """One Redis with one shard, one IRC server, runtimes as they are started; alice watches."""

    def __init__(self, redis: RedisServer, irc: IrcServer, folder: Path) -> None:
        self.redis = redis
        self.irc = irc
        self.folder = folder
        self.client = redis.client()
        self.alice: Chat
        self._count = 0

    def runtime(self, label: str = "runtime") -> Process:
        """A runtime under the one id that all of this scene have."""
        argv = [sys.executable, "-P", "-m", "instabot", "runtime", "--id", "rt"]
        env = environment(
            self.folder / "data",
            INSTABOT_REDIS_URL=self.redis.url,
            INSTABOT_SHARDS="1",
            INSTABOT_LEASE_TTL="1",
        )
        return Process(label, argv, self.folder, env=env)

    async def want(self) -> None:
        """The bot is wanted in #ops."""
        url = f"irc://bot@{self.irc.url.split('://')[1]}"
        net = Network(id=NET, tenant="local", name="net", url=url, settings={"rate": "0"})
        room = Room(id=OPS, network=NET, tenant="local", name="#ops")
        for name, fields in {
            "networks": {NET: wire.encode(net)},
            "rooms": {OPS: wire.encode(room)},
        }.items():
            mapping: dict[Any, Any] = {"generation": b"1", **fields}
            await self.client.hset(key(0, name), mapping=mapping)
        await self._control(wire.encode(Join(room=OPS)))

    async def say(self, *texts: str) -> None:
        """Replies, as the backend queues them."""
        for text in texts:
            say = Say(id=f"say-{self._count}", room=OPS, text=text, at=time.time())
            await self._control(wire.encode(say))

    async def _control(self, data: bytes) -> None:
        self._count += 1
        item = Item(OPS, "local", data, ref=f"c{self._count}")
        assert (
            await scripts.ingest(self.client, 0, [item], time.time(), stream="control") == "A"
        )

    async def heard(self) -> list[str]:
        """What alice said, as it reached the backend's queue."""
        rows: Any = await self.client.xrange(key(0, "messages"))
        messages = [wire.decode_message(fields[b"d"]) for _, fields in rows]
        return [m.text for m in messages if isinstance(m, Heard) and not m.own]

    async def hears(self, *texts: str) -> None:
        """Wait until exactly this was heard."""

        async def complete() -> bool:
            return len(await self.heard()) >= len(texts)

        await until(complete, f"heard {texts}")
        assert await self.heard() == list(texts)

    async def live(self, state: str) -> Live:
        async def there() -> bool:
            data: Any = await self.client.hget(key(0, "live"), OPS)
            return bool(data) and wire.decode_live(data).state == state

        await until(there, f"live state {state}")
        data: Any = await self.client.hget(key(0, "live"), OPS)
        return wire.decode_live(data)

    def said(self) -> list[str]:
        """What the bot said in the room."""
        return [
            line.removeprefix("#ops <bot> ")
            for line in self.alice.transcript("#ops")
            if line.startswith("#ops <bot> ")
        ]


@asynccontextmanager
async def scene(redis: RedisServer, irc: IrcServer, folder: Path) -> AsyncIterator[Scene]:
    made = Scene(redis, irc, folder)
    made.alice = await Chat.connect(irc.port, "alice")
    await made.alice.join("#ops")
    try:
        yield made
    finally:
        made.alice.close()
        await made.client.aclose()


@asynccontextmanager
async def started(process: Process) -> AsyncIterator[Process]:
    await process.start()
    try:
        yield process
    finally:
        await process.stop()


async def test_sigterm_says_good_bye_in_the_room_and_leaves_the_shard_free(
    redis_server: RedisServer, ngircd: IrcServer, tmp_path: Path
) -> None:
    async with scene(redis_server, ngircd, tmp_path) as s:
        await s.want()
        async with started(s.runtime()) as runtime:
            await s.alice.expect("#ops bot joined")
            await s.say("one", "two")
            await s.alice.expect("#ops <bot> two")
            await s.live("joined")
            await runtime.stop()
            assert runtime.returncode == 0
        await s.alice.expect("bot quit: ")
        assert "restarted" in s.alice.lines[-1].raw
        assert (await s.live("lost")).reason == "cut"
        assert not await s.client.exists(key(0, "lease:runtime"))
        assert not list((s.folder / "data").rglob("*.spool"))


async def test_a_second_runtime_of_the_same_name_takes_over_and_the_first_ends(
    redis_server: RedisServer, ngircd: IrcServer, tmp_path: Path
) -> None:
    async with scene(redis_server, ngircd, tmp_path) as s:
        await s.want()
        async with started(s.runtime("first")) as first:
            await s.alice.expect("#ops bot joined")
            async with started(s.runtime("second")):
                assert await first.wait() != 0
                assert "Traceback" not in first.log()
                await s.live("joined")
                await s.say("I am the second")
                await s.alice.expect("#ops <bot> I am the second")


async def test_a_runtime_waits_for_redis_and_may_be_stopped_while_it_waits(
    redis_server: RedisServer, ngircd: IrcServer, tmp_path: Path
) -> None:
    async with scene(redis_server, ngircd, tmp_path) as s:
        await s.want()
        await redis_server.kill()
        async with started(s.runtime("impatient")) as impatient:
            await impatient.stop(timeout=15)
            assert impatient.returncode in {0, -15}, impatient.log()  # -15: before its handlers
        async with started(s.runtime()):
            await redis_server.start()
            await s.alice.expect("#ops bot joined", timeout=20)


async def test_redis_killed_and_gone_for_a_while_costs_no_presence_no_line_and_no_order(
    redis_server: RedisServer, ngircd: IrcServer, tmp_path: Path
) -> None:
    async with scene(redis_server, ngircd, tmp_path) as s:
        await s.want()
        async with started(s.runtime()):
            await s.alice.expect("#ops bot joined")
            await s.alice.say("#ops", "before")
            await s.hears("before")
            await s.say("answer 1")
            await s.alice.expect("#ops <bot> answer 1")
            await redis_server.kill()
            lines = [f"meanwhile {n}" for n in range(300)]
            await s.alice.say("#ops", *lines)
            await s.alice.roundtrip()
            await redis_server.start()
            await s.alice.say("#ops", "after")
            await s.hears("before", *lines, "after")
            await s.say("answer 2")
            await s.alice.expect("#ops <bot> answer 2")
            room = "\n".join(s.alice.transcript("#ops"))
            assert room.count("bot joined") == 1
            assert "bot quit" not in room
            assert s.said() == ["answer 1", "answer 2"]


async def test_a_runtime_frozen_for_longer_than_its_lease_doubles_and_loses_nothing(
    redis_server: RedisServer, ngircd: IrcServer, tmp_path: Path
) -> None:
    async with scene(redis_server, ngircd, tmp_path) as s:
        await s.want()
        async with started(s.runtime()) as runtime:
            await s.alice.expect("#ops bot joined")
            replies = [f"reply {n}" for n in range(200)]
            await s.say(*replies[:100])
            runtime.freeze()
            await s.alice.say("#ops", "are you there?")

            async def expired() -> bool:
                return not await s.client.exists(key(0, "lease:runtime"))

            await until(expired, "the lease ran out")
            await s.say(*replies[100:])
            runtime.thaw()
            await s.alice.expect("#ops <bot> reply 199")
            await s.hears("are you there?")
            await s.alice.roundtrip()
            assert s.said() == replies


async def test_a_frozen_runtime_whose_shard_another_took_says_nothing_more(
    redis_server: RedisServer, ngircd: IrcServer, tmp_path: Path
) -> None:
    async with scene(redis_server, ngircd, tmp_path) as s:
        await s.want()
        async with started(s.runtime()) as runtime:
            await s.alice.expect("#ops bot joined")
            await s.say("reply 0")
            await s.alice.expect("#ops <bot> reply 0")
            runtime.freeze()

            async def taken() -> bool:
                return bool(
                    await s.client.set(key(0, "lease:runtime"), "other:1", nx=True, px=60_000)
                )

            await until(taken, "the lease ran out")
            await s.say("reply 1")
            runtime.thaw()
            await s.alice.expect("bot quit: ")
            assert s.said() == ["reply 0"]


async def test_kill_9_and_a_new_start_say_what_was_queued_and_record_the_gap(
    redis_server: RedisServer, ngircd: IrcServer, tmp_path: Path
) -> None:
    async with scene(redis_server, ngircd, tmp_path) as s:
        await s.want()
        async with started(s.runtime()) as runtime:
            await s.alice.expect("#ops bot joined")
            await s.live("joined")
            await runtime.kill()
            await s.alice.expect("bot quit: ")
            await s.alice.say("#ops", "nobody hears this")
            await s.say("queued meanwhile")
            await runtime.start()
            await s.alice.expect("#ops <bot> queued meanwhile")
            live = await s.live("joined")
            assert 0 < live.gap_since < live.gap_until
            assert s.said() == ["queued meanwhile"]


async def test_sigterm_while_redis_is_away_loses_nothing_that_was_heard(
    redis_server: RedisServer, ngircd: IrcServer, tmp_path: Path
) -> None:
    async with scene(redis_server, ngircd, tmp_path) as s:
        await s.want()
        async with started(s.runtime()) as runtime:
            await s.alice.expect("#ops bot joined")
            await s.alice.say("#ops", "before")
            await s.hears("before")
            await redis_server.kill()
            await s.alice.say("#ops", "one", "two")
            await s.alice.roundtrip()
            await runtime.stop(timeout=20)
            assert runtime.returncode == 0
            await s.alice.expect("bot quit: ")
            await redis_server.start()
            await runtime.start()
            await s.alice.until(
                lambda: s.alice.transcript("#ops").count("#ops bot joined") == 2, "bot is back"
            )
            await s.alice.say("#ops", "after")
            await s.hears("before", "one", "two", "after")
