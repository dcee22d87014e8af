"""Effects under the journal: whatever dies, and whenever, none runs twice without being asked."""

import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog

from instabot.backend.journal import EXPIRES, OLD, Effects, new_code
from instabot.backend.router import Router
from instabot.commands import Context, Plugin
from instabot.errors import Unreachable
from instabot.model import Heard, Room
from instabot.plugins.again import plugin as again
from instabot.store.journal import Entry, Journal
from instabot.store.store import Store
from instabot.testing import Bot, InMemory

NOON = 1_764_072_000.0  # 2025-11-25 12:00:00 UTC
ROOM = Room(id="7.k3f9qd", network="local/net", tenant="local", name="#ops")


class Crash(BaseException):
    """kill -9, as far as one coroutine can tell."""


@dataclass
class Fuse:
    """Counts the points at which one can die, and blows at one of them."""

    at: int = -1
    passed: int = 0
    blown: bool = False

    def point(self) -> None:
        self.passed += 1
        if self.passed - 1 == self.at:
            self.blown = True
            raise Crash


class Fused(Journal):
    """The store's journal, with a point before and after everything it does."""

    def __init__(self, journal: Journal, fuse: Fuse) -> None:
        super().__init__(journal._database)
        self._fuse = fuse

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_"):
            return found

        async def fused(*args: Any, **named: Any) -> Any:
            self._fuse.point()
            result = await found(*args, **named)
            self._fuse.point()
            return result

        return fused


class Away(Journal):
    """A journal whose `finish` finds the disk full."""

    async def finish(self, message: str, reply: str, *, at: float) -> Entry:
        raise Unreachable("the store is full")


@dataclass
class Place:
    """A room, a backend that can be killed, and a world in which things get deployed."""

    journal: Journal
    now: float = NOON
    deployed: list[str] = field(default_factory=list)
    fuse: Fuse = field(default_factory=Fuse)
    codes: Callable[[], str] = field(
        default_factory=lambda: map("c{:03}".format, itertools.count(1)).__next__
    )

    def router(self) -> Router:
        plugin = Plugin("ship")

        @plugin.command(effect=True)
        async def deploy(ctx: Context, what: str, where: str = "production") -> str:
            self.fuse.point()
            self.deployed.append(f"{what} by {ctx.sender}")
            self.fuse.point()
            return f"{what} is on {where}"

        @plugin.command
        async def count(ctx: Context) -> str:
            return str(len(self.deployed))

        return Router([plugin, again], raise_errors=True)

    async def hears(
        self,
        text: str,
        *,
        id: str,
        sender: str = "ann",
        roles: Sequence[str] = ("operator",),
        said: float = 0.0,
        dry: bool = False,
    ) -> str:
        """What a backend, started for this one line, answers."""
        effects = Effects(
            Fused(self.journal, self.fuse), clock=lambda: self.now, code=self.codes
        )
        router = self.router()
        at = self.now - said
        heard = Heard(id=id, room=ROOM.id, sender=sender, account=sender, text=text, at=at)
        call = router.match(heard)
        assert call is not None
        call = await effects.recall(router, call, heard)
        ctx = Context(
            heard, ROOM, InMemory(), Bot(), structlog.get_logger(), frozenset(roles)
        )  # fmt: skip
        return await effects.answer(router, call, ctx, dry=dry)

    async def hears_and_dies(self, text: str, point: int, **more: Any) -> bool:
        """As `hears`, but killed at a point; False when there are not so many."""
        self.fuse = Fuse(point)
        try:
            await self.hears(text, **more)
        except Crash:
            return True
        finally:
            died, self.fuse = self.fuse.blown, Fuse()
        assert not died
        return False


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with await Store.open(f"sqlite:///{tmp_path}/store.db") as store:
        yield Place(store.journal)


# -- in peace ------------------------------------------------------------------------------


async def test_an_effect_runs_and_its_reply_is_kept(place: Place) -> None:
    assert await place.hears("!deploy web", id="m1") == "web is on production"
    entry = await place.journal.get("m1")
    assert entry is not None
    assert (entry.state, entry.reply, entry.sender) == (
        "finished",
        "web is on production",
        "ann",
    )


async def test_a_finished_effect_gives_its_reply_again_and_does_not_run(place: Place) -> None:
    await place.hears("!deploy web", id="m1")
    assert await place.hears("!deploy web", id="m1") == "web is on production"
    assert place.deployed == ["web by ann"]


async def test_two_wishes_are_two_effects(place: Place) -> None:
    await place.hears("!deploy web", id="m1")
    await place.hears("!deploy web", id="m2")
    assert place.deployed == ["web by ann"] * 2


async def test_a_command_without_effects_leaves_no_trace(place: Place) -> None:
    assert await place.hears("!count", id="m1") == "0"
    assert await place.journal.get("m1") is None


async def test_a_dry_run_refuses_effects_and_nothing_else(place: Place) -> None:
    reply = await place.hears("!deploy web", id="m1", dry=True)
    assert reply == "!deploy web has effects; a dry run leaves it out."
    assert await place.hears("!count", id="m2", dry=True) == "0"
    assert await place.journal.get("m1") is None


async def test_who_lacks_the_role_is_refused_before_anything_is_written(place: Place) -> None:
    reply = await place.hears("!deploy web", id="m1", sender="eve", roles=(), said=999)
    assert "needs the role “operator”" in reply
    assert await place.journal.get("m1") is None
    assert place.deployed == []


async def test_wrong_usage_is_told_at_once_however_old_the_line(place: Place) -> None:
    assert await place.hears("!deploy", id="m1", said=999) == "usage: !deploy what [where]"
    assert await place.journal.get("m1") is None


async def test_when_the_reply_cannot_be_kept_it_is_still_said(place: Place) -> None:
    place.journal = Away(place.journal._database)
    effects = Effects(place.journal, clock=lambda: place.now)
    router = place.router()
    heard = Heard(id="m1", room=ROOM.id, sender="ann", text="!deploy web", at=place.now)
    ctx = Context(
        heard, ROOM, InMemory(), Bot(), structlog.get_logger(), frozenset(["operator"])
    )  # fmt: skip
    call = router.match(heard)
    assert call is not None
    assert await effects.answer(router, call, ctx) == "web is on production"
    assert "was interrupted" in await effects.answer(router, call, ctx)
    assert place.deployed == ["web by ann"]


# -- old wishes ----------------------------------------------------------------------------


async def test_what_was_asked_for_long_ago_is_asked_about_first(place: Place) -> None:
    reply = await place.hears("!deploy web", id="m1", said=420)
    assert reply == (
        "!deploy web was asked by ann 7m ago; run it? !again c001 (within 5m)"
    )  # fmt: skip
    assert place.deployed == []


async def test_two_minutes_are_not_long_ago(place: Place) -> None:
    await place.hears("!deploy web", id="m1", said=OLD)
    assert place.deployed == ["web by ann"]


async def test_a_clock_ahead_of_ours_is_no_reason_to_ask(place: Place) -> None:
    await place.hears("!deploy web", id="m1", said=-3600)
    assert place.deployed == ["web by ann"]


async def test_again_runs_it_in_the_name_of_who_confirms(place: Place) -> None:
    await place.hears("!deploy web staging", id="m1", said=420)
    assert await place.hears("!again c001", id="m2", sender="bob") == "web is on staging"
    assert place.deployed == ["web by bob"]
    entry = await place.journal.get("m2")
    assert entry is not None
    assert (entry.command, entry.text, entry.sender) == ("deploy", "web staging", "bob")


async def test_the_question_asked_again_is_the_same_question(place: Place) -> None:
    first = await place.hears("!deploy web", id="m1", said=420)
    assert await place.hears("!deploy web", id="m1", said=420) == first


async def test_a_question_that_expired_unsaid_is_asked_anew(place: Place) -> None:
    await place.hears("!deploy web", id="m1", said=420)
    place.now += EXPIRES + 1
    reply = await place.hears("!deploy web", id="m1", said=420)
    assert reply == "!deploy web was asked by ann 7m ago; run it? !again c002 (within 5m)"
    old = await place.hears("!again c001", id="m2")
    assert old == "Nothing here waits for the code c001."
    await place.hears("!again c002", id="m3")
    assert place.deployed == ["web by ann"]


async def test_a_code_works_once(place: Place) -> None:
    await place.hears("!deploy web", id="m1", said=420)
    await place.hears("!again c001", id="m2")
    reply = await place.hears("!again c001", id="m3", sender="bob")
    assert reply == "The code c001 has been used already."
    assert place.deployed == ["web by ann"]


async def test_a_code_expires(place: Place) -> None:
    await place.hears("!deploy web", id="m1", said=420)
    place.now += EXPIRES + 1
    reply = await place.hears("!again c001", id="m2")
    assert reply == "The code c001 has expired; write the command again."
    assert place.deployed == []


async def test_a_confirmation_that_is_old_itself_is_asked_about(place: Place) -> None:
    await place.hears("!deploy web", id="m1", said=420)
    place.now += 200
    reply = await place.hears("!again c001", id="m2", sender="bob", said=190)
    assert reply == "!deploy web was asked by bob 3m 10s ago; run it? !again c002 (within 5m)"
    assert place.deployed == []


async def test_who_may_not_deploy_may_not_confirm_and_the_code_stays_good(place: Place) -> None:
    await place.hears("!deploy web", id="m1", said=420)
    refusal = await place.hears("!again c001", id="m2", sender="eve", roles=())
    assert "!deploy needs the role “operator”" in refusal
    assert place.deployed == []
    await place.hears("!again c001", id="m3", sender="bob")
    assert place.deployed == ["web by bob"]


@pytest.mark.parametrize("code", ["zzzz", "c00", "%", "'; --", "x" * 300])
async def test_a_code_that_nobody_gave_is_not_known(place: Place, code: str) -> None:
    await place.hears("!deploy web", id="m1", said=420)
    reply = await place.hears(f"!again {code}", id="m2")
    assert reply.startswith(("Nothing here waits for the code", "usage: !again"))
    assert place.deployed == []


async def test_a_code_may_be_written_in_capitals(place: Place) -> None:
    await place.hears("!deploy web", id="m1", said=420)
    await place.hears("!again  C001 ", id="m2")
    assert place.deployed == ["web by ann"]


async def test_again_without_a_code_tells_its_usage(place: Place) -> None:
    assert (await place.hears("!again", id="m1")).startswith("usage: !again code")


async def test_codes_differ_and_are_short() -> None:
    codes = [new_code() for _ in range(200)]
    assert len(set(codes)) > 190
    assert {len(code) for code in codes} == {4}


# -- killed --------------------------------------------------------------------------------


async def test_there_is_a_point_before_and_after_every_step(place: Place) -> None:
    """get · begin · the effect itself · finish: so that the tests below prove something."""
    points = 0
    while await place.hears_and_dies("!deploy web", points, id=f"m{points}"):
        points += 1
    assert points == 8


async def test_killed_while_it_runs_it_is_called_interrupted_and_asked_about(
    place: Place,
) -> None:
    await place.hears_and_dies("!deploy web", 5, id="m1")
    assert place.deployed == ["web by ann"]
    assert await place.hears("!deploy web", id="m1") == (
        "!deploy web, asked by ann, was interrupted; it began at 2025-11-25 12:00:00 UTC, and "
        "whether it was done is unknown. !again c001 runs it again (within 5m)"
    )
    assert place.deployed == ["web by ann"]


async def test_killed_at_any_point_it_runs_once_or_asks(place: Place) -> None:
    seen = set()
    for point in itertools.count():
        place.deployed.clear()
        if not await place.hears_and_dies("!deploy web", point, id=f"m{point}"):
            break
        done = len(place.deployed)
        reply = await place.hears("!deploy web", id=f"m{point}")
        if reply == "web is on production":
            assert place.deployed == ["web by ann"], point
        else:
            # Nothing more has run, and the room knows that something may have.
            assert "was interrupted" in reply, point
            assert len(place.deployed) == done <= 1, point
        seen.add((done, reply == "web is on production"))
    assert seen == {(0, True), (0, False), (1, False), (1, True)}


async def test_an_old_wish_killed_at_any_point_only_asks(place: Place) -> None:
    for point in itertools.count():
        died = await place.hears_and_dies("!deploy web", point, id=f"m{point}", said=420)
        reply = await place.hears("!deploy web", id=f"m{point}", said=420)
        assert "was asked by ann 7m ago; run it?" in reply, point
        if not died:
            break
    assert place.deployed == []


async def test_an_expired_question_killed_while_it_is_renewed_still_only_asks(
    place: Place,
) -> None:
    for point in itertools.count():
        await place.hears("!deploy web", id=f"m{point}", said=420)
        place.now += EXPIRES + 1
        died = await place.hears_and_dies("!deploy web", point, id=f"m{point}", said=721)
        reply = await place.hears("!deploy web", id=f"m{point}", said=721)
        assert "was asked by ann 12m 1s ago; run it?" in reply, point
        if not died:
            break
    assert place.deployed == []


async def test_killed_twice_it_still_runs_at_most_once(place: Place) -> None:
    for first, second in itertools.product(range(8), range(8)):
        place.deployed.clear()
        line = f"m{first}.{second}"
        assert await place.hears_and_dies("!deploy web", first, id=line)
        await place.hears_and_dies("!deploy web", second, id=line)
        reply = await place.hears("!deploy web", id=line)
        assert len(place.deployed) <= 1, line
        assert "was interrupted" in reply or place.deployed == ["web by ann"], line


async def test_a_confirmation_killed_at_any_point_runs_once_or_asks(place: Place) -> None:
    for point in itertools.count():
        place.deployed.clear()
        question = await place.hears("!deploy web", id=f"m{point}", said=420)
        confirm = "!again " + question.partition("!again ")[2][:4]
        died = await place.hears_and_dies(confirm, point, id=f"a{point}", sender="bob")
        done = len(place.deployed)
        reply = await place.hears(confirm, id=f"a{point}", sender="bob")
        if reply == "web is on production":
            assert place.deployed == ["web by bob"], point
        else:
            assert "was interrupted" in reply, point
            assert len(place.deployed) == done <= 1, point
        # Killed before the code was used up, it can be confirmed once more, aloud.
        used = await place.hears(confirm, id=f"b{point}", sender="bob")
        assert "used already" in used or done == 0, point
        if not died:
            break
    # get · by_code · get · begin · confirm · effect · finish · finish
    assert point == 16


async def test_after_a_kill_the_effect_runs_again_only_by_its_code(place: Place) -> None:
    await place.hears_and_dies("!deploy web", 5, id="m1")
    question = await place.hears("!deploy web", id="m1")
    code = question.partition("!again ")[2][:4]
    assert await place.hears(f"!again {code}", id="m2") == "web is on production"
    assert place.deployed == ["web by ann"] * 2
    assert await place.hears("!deploy web", id="m1") == "web is on production"
    assert place.deployed == ["web by ann"] * 2


async def test_a_command_that_is_gone_after_a_reload_cannot_be_confirmed(place: Place) -> None:
    await place.hears("!deploy web", id="m1", said=420)
    effects = Effects(place.journal, clock=lambda: place.now)
    router = Router([again])
    heard = Heard(id="m2", room=ROOM.id, sender="ann", text="!again c001", at=place.now)
    call = router.match(heard)
    assert call is not None
    found = await effects.recall(router, call, heard)
    assert found.hint == "There is no command deploy any more."


async def test_a_code_of_another_room_is_not_known_here(place: Place) -> None:
    await place.hears("!deploy web", id="m1", said=420)
    effects = Effects(place.journal, clock=lambda: place.now)
    router = place.router()
    heard = Heard(id="m2", room="7.other1", sender="ann", text="!again c001", at=place.now)
    call = router.match(heard)
    assert call is not None
    found = await effects.recall(router, call, heard)
    assert found.hint == "Nothing here waits for the code c001."
