"""The seed's wire across processes: a bridge that is killed, and clients in another language."""

import json
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from instabot import wire
from instabot.broker import scripts
from instabot.broker.keys import LIST_CONTROL, LIST_WORK, key
from instabot.broker.scripts import Item
from instabot.errors import Malformed
from instabot.model import Heard, Room, Say
from tests.broker.shelf import running
from tests.contracts.queues import Queues, queues
from tests.contracts.test_egress import Out
from tests.servers import Process
from tests.servers.process import folder, until

ROOMS = ("0.aaaaaa", "1.bbbbbb")
KILLS = 12
PUSHES = 4800
GARBAGE = [
    b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"id":"0.aaaaaa"}', b'{"text":"x"}', b'"text"',
    b'{"id":1,"text":"x"}', b'{"id":"0.aaaaaa","text":"\xff"}', b"[" * 50_000,
    b'{"id":"0.zzzzzz","text":"x"}', b'{"id":"77.aaaaaa","text":"x"}', b"x" * 1_000_000,
    b'{"id":"0.aaaaaa","text":"\\ud800"}',
]  # fmt: skip


@pytest_asyncio.fixture(params=["redis", "valkey"])
async def q(request: pytest.FixtureRequest) -> AsyncIterator[Queues]:
    """Queues of two shards with a wanted room each."""
    async with queues(request.param) as made:
        await scripts.lease_all(made.client, [1], "backend", "b", 1, 60_000)
        for shard, name in enumerate(ROOMS):
            room = Room(id=name, network="ann/net", tenant="ann", name=f"#{shard}")
            field = ("r", name, wire.encode(room))
            await scripts.put(made.client, shard, made.backend, [field])
        yield made


async def passed(q: Queues) -> int:
    names = [key(shard, name) for shard in (0, 1) for name in ("control", "dead")]
    return sum([int(await q.raw("XLEN", name)) for name in names])


async def said(q: Queues, shard: int) -> list[int]:
    rows = await q.raw("XRANGE", key(shard, "control"), "-", "+")
    found = []
    for _, fields in rows:
        values = list(fields.values()) if isinstance(fields, dict) else fields[1::2]
        control = wire.decode_control(values[2])
        assert isinstance(control, Say)
        found.append(int(control.text))
    return found


async def test_twelve_kills_lose_nothing_double_nothing_and_keep_the_order(q: Queues) -> None:
    assert q.server
    rng = random.Random(7)
    payloads = [
        json.dumps({"id": ROOMS[n % 2], "text": f"{n}"}).encode() for n in range(PUSHES)
    ]
    for n, garbage in enumerate(GARBAGE):
        payloads.insert(n * 300 + 10, garbage)
    share = -(-len(payloads) // KILLS)
    argv = [sys.executable, "-m", "tests.broker.bridge_process", q.server.unix_url]
    with folder() as home:
        bridge = Process("bridge", argv, home)
        bridge.env = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""}
        interrupted = 0
        for start in range(0, len(payloads), share):
            aim = await passed(q) + rng.randrange(1, share // 3)
            await q.raw("RPUSH", LIST_CONTROL, *payloads[start : start + share])
            await bridge.start()

            async def at_work(aim: int = aim) -> bool:
                return await passed(q) >= aim

            await until(at_work, f"{aim} passed on\n{bridge.log()}", every=0.0)
            await bridge.kill()
            interrupted += bool(await q.raw("LLEN", LIST_WORK))
        assert bridge.starts == KILLS
        assert interrupted >= KILLS // 3, "the kills came when there was nothing to lose"
        await bridge.start()

        async def done() -> bool:
            return await passed(q) >= len(payloads)

        await until(done, "all passed on")
        await bridge.stop()
    assert await said(q, 0) == list(range(0, PUSHES, 2))
    assert await said(q, 1) == list(range(1, PUSHES, 2))
    assert await passed(q) == len(payloads)
    assert await q.raw("LLEN", LIST_WORK) == 0
    assert len(await q.rows("dead")) == len(GARBAGE)
    assert await q.depth("c") == await q.true_depth("c")


async def test_what_is_redriven_is_what_the_wire_can_read(q: Queues) -> None:
    """Garbage is kept as it came, so `dead redrive` leaves it where it is."""
    for garbage in GARBAGE:
        if b"zzzzzz" not in garbage:
            with pytest.raises(Malformed):
                wire.decode_control(garbage)


def shell(port: int, script: str) -> str:
    """Run bash with Redis at descriptor 3: no client library, no Python."""
    whole = f"exec 3<>/dev/tcp/127.0.0.1/{port}; {script}"
    done = subprocess.run(["bash", "-c", whole], capture_output=True, timeout=20, check=True)
    return done.stdout.decode()


POP = r"""
printf 'BLPOP messages 10\r\n' >&3
for _ in 1 2 3 4; do IFS= read -r _ <&3; done
IFS= read -r line <&3; printf '%s' "${line%$'\r'}"
"""

PUSH = r"""
payload='{"id": "0.aaaaaa", "text": "from a shell"}'
printf '*3\r\n$5\r\nRPUSH\r\n$7\r\ncontrol\r\n$%d\r\n%s\r\n' ${#payload} "$payload" >&3
IFS= read -r _ <&3
"""


async def test_a_shell_pops_what_was_said(q: Queues) -> None:
    assert q.server
    await q.groups("backend", "compat")
    heard = Heard(id="1", room="0.on", sender="ann", text="it's 5 o'clock", at=1.5)
    await q.ingest([Item("0.on", "ann", wire.encode(heard), ref="1")])
    async with running() as tasks:
        out = Out(q, tasks)
        out.take()
        await out.egress._push(0, await q.fetch("compat"))
    line = json.loads(shell(q.server.port, POP))
    assert line == {"id": "0.on", "text": "it's 5 o'clock", "sender": "ann", "at": 1.5}


async def test_a_shell_pushes_what_is_to_be_said(q: Queues) -> None:
    assert q.server
    shell(q.server.port, PUSH)
    argv = [sys.executable, "-m", "tests.broker.bridge_process", q.server.unix_url]
    with folder() as home:
        bridge = Process("bridge", argv, home)
        bridge.env = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""}
        await bridge.start()

        async def arrived() -> bool:
            return await passed(q) == 1

        try:
            await until(arrived, f"the push to arrive\n{bridge.log()}")
        finally:
            await bridge.stop()
    ((_, fields),) = await q.rows("control")
    say = wire.decode_control(fields[b"d"])
    assert isinstance(say, Say)
    assert (say.room, say.text) == ("0.aaaaaa", "from a shell")
