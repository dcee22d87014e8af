"""The incoming dispatcher: hostile bytes on `control` become dead letters, and it goes on."""

import time
from pathlib import Path

import pytest

from instabot.broker import scripts
from instabot.broker.keys import key
from instabot.broker.scripts import Item
from tests.runtime.stage import Stage, joined, stage

HOSTILE = [
    b"",
    b"{",
    b"null",
    b"\xff\xfe",
    b'{"type":"nonsense"}',
    b'{"type":"say"',
    b'{"type":"say","id":1}',
    b'{"type":"say","id":"x","room":"0.ops","text":"\\ud800","at":1e999}',
    b'{"type":"say","id":"x","room":"0.elsewhere","text":"a","at":1}',
    b'{"type":"join","room":7}',
    b'{"type":"say","v":99,"id":"x","room":"0.ops","text":"a","at":1}',
    b"[" * 100_000,
    b'{"type":"say","id":"x","room":"0.ops","at":1,"text":"' + b"a" * (1 << 20) + b'"}',
]


async def push(s: Stage, data: bytes, number: int) -> None:
    item = Item("0.ops", "local", data, ref=f"hostile-{number}")
    assert await scripts.ingest(s.redis, 0, [item], 1.0, stream="control") == "A"


async def test_garbage_becomes_dead_letters_and_the_room_goes_on(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        for number, data in enumerate(HOSTILE):
            await push(s, data, number)
        await s.say("#ops", "still here")
        await s.service.heard("still here")
        await s.settled()
        rows = await s.redis.xlen(key(0, "dead"))
        assert rows == len(HOSTILE)
        assert s.service.lines("#ops") == ["<bot> still here"]
        assert s.runtime._consumer.window.free == 4096


@pytest.mark.parametrize(
    "spelling", ['{"text":"hi", "type":"say", ', '{ "type" : "say","text":"hi",']
)
async def test_a_say_in_anothers_spelling_is_said(tmp_path: Path, spelling: str) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        data = f'{spelling} "id":"x", "room":"0.ops", "at":{time.time()}}}'
        await push(s, data.encode(), 0)
        await s.service.heard("hi")


async def test_a_nudge_for_nothing_is_acknowledged(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        await push(s, b'{"type":"part","room":"0.never"}', 0)
        await push(s, b'{"type":"sync","network":"local/never"}', 1)
        await s.settled()
        assert s.rows() == {"0.ops": "joined"}
