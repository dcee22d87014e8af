"""Every verb: what it changes, what it says when it cannot, and what a second delivery does."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from instabot import wire
from instabot.broker.keys import key
from instabot.commands import Context, Plugin
from instabot.errors import InstabotError, NotAllowed, Unreachable
from instabot.model import Answer, Join, Part, Request, Sync
from tests.backend.stage import URL, Running, Stage, stage
from tests.servers import RedisServer

pytestmark = pytest.mark.real


def request(verb: str, id: str = "r1", **args: Any) -> Request:
    return Request(id=id, verb=verb, args=args, by="ann@desk", at=time.time())


async def twice(run: Running, verb: str, id: str, **args: Any) -> Answer:
    """The same request, delivered a second time: it comes to the same."""
    first = await run.handle(request(verb, id, **args))
    assert await run.handle(request(verb, id, **args)) == first
    return first


async def network(s: Stage) -> Any:
    return wire.decode_network((await s.hash("networks"))["local/net"].encode())


async def test_a_network_is_put_merged_and_removed(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s, s.backend() as run:
        answer = await twice(
            run, "network.put", "1", name="net", url=URL, secret="sealed",
            settings={"rate": "1", "nick": "bot"},
        )  # fmt: skip
        assert (answer.outcome, answer.data) == ("done", {"network": "local/net"})
        await twice(run, "network.put", "2", name="net", settings={"rate": "", "burst": "3"})
        now = await network(s)
        assert (now.secret, now.url) == ("sealed", URL)
        assert now.settings == {"nick": "bot", "burst": "3"}
        assert await run.store.rooms.network("local/net") == now

        await twice(run, "network.put", "3", name="net", secret="other", url="irc://bot@two")
        now = await network(s)
        assert (now.secret, now.url) == ("other", "irc://bot@two")

        answer = await twice(run, "network.remove", "4", name="net")
        assert answer.outcome == "done"
        assert "local/net" not in await s.hash("networks")
        assert await run.store.rooms.network("local/net") is None
        answer = await run.handle(request("network.remove", "5", name="net"))
        assert (answer.outcome, answer.text) == ("failed", "there is no network 'net'")


async def test_the_runtime_is_nudged_by_every_change(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s, s.backend():
        answer = await s.ask(
            "join",
            network="net",
            url=URL,
            rooms=[{"name": "#Ops"}, {"name": "#dev", "key": "k"}],
        )
        ops, dev = answer.data["rooms"]["#Ops"], answer.data["rooms"]["#dev"]
        again = await s.ask("join", network="net", rooms=[{"name": "#ops"}])
        assert again.data["rooms"] == {"#ops": ops}
        await s.ask("part", rooms=[dev])
        await s.ask("network.put", name="net", settings={"rate": "2"})
        await s.ask("network.remove", name="net")
        sync = Sync(network="local/net")
        assert await s.control() == [
            *(sync, Join(room=ops), Join(room=dev)),
            *(sync, Join(room=ops)),
            Part(room=dev),
            *(sync, sync),
        ]
        assert await s.hash("rooms") == {"generation": (await s.hash("rooms"))["generation"]}


async def test_joining_and_parting_twice_changes_nothing_twice(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s, s.backend() as run:
        rooms = [{"name": "#a", "key": "sealed"}, {"name": "#b"}]
        answer = await twice(run, "join", "1", network="net", url=URL, rooms=rooms)
        a = answer.data["rooms"]["#a"]
        assert wire.decode_room((await s.hash("rooms"))[a].encode()).key == "sealed"
        assert (await twice(run, "part", "2", rooms=[a])).outcome == "done"
        assert a not in await s.hash("rooms")
        assert run.places.get(a) is None
        back = await twice(run, "join", "3", network="net", rooms=[{"name": "#a"}])
        assert back.data["rooms"] == {"#a": a}


async def test_a_thousand_rooms_join_by_one_request(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s, s.backend():
        names = [f"#room{n}" for n in range(1000)]
        began = time.monotonic()
        answer = await s.ask(
            "join", network="net", url=URL, rooms=[{"name": name} for name in names]
        )
        took = time.monotonic() - began
        assert len(set(answer.data["rooms"].values())) == 1000
        assert len(await s.hash("rooms")) == 1001
        nudges = [c for c in await s.control() if isinstance(c, Join)]
        assert len(nudges) == 1000
        assert await s.depth(0, "c") == 1001
        assert took < 10


async def test_a_join_that_cannot_be_leaves_everything_as_it_was(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s, s.backend() as run:
        for rooms in ([{"name": ""}], [{"key": "k"}], ["#a"], [], "#a", [{"name": "x" * 300}]):
            wish = request("join", network="net", url=URL, rooms=rooms)
            answer = await run.handle(wish)
            assert answer.outcome == "failed"
            assert answer.text
        assert await run.store.rooms.networks() == []
        assert "local/net" not in await s.hash("networks")


async def test_a_line_is_accepted_and_queued_once(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend():
            answer = await s.ask("say", room=s.rooms["#a"], text="hello")
            assert answer.outcome == "accepted"
            (say,) = await s.says("#a")
            assert (say.text, say.request) == ("hello", answer.request)
            assert say.id == f"{say.request}:0"
            assert say.deadline > time.time() + 600


@pytest.mark.parametrize(
    ("verb", "args", "sentence"),
    [
        ("network.put", {}, "network.put needs name, a text"),
        ("network.put", {"name": 7}, "network.put needs name, a text"),
        ("network.put", {"name": "new"}, "there is no network 'new'; give its URL to make it"),
        ("network.put", {"name": "a/b", "url": URL}, "cannot be a network's name"),
        ("network.put", {"name": "net", "url": "irc://bot:pw@host"}, "holds a password"),
        ("network.put", {"name": "net", "url": "host"}, "a network's URL looks like"),
        ("network.put", {"name": "net", "url": "irc://[::"}, "not a URL"),
        ("network.put", {"name": "net", "settings": {"rate": 1}}, "settings must be texts"),
        ("network.put", {"name": "net", "settings": ["rate"]}, "settings must be texts"),
        ("network.remove", {"name": "none"}, "there is no network 'none'"),
        ("join", {"network": "none", "rooms": [{"name": "#a"}]}, "there is no network 'none'"),
        ("part", {"rooms": ["9.abc"]}, "'9.abc' is not the id of a room of this shard"),
        ("part", {"rooms": ["ops"]}, "'ops' is not the id of a room"),
        ("part", {"rooms": [{}]}, "'{}' is not the id of a room"),
        ("part", {}, "part needs rooms, a list"),
        ("say", {"room": "0.none", "text": "x"}, "there is no room 0.none"),
        ("say", {"room": "0.none"}, "there is no room"),
        ("dead.redrive", {"ids": ["abc"]}, "'abc' is not the id of a dead letter"),
        ("dead.drop", {"ids": [1.5]}, "'1.5' is not the id of a dead letter"),
        ("dead.drop", {"ids": "1-1"}, "dead.drop needs ids, a list"),
        ("role.grant", {"network": "net", "account": "ann"}, "role.grant needs role, a text"),
        ("role.grant", {"network": "x", "account": "a", "role": "r"}, "there is no network"),
        ("role.revoke", {"network": "net", "account": "a", "role": "r"}, "does not have"),
    ],
)
async def test_wrong_arguments_are_answered_with_a_sentence(
    redis_server: RedisServer, tmp_path: Path, verb: str, args: dict[str, Any], sentence: str
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend() as run:
            answer = await run.handle(request(verb, **args))
            assert answer.outcome == "failed"
            assert sentence in answer.text
            assert await run.handle(request(verb, **args)) == answer


async def test_unknown_verbs_and_late_requests_are_refused(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s, s.backend() as run:
        with pytest.raises(NotAllowed, match="no verb 'explode'"):
            await s.ask("explode")
        late = Request(
            id="late",
            verb="network.put",
            args={"name": "net", "url": URL},
            at=1.0,
            deadline=2.0,
        )
        answer = await run.handle(late)
        assert (answer.outcome, answer.text) == ("refused", "it came too late")
        assert await run.store.rooms.networks() == []


async def test_a_network_is_made_on_its_own_shard_only(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path, shards=2) as s, s.backend() as run:
        wish = request("network.put", name="net", url=URL)
        outcomes = {shard: (await run.handle(wish, shard)).outcome for shard in (0, 1)}
        assert sorted(outcomes.values()) == ["done", "failed"]
        assert {
            (await run.handle(request("role.list", network="net"), shard)).outcome
            for shard in (0, 1)
        } == {"done", "failed"}
        done = next(shard for shard, outcome in outcomes.items() if outcome == "done")
        assert "local/net" in await s.hash("networks", done)
        assert "local/net" not in await s.hash("networks", 1 - done)


async def test_roles_are_granted_listed_and_revoked(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend() as run:
            ann = {"network": "net", "account": "ann", "role": "operator"}
            await twice(run, "role.grant", "1", **ann)
            await twice(run, "role.grant", "2", **{**ann, "account": "bob"})
            answer = await run.handle(request("role.list", network="net"))
            assert answer.data == {
                "roles": [
                    {"account": "ann", "role": "operator"},
                    {"account": "bob", "role": "operator"},
                ]
            }
            assert (await twice(run, "role.revoke", "3", **ann)).outcome == "done"
            again = await run.handle(request("role.revoke", "4", **ann))
            assert (again.outcome, again.text) == (
                "failed",
                "ann does not have the role operator",
            )


async def test_redis_away_in_the_middle_of_a_removal_still_ends_in_done(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend() as run:
            tries = 0

            async def flaky(shard: int) -> None:
                nonlocal tries
                tries += 1
                if tries == 1:
                    raise Unreachable("Redis is away")

            run.evaluator._requests.changed.append(flaky)
            assert (await s.ask("network.remove", name="net")).outcome == "done"
            assert tries == 2


async def test_a_request_whose_answer_was_lost_with_the_backend_is_done_by_the_next_one(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        wish = request("network.remove", "tenant/ask/1", name="net")
        async with s.backend() as run:  # it dies between the store and its COMMIT
            await run.handle(wish)
            run.crash()
        async with s.backend():
            assert (await _answer_of(s, wish)).outcome == "done"
        assert "local/net" not in await s.hash("networks")


async def _answer_of(s: Stage, wish: Request) -> Answer:
    async with s.server.client() as client, client.pubsub() as feed:
        await feed.subscribe("instabot:feed:answers")
        await feed.get_message(timeout=5)
        await s.queue(("", wire.encode(wish)), shard=0)
        while True:
            said = await feed.get_message(ignore_subscribe_messages=True, timeout=10)
            assert said is not None
            answer = wire.decode_answer(said["data"])
            if answer.request == wish.id:
                return answer


async def test_requests_do_not_wait_for_a_slow_timer_but_for_each_other(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    plugin = Plugin("slow")
    inside, door = asyncio.Event(), asyncio.Event()

    @plugin.every("1h")
    async def turn(ctx: Context) -> str:
        inside.set()
        await door.wait()
        return "turned"

    async with stage(redis_server, tmp_path) as s:
        await s.want("#a", timers="slow")
        async with s.backend(plugin):
            await inside.wait()
            answer = await s.ask("say", room=s.rooms["#a"], text="meanwhile")
            assert answer.outcome == "accepted"
            door.set()
            assert await s.said("#a", 2) == ["meanwhile", "turned"]
            await s.quiet()


async def test_a_failed_request_raises_at_the_desk(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s, s.backend():
        with pytest.raises(InstabotError, match="there is no network 'nothing'"):
            await s.ask("network.remove", name="nothing")
        assert not await s.raw("EXISTS", key(0, "dead"))
