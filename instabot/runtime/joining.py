"""How the rooms of a link are entered and left: in batches, a few at a time, none for ever.

Part of the link's machine: `step` is called by the link's one task while the link is up, and
does one thing that is due. What became of a join is settled here; a room that hangs, or that
the service refuses, costs no other room anything.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from instabot.adapters.base import Adapter, JoinsMany
from instabot.errors import LinkError, Refused
from instabot.model import Room, address
from instabot.runtime.budget import Budget
from instabot.runtime.guard import guarded
from instabot.runtime.patience import doubled
from instabot.runtime.ports import Ports
from instabot.runtime.spot import Spot

if TYPE_CHECKING:
    from instabot.runtime.link import Link

log = structlog.get_logger()

AT_ONCE = 8
"""Join calls under way at a time, so that a room that hangs delays no other."""

_SILENT = Refused("other", "the service did not answer to the join", final=False)


class Joining:
    """The rooms of one link that are to be entered, and the names to be left."""

    def __init__(self, link: "Link", ports: Ports, budget: Budget) -> None:
        self._link = link
        self._ports = ports
        self._pace = ports.pace
        self._budget = budget
        self._due: deque[Spot] = deque()
        self._leaving: deque[tuple[str, str]] = deque()
        self._under_way = 0

    def enter(self, spot: Spot) -> None:
        """This room is to be entered, now or after the next dial."""
        self._due.append(spot)

    def leave(self, name: str, reason: str = "") -> None:
        """We are inside, or may be, and do not want to."""
        self._leaving.append((name, reason))

    def begin(self, spots: Iterable[Spot]) -> None:
        """The link is up: these rooms, in this order."""
        self._due = deque(spots)

    def end(self) -> None:
        """The link is gone, and with it every join under way."""
        self._due.clear()
        self._leaving.clear()
        self._under_way = 0

    async def step(self, adapter: Adapter) -> bool:
        """Leave a room, or start to enter some; False when nothing is due."""
        if self._leaving:
            await self._leave(adapter, *self._leaving.popleft())
        elif self._due and self._under_way < AT_ONCE:
            await self._start(adapter)
        else:
            return False
        return True

    async def _leave(self, adapter: Adapter, name: str, reason: str) -> None:
        wanted = self._link.named(name)
        if wanted and wanted.state in {"joining", "joined"}:
            return  # wanted again, and on its way
        try:
            with guarded("part", one=True):
                await self._budget.take()
                async with asyncio.timeout(self._pace.join_timeout):
                    await adapter.part(name, reason)
        except (LinkError, Refused) as error:  # a link that is gone tells so itself
            log.warning("not parted", room=name, error=str(error))

    async def _start(self, adapter: Adapter) -> None:
        spots = self._next(adapter)
        if not spots:
            return
        for spot in spots:
            self._link.state(spot, "joining", spot.reason, spot.text)
            self._link.hold(spot)
        self._under_way += 1
        await self._budget.take()
        self._ports.tasks.create_task(self._join(adapter, spots), name="join")

    def _next(self, able: object) -> list[Spot]:
        most = able.join_batch if isinstance(able, JoinsMany) else 1
        spots: list[Spot] = []
        while self._due and len(spots) < most:
            spot = self._due.popleft()
            if spot.link is not self._link or spot.gone or spot.state in {"joining", "joined"}:
                continue
            if spot.tries and spots:
                self._due.appendleft(spot)
                break
            spots.append(spot)
            if spot.tries:
                break  # it failed before: alone, so that it fails no others
        return spots

    async def _join(self, adapter: Adapter, spots: Sequence[Spot]) -> None:
        outcomes: Mapping[str, Exception | None] = {}
        try:
            outcomes = await self._ask(adapter, spots)
        finally:
            if self._link.is_current(adapter):
                self._under_way -= 1
                for spot in spots:
                    self._came_to(spot, outcomes.get(spot.room.name, _SILENT), len(spots) == 1)
                self._link.kick()

    async def _ask(
        self, adapter: Adapter, spots: Sequence[Spot]
    ) -> dict[str, Exception | None]:
        outcomes: dict[str, Exception | None] = {}
        pairs: list[tuple[str, str]] = []
        for spot in spots:
            try:
                with guarded("join", one=True):
                    pairs.append((spot.room.name, self._key(spot.room)))
            except (LinkError, Refused) as error:
                outcomes[spot.room.name] = error
        if not pairs:
            return outcomes
        try:
            with guarded("join", one=True):
                async with asyncio.timeout(self._pace.join_timeout) as patience:
                    return {**outcomes, **await _enter(adapter, pairs)}
        except (LinkError, Refused) as error:
            why = _SILENT if patience.expired() else error
            return {**outcomes, **{name: why for name, _ in pairs}}

    def _key(self, room: Room) -> str:
        if not room.key:
            return ""
        network = self._link.network
        host, port = address(network.url, network.settings)
        return self._ports.keyring.open(room.key, network=network.id, host=host, port=port)

    def _came_to(self, spot: Spot, error: Exception | None, alone: bool) -> None:
        """What became of a join."""
        if spot.link is not self._link or spot.gone:
            if error is None:  # parted, or moved, while it was being joined
                self.leave(spot.room.name)
        elif error is None:
            self._link.joined(spot)
        elif isinstance(error, LinkError):
            self._link.fail(error)
        elif spot.state != "joining":
            return  # the service told us by itself that we are inside
        elif error is _SILENT and not alone:
            spot.tries += 1
            self._link.not_joined(spot, "wanted")
            self.enter(spot)  # one by one, to find the one that hangs
        else:
            self._refused(
                spot,
                error if isinstance(error, Refused) else Refused("other", str(error), False),
            )

    def _refused(self, spot: Spot, error: Refused) -> None:
        if error.code == "too-many" and self._link.too_many(spot):
            return
        # Too many although none is inside: a further link would fare no better.
        spot.barred = error.final and error.code != "too-many"
        self._link.not_joined(spot, "refused", error.code, str(error))
        if not spot.barred:
            delay = doubled(self._pace.rejoin_first, self._pace.rejoin_most, spot.tries)
            spot.tries += 1
            self.later(spot, delay)

    def later(self, spot: Spot, delay: float) -> None:
        """Enter a room that threw us out, or had no place, after a while."""

        def due() -> None:
            held = spot.link is self._link and not spot.gone
            if held and spot.state in {"refused", "lost"}:
                self.enter(spot)
                self._link.kick()

        asyncio.get_running_loop().call_later(delay, due)


async def _enter(
    adapter: Adapter, pairs: Sequence[tuple[str, str]]
) -> Mapping[str, Exception | None]:
    if isinstance(adapter, JoinsMany):
        return await adapter.join_many(pairs)
    await adapter.join(*pairs[0])
    return {pairs[0][0]: None}
