"""The operator's view of Redis, and Requests with their answers, on a real server."""

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from instabot import wire
from instabot.broker import keys, overview, scripts
from instabot.broker.desk import Desk, Unanswered
from instabot.broker.joining import settled, wait_joined
from instabot.broker.keys import key
from instabot.broker.letters import letter, letters, settle
from instabot.broker.redis import connect
from instabot.errors import BadInput, InstabotError, NotAllowed, Unreachable
from instabot.model import Answer, Heard, Live, Network, Room
from tests.broker.clerk import clerk, done
from tests.servers import RedisServer

SHARDS = 4
NETWORK = Network(
    id="local/libera", tenant="local", name="libera", url="ircs://irc.libera.chat"
)
OPS = Room(id="2.aaaaaa", network="local/libera", tenant="local", name="#ops")
DEV = Room(id="2.bbbbbb", network="local/libera", tenant="local", name="#dev")


@pytest_asyncio.fixture
async def desk(valkey_server: RedisServer) -> AsyncIterator[Desk]:
    client = connect(valkey_server.url)
    await client.hset(keys.META, "shards", str(SHARDS))
    await client.aclose()
    async with Desk.open(valkey_server.url, 16) as one:
        yield one


async def hset(desk: Desk, name: str, field: str, value: Any) -> None:
    data = value if isinstance(value, bytes | int) else msgspec.json.encode(value)
    await desk.raw("HSET", name, field, data)


async def beat(desk: Desk, where: str, name: str, at: float, **facts: Any) -> None:
    await hset(desk, where, name, {"id": name, "at": at, "pid": 7, **facts})


async def furnish(desk: Desk) -> None:
    """One network with two rooms, one of them joined by a runtime that lives."""
    await hset(desk, key(2, "networks"), "generation", 1)
    await hset(desk, key(2, "networks"), NETWORK.id, NETWORK)
    await hset(desk, key(2, "rooms"), "generation", 1)
    for room in (OPS, DEV):
        await hset(desk, key(2, "rooms"), room.id, room)
    live = Live(state="joined", since=5.0, runtime="r1", heard=3, said=2, last_heard=6.0)
    await hset(desk, key(2, "live"), OPS.id, live)
    await hset(desk, key(2, "depth"), f"m:{OPS.id}", 2)
    await hset(desk, key(2, "depth"), f"c:{OPS.id}", 1)
    await beat(desk, keys.RUNTIMES, "r1", time.time(), rooms=1, links=1, up_s=9, rss_mb=50)


async def test_the_number_of_shards_in_redis_wins(desk: Desk) -> None:
    assert desk.shards == SHARDS


async def test_rooms_are_shown_with_their_live_state_and_depth(desk: Desk) -> None:
    assert await desk.rooms() == []
    await furnish(desk)
    dev, ops = await desk.rooms()
    assert (ops.id, ops.network, ops.name, ops.state) == (OPS.id, "libera", "#ops", "joined")
    assert (ops.depth, ops.heard, ops.said, ops.last_heard) == (3, 3, 2, 6.0)
    assert (dev.name, dev.state, dev.runtime) == ("#dev", "wanted", "")


async def test_a_room_whose_runtime_is_silent_counts_as_lost(desk: Desk) -> None:
    await furnish(desk)
    await beat(desk, keys.RUNTIMES, "r1", time.time() - 60)
    ops = (await desk.rooms())[1]
    assert (ops.state, ops.text) == ("lost", "runtime r1 does not answer")


async def test_rows_that_somebody_else_wrote_are_passed_over(desk: Desk) -> None:
    await furnish(desk)
    for name in ("networks", "rooms", "live"):
        await hset(desk, key(1, name), "x", b"\xff{")
    await hset(desk, keys.RUNTIMES, "x", b"[]")
    await hset(desk, keys.BACKENDS, "y", b'{"id": 5, "at": "now"}')
    assert [network.name for network in await desk.networks()] == ["libera"]
    assert len(await desk.rooms()) == 2
    assert [row["id"] for row in await desk.processes(keys.RUNTIMES)] == ["r1"]
    assert await desk.processes(keys.BACKENDS) == []


async def test_a_network_is_found_by_name_or_the_error_lists_those_there_are(
    desk: Desk,
) -> None:
    await furnish(desk)
    assert await desk.network("libera") == NETWORK
    with pytest.raises(BadInput, match="there are: libera"):
        await desk.network("oftc")


async def test_status_counts_who_runs_what_waits_and_how_the_rooms_are(desk: Desk) -> None:
    await furnish(desk)
    await beat(desk, keys.BACKENDS, "b1", time.time(), in_flight=1, up_s=3)
    item = scripts.Item(OPS.id, "local", b"{}", ref="one")
    await scripts.ingest(desk.client, 2, [item], time.time() - 5)
    facts = await overview.status(desk)
    assert facts["redis"]["server"] == "valkey"
    assert facts["redis"]["ping_ms"] > 0
    assert facts["shards"] == SHARDS
    assert facts["runtimes"] == [
        {"id": "r1", "pid": 7, "rooms": 1, "links": 1, "up_s": 9, "rss_mb": 50}
    ]
    assert facts["backends"] == [{"id": "b1", "pid": 7, "in_flight": 1, "up_s": 3}]
    assert facts["queues"]["messages"]["depth"] == 1
    assert facts["queues"]["control"] == {"depth": 0, "oldest_s": 0.0}
    assert facts["queues"]["dead"] == {"depth": 0}
    assert facts["rooms"] == {"joined": 1, "joining": 1, "lost": 0, "refused": 0}


async def test_the_oldest_entry_s_age_is_that_of_the_first_not_acknowledged(
    desk: Desk,
) -> None:
    name, born = key(2, "messages"), int((time.time() - 100) * 1000)
    for age in (0, 40_000):
        await desk.raw("XADD", name, f"{born + age}-0", "d", "x")
    await desk.raw("XGROUP", "CREATE", name, "backend", "0")
    await hset(desk, key(2, "depth"), "m", 2)
    assert await oldest(desk) == pytest.approx(100, abs=5)
    await desk.raw("XREADGROUP", "GROUP", "backend", "c", "COUNT", 2, "STREAMS", name, ">")
    assert await oldest(desk) == pytest.approx(100, abs=5)
    await desk.raw("XACK", name, "backend", f"{born}-0")
    assert await oldest(desk) == pytest.approx(60, abs=5)
    await desk.raw("XACK", name, "backend", f"{born + 40_000}-0")
    assert await oldest(desk) == 0


async def oldest(desk: Desk) -> float:
    return float((await overview.status(desk))["queues"]["messages"]["oldest_s"])


def test_a_redis_url_is_shown_without_its_password() -> None:
    assert overview.without_password("redis://me:pw@h:1/2") == "redis://me@h:1/2"
    assert overview.without_password("redis://:pw@h") == "redis://@h"
    assert overview.without_password("unix:///a/b") == "unix:///a/b"


async def test_a_request_gets_its_own_final_answer(desk: Desk) -> None:
    def reply(request: Any) -> list[Answer]:
        return [
            Answer(request="somebody else's", outcome="failed", text="not ours"),
            Answer(request=request.id, outcome="accepted", text="queued"),
            done(request, room="2.x"),
        ]

    before: list[Answer] = []
    async with clerk(desk, reply) as backend:
        answer = await desk.ask(1, "join", {"network": "libera"}, hear=before.append)
    assert answer.data == {"room": "2.x"}
    assert [one.text for one in before] == ["queued"]
    (request,) = backend.heard
    assert (request.verb, request.args) == ("join", {"network": "libera"})
    assert "@" in request.by
    assert request.deadline > time.time()


async def test_a_caller_in_a_hurry_takes_accepted_for_an_answer(desk: Desk) -> None:
    def reply(request: Any) -> list[Answer]:
        return [Answer(request=request.id, outcome="accepted")]

    async with clerk(desk, reply):
        answer = await desk.ask(0, "say", {}, final=("accepted", "done"))
    assert answer.outcome == "accepted"


@pytest.mark.parametrize(
    ("outcome", "error"), [("refused", NotAllowed), ("failed", InstabotError)]
)
async def test_a_bad_end_is_raised_with_its_reason(
    desk: Desk, outcome: Any, error: type[Exception]
) -> None:
    def reply(request: Any) -> list[Answer]:
        return [Answer(request=request.id, outcome=outcome, text="because")]

    async with clerk(desk, reply):
        with pytest.raises(error, match="because"):
            await desk.ask(0, "say", {})


async def test_garbage_on_the_feed_disturbs_nobody(desk: Desk) -> None:
    def reply(request: Any) -> list[Answer]:
        return [done(request)]

    async with clerk(desk, reply, before=[b"\xff", b"{}"]) as backend:
        await desk.ask(0, "part", {})
    assert len(backend.heard) == 1


async def test_silence_is_reported_with_its_likely_cause(desk: Desk) -> None:
    with pytest.raises(Unanswered, match="no backend runs"):
        await desk.ask(0, "part", {}, timeout=0.2)
    await beat(desk, keys.BACKENDS, "b1", time.time())
    with pytest.raises(Unanswered, match="see `instabot status`"):
        await desk.ask(0, "part", {}, timeout=0.2)


async def test_a_redis_that_is_away_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        async with Desk.open("unix:///nowhere/redis.sock"):
            pass


async def test_tail_begins_at_a_time_and_goes_on_with_what_comes(desk: Desk) -> None:
    def line(number: int, room: Room = OPS) -> scripts.Item:
        heard = Heard(id=f"n|{number}", room=room.id, sender="a", text=str(number), at=0.0)
        return scripts.Item(room.id, "local", wire.encode(heard), ref=heard.id)

    async def put(*items: scripts.Item) -> None:
        assert "F" not in await scripts.ingest(desk.client, 2, items, time.time())

    await put(line(1), line(2, DEV), line(3))
    async with aclosing(desk.tail(OPS, since=0)) as lines:
        assert [(await anext(lines)).text for _ in range(2)] == ["1", "3"]  # type: ignore[union-attr]
        await put(line(4, DEV), line(5))
        assert (await anext(lines)).text == "5"  # type: ignore[union-attr]


async def dead(desk: Desk, shard: int, number: str, why: str) -> None:
    fields = ("q", "messages", "i", "1-0", "r", OPS.id, "t", "local", "w", why, "d", b"\xff{}")
    await desk.raw("XADD", key(shard, "dead"), number, *fields)


async def test_dead_letters_are_listed_over_all_shards_in_order_of_time(desk: Desk) -> None:
    for shard, number, why in ((3, "3000-0", "c"), (0, "1000-0", "a"), (1, "2000-0", "b")):
        await dead(desk, shard, number, why)
    assert [one.id for one in await letters(desk)] == ["0:1000-0", "1:2000-0", "3:3000-0"]
    assert [one.why for one in await letters(desk, 2)] == ["b", "c"]
    one = await letter(desk, "3:3000-0")
    assert (one.at, one.queue, one.room, one.data) == (3.0, "messages", OPS.id, "\ufffd{}")


@pytest.mark.parametrize("text", ["", "x", "9:1-0", "1:x", "1:1", "0:5-5", "٣:1-0"])
async def test_a_dead_letter_that_is_not_there_is_bad_input(desk: Desk, text: str) -> None:
    with pytest.raises(BadInput, match="dead letter"):
        await letter(desk, text)


async def test_letters_are_settled_shard_by_shard(desk: Desk) -> None:
    async with clerk(
        desk, lambda request: [done(request, count=len(request.args["ids"]))]
    ) as backend:
        assert await settle(desk, "redrive", ["1:1-0", "3:2-0", "1:5-1"], 5) == 3
    assert [(one.verb, one.args) for one in backend.heard] == [
        ("dead.redrive", {"shard": 1, "ids": ["1-0", "5-1"]}),
        ("dead.redrive", {"shard": 3, "ids": ["2-0"]}),
    ]


async def test_a_wait_ends_when_every_room_is_joined_or_turned_away(desk: Desk) -> None:
    await furnish(desk)
    refused = Live(state="refused", reason="banned", since=time.time(), runtime="r1")
    await hset(desk, key(2, "live"), DEV.id, refused)
    seen: list[str] = []
    views = await wait_joined(
        desk, [DEV.id, OPS.id], time.time() - 5, 5, lambda view: seen.append(view.name)
    )
    assert [view.state for view in views] == ["refused", "joined"]
    assert sorted(seen) == ["#dev", "#ops"]


async def test_a_wait_that_takes_too_long_shows_how_far_it_came(desk: Desk) -> None:
    await furnish(desk)
    old = Live(state="refused", reason="banned", since=time.time() - 60, runtime="r1")
    await hset(desk, key(2, "live"), DEV.id, old)
    (view,) = await wait_joined(desk, [DEV.id], time.time(), 0.2)
    assert view.state == "refused"
    assert not settled(view, time.time())


async def test_a_setting_of_the_server_can_be_asked_for(desk: Desk) -> None:
    assert await desk.config("appendonly") == "yes"
    await desk.raw("ACL", "SETUSER", "default", "-config")
    with pytest.raises(InstabotError):
        await desk.config("appendonly")
