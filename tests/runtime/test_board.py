"""The hash `live`: what consoles see, fenced and never a ghost."""

import tracemalloc
from pathlib import Path

from instabot.broker.keys import key
from instabot.model import Room
from tests.runtime.stage import NET, Stage, joined, stage


async def written(s: Stage) -> dict[str, str]:
    await s.runtime._board.flush()
    return {room: f"{row.state} {row.reason}".strip() for room, row in (await s.live()).items()}


async def test_a_frozen_runtime_that_thaws_late_overwrites_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        assert await written(s) == {"0.ops": "joined"}
        await s.redis.set(key(0, "lease:runtime"), "other:99999999999999")
        await s.redis.hset(key(0, "live"), "0.ops", b'{"state":"refused"}')
        s.runtime._board.row("0.ops").heard += 1  # type: ignore[union-attr]
        assert await written(s) == {"0.ops": "refused"}
        assert s.runtime._board.dirty == {"0.ops"}


async def test_what_could_not_be_written_is_written_later_removals_too(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops", "#dev")
        await written(s)
        s.taps[0].away = True
        board = s.runtime._board
        board.state(s.wishes["0.ops"], "parted", "", "", "")
        board.row("0.dev").heard = 7  # type: ignore[union-attr]
        await board.flush()
        assert set(await s.live()) == {"0.ops", "0.dev"}
        s.taps[0].away = False
        await board.flush()
        assert {room: row.heard for room, row in (await s.live()).items()} == {"0.dev": 7}


async def test_a_redis_that_does_not_answer_is_asked_once_and_not_for_every_shard(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as s:
        board = s.runtime._board
        for shard in range(16):
            room = Room(id=f"{shard}.x", network=NET, tenant="local", name="#x")
            board.state(room, "joined", "", "", "bot")
        s.taps[0].away, asked = True, 0
        honest = s.taps[0].execute_command

        async def counted(*command: object) -> object:
            nonlocal asked
            asked += 1
            return await honest(*command)

        s.taps[0].execute_command = counted  # type: ignore[method-assign]
        await board.flush()
        assert asked == 1
        assert len(board.dirty) == 16


async def test_a_room_wanted_again_while_its_removal_is_written_stays(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        board = s.runtime._board
        board.state(s.wishes["0.ops"], "parted", "", "", "")
        honest = s.taps[0].execute_command

        async def meanwhile(*command: object) -> object:
            s.taps[0].execute_command = honest  # type: ignore[method-assign]
            board.state(s.wishes["0.ops"], "wanted", "", "", "")
            return await honest(*command)

        s.taps[0].execute_command = meanwhile  # type: ignore[method-assign]
        await board.flush()
        assert await written(s) == {"0.ops": "wanted"}


async def test_what_comes_late_for_a_parted_room_makes_no_ghost(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        room = s.wishes["0.ops"]
        s.runtime._board.state(room, "parted", "", "", "")
        s.runtime._outgoing.gap("0.ops", "local", 1.0, 3)
        s.runtime._board.gap(room, 1.0, 2.0)
        assert s.runtime._board.last_ref(room) == ""
        assert await written(s) == {}


async def test_a_reason_that_no_encoder_takes_is_written_all_the_same(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        s.runtime._board.state(s.wishes["0.ops"], "refused", "other", "\ud800!", "bot")
        assert await written(s) == {"0.ops": "refused other"}
        assert (await s.live())["0.ops"].text == "?!"


async def test_an_idle_room_takes_less_than_a_kilobyte(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#first")
        links = s.runtime._desired.networks[NET]
        rooms = [
            Room(id=f"0.r{n}", network=NET, tenant="local", name=f"#r{n}") for n in range(2000)
        ]
        before = {id(room) for room in rooms}
        tracemalloc.start()
        for room in rooms:
            links.want(room)
            s.runtime._desired._home[room.id] = links
        await s.until(lambda: all(v == "joined" for v in s.rows().values()))
        await s.until(lambda: not s.names())
        own = tracemalloc.take_snapshot().filter_traces(
            [tracemalloc.Filter(True, "*/instabot/runtime/*")]
        )
        tracemalloc.stop()
        size = sum(stat.size for stat in own.statistics("filename"))
        assert len(before) == 2000
        assert size / 2000 < 1000, f"{size / 2000:.0f} bytes per room"
