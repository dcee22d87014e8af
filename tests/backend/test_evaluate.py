"""From what was fetched to what is said: order, concurrency, and what happens when it goes wrong."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest

from instabot import wire
from instabot.broker import scripts
from instabot.broker.keys import key
from instabot.commands import Context, Plugin
from instabot.model import Hook, Notice
from tests.backend.stage import Stage, stage
from tests.servers import RedisServer
from tests.servers.process import until

pytestmark = pytest.mark.real


class Gate:
    """A plugin with a command that waits until the test opens its door."""

    def __init__(self, *, effect: bool = False, background: bool = False) -> None:
        self.plugin = Plugin("gate")
        self.inside = asyncio.Event()
        self.door = asyncio.Event()
        self.runs = 0

        @self.plugin.command(effect=effect, background=background)
        async def wait(ctx: Context) -> str:
            self.runs += 1
            self.inside.set()
            await self.door.wait()
            return "waited"


async def test_a_slow_command_delays_its_own_room_alone_and_replies_keep_their_order(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a", "#b")
        gate = Gate()
        async with s.backend(gate.plugin):
            await s.hear("#a", "!wait", "!ping 1", "!ping 2")
            await gate.inside.wait()
            await s.hear("#b", *(f"!ping {n}" for n in range(20)))
            assert await s.said("#b", 20) == [f"pong {n}" for n in range(20)]
            assert await s.says("#a") == []
            gate.door.set()
            assert await s.said("#a", 3) == ["waited", "pong 1", "pong 2"]
            await s.quiet()


async def test_chatter_is_acknowledged_without_a_lane(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        gate = Gate()
        async with s.backend(gate.plugin) as run:
            await s.hear("#a", "!wait", "hello", "how are you")
            await gate.inside.wait()
            await until(lambda: _is(s.depth(0, "m"), 1), "only the command waits")
            assert len(run.backend._lanes) == 1
            gate.door.set()
            await s.quiet()
        assert await s.said("#a", 1) == ["waited"]


async def _is(value: Awaitable[int], wanted: int) -> bool:
    return await value == wanted


async def test_what_the_wire_cannot_read_is_a_dead_letter_and_is_counted_no_more(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend():
            room = s.rooms["#a"]
            await s.queue((room, b"{not json"), (room, b""), (room, b'{"type":"heard","v":99}'))
            await s.hear("#a", "!ping")
            letters = await s.died(3)
            assert [letter["r"] for letter in letters] == [room] * 3
            assert "malformed" in letters[0]["w"]
            assert all(letter["w"] for letter in letters)
            assert await s.said("#a", 1) == ["pong"]
            await s.quiet()
        assert {f for f in await s.hash("depth") if f.startswith("m")} == set()


async def test_rooms_that_nobody_wants_are_acknowledged(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s, s.backend():
        await s.hear("0.nobody", "!ping")
        await s.put(Hook(id="h1", room="0.nobody", source="github", at=0.0))
        await s.put(Notice(id="n1", room="0.nobody", kind="joined", at=0.0))
        await s.quiet()
        assert await s.control() == []
        assert await s.dead() == []


async def test_own_late_and_notice_lines_are_never_evaluated(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    plugin = Plugin("ear")

    @plugin.listen
    async def every(ctx: Context) -> str:
        return f"heard {ctx.text}"

    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend(plugin):
            await s.hear("#a", "!ping own", own=True)
            await s.hear("#a", "!ping late", late=True)
            await s.hear("#a", "!ping notice", kind="notice")
            await s.hear("#a", "now")
            assert await s.said("#a", 1) == ["heard now"]
            await s.quiet()
            assert len(await s.says("#a")) == 1


async def test_rooms_with_the_egress_on_are_left_to_their_own_client(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#seed", egress="true")
        async with s.backend() as run:
            await s.hear("#seed", "!ping")
            await s.quiet()
            # not even as a suspect, which is evaluated past the sorting
            line = s.line("#seed", "!ping")
            entry = scripts.Entry(0, b"1-1", line.room, "local", wire.encode(line))
            await run.evaluator.one(entry, alone=True)
            assert await s.control() == []
            assert await s.raw("LLEN", "messages") == 1


async def test_a_plugins_mistake_is_one_line_with_a_trace(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    plugin = Plugin("bad")

    @plugin.command
    async def bad(ctx: Context) -> str:
        raise ZeroDivisionError("secret detail")

    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend(plugin):
            await s.hear("#a", "!bad", "!ping")
            first, second = await s.said("#a", 2)
        assert first.startswith("something went wrong (trace ")
        assert "secret" not in first
        assert second == "pong"


class Stop(BaseException):
    """What no plugin should raise, and some test libraries do."""


@pytest.mark.parametrize("error", [RuntimeError("ours"), Stop(), KeyboardInterrupt()])
async def test_a_mistake_of_our_own_costs_one_message_and_nothing_else(
    redis_server: RedisServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend() as run:

            async def broken(*args: object) -> str:
                monkeypatch.undo()
                raise error

            monkeypatch.setattr(run.evaluator._effects, "answer", broken)
            await s.hear("#a", "!ping lost", "!ping kept")
            (letter,) = await s.died(1)
            assert letter["w"] == f"evaluation failed: {type(error).__name__}"
            assert await s.said("#a", 1) == ["pong kept"]
            await s.quiet()
            assert run.evaluator.running == {}


async def test_a_request_that_ends_in_a_mistake_of_ours_is_answered(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(redis_server, tmp_path) as s, s.backend() as run:

        async def broken(*args: object) -> None:
            raise RuntimeError("ours")

        monkeypatch.setattr(run.evaluator._requests, "handle", broken)
        with pytest.raises(Exception, match="evaluation failed: RuntimeError"):
            await s.ask("role.list", network="net")


@pytest.mark.parametrize("background", [False, True])
async def test_while_the_store_is_away_messages_wait_and_are_answered_after(
    redis_server: RedisServer, tmp_path: Path, background: bool
) -> None:
    plugin = Plugin("long")

    @plugin.command(background=background)
    async def long(ctx: Context) -> list[str]:
        return [str(n) for n in range(9)]

    async with stage(redis_server, tmp_path) as s:
        await s.want("#a", "#b")
        async with s.backend(plugin, room_log=False) as run:
            run.away.go()
            await s.hear("#a", "!long")
            await run.away.asked.wait()
            await s.hear("#b", "!ping")  # needs no store
            assert await s.said("#b", 1) == ["pong"]
            assert await s.says("#a") == []
            run.away.come()
            assert (await s.said("#a", 1))[0].startswith("0\n1\n2\n3\n… 5 more")
            await s.quiet()
        assert await s.dead() == []


async def test_a_background_command_lets_its_room_go_on(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        gate = Gate(background=True)
        async with s.backend(gate.plugin) as run:
            await s.hear("#a", "!wait", "!ping 1")
            assert await s.said("#a", 1) == ["pong 1"]
            await gate.inside.wait()
            assert len(run.evaluator.running) == 1
            gate.door.set()
            assert await s.said("#a", 2) == ["pong 1", "waited"]
            await s.quiet()
            assert run.evaluator.running == {}


async def test_a_stopping_backend_waits_for_background_commands(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        gate = Gate(background=True)
        async with s.backend(gate.plugin) as run:
            await s.hear("#a", "!wait")
            await gate.inside.wait()
            idle = run.evaluator.idle

            async def asked() -> None:
                gate.door.set()
                await idle()

            run.evaluator.idle = asked  # type: ignore[method-assign]
        assert await s.said("#a", 1) == ["waited"]
        assert gate.runs == 1


async def test_progress_is_said_once_though_it_is_evaluated_again_after_a_crash(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    plugin = Plugin("slow")
    door, inside = asyncio.Event(), asyncio.Event()

    @plugin.command
    async def build(ctx: Context) -> AsyncIterator[str]:
        yield "fetching"
        yield "compiling"
        inside.set()
        await door.wait()
        yield "done"

    @plugin.listen("build")
    async def also(ctx: Context) -> AsyncIterator[str]:
        yield "a listener's progress"

    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend(plugin) as run:
            await s.hear("#a", "!build")
            await inside.wait()
            run.crash()
        door.set()
        async with s.backend(plugin):
            await s.quiet()
        said = [say.text for say in await s.says("#a")]
        assert said == ["fetching", "compiling", "done", "a listener's progress"]


async def test_a_long_reply_is_cut_and_read_on_after_a_restart(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    plugin = Plugin("list")

    @plugin.command("list")
    async def list_(ctx: Context) -> list[str]:
        return [f"line {n}" for n in range(7)]

    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend(plugin):
            await s.hear("#a", "!list")
            (first,) = await s.said("#a", 1)
        assert first.splitlines()[-1] == "… 3 more lines: !more"
        async with s.backend(plugin):
            await s.hear("#a", "!more")
            assert (await s.said("#a", 2))[1] == "line 4\nline 5\nline 6"


async def test_an_effect_interrupted_by_a_kill_asks_and_runs_once_more_on_demand(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        gate = Gate(effect=True)
        async with s.backend(gate.plugin) as run:
            await s.ask("role.grant", network="net", account="ann", role="operator")
            await s.hear("#a", "!wait", account="ann")
            await gate.inside.wait()
            run.crash()
        gate.door.set()
        async with s.backend(gate.plugin):
            (question,) = await s.said("#a", 1)
            assert "was interrupted" in question
            assert gate.runs == 1
            code = question.split("!again ")[1][:4]
            await s.hear("#a", f"!again {code}", account="ann")
            assert (await s.said("#a", 2))[1] == "waited"
            assert gate.runs == 2
            await s.quiet()


async def test_a_lost_lease_drops_the_message_and_the_next_backend_answers_once(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        gate = Gate()
        async with s.backend(gate.plugin, id="old") as old:
            await s.hear("#a", "!wait", "!ping")
            await gate.inside.wait()
            # Another backend takes the shard from a frozen one.
            await s.raw("DEL", key(0, "lease:backend"))
            gate.door.set()
            async with s.backend(gate.plugin, id="new"):
                assert await s.said("#a", 2) == ["waited", "pong"]
                await s.quiet()
                old.backend._leases.fenced()
                await until(lambda: _lost(old.leases.held), "the old one has let go")
                assert len(await s.says("#a")) == 2
        assert gate.runs >= 1


async def _lost(held: object) -> bool:
    return not held


async def test_a_lease_that_was_gone_for_a_moment_loses_no_message(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    plugin = Plugin("talker")
    inside, door = asyncio.Event(), asyncio.Event()

    @plugin.command
    async def talk(ctx: Context) -> AsyncIterator[str]:
        inside.set()
        await door.wait()
        yield "progress"  # fenced, while the lease is gone
        yield "more progress"

    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend(plugin):
            await s.hear("#a", "!talk", "!ping")
            await inside.wait()
            await s.raw("DEL", key(0, "lease:backend"))
            door.set()
            assert sorted(await s.said("#a", 3)) == ["more progress", "pong", "progress"]
            await s.quiet()
        assert await s.dead() == []


async def test_a_pattern_that_fails_costs_its_message_alone(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend() as run:
            real = run.evaluator.router.listeners

            def listeners(heard: object) -> object:
                if getattr(heard, "text", "") == "poison":
                    raise MemoryError
                return real(heard)  # type: ignore[arg-type]

            monkeypatch.setattr(run.evaluator.router, "listeners", listeners)
            await s.hear("#a", "poison", "!ping")
            assert await s.said("#a", 1) == ["pong"]
            (letter,) = await s.died(1)
            assert letter["w"] == "evaluation failed: MemoryError"


async def test_an_entry_trimmed_while_its_room_was_busy_is_acknowledged(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        gate = Gate()
        async with s.backend(gate.plugin):
            await s.hear("#a", "!wait", *(f"!ping {n}" for n in range(150)))
            await gate.inside.wait()
            rows = await s.raw("XRANGE", key(0, "messages"), "-", "+")
            await s.raw("XDEL", key(0, "messages"), rows[-1][0])
            gate.door.set()
            said = await s.said("#a", 150)
            assert said == ["waited", *(f"pong {n}" for n in range(149))]
            await until(lambda: _is(_pending(s), 0), "nothing is pending")
        assert await s.dead() == []


async def _pending(s: Stage) -> int:
    return int((await s.raw("XPENDING", key(0, "messages"), "backend"))[0])


async def test_the_store_is_away_while_an_effect_would_begin(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        gate = Gate(effect=True)
        gate.door.set()
        async with s.backend(gate.plugin, room_log=False) as run:
            await s.ask("role.grant", network="net", account="ann", role="operator")
            run.away.go()
            await s.hear("#a", "!wait", account="ann")
            await run.away.asked.wait()
            run.away.come()
            assert await s.said("#a", 1) == ["waited"]
            assert gate.runs == 1


async def test_a_confirmed_background_effect_lets_its_room_go_on_too(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        gate = Gate(effect=True, background=True)
        async with s.backend(gate.plugin):
            await s.ask("role.grant", network="net", account="ann", role="operator")
            await s.hear("#a", "!wait", account="ann", at=1.0)  # long ago: it asks first
            (question,) = await s.said("#a", 1)
            code = question.split("!again ")[1][:4]
            await s.hear("#a", f"!again {code}", account="ann")
            await gate.inside.wait()
            await s.hear("#a", "!ping")
            assert (await s.said("#a", 2))[1] == "pong"
            gate.door.set()
            assert (await s.said("#a", 3))[2] == "waited"


async def test_two_plugins_of_one_line_number_their_progress_together(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    plugin = Plugin("two")

    @plugin.listen("x")
    async def one(ctx: Context) -> AsyncIterator[str]:
        yield "one"

    @plugin.listen("x")
    async def two(ctx: Context) -> AsyncIterator[str]:
        yield "two"

    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend(plugin):
            await s.hear("#a", "x")
            assert await s.said("#a", 2) == ["one", "two"]
