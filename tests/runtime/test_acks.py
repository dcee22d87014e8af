"""The ends of Says: repeated until Redis has them, and never taken for done when they are not."""

import asyncio
from pathlib import Path

from instabot.broker.keys import key
from instabot.broker.scripts import Entry, Said
from tests.runtime.stage import joined, stage


async def test_a_lease_that_ran_out_while_redis_was_away_doubles_nothing(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        await s.say("#ops", "once")
        await s.service.heard("once")
        await s.redis.delete(key(0, "lease:runtime"))  # before its CONFIRM, or just after
        await s.say("#ops", "twice")
        await asyncio.sleep(0)
        await s.runtime._leases.tick()
        await s.service.heard("twice")
        await s.settled()
        assert s.service.lines("#ops") == ["<bot> once", "<bot> twice"]


async def test_a_confirm_that_is_fenced_waits_for_the_lease_and_nothing_is_said_again(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        s.service.faults.held = True
        await s.say("#ops", "hello")
        await s.service.heard("hello")
        await s.redis.delete(key(0, "lease:runtime"))
        before = len(s.pipe.calls)
        s.service.release()
        tries = s.runtime._acks._leases
        fenced = asyncio.Event()
        honest = tries.fenced

        def told() -> None:
            fenced.set()
            honest()

        tries.fenced = told  # type: ignore[method-assign]
        await fenced.wait()
        await s.runtime._leases.tick()
        await s.settled()
        assert s.service.lines("#ops") == ["<bot> hello"]
        assert len(s.pipe.calls) > before


async def test_a_lost_answer_to_a_confirm_says_nothing_twice(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        s.pipe.deaf = {"confirm"}
        await s.say("#ops", "hello")
        await s.until(lambda: s.pipe.calls.count("confirm") >= 3)
        s.pipe.deaf = set()
        await s.settled()
        assert s.service.lines("#ops") == ["<bot> hello"]
        own = [m for m in await s.messages() if getattr(m, "own", False)]
        assert len(own) == 1


async def test_ends_of_a_shard_that_was_lost_are_void_and_hold_up_nothing(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        await s.redis.set(key(0, "lease:runtime"), "other:99999999999999")
        s.runtime._acks.put(Said(Entry(0, b"1-1", "0.ops", "local", b"{}")))
        await s.runtime._leases.tick()
        async with asyncio.timeout(5):
            await s.runtime._acks.idle()


async def test_a_batch_that_redis_refuses_is_tried_one_by_one(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        await s.redis.set(key(0, "depth"), "not a hash")
        entries = [Entry(0, b"%d-1" % n, "0.ops", "local", b"{}") for n in range(3)]
        for entry in entries:
            s.runtime._acks.put(Said(entry))
        async with asyncio.timeout(5):
            await s.runtime._acks.idle()
        await s.redis.delete(key(0, "depth"))
        await s.say("#ops", "and on")
        await s.service.heard("and on")
        await s.settled()
