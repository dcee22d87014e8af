"""One connection of a network: dial, back off, join, keep alive, and say why when it cannot.

A state machine that costs nothing at rest: `_kick` starts its one task when there is something
to do (dial, join, part, clean up), and the task ends when there is not. Everything a link owns
is touched by the event loop only; adapters report by `_report`, which never blocks.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Literal

import structlog

from instabot.adapters.base import (
    Account,
    Adapter,
    Alive,
    Event,
    Happened,
    History,
    Lost,
    Said,
)
from instabot.errors import InstabotError, LinkError, Refused
from instabot.model import Network, State, address
from instabot.runtime.budget import Budget
from instabot.runtime.catchup import CatchUp
from instabot.runtime.guard import guarded, spelling
from instabot.runtime.joining import Joining
from instabot.runtime.patience import Patience
from instabot.runtime.ports import Ports
from instabot.runtime.sender import Sender
from instabot.runtime.spot import Spot

log = structlog.get_logger()


class Link:
    """One connection. `spill` takes the rooms that the service does not let us hold here."""

    def __init__(
        self,
        ports: Ports,
        network: Network,
        shard: int,
        spare: int,
        spill: Callable[[Sequence[Spot]], None],
    ) -> None:
        self.network = network
        self.limit: int | None = None
        self.me = ""
        self.up = False
        self.spots: dict[str, Spot] = {}
        self._ports = ports
        self._pace = ports.pace
        self._spare = spare
        self._spill = spill
        self._budget = Budget.of(network.settings)
        self.sender = Sender(
            ports.tasks, self._budget, lambda: ports.may_speak(shard), self.fail
        )
        self._catch_up = CatchUp(ports, network)
        self._adapter: Adapter | None = None
        self._fold: Callable[[str], str] = str.lower
        self._remembers = False
        self._names: dict[str, Spot] = {}
        self._spelled: dict[str, Spot | None] = {}
        self._joining = Joining(self, ports, self._budget)
        self._failed: LinkError | None = None
        self._refused: Refused | None = None
        self._patience = Patience(self._pace.first_delay, self._pace.most_delay)
        self._timer: asyncio.TimerHandle | None = None
        self._pinging: asyncio.TimerHandle | None = None
        self._up_since = 0.0
        self._alive_at = 0.0
        self._closed = False
        self._task: asyncio.Task[None] | None = None

    # -- what the network asks of us -------------------------------------------------------

    @property
    def full(self) -> bool:
        return self.limit is not None and len(self.spots) >= self.limit

    def want(self, spot: Spot) -> None:
        """Hold this room from now on."""
        spot.link = self
        self.spots[spot.room.id] = spot
        self._names[self._fold(spot.room.name)] = spot
        self._spelled.clear()
        if self._refused:
            self.state(spot, "refused", self._refused.code, str(self._refused))
        else:
            self.state(spot, "wanted" if self.up else "connecting")
        if spot.hole:
            self._ports.board.hole(spot.room, spot.hole)
        self._joining.enter(spot)
        self.kick()

    def unwant(self, spot: Spot, reason: str) -> None:
        """Leave this room; what waits to be said there is for its queue to dead-letter."""
        self._forget(spot)
        spot.gone = True
        self._catch_up.give_up(spot)
        self.state(spot, "parted", text=reason)
        self._joining.leave(spot.room.name, reason)
        self.kick()

    def retry(self, spot: Spot | None = None) -> None:
        """Somebody changed something: try again what failed, this room or the whole link."""
        if self._refused:
            self._refused = None
            self._patience.hurry()
            for each in self.spots.values():
                if not each.barred:
                    self.state(each, "connecting")
        elif spot is None and not self.up:
            self._patience.hurry()
        if spot and spot.state in {"refused", "lost"}:
            spot.anew()
            self.state(spot, "wanted" if self.up else "connecting")
            self._joining.enter(spot)
        self.kick()

    def change(self, network: Network) -> None:
        """Other settings, none that the connection depends on."""
        self.network = self._catch_up.network = network
        self._budget.change(network.settings)

    async def close(self, reason: str) -> None:
        """Hang up for good. Its spots are the network's to close or to move."""
        self._closed, self.up = True, False
        self.sender.detach(LinkError(reason))
        adapter, self._adapter = self._adapter, None
        for timer in (self._timer, self._pinging):
            if timer:
                timer.cancel()
        for spot in self.spots.values():
            self._catch_up.give_up(spot)
        if self._task:
            self._task.cancel()
            # Not for ever: an adapter may swallow the cancellation.
            await asyncio.wait([self._task], timeout=self._pace.goodbye)
        await self._hang_up(adapter, reason)

    async def _hang_up(self, adapter: Adapter | None, reason: str = "") -> None:
        if adapter:
            with contextlib.suppress(InstabotError), guarded("close"):
                async with asyncio.timeout(self._pace.goodbye):
                    await adapter.close(reason)

    # -- what the adapter reports ------------------------------------------------------------

    def _report(self, adapter: Adapter | None, event: Event) -> None:
        """Called by the adapter at any time; must not block."""
        if adapter is None or adapter is not self._adapter:
            return  # the last words of a connection we gave up
        if isinstance(event, Said):
            spot = self._spot(event.room)
            if spot is None:
                return
            if spot.held is not None:
                self._catch_up.heard(spot, event)
            else:
                self._ports.outgoing.heard(
                    self.network, spot.room, event, self.me, self._remembers
                )
        elif isinstance(event, Lost):
            self.fail(LinkError(event.reason, event.delay))
        else:
            self._happened(event)

    def _happened(self, event: Happened) -> None:
        if event.kind == "nick" and event.me:
            self.me = self._catch_up.me = event.text
            return
        spot = self._spot(event.room) if event.room else None
        if spot is None:
            return
        if event.me and event.kind == "joined":
            self.joined(spot)
            return
        self._ports.outgoing.notice(
            self.network, spot.room, event.kind, who=event.who, text=event.text, at=event.at
        )
        # A `left` while we are joining is the echo of an earlier part.
        if event.me and event.kind in {"kicked", "left"} and spot.state == "joined":
            self._thrown_out(spot, event)

    def _thrown_out(self, spot: Spot, event: Happened) -> None:
        self._missing(spot, time.time())
        row = self._ports.board.row(spot.room.id)
        if row and time.time() - row.since > self._pace.stable_after:
            spot.kicks = 0  # the last one is long ago: nobody is fighting us
        spot.kicks += 1
        text = f"{event.kind} by {event.who}: {event.text}"
        if spot.kicks > self._pace.most_kicks:
            spot.barred = True
            self.state(spot, "refused", "kicked", text)
            return
        self.state(spot, "lost", "kicked", text)
        self._joining.later(spot, self._pace.rejoin_first)

    def _missing(self, spot: Spot, since: float) -> None:
        """From `since` on we may miss lines of this room."""
        self._catch_up.give_up(spot)
        spot.hole = spot.hole or since
        self._ports.board.hole(spot.room, spot.hole)

    def _spot(self, name: str) -> Spot | None:
        try:
            return self._spelled[name]
        except KeyError:
            if len(self._spelled) > 4 * len(self._names) + 100:
                self._spelled.clear()  # somebody makes up spellings
            spot = self._spelled[name] = self._names.get(self._fold(name))
            return spot

    # -- the machine -------------------------------------------------------------------------

    def kick(self) -> None:
        """Something may be due: see to it that the machine runs."""
        if self._task is None and not self._closed:
            self._task = self._ports.tasks.create_task(self._work(), name=self.network.id)
            self._task.add_done_callback(self._rested)

    def _rested(self, task: asyncio.Task[None]) -> None:
        # Also after a mistake of ours, and when it was cancelled before its first step.
        if self._task is task:
            self._task = None

    async def _work(self) -> None:
        try:
            while not self._closed:
                if self._failed:
                    await self._clean_up()
                elif self._adapter is None:
                    if self._refused or not self.spots or self._waits():
                        return
                    await self._dial()
                elif not await self._joining.step(self._adapter):
                    return
        finally:
            # No await since the last look: a `_kick` sees a machine that runs, or none.
            self._task = None

    def _waits(self) -> bool:
        if self._timer:
            self._timer.cancel()
        if not (wait := self._patience.wait):
            return False
        self._timer = asyncio.get_running_loop().call_later(wait, self.kick)
        return True

    async def _dial(self) -> None:
        for spot in self.spots.values():
            if spot.state != "lost" and not spot.barred:
                self.state(spot, "connecting")
        adapter: Adapter | None = None
        try:
            with guarded("connect"):
                adapter = self._ports.make(self._account(), lambda e: self._report(adapter, e))
                self._adapter = adapter
                async with asyncio.timeout(self._pace.dial_timeout):
                    identity = await adapter.connect()
                able: object = adapter
                self._remembers = isinstance(able, History) and able.remembers
        except LinkError as error:
            self.fail(error)
            return
        except Refused as error:
            await self._turned_away(error)
            return
        if adapter is not self._adapter:
            return  # closed meanwhile
        self.me = self._catch_up.me = identity.me
        self.limit, self.up = identity.room_limit, True
        self._up_since, self._alive_at = time.monotonic(), time.time()
        log.info("link up", network=self.network.id, me=self.me, link=self._spare)
        self._fold = spelling(adapter)
        self._names = {self._fold(s.room.name): s for s in self.spots.values()}
        self._spelled.clear()
        self.sender.attach(adapter)
        self._over_limit()
        self._joining.begin(s for s in self.spots.values() if not s.barred)
        self._ping_later(adapter)

    def _account(self) -> Account:
        network = self.network

        def secret() -> str:
            if not network.secret:
                return ""
            host, port = address(network.url, network.settings)
            return self._ports.keyring.open(
                network.secret, network=network.id, host=host, port=port
            )

        return Account(network.id, network.url, network.settings, secret, self._spare)

    async def _turned_away(self, error: Refused) -> None:
        """The service refused the login: final ones wait for a change, others for a while."""
        log.warning("link refused", network=self.network.id, code=error.code, error=str(error))
        adapter, self._adapter = self._adapter, None
        self._failed = None  # it may have hung up as well; this says more
        for spot in self.spots.values():
            if not spot.barred:
                self.state(spot, "refused", error.code, str(error))
        if error.final:
            self._refused = error
        else:
            self._patience.failed(self._pace.rejoin_first)
        await self._hang_up(adapter)

    def fail(self, error: LinkError) -> None:
        """The connection is gone, or as good as gone."""
        if self._failed is None and not self._closed:
            self._failed = error
            self.kick()

    async def _clean_up(self) -> None:
        error, self._failed = self._failed or LinkError("lost"), None
        adapter, self._adapter = self._adapter, None
        code = "throttled" if error.delay else "cut" if self.up else "unreachable"
        log.warning("link lost", network=self.network.id, code=code, error=str(error))
        self.sender.detach(error)
        self._joining.end()
        since = min(time.time(), self._alive_at) if isinstance(error, _Silence) else time.time()
        for spot in self.spots.values():
            if spot.state == "joined":
                self._missing(spot, since)
                self._ports.outgoing.notice(self.network, spot.room, "lost", text=str(error))
            else:
                self._catch_up.give_up(spot)
            if not spot.barred:
                self.state(spot, "lost", code, str(error))
        if self.up and time.monotonic() - self._up_since > self._pace.stable_after:
            self._patience.settled()
        self.up = False
        self._patience.failed(error.delay)
        await self._hang_up(adapter, "link lost")

    def _ping_later(self, adapter: Adapter) -> None:
        if isinstance(adapter, Alive):
            loop = asyncio.get_running_loop()
            self._pinging = loop.call_later(self._pace.keepalive, self._ping_due, adapter)

    def _ping_due(self, adapter: Adapter) -> None:
        if adapter is self._adapter:
            self._ports.tasks.create_task(self._ping(adapter), name=f"ping {self.network.id}")

    async def _ping(self, adapter: Adapter) -> None:
        try:
            with guarded("ping"):
                async with asyncio.timeout(self._pace.ping_timeout):
                    await adapter.ping()  # type: ignore[attr-defined]
        except (LinkError, Refused) as error:
            if adapter is self._adapter:
                self.fail(_Silence(str(error)))
            return
        if adapter is self._adapter:
            self._alive_at = time.time()
            self._ping_later(adapter)

    # -- rooms -------------------------------------------------------------------------------

    def _over_limit(self) -> None:
        """Hand the rooms beyond the service's limit to a further link: those not yet inside."""
        if self.limit is None:
            return
        outside = [s for s in self.spots.values() if s.state not in {"joining", "joined"}]
        excess = len(self.spots) - self.limit
        if excess > 0 and outside:
            self._hand_over(outside[-excess:])

    def _hand_over(self, spots: Sequence[Spot]) -> None:
        for spot in spots:
            self._forget(spot)
        self._spill(spots)

    def _forget(self, spot: Spot) -> None:
        self.spots.pop(spot.room.id, None)
        name = self._fold(spot.room.name)
        if self._names.get(name) is spot:
            del self._names[name]
        self._spelled.clear()

    def hold(self, spot: Spot) -> None:
        """About to join: where there is a history, live lines wait for older ones."""
        if self._remembers:
            self._catch_up.hold(spot)

    def joined(self, spot: Spot) -> None:
        """We are inside."""
        if spot.state == "joined":
            return
        spot.tries = 0
        spot.barred = False
        self.state(spot, "joined")
        kind: Literal["back", "joined"] = "back" if spot.hole else "joined"
        self._catch_up.joined(spot, self._adapter, self._remembers)
        self._ports.outgoing.notice(self.network, spot.room, kind, who=self.me)

    def not_joined(self, spot: Spot, state: State, reason: str = "", text: str = "") -> None:
        """We are not inside, and why."""
        self._catch_up.give_up(spot)
        self.state(spot, state, reason, text)

    def too_many(self, spot: Spot) -> bool:
        """The service takes no more rooms here: move this one on, if that helps."""
        inside = sum(s.state == "joined" for s in self.spots.values())
        if not inside:
            return False
        self.limit = inside
        self.not_joined(spot, "wanted")
        self._hand_over([spot])
        self._over_limit()
        return True

    def named(self, name: str) -> Spot | None:
        """The room of this name, in any spelling."""
        return self._names.get(self._fold(name))

    def is_current(self, adapter: Adapter) -> bool:
        """Is this the connection that we have now?"""
        return adapter is self._adapter

    def state(self, spot: Spot, state: State, reason: str = "", text: str = "") -> None:
        """Set a room's state, for consoles and for whoever waits for it."""
        spot.state, spot.reason, spot.text = state, reason, text
        self._ports.board.state(spot.room, state, reason, text, self.me)
        spot.notify()


class _Silence(LinkError):
    """The link died some time ago, and only the keepalive found out."""
