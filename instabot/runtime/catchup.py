"""What was said while we were away: older lines first, live ones held back meanwhile.

Where the service remembers, its history fills the hole; else, or when that fails, the hole
becomes a gap record. Either way every line comes once, and in its order.
"""

import asyncio
import time
from collections.abc import Sequence

import structlog

from instabot.adapters.base import Adapter, History, Said
from instabot.errors import LinkError, Refused
from instabot.model import Network
from instabot.runtime.guard import guarded
from instabot.runtime.ports import Ports
from instabot.runtime.spot import Held, Spot

log = structlog.get_logger()

MOST_HELD = 2000
"""Lines of a room held back at most; a history that takes longer is given up."""


class CatchUp:
    """The catching up of one link's rooms. `me` is our present name, kept by the link."""

    def __init__(self, ports: Ports, network: Network) -> None:
        self.network = network
        self.me = ""
        self._ports = ports

    def hold(self, spot: Spot) -> None:
        """Before a join: what is heard from now on waits for what is older."""
        if spot.hole and spot.held is None:
            spot.held = Held(spot.hole)

    def heard(self, spot: Spot, said: Said) -> None:
        """A live line of a room that is held back."""
        held = spot.held
        if held is not None:
            held.lines.append(said)
            if len(held.lines) >= MOST_HELD:
                self.give_up(spot)

    def joined(self, spot: Spot, adapter: Adapter | None, remembers: bool) -> None:
        """The room is joined: fill its hole, or own up to it."""
        since, spot.hole = spot.hole, 0.0
        if not since:
            return
        able: object = adapter
        if not remembers or not isinstance(able, History):
            spot.held = spot.held or Held(since)
            self.give_up(spot)
            return
        held = spot.held = spot.held or Held(since)
        held.asked = True
        self._ports.tasks.create_task(
            self._fetch(spot, held, able), name=f"catch up {spot.room.id}"
        )

    def give_up(self, spot: Spot) -> None:
        """No history: the hole ends here, and what was held back goes on its way."""
        held, spot.held = spot.held, None
        if held is None or not (held.asked or held.lines or spot.state == "joined"):
            return  # never joined, nothing heard: the hole stays open
        now = time.time()
        self._ports.board.gap(spot.room, held.since, now)
        self._ports.outgoing.notice(self.network, spot.room, "gap", since=held.since, at=now)
        spot.hole = 0.0 if spot.state == "joined" else now
        self._pass_on(spot, held.lines)

    async def _fetch(self, spot: Spot, held: Held, adapter: History) -> None:
        lines = None
        try:
            with guarded("history", one=True):
                async with asyncio.timeout(self._ports.pace.history_timeout):
                    ref = self._ports.board.last_ref(spot.room)
                    lines = await adapter.history(spot.room.name, held.since, ref)
        except (LinkError, Refused) as error:
            log.warning("no history", room=spot.room.id, error=str(error))
        if spot.held is not held:
            return  # given up meanwhile: the link went, or the room talks too much
        if lines is None:
            self.give_up(spot)
            return
        spot.held = None
        self._ports.board.gap(spot.room, 0.0, 0.0)
        fetched = {line.ref for line in lines if line.ref}
        self._pass_on(spot, lines)
        self._pass_on(spot, [line for line in held.lines if line.ref not in fetched])

    def _pass_on(self, spot: Spot, lines: Sequence[Said]) -> None:
        for line in lines:
            self._ports.outgoing.heard(self.network, spot.room, line, self.me, True)
