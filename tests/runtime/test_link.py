"""A link's life, as transcripts against the Loopback service."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import pytest

from instabot.adapters.base import Happened, Identity, Said
from instabot.adapters.loopback import Loopback
from instabot.errors import LinkError, Refused
from tests.runtime.stage import QUICK, Counted, Stage, joined, room_id, stage


async def text_of(s: Stage, room: str) -> str:
    return s.runtime._board.rows[room_id(room)].text


async def test_a_room_is_joined_heard_and_spoken_in(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        s.service.say("#ops", "alice", "!ping")
        assert await s.heard(1) == ["<alice> !ping"]
        await s.say("#ops", "pong")
        await s.service.heard("pong")
        await s.settled()
        assert s.service.lines("#ops") == ["<alice> !ping", "<bot> pong"]


async def test_a_link_at_rest_has_no_task_and_an_idle_room_neither(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, *(f"#r{n}" for n in range(50)))
        await s.say("#r7", "hello")
        await s.service.heard("hello")
        await s.settled()
        await s.until(lambda: not s.names(), "no task")
        assert len(s.runtime._lanes) == 0


# -- dialling ------------------------------------------------------------------------------


async def test_an_unreachable_service_is_dialled_until_it_is_there(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        s.service.faults.login = LinkError("connection refused")
        await s.want("#ops")
        await s.state("#ops", "lost unreachable")
        assert await text_of(s, "#ops") == "connection refused"
        s.service.faults.login = None
        await s.state("#ops", "joined")


async def test_tls_trouble_is_said_and_tried_again_later(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        s.service.faults.login = Refused("tls", "certificate has expired", final=False)
        await s.want("#ops")
        await s.state("#ops", "refused tls")
        s.service.faults.login = None
        await s.state("#ops", "joined")


@pytest.mark.parametrize("code", ["password", "banned", "nick"])
async def test_a_final_refusal_ends_all_dialling_until_somebody_changes_something(
    tmp_path: Path, adapter: type[Counted], code: str
) -> None:
    async with stage(tmp_path) as s:
        s.service.faults.login = Refused(code, "no")
        await s.want("#ops")
        await s.state("#ops", f"refused {code}")
        await s.settled()
        dials = adapter.dials
        await s.want("#dev", nudge=False)
        await s.publish()
        link = s.runtime._desired.networks["local/net"].links[0]
        for _ in range(20):
            link.kick()
            await asyncio.sleep(0)
        assert adapter.dials == dials
        s.service.faults.login = None
        await s.sync()
        await s.state("#ops", "joined")
        await s.state("#dev", "joined")


async def test_a_login_refused_for_now_is_tried_again(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        s.service.faults.login = Refused("nick", "nickname in use", final=False)
        await s.want("#ops")
        await s.state("#ops", "refused nick")
        s.service.faults.login = None
        await s.state("#ops", "joined")


async def test_the_wait_that_a_throttling_service_asks_for_is_kept(
    tmp_path: Path, adapter: type[Counted]
) -> None:
    async with stage(tmp_path) as s:
        s.service.faults.login = LinkError("reconnecting too fast", delay=3600)
        await s.want("#ops")
        await s.state("#ops", "lost throttled")
        s.service.faults.login = None
        await s.sync()
        await s.settled()
        link = s.runtime._desired.networks["local/net"].links[0]
        assert link._patience.wait > 3500
        assert adapter.dials == 1


async def test_a_network_that_backs_off_is_dialled_at_once_when_somebody_syncs_it(
    tmp_path: Path, adapter: type[Counted]
) -> None:
    pace = replace(QUICK, first_delay=3600.0, most_delay=3600.0)
    async with stage(tmp_path, pace) as s:
        s.service.faults.login = LinkError("no route")
        await s.want("#ops")
        await s.state("#ops", "lost unreachable")
        s.service.faults.login = None
        await s.sync()
        await s.state("#ops", "joined")
        assert adapter.dials == 2


async def test_a_cut_is_answered_by_a_new_dial_and_a_rejoin(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops", "#dev")
        s.service.cut("connection reset")
        await s.state("#ops", "joined")
        await s.state("#dev", "joined")
        await s.until(lambda: _lines(s, "#ops", 3))
        assert await _lines(s, "#ops", 3) == ["* joined bot", "* lost", "* back bot"]


async def _lines(s: Stage, room: str, count: int) -> list[str] | None:
    lines = await s.said_to_backend(room)
    return lines if len(lines) >= count else None


async def test_a_service_that_answers_no_ping_is_dialled_anew(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        first = s.service.bots[0]
        s.service.faults.held = True
        await s.until(lambda: first not in s.service.bots, "hung up")
        s.service.release()
        await s.until(lambda: bool(s.service.room("#ops").bots), "rejoined")
        assert s.service.bots != [first]


async def test_changed_settings_hang_up_and_dial_anew(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        s.service.faults.history = False
        await joined(s, "#ops")
        await s.change(nick="otto")
        await s.until(lambda: [bot.nick for bot in s.service.bots] == ["otto"])
        await s.state("#ops", "joined")
        assert {bot.nick for bot in s.service.room("#ops").bots} == {"otto"}
        await s.until(partial(_lines, s, "#ops", 3))
        assert await _lines(s, "#ops", 3) == ["* joined bot", "* gap", "* back otto"]


async def test_settings_that_no_connection_depends_on_cost_nobody_a_quit(
    tmp_path: Path, adapter: type[Counted]
) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        await s.change(prefix="?", rate="7")
        await s.settled()
        links = s.runtime._desired.networks["local/net"]
        await s.until(lambda: links.network.settings["rate"] == "7")
        assert adapter.dials == 1
        assert links.links[0]._budget.limited
        await s.state("#ops", "joined")


async def test_a_network_that_is_no_longer_wanted_is_closed_and_its_rooms_are_gone(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        s.wishes.clear()
        await s.redis.hdel("instabot:{0}:networks", "local/net")
        await s.redis.hdel("instabot:{0}:rooms", "0.ops")
        await s.sync()
        await s.until(lambda: not s.service.bots)
        assert s.rows() == {}

        async def none_live() -> bool:
            return not await s.live()

        await s.until(none_live)


async def test_a_network_is_closed_while_it_is_being_dialled(
    tmp_path: Path, adapter: type[Counted]
) -> None:
    entered, closed = asyncio.Event(), asyncio.Event()

    async def connect(self: Loopback) -> Identity:
        entered.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def close(self: Loopback, reason: str = "") -> None:
        closed.set()

    adapter.connect = connect  # type: ignore[method-assign]
    adapter.close = close  # type: ignore[method-assign]
    async with stage(tmp_path) as s:
        await s.want("#ops")
        await entered.wait()
        await s.redis.hdel("instabot:{0}:networks", "local/net")
        await s.redis.hdel("instabot:{0}:rooms", "0.ops")
        await s.sync()
        await closed.wait()
        await s.until(lambda: not s.names())


@pytest.mark.parametrize("verb", ["connect", "join_many", "say", "confirm", "part", "close"])
async def test_whatever_an_adapter_raises_ends_neither_the_process_nor_the_link_for_good(
    tmp_path: Path, adapter: type[Counted], verb: str
) -> None:
    failures = [RuntimeError("a bug"), OSError("cut"), TimeoutError(), KeyError("x"), None]
    honest = getattr(Loopback, verb)

    async def fails(self: Loopback, *args: object) -> object:
        if failures and (error := failures.pop(0)):
            raise error
        return await honest(self, *args)

    setattr(adapter, verb, fails)
    async with stage(tmp_path) as s:
        await joined(s, "#ops", "#dev")
        for number in range(6):
            await s.say("#ops", f"line {number}")
        await s.settled()
        await s.unwant("#dev")
        s.service.cut()
        await s.settled()
        await s.state("#ops", "joined")
        await s.say("#ops", "the end")
        await s.service.heard("the end")


@pytest.mark.parametrize("verb", ["split", "fold"])
async def test_a_synchronous_verb_that_raises_costs_one_line_at_most(
    tmp_path: Path, adapter: type[Counted], verb: str
) -> None:
    honest = getattr(Loopback, verb)

    def fails(self: Loopback, *args: str) -> object:
        if any("bad" in arg for arg in args):
            raise ZeroDivisionError
        return honest(self, *args)

    setattr(adapter, verb, fails)
    async with stage(tmp_path) as s:
        await joined(s, "#bad", "#ops")
        await s.say("#ops", "fine")
        await s.say("#ops", "bad")
        await s.say("#ops", "good")
        await s.service.heard("good")
        await s.settled()
        assert adapter.dials == 1


async def test_an_adapter_whose_close_hangs_delays_its_own_redial_only(
    tmp_path: Path, adapter: type[Counted]
) -> None:
    async def close(self: Loopback, reason: str = "") -> None:
        await asyncio.Event().wait()

    adapter.close = close  # type: ignore[method-assign]
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        s.service.cut()
        await s.until(lambda: adapter.dials == 2)
        await s.state("#ops", "joined")


async def test_what_an_adapter_reports_after_it_was_closed_is_ignored(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        report = s.service.bots[0]._report
        s.service.cut()
        await s.until(lambda: bool(s.service.room("#ops").bots), "rejoined")
        await s.state("#ops", "joined")
        report(Said("#ops", "ghost", "boo", time.time()))
        report(Happened("#ops", "kicked", "bot", me=True))
        s.service.say("#ops", "alice", "hi")
        assert await s.heard(1) == ["<alice> hi"]
        await s.state("#ops", "joined")


# -- rooms ---------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["banned", "invite-only", "key"])
async def test_a_room_refused_for_good_is_never_asked_again_not_even_after_a_cut(
    tmp_path: Path, adapter: type[Counted], code: str
) -> None:
    asked: list[str] = []
    honest = Loopback.join_many

    async def join_many(
        self: Loopback, rooms: Sequence[tuple[str, str]]
    ) -> Mapping[str, Exception | None]:
        asked.extend(name for name, _ in rooms)
        return await honest(self, rooms)

    adapter.join_many = join_many  # type: ignore[method-assign]
    async with stage(tmp_path) as s:
        s.service.faults.joins["#ops"] = Refused(code, "you may not")
        await s.want("#ops", "#dev")
        await s.state("#ops", f"refused {code}")
        await s.state("#dev", "joined")
        for _ in range(3):
            bots = list(s.service.bots)
            s.service.cut()
            await s.until(partial(_others, s, bots))
            await s.state("#dev", "joined")
        assert asked.count("#ops") == 1
        assert s.rows()["0.ops"] == f"refused {code}"
        del s.service.faults.joins["#ops"]
        await s.want("#ops")
        await s.state("#ops", "joined")


def _others(s: Stage, bots: list[Loopback]) -> bool:
    return bool(s.service.bots) and s.service.bots != bots


async def test_a_full_room_is_tried_again_until_it_has_a_place(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        s.service.faults.joins["#ops"] = Refused("full", "it is full", final=False)
        await s.want("#ops")
        await s.state("#ops", "refused full")
        del s.service.faults.joins["#ops"]
        await s.state("#ops", "joined")


async def test_a_room_with_a_key_is_joined_with_it_and_a_new_key_is_tried(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as s:
        ring = s.runtime._desired._ports.keyring

        def sealed(key: str) -> str:
            return ring.seal(key, network="local/net", host=s.service.name, port=0)

        s.service.room("#ops").key = "sesame"
        await s.want("#ops", key=sealed("wrong"))
        await s.state("#ops", "refused key")
        await s.want("#ops", key=sealed("sesame"))
        await s.state("#ops", "joined")
        first = s.service.bots[0]
        await s.want("#ops", key=sealed("changed"))
        await s.settled()
        assert s.service.room("#ops").bots == {first}


async def test_a_key_that_cannot_be_opened_costs_that_room_alone(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#dev")
        await s.want("#ops", key="nonsense")
        await s.state("#ops", "refused config")
        assert s.rows()["0.dev"] == "joined"


async def test_a_kicked_bot_comes_back_three_times_and_no_more(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        for _ in range(3):
            s.service.kick("#ops", "bot", "out")
            await s.state("#ops", "lost kicked")
            await s.state("#ops", "joined")
        s.service.kick("#ops", "bot", "out")
        await s.state("#ops", "refused kicked")
        await s.want("#ops")
        await s.state("#ops", "joined")


async def test_kicks_that_are_long_ago_do_not_count(tmp_path: Path) -> None:
    pace = replace(QUICK, stable_after=0.0)
    async with stage(tmp_path, pace) as s:
        await joined(s, "#ops")
        for _ in range(6):
            s.service.kick("#ops", "bot", "out")
            await s.state("#ops", "lost kicked")
            await s.state("#ops", "joined")


async def test_the_limit_that_the_service_states_opens_further_links(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        s.service.faults.room_limit = 2
        await joined(s, *(f"#r{n}" for n in range(5)))
        assert sorted(bot.nick for bot in s.service.bots) == ["bot", "bot2", "bot3"]
        rooms = [len(link.spots) for link in s.runtime._desired.networks["local/net"].links]
        assert rooms == [2, 2, 1]


async def test_a_service_that_takes_no_more_rooms_makes_us_open_another_link(
    tmp_path: Path, adapter: type[Counted]
) -> None:
    honest = Loopback.join

    async def join(self: Loopback, room: str, key: str = "") -> None:
        inside = [r for r in self.service.rooms.values() if self in r.bots]
        if len(inside) >= 2:
            raise Refused("too-many", "you are in too many rooms")
        await honest(self, room, key)

    adapter.join = join  # type: ignore[method-assign]
    async with stage(tmp_path) as s:
        await joined(s, *(f"#r{n}" for n in range(5)))
        for n in range(5):
            assert len(s.service.room(f"#r{n}").bots) == 1
        s.service.say("#r4", "alice", "hi")
        assert await s.heard(1) == ["<alice> hi"]


async def test_too_many_although_none_is_inside_opens_no_endless_row_of_links(
    tmp_path: Path, adapter: type[Counted]
) -> None:
    async with stage(tmp_path) as s:
        s.service.faults.joins["#ops"] = Refused("too-many", "too many connections")
        await s.want("#ops")
        await s.state("#ops", "refused too-many")
        del s.service.faults.joins["#ops"]
        await s.state("#ops", "joined")
        assert adapter.dials == 1


async def test_a_join_that_hangs_delays_no_other_room_and_costs_no_link(
    tmp_path: Path, adapter: type[Counted]
) -> None:
    honest = Loopback.join_many
    hang = True

    async def join_many(
        self: Loopback, rooms: Sequence[tuple[str, str]]
    ) -> Mapping[str, Exception | None]:
        if hang and any(name == "#hangs" for name, _ in rooms):
            await asyncio.Event().wait()
        return await honest(self, rooms)

    adapter.join_many = join_many  # type: ignore[method-assign]
    async with stage(tmp_path) as s:
        await s.want("#a", "#hangs", "#b")
        await s.state("#a", "joined")
        await s.state("#b", "joined")
        await s.state("#hangs", "refused other")
        hang = False
        await s.state("#hangs", "joined")
        assert adapter.dials == 1


async def test_a_room_that_is_parted_is_left(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops", "#dev")
        await s.unwant("#ops")
        await s.until(lambda: not s.service.room("#ops").bots)
        assert s.rows() == {"0.dev": "joined"}


async def test_a_room_parted_and_wanted_again_at_once_is_joined_in_the_end(
    tmp_path: Path, adapter: type[Counted]
) -> None:
    honest, parts = Loopback.part, []

    async def part(self: Loopback, room: str, reason: str = "") -> None:
        parts.append(room)
        await honest(self, room, reason)

    adapter.part = part  # type: ignore[method-assign]
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        links = s.runtime._desired.networks["local/net"]
        room = links.spots["0.ops"].room
        links.unwant("0.ops", "parted")
        links.want(room)
        await s.state("#ops", "joined")
        await s.until(lambda: not s.names())
        assert parts == ["#ops"]  # a service answers no join of who is inside already
        assert s.service.room("#ops").bots
        s.service.say("#ops", "alice", "hi")
        assert await s.heard(1) == ["<alice> hi"]


async def test_the_late_echo_of_a_part_is_no_kick(
    tmp_path: Path, adapter: type[Counted]
) -> None:
    honest = Loopback.join_many

    async def join_many(self: Loopback, rooms: Sequence[tuple[str, str]]) -> object:
        for name, _ in rooms:
            self.report(Happened(name, "left", self.nick, me=True))
        return await honest(self, rooms)

    adapter.join_many = join_many  # type: ignore[method-assign, assignment]
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        assert s.runtime._desired.networks["local/net"].spots["0.ops"].kicks == 0


async def test_other_settings_of_a_room_do_not_make_the_bot_leave_it(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        s.wishes["0.ops"] = msgspec.structs.replace(s.wishes["0.ops"], settings={"prefix": "?"})
        await s.publish()
        await s.sync()
        links = s.runtime._desired.networks["local/net"]
        await s.until(lambda: links.spots["0.ops"].room.settings == {"prefix": "?"})
        s.service.say("#ops", "alice", "hi")
        await s.heard(1)
        assert await s.said_to_backend("#ops") == ["* joined bot", "<alice> hi"]


async def test_a_room_parted_while_its_join_is_under_way_is_left_when_that_succeeds(
    tmp_path: Path, adapter: type[Counted]
) -> None:
    honest = Loopback.join_many
    asked, go = asyncio.Event(), asyncio.Event()

    async def join_many(
        self: Loopback, rooms: Sequence[tuple[str, str]]
    ) -> Mapping[str, Exception | None]:
        asked.set()
        await go.wait()
        return await honest(self, rooms)

    adapter.join_many = join_many  # type: ignore[method-assign]
    pace = replace(QUICK, join_timeout=20.0)
    async with stage(tmp_path, pace) as s:
        await s.want("#ops")
        await asked.wait()
        await s.unwant("#ops")
        await s.until(lambda: not s.rows())
        go.set()
        await s.until(lambda: not s.names())
        assert not s.service.room("#ops").bots


async def test_a_netsplit_of_others_leaves_us_where_we_are(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        for n in range(20):
            s.service.leave("#ops", f"user{n}", "a.example b.example")
        s.service.say("#ops", "alice", "still here?")
        assert await s.heard(1) == ["<alice> still here?"]
        assert s.rows() == {"0.ops": "joined"}


async def test_text_that_no_encoder_takes_is_heard_all_the_same(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await joined(s, "#ops")
        s.service.say("#ops", "al\ud800ice", "half \udc00 a character")
        assert await s.heard(1) == ["<al?ice> half ? a character"]
        s.service.kick("#ops", "bot", "\ud800")
        await s.state("#ops", "joined")
        await s.live()
