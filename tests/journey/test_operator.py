"""An operator at a terminal: every command, its output, its JSON and its exit code."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.journey.home import BOT, Home, home, moves, said
from tests.journey.networks import Network
from tests.whole import gone

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]


def shape(value: Any) -> Any:
    """A JSON document with its values' types in place of the values."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return "number" if type(value) in (int, float) else type(value).__name__


ROOM = {
    **dict.fromkeys(("id", "tenant", "network", "name", "state", "reason", "runtime"), "str"),
    **dict.fromkeys(("since", "depth", "heard", "said", "last_heard"), "number"),
}
STATUS = {
    "version": "str",
    "redis": {"url": "str", "server": "str", "version": "str", "ping_ms": "number"},
    "shards": "number",
    "runtimes": [
        {
            **dict.fromkeys(("pid", "rooms", "links", "up_s", "rss_mb"), "number"),
            "id": "str",
        }
    ],
    "backends": [{"id": "str", "pid": "number", "in_flight": "number", "up_s": "number"}],
    "queues": {
        "messages": {"depth": "number", "oldest_s": "number"},
        "control": {"depth": "number", "oldest_s": "number"},
        "dead": {"depth": "number"},
    },
    "rooms": dict.fromkeys(("joined", "joining", "lost", "refused"), "number"),
}


def holds(found: Any, promised: Any) -> bool:
    """Whether a shape has all that was promised; it may have more."""
    if isinstance(promised, dict):
        return isinstance(found, dict) and all(
            name in found and holds(found[name], inner) for name, inner in promised.items()
        )
    if isinstance(promised, list):
        return len(found) == 1 and holds(found[0], promised[0])
    return bool(found == promised)


async def test_an_operator_s_hour(shared: Home) -> None:
    one, network = shared, shared.network
    ops, dev = network.room("ops"), network.room("dev")
    alice = await network.visit("alice", "ops", "dev")
    # joining, and joining again, which the room does not notice
    url = network.url(BOT, ["ops", "dev"])
    for _ in range(2):
        result = await one.run("join", url)
        assert result.code == 0, result
        assert [line.split()[0] for line in result.out.splitlines()] == ["joined"] * 2
    await alice.roundtrip()
    assert len(moves(alice)) == 2

    # what is said there, by people, by the bot and by the operator through it
    async with one.tail("ops") as tail:
        await alice.say(ops, "!ping me", "\x01ACTION waves\x01")
        await alice.expect(f"{ops} <{BOT}> pong me")
        start = time.monotonic()
        result = await one.run("say", "ops", "hello", "room")
        assert (result.code, result.out, result.err) == (0, "", "")
        assert time.monotonic() - start < 15
        await alice.expect(f"{ops} <{BOT}> hello room")
        await tail.shows(f"<{BOT}> hello room")
    async with one.tail("ops", "--since", "10m") as tail:
        for line in ("!ping me", "waves", "pong me", "hello room"):
            await tail.shows(line)
        heard = [line for line in tail.lines if not line.startswith("--")]
        assert heard == [
            "<alice> !ping me",
            "* alice waves",
            f"<{BOT}> pong me",
            f"<{BOT}> hello room",
        ]

    # `say` has the server's word for it: the line is there when the command ends
    for number in range(3):
        assert (await one.run("say", "ops", f"line {number}")).code == 0
        await alice.roundtrip()
        assert said(alice, ops)[-1] == f"line {number}"

    # lists and figures
    await one.quiet()
    await one.counted(ops, heard=2, said=5)
    row = (await one.rooms())[ops]
    assert holds(shape(row), ROOM), row
    assert (row["state"], row["reason"], row["depth"]) == ("joined", "", 0)
    assert abs(time.time() - row["last_heard"]) < 60
    text = (await one.run("rooms", "--filter", "dev")).out
    assert dev in text
    assert ops not in text
    status = await one.status()
    assert holds(shape(status), STATUS), status
    assert status["rooms"]["joined"] >= 2
    assert status["runtimes"][0]["pid"] == one.up.pid("runtime")
    assert status["backends"][0]["pid"] == one.up.pid("backend")
    doctor = await one.run("doctor", "--json")
    assert doctor.code == 0, doctor
    assert holds(shape(doctor.json[:1]), [{"grade": "str", "what": "str", "cure": "str"}])
    assert (await one.run("doctor")).code == 0
    schema = (await one.run("schema")).json
    assert {"Message", "Control", "Answer", "Heard", "Say"} <= set(schema["$defs"])

    # leaving
    result = await one.run("part", "dev")
    assert result.code == 0, result
    await alice.expect(f"{dev} {BOT} left")
    assert dev not in await one.rooms()
    again = await one.run("part", "dev")
    assert again.code == 2
    assert (await one.run("say", "dev", "x")).code == 2


async def test_a_dead_letter_is_looked_at_sent_again_and_dropped(shared: Home) -> None:
    one, name = shared, shared.network.room("late")
    carol = await shared.network.visit("carol", "late")
    room = (await one.join("late"))["late"]
    shard = room.partition(".")[0]
    say = '{"type":"say","id":"x:%d","room":"%s","text":"late %d","at":1,"deadline":%d}'
    async with one.redis() as redis:
        for number in (1, 2):  # their deadline was in 1970
            fields = {"r": room, "t": "local", "d": say % (number, room, number, 2)}
            await redis.xadd(f"instabot:{{{shard}}}:control", fields)  # type: ignore[arg-type]
    await one.quiet()
    letters = (await one.run("dead", "list", "--json")).json
    names = ("id", "queue", "room", "tenant", "why", "data")
    assert holds(shape(letters), [{**dict.fromkeys(names, "str"), "at": "number"}])
    assert [letter["queue"] for letter in letters] == ["control", "control"]
    assert {letter["why"] for letter in letters} == {"not said in time: the room is joined"}

    first, second = (letter["id"] for letter in letters)
    shown = await one.run("dead", "show", first, "--json")
    assert shown.json == letters[0]
    assert letters[0]["why"] in (await one.run("dead", "show", first)).out
    assert (await one.run("dead", "redrive", first)).out == "1 sent again\n"
    await carol.expect(f"{name} <{BOT}> late 1")
    assert (await one.run("dead", "drop", second)).out == "1 dropped\n"
    assert (await one.run("dead", "list")).out == "no dead letters\n"
    assert (await one.run("dead", "show", second)).code == 2
    assert (await one.run("dead", "drop", second)).code == 1
    assert said(carol, name) == ["late 1"]


async def test_every_exit_code_has_its_meaning(shared: Home) -> None:
    one = shared
    await one.join("codes")
    assert (await one.run("rooms")).code == 0
    # 1 failed, as also where a chat server refuses: test_refusals.py
    assert (await one.run("dead", "drop", "0:1-1")).code == 1
    # 2 wrong usage
    assert (await one.run("say", "nowhere", "x")).code == 2
    assert (await one.run("nonsense")).code == 2
    # 4 refused by us: a Redis user who may only look
    async with one.redis() as redis:
        await redis.execute_command(  # type: ignore[no-untyped-call]
            *("ACL", "SETUSER", "looker", "on", ">pw", "~*", "&*"),
            *("+@read", "+@connection", "+info", "+subscribe", "+unsubscribe"),
        )
    looker = f"unix://looker:pw@{one.up.data}/redis/redis.sock"
    assert (await one.run("rooms", "--redis", looker)).code == 0
    assert (await one.run("status", "--redis", looker)).code == 0
    refused = await one.run("say", "codes", "x", "--redis", looker)
    assert (refused.code, refused.err.count("\n")) == (4, 1), refused


async def test_sigterm_ends_all_in_order_and_the_next_start_is_where_it_was(
    network: Network, tmp_path: Path
) -> None:
    ops = network.room("ops")
    alice = await network.visit("alice", "ops")
    async with home(network, tmp_path / "d") as one:
        await one.join("ops")
        pids = [one.up.pid(name) for name in ("backend", "runtime")]
        pids.append(int((one.up.data / "redis" / "pid").read_text()))
        await alice.say(ops, *(f"!ping {number}" for number in range(20)))
        await alice.roundtrip()
        assert await one.up.stop(signal.SIGTERM) == 0
        for pid in pids:
            await gone(pid)
        await alice.expect(f"{BOT} quit")
        log = (one.up.data.parent / "d.log").read_text()
        assert log.index("backend stopped") < log.index("runtime stopped")
        assert "Traceback" not in log
        for args in (("rooms",), ("status", "--json"), ("say", "ops", "x"), ("tail", "ops")):
            away = await one.run(*args)  # 3: no Redis reachable
            assert (away.code, away.out, away.err.count("\n")) == (3, "", 1), away
        at_stop = said(alice, ops)
        assert at_stop == [f"pong {number}" for number in range(len(at_stop))]

    # what was asked before the stop and not answered by then, is answered now
    async with home(network, tmp_path / "d"):
        await alice.expect(f"{ops} {BOT} joined")
        await alice.say(ops, "!ping 20")
        await alice.expect(f"{ops} <{BOT}> pong 20")
        assert said(alice, ops) == [f"pong {number}" for number in range(21)]
