"""Catching up: what was said while we were away comes once, in its order, or as a gap."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from instabot.adapters.base import Said
from instabot.adapters.loopback import Loopback
from instabot.errors import LinkError
from instabot.model import Notice
from instabot.runtime import catchup
from tests.runtime.stage import QUICK, Counted, Stage, joined, stage


async def away(s: Stage, *lines: str) -> None:
    """The link breaks, and people talk on."""
    s.service.faults.login = LinkError("away")
    s.service.cut()
    await s.state("#ops", "lost unreachable")
    for line in lines:
        s.service.say("#ops", "alice", line)
    s.service.faults.login = None


async def test_missed_lines_come_before_live_ones_and_once(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        s.service.say("#ops", "alice", "before")
        await s.heard(1)
        await away(s, "missed 1", "missed 2")
        await s.state("#ops", "joined")
        s.service.say("#ops", "alice", "after")
        assert await s.heard(4) == [
            "<alice> before",
            "<alice> missed 1",
            "<alice> missed 2",
            "<alice> after",
        ]
        assert "* gap" not in await s.said_to_backend()
        assert s.runtime._board.rows["0.ops"].gap_since == 0


async def test_lines_heard_between_the_join_and_its_answer_wait_for_older_ones(
    tmp_path: Path, adapter: type[Counted]
) -> None:
    honest, once = Loopback.join_many, [1]

    async def join_many(self: Loopback, rooms: Sequence[tuple[str, str]]) -> object:
        answer = await honest(self, rooms)
        if self.service.room("#ops").lines and once.pop():
            self.service.say("#ops", "alice", "during")
            once.append(0)
        return answer

    adapter.join_many = join_many  # type: ignore[method-assign, assignment]
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        await away(s, "missed")
        await s.state("#ops", "joined")
        s.service.say("#ops", "alice", "after")
        assert await s.heard(3) == ["<alice> missed", "<alice> during", "<alice> after"]


async def test_without_a_history_there_is_a_gap_with_its_bounds(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        s.service.faults.history = False
        await joined(s, "#ops")
        await away(s, "missed")
        await s.state("#ops", "joined")
        s.service.say("#ops", "alice", "after")
        assert await s.heard(1) == ["<alice> after"]
        gaps = [m for m in await s.messages() if isinstance(m, Notice) and m.kind == "gap"]
        assert len(gaps) == 1
        assert 0 < gaps[0].since <= gaps[0].at
        row = s.runtime._board.rows["0.ops"]
        assert (row.gap_since, row.gap_until) == (gaps[0].since, gaps[0].at)


@pytest.mark.parametrize("error", [LinkError("gone"), RuntimeError("a bug"), None])
async def test_a_history_that_fails_is_a_gap_and_no_held_line_is_lost(
    tmp_path: Path, adapter: type[Counted], error: Exception | None
) -> None:
    async def history(
        self: Loopback, room: str, since: float, ref: str = ""
    ) -> Sequence[Said] | None:
        self.service.say("#ops", "alice", "held 1")
        self.service.say("#ops", "alice", "held 2")
        if error:
            raise error
        return None

    adapter.history = history  # type: ignore[method-assign]
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        await away(s)
        assert await s.heard(2) == ["<alice> held 1", "<alice> held 2"]
        assert "* gap" in await s.said_to_backend()


async def test_a_link_that_breaks_while_catching_up_loses_nothing_it_held(
    tmp_path: Path, adapter: type[Counted]
) -> None:
    asked = asyncio.Event()

    async def history(self: Loopback, room: str, since: float, ref: str = "") -> None:
        if not asked.is_set():
            asked.set()
            await asyncio.Event().wait()

    adapter.history = history  # type: ignore[method-assign]
    async with stage(tmp_path, replace(QUICK, history_timeout=60.0)) as s:
        await joined(s, "#ops")
        await away(s)
        await asked.wait()
        s.service.say("#ops", "alice", "held")
        s.service.cut()
        await s.until(lambda: bool(s.service.room("#ops").bots), "rejoined")
        await s.state("#ops", "joined")
        s.service.say("#ops", "alice", "after")
        assert await s.heard(2) == ["<alice> held", "<alice> after"]
        assert (await s.said_to_backend()).count("* gap") == 2


async def test_lines_heard_while_joining_are_passed_on_when_the_link_breaks_then(
    tmp_path: Path, adapter: type[Counted]
) -> None:
    honest, breaks = Loopback.join_many, asyncio.Event()

    async def join_many(self: Loopback, rooms: Sequence[tuple[str, str]]) -> object:
        answer = await honest(self, rooms)
        if breaks.is_set():
            self.service.say("#ops", "alice", "during")
            self.service.faults.login = LinkError("away for good")
            raise LinkError("cut")
        return answer

    adapter.join_many = join_many  # type: ignore[method-assign, assignment]
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        breaks.set()
        s.service.cut()
        assert await s.heard(1) == ["<alice> during"]
        assert "* gap" in await s.said_to_backend()


async def test_a_history_that_hangs_is_given_up(tmp_path: Path, adapter: type[Counted]) -> None:
    async def history(self: Loopback, room: str, since: float, ref: str = "") -> None:
        self.service.say("#ops", "alice", "held")
        await asyncio.Event().wait()

    adapter.history = history  # type: ignore[method-assign]
    async with stage(tmp_path, replace(QUICK, history_timeout=0.05)) as s:
        await joined(s, "#ops")
        await away(s)
        assert await s.heard(1) == ["<alice> held"]


async def test_what_is_held_is_bounded(
    tmp_path: Path, adapter: type[Counted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catchup, "MOST_HELD", 5)

    async def history(self: Loopback, room: str, since: float, ref: str = "") -> None:
        for number in range(7):
            self.service.say("#ops", "alice", f"held {number}")
        await asyncio.Event().wait()

    adapter.history = history  # type: ignore[method-assign]
    async with stage(tmp_path, replace(QUICK, history_timeout=60.0)) as s:
        await joined(s, "#ops")
        await away(s)
        assert await s.heard(7) == [f"<alice> held {number}" for number in range(7)]


async def test_a_hole_found_by_the_keepalive_begins_at_the_last_sign_of_life(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as s:
        s.service.faults.history = False
        await joined(s, "#ops")
        link = s.runtime._desired.networks["local/net"].links[0]
        s.service.faults.held = True
        await s.state("#ops", "lost cut")
        alive = link._alive_at
        assert s.runtime._board.rows["0.ops"].gap_since == alive
        s.service.release()
        await s.state("#ops", "joined")
