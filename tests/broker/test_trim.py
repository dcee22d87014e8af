"""`broker/trim.py`: marks of processes long gone. Trimming itself is in the contract tests."""

import time

from instabot.broker.keys import key
from instabot.broker.trim import forget_epochs
from tests.contracts.queues import queues

DAY = 86400.0


def epoch(days_ago: float) -> str:
    return f"{int((time.time() - days_ago * DAY) * 1000):x}"


async def test_old_marks_go_but_never_a_sources_newest() -> None:
    old, older, fresh = epoch(10), epoch(20), epoch(1)
    marks = [f"local/a|{older}", f"local/a|{old}", f"local/b|{old}", f"local/b|{fresh}"]
    async with queues("fakeredis") as q:
        for mark in [*marks, "every:news:tick"]:
            await q.raw("HSET", key(0, "seen"), mark, 5)
        assert await forget_epochs(q.client, 0, 7 * DAY) == 2
        left = {name.decode() for name in await q.raw("HKEYS", key(0, "seen"))}
        assert left == {f"local/a|{old}", f"local/b|{fresh}", "every:news:tick"}
        assert await forget_epochs(q.client, 0, 7 * DAY) == 0
