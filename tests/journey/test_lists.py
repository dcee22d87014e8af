"""The seed's wire: plain Redis lists of JSON, for whoever speaks nothing else."""

import json

import pytest

from tests.journey.home import BOT, Home, said
from tests.servers.process import until

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]


async def test_what_is_pushed_on_control_is_said_in_order(shared: Home) -> None:
    ops = shared.network.room("ops")
    alice = await shared.network.visit("a-ops", "ops")
    async with shared.redis() as redis:
        room = (await shared.join("ops"))["ops"]
        for number in range(20):
            pushed = {"id": room, "text": f"line {number}"}
            await redis.rpush("control", json.dumps(pushed))
        await alice.expect(f"{ops} <{BOT}> line 19")
        assert said(alice, ops) == [f"line {number}" for number in range(20)]
        assert await redis.llen("control") == 0


async def test_what_is_wrong_on_control_is_a_dead_letter_and_stops_nothing(
    shared: Home,
) -> None:
    ops = shared.network.room("wrong")
    alice = await shared.network.visit("a-wrong", "wrong")
    async with shared.redis() as redis:
        room = (await shared.join("wrong"))["wrong"]
        wrong: dict[bytes, str] = {
            b"not json": "malformed",
            b'{"id": "%s"}' % room.encode(): "missing required field `text`",
            b'{"id": 5, "text": "x"}': "Expected `str`, got `int`",
            b'{"id": "%s", "text": " "}' % room.encode(): "the text is empty",
            b'{"id": "nowhere", "text": "x"}': "is not a room's id",
            b'{"id": "3.zzzzzz", "text": "x"}': "there is no room 3.zzzzzz",
            b'{"id": "999.zzzzzz", "text": "x"}': "there is no room 999.zzzzzz",
            b'{"id": "%s", "text": "\xff\xfe"}' % room.encode(): "utf-8",
            b'{"id": "x", "y": %s}' % (b"[" * 60_000): "nested too deeply",
            b'{"id": "%s", "text": "%s"}' % (room.encode(), b"x" * 1_000_000): "65536 allowed",
        }
        for payload in wrong:
            await redis.rpush("control", payload)
        good = json.dumps({"id": room, "text": "still here"})
        await redis.rpush("control", good)
        await alice.expect(f"{ops} <{BOT}> still here")
        assert said(alice, ops) == ["still here"]
        letters = (await shared.run("dead", "list", "--json")).json
        for reason in wrong.values():
            assert [x for x in letters if reason in x["why"]], (reason, letters)


async def test_with_egress_the_lines_go_to_messages_and_the_backend_is_silent(
    shared: Home,
) -> None:
    ops = shared.network.room("out")
    alice = await shared.network.visit("a-out", "out")
    async with shared.redis() as redis:
        room = (await shared.join("out", bot="outbot", egress="true"))["out"]
        await alice.say(ops, "!ping 1", "hello", "!help")
        for text in ("!ping 1", "hello", "!help"):
            popped = await redis.blpop(["messages"], 10)
            assert popped is not None, f"{text} did not arrive"
            line = json.loads(popped[1])
            assert (line["id"], line["text"], line["sender"]) == (room, text, "a-out")

        # the answer is somebody else's now
        answer = json.dumps({"id": room, "text": "pong of mine"})
        await redis.rpush("control", answer)
        await alice.expect(f"{ops} <outbot> pong of mine")
        await shared.quiet()
        assert said(alice, ops, "outbot") == ["pong of mine"]
        assert await redis.llen("messages") == 0  # its own line is not among them

        # switched off again, the backend answers and the list stays empty
        await shared.run("join", shared.network.url("outbot", ["out"], egress="false"))
        await alice.say(ops, "!ping 2")
        await alice.expect(f"{ops} <outbot> pong 2")
        assert await redis.llen("messages") == 0

        async def unpinned() -> bool:
            shard = room.partition(".")[0]
            groups = await redis.xinfo_groups(f"instabot:{{{shard}}}:messages")
            return {group["name"] for group in groups} == {b"backend", b"log"}

        await until(unpinned, "the list's group is gone")
