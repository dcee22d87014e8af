"""A room's queue: waits for its room, says, confirms; every Say comes to one end."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from instabot.adapters.base import Kind
from instabot.adapters.loopback import Loopback
from instabot.errors import LinkError, Refused
from instabot.model import Heard
from tests.runtime.stage import QUICK, Counted, Stage, joined, stage


async def own(s: Stage) -> list[str]:
    return [m.text for m in await s.messages() if isinstance(m, Heard) and m.own]


async def test_says_wait_until_their_room_is_joined_and_keep_their_order(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as s:
        s.service.faults.login = LinkError("not yet")
        await s.want("#ops")
        await s.state("#ops", "lost unreachable")
        for number in range(120):
            await s.say("#ops", f"line {number}")
        s.service.faults.login = None
        await s.service.heard("line 119")
        await s.settled()
        assert s.service.lines("#ops") == [f"<bot> line {number}" for number in range(120)]
        assert await own(s) == [f"line {number}" for number in range(120)]
        assert s.runtime._board.rows["0.ops"].said == 120


async def test_a_say_past_its_deadline_is_a_dead_letter_that_tells_the_rooms_state(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as s:
        s.service.faults.login = LinkError("down")
        await s.want("#ops")
        await s.state("#ops", "lost unreachable")
        await s.say("#ops", "too late", deadline=time.time() + 0.05)
        await s.say("#ops", "there is time")
        letters = await s.dead(1)
        assert letters == [("too late", "not said in time: the room is lost unreachable")]
        s.service.faults.login = None
        await s.service.heard("there is time")


async def test_a_part_makes_dead_letters_of_what_waits(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        s.service.faults.login = LinkError("down")
        await s.want("#ops")
        await s.say("#ops", "one")
        await s.say("#ops", "two")
        await s.until(lambda: "0.ops" in s.runtime._lanes)
        await s.unwant("#ops")
        why = "there is no such room, or it is not wanted any more"
        assert await s.dead(2) == [("one", why), ("two", why)]
        await s.settled()


async def test_a_refused_room_makes_dead_letters_with_the_services_words(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as s:
        s.service.faults.joins["#ops"] = Refused("banned", "go away \ud800")
        await s.want("#ops")
        await s.state("#ops", "refused banned")
        await s.say("#ops", "hello?")
        assert await s.dead(1) == [("hello?", "the room is refused: go away ?")]


async def test_a_say_overtaking_its_rooms_nudge_makes_us_look_again(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await s.want("#ops", nudge=False)
        await s.say("#ops", "first words")
        await s.service.heard("first words")


async def test_a_say_for_an_unknown_room_is_a_dead_letter_after_one_look(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        before = s.taps[0].calls.count("HGETALL")
        await s.say("#nowhere", "anybody?")
        letters = await s.dead(1)
        assert letters[0][1].startswith("there is no such room")
        assert s.taps[0].calls.count("HGETALL") - before == 2  # networks and rooms, once


async def test_whoever_asked_hears_how_it_went(tmp_path: Path) -> None:
    async with stage(tmp_path) as s, s.answering() as answers:
        await joined(s, "#ops")
        s.service.faults.reject = lambda room, text: "moderated" if "bad" in text else ""
        await s.say("#ops", "good", request="r1")
        await s.say("#ops", "bad", request="r2")
        await s.until(lambda: len(answers) == 2)
        told = {a.request: (a.outcome, a.text) for a in answers}
        assert told == {"r1": ("done", ""), "r2": ("failed", "moderated")}
        assert await s.dead(1) == [("bad", "moderated")]


async def test_a_rejection_of_two_pieces_of_one_say_spares_its_neighbours(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as s:
        s.service.faults.login = LinkError("gather first")
        await s.want("#ops")
        await s.say("#ops", "fine 1")
        await s.say("#ops", "bad one\nbad two")
        await s.say("#ops", "fine 2")
        s.service.faults.reject = lambda room, text: "no" if "bad" in text else ""
        s.service.faults.login = None
        assert await s.dead(1) == [("bad one\nbad two", "no")]
        await s.settled()
        assert await own(s) == ["fine 1", "fine 2"]


async def test_what_was_not_confirmed_is_said_again_after_the_rejoin(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        s.service.faults.held = True
        await s.say("#ops", "hello")
        await s.service.heard("hello")
        s.service.cut()
        s.service.release()
        await s.settled()
        assert s.service.lines("#ops") == ["<bot> hello", "<bot> hello"]
        assert await own(s) == ["hello"]
        assert await s.said_to_backend("#ops") == ["* joined bot", "* lost", "* back bot"]


async def test_a_room_that_hangs_delays_no_other(
    tmp_path: Path, adapter: type[Counted]
) -> None:
    honest, go = Loopback.join, asyncio.Event()

    async def join(self: Loopback, room: str, key: str = "") -> None:
        if room == "#slow":
            await go.wait()
        await honest(self, room, key)

    adapter.join = join  # type: ignore[method-assign]
    async with stage(tmp_path, replace(QUICK, join_timeout=20.0)) as s:
        await joined(s, "#ops")
        await s.want("#slow")
        await s.say("#slow", "waits")
        await s.say("#ops", "does not")
        await s.service.heard("does not")
        assert s.service.lines("#slow") == []
        go.set()
        await s.service.heard("waits")


async def test_a_bug_of_ours_costs_the_lines_it_met_and_not_the_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        link = s.runtime._desired.networks["local/net"].links[0]
        honest = link.sender.say

        async def say(room: str, lines: Sequence[tuple[str, Kind]]) -> list[str]:
            if lines[0][0] == "boom":
                raise ZeroDivisionError
            return await honest(room, lines)

        monkeypatch.setattr(link.sender, "say", say)
        await s.say("#ops", "boom")
        assert await s.dead(1) == [("boom", "the runtime failed: ZeroDivisionError")]
        await s.say("#ops", "and on")
        await s.service.heard("and on")


async def test_a_say_while_the_settings_change_goes_out_after_the_redial(
    tmp_path: Path, adapter: type[Counted]
) -> None:
    closing, go = asyncio.Event(), asyncio.Event()
    honest = Loopback.close

    async def close(self: Loopback, reason: str = "") -> None:
        closing.set()
        await go.wait()
        await honest(self, reason)

    adapter.close = close  # type: ignore[method-assign]
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        await s.change(nick="otto")
        await closing.wait()
        await s.say("#ops", "meanwhile")
        await s.until(lambda: "0.ops" in s.runtime._lanes)
        go.set()
        await s.service.heard("meanwhile")
        assert s.service.lines("#ops") == ["<otto> meanwhile"]
