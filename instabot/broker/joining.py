"""Waiting for rooms to be joined, as the runtime reports it in `live`."""

import asyncio
import time
from collections.abc import Callable, Sequence

from instabot.broker.desk import Desk
from instabot.broker.views import RoomView

_SURE = {"unreachable", "tls", "password", "nick", "config", "throttled"}
"""Reasons that a further try within the wait will hardly mend."""
_GRACE = 4.0
"""Seconds that such a reason may last before we report it; the link dials again meanwhile."""


def settled(view: RoomView, asked: float) -> bool:
    """Is this what came of a join asked for at that time? An older refusal is not."""
    if view.state == "joined":
        return True
    if view.state in ("refused", "parted"):
        return view.since >= asked
    return view.reason in _SURE and time.time() > asked + _GRACE


async def wait_joined(
    desk: Desk,
    rooms: Sequence[str],
    asked: float,
    timeout: float,
    each: Callable[[RoomView], None] = lambda view: None,
) -> list[RoomView]:
    """Wait until every room (by id) is joined or turned away → how they are, as far as known.

    `each` hears of a room once, when it is settled. After `timeout` seconds the rest are
    returned as they are. `asked` is when the join was asked for, in Unix seconds.
    """
    deadline, open_rooms = time.monotonic() + timeout, set(rooms)
    views: dict[str, RoomView] = {}
    while True:
        for view in await desk.rooms():
            if view.id in open_rooms:
                views[view.id] = view
                if settled(view, asked):
                    open_rooms.discard(view.id)
                    each(view)
        if not open_rooms or time.monotonic() > deadline:
            return [views[room] for room in rooms if room in views]
        # `live` is a hash that other processes write; nothing announces a change to us.
        await asyncio.sleep(0.1)
