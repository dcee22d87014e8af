"""Desired state, level-triggered: what is open follows the hashes, and nothing else."""

import asyncio
from pathlib import Path

import msgspec

from instabot import wire
from instabot.broker.keys import key
from instabot.model import Live, Network, Notice, Room
from tests.runtime.stage import NET, Stage, aclose, joined, stage
from tests.runtime.stage import QUICK as PACE


async def test_data_loss_keeps_every_link_until_the_backend_has_written_again(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        bots = list(s.service.bots)
        await s.redis.delete(key(0, "networks"), key(0, "rooms"))
        await s.runtime._desired.reread(0)
        assert s.rows() == {"0.ops": "joined"}
        await s.redis.hset(key(0, "networks"), "generation", "9")
        await s.runtime._desired.reread(0)
        assert s.rows() == {"0.ops": "joined"}
        await s.publish()
        await s.runtime._desired.reread(0)
        assert s.service.bots == bots
        s.service.say("#ops", "alice", "still here?")
        await s.heard(1)
        assert await s.said_to_backend() == ["* joined bot", "<alice> still here?"]


async def test_what_cannot_be_read_stays_as_it_is(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops", "#dev")
        await s.redis.hset(key(0, "networks"), NET, b"{")
        await s.redis.hset(key(0, "rooms"), "0.ops", b"\xff")
        await s.runtime._desired.reread(0)
        assert s.rows() == {"0.ops": "joined", "0.dev": "joined"}


async def test_rooms_that_do_not_belong_here_are_not_opened(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        for number in ("7.other", "nonsense", "", "0.mine"):
            wish = Room(id=number, network=NET, tenant="local", name=f"#{number}")
            s.wishes[number] = wish
        s.wishes["0.liar"] = s.wishes["0.mine"]
        await s.publish()
        await s.sync()
        await s.until(lambda: s.rows() == {"0.mine": "joined"})
        await s.until(s.live)
        assert list(await s.live()) == ["0.mine"]


async def test_a_hash_of_another_type_ends_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        await s.redis.set(key(0, "rooms"), "not a hash")
        await s.runtime._desired.reread(0)
        assert s.rows() == {"0.ops": "joined"}


async def test_nudges_that_wait_together_cost_one_reading(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await s.want("#ops", nudge=False)
        before = s.taps[0].calls.count("HGETALL")
        async with asyncio.TaskGroup() as tasks:
            for _ in range(100):
                tasks.create_task(s.runtime._desired.reread(0))
        assert s.taps[0].calls.count("HGETALL") - before <= 4
        await s.state("#ops", "joined")


async def test_a_new_generation_is_noticed_without_a_nudge(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        await s.want("#dev", nudge=False)
        await s.runtime._leases.tick()
        await s.state("#dev", "joined")


async def test_a_lost_shard_is_closed_and_one_taken_again_is_opened(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        await s.redis.set(key(0, "lease:runtime"), "other:99999999999999")
        await s.redis.hset(key(0, "live"), "0.ops", wire.encode(Live(state="joining")))
        await s.runtime._leases.tick()
        await s.until(lambda: not s.service.bots)
        await s.until(lambda: s.rows() == {})
        await s.runtime._board.flush()
        assert (await s.live())["0.ops"].state == "joining"  # the new holder's, not ours
        await s.redis.delete(key(0, "lease:runtime"))
        await s.runtime._leases.tick()
        await s.state("#ops", "joined")


async def restarted(tmp_path: Path, *, kill: bool) -> Stage:
    """A room was joined and spoken in, then the runtime ended, and another one took over."""
    s = Stage(tmp_path, PACE, {})
    s.service.faults.history = False
    async with s.run(kill=kill):
        await joined(s, "#ops")
        s.service.say("#ops", "alice", "hi")
        await s.heard(1)
        await s.runtime._board.flush()
    for bot in list(s.service.bots):  # a killed process takes its connections along
        s.service.forget(bot)
    return s


async def test_a_killed_runtimes_successor_records_the_gap_it_left(tmp_path: Path) -> None:
    s = await restarted(tmp_path, kill=True)
    beat = float((await s.redis.hget(key(0, "resume"), "beat:runtime")) or 0) / 1000
    async with s.run():
        await s.state("#ops", "joined")
        gaps = await s.until(lambda: _gaps(s))
        assert gaps[0].since == beat
        assert gaps[0].at >= beat
        assert (await s.said_to_backend())[-2:] == ["* gap", "* back bot"]
        assert s.runtime._board.rows["0.ops"].heard == 1  # counters go on
    await aclose(s)


async def test_a_start_that_fails_half_way_still_knows_who_held_the_shard_before(
    tmp_path: Path,
) -> None:
    s = await restarted(tmp_path, kill=True)
    beat = float((await s.redis.hget(key(0, "resume"), "beat:runtime")) or 0) / 1000
    client = s.taps[0]
    honest, client.deaf = client.execute_command, {"groups"}

    async def once(*command: object) -> object:
        try:
            return await honest(*command)
        finally:
            if client.calls[-1] == "groups":
                client.deaf = set()

    client.execute_command = once  # type: ignore[method-assign]
    async with s.run():
        await s.state("#ops", "joined")
        assert client.calls.count("groups") >= 2
        assert (await s.until(lambda: _gaps(s)))[0].since == beat
    await aclose(s)


async def test_a_stopped_runtimes_successor_counts_from_the_stop(tmp_path: Path) -> None:
    s = await restarted(tmp_path, kill=False)
    stopped = (await s.live())["0.ops"]
    assert (stopped.state, stopped.reason) == ("lost", "cut")
    async with s.run():
        await s.state("#ops", "joined")
        gaps = await s.until(lambda: _gaps(s))
        assert gaps[0].since == stopped.since
    await aclose(s)


async def test_a_hole_that_was_open_when_its_runtime_was_killed_keeps_its_beginning(
    tmp_path: Path,
) -> None:
    s = Stage(tmp_path, PACE, {})
    s.service.faults.history = False
    async with s.run(kill=True):
        await joined(s, "#ops")
        await s.runtime._board.flush()
        link = s.runtime._desired.networks[NET].links[0]
        link._missing(s.runtime._desired.networks[NET].spots["0.ops"], 1234.5)
        await s.runtime._board.flush()
    async with s.run():
        await s.state("#ops", "joined")
        assert (await s.until(lambda: _gaps(s)))[0].since == 1234.5
    await aclose(s)


async def test_a_room_that_is_new_has_no_gap(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        s.service.faults.history = False
        await joined(s, "#ops")
        s.service.say("#ops", "alice", "hi")
        await s.heard(1)
        assert await s.said_to_backend() == ["* joined bot", "<alice> hi"]


async def test_rooms_parted_while_no_runtime_ran_leave_no_live_row(tmp_path: Path) -> None:
    s = await restarted(tmp_path, kill=True)
    await s.unwant("#ops", nudge=False)
    async with s.run():

        async def none() -> bool:
            return not await s.live()

        await s.until(none)
    await aclose(s)


async def test_many_networks_that_hang_at_closing_are_closed_at_the_same_time(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        desired = s.runtime._desired
        links = desired.networks[NET].links[0]
        closing, honest = asyncio.Event(), links.close
        started: list[str] = []

        async def close(reason: str) -> None:
            started.append(reason)
            if len(started) == 3:
                closing.set()
            await closing.wait()

        links.close = close  # type: ignore[method-assign]
        for name in ("a", "b"):
            other = msgspec.structs.replace(s.network, id=f"local/{name}", name=name)
            assert isinstance(other, Network)
            desired.networks[other.id] = type(desired.networks[NET])(desired._ports, other, 0)
            desired.networks[other.id].links.append(links)
        async with asyncio.timeout(5):
            await desired.close("bye")
        assert len(started) == 3
        await honest("bye")


async def _gaps(s: Stage) -> list[Notice]:
    return [m for m in await s.messages() if isinstance(m, Notice) and m.kind == "gap"]
