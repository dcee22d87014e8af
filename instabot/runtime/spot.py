"""A room's place on its link. Touched by the event loop only, owned by the link that holds it."""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from instabot.adapters.base import Said
from instabot.model import Room, State

if TYPE_CHECKING:
    from instabot.runtime.link import Link


@dataclass(slots=True)
class Held:
    """Live lines kept back while older ones are fetched from the service's history.

    `since` is where the hole begins; `asked` says that the history was asked for.
    """

    since: float
    lines: list[Said] = field(default_factory=list)
    asked: bool = False


@dataclass(slots=True, eq=False)
class Spot:
    """`hole` is since when we may have missed lines (Unix seconds, 0 = nothing missed).

    `barred` means that the service refused this room for good: not asked again until somebody
    changes something. `tries` counts the joins that failed since the last that did not.
    """

    room: Room
    link: "Link"
    state: State = "wanted"
    reason: str = ""
    text: str = ""
    hole: float = 0.0
    tries: int = 0
    kicks: int = 0
    held: Held | None = None
    gone: bool = False
    barred: bool = False
    _changed: asyncio.Event | None = field(default=None, repr=False)

    def anew(self) -> None:
        """Somebody changed something: all failures are forgotten."""
        self.tries = self.kicks = 0
        self.barred = False

    def notify(self) -> None:
        """Wake whoever waits for another state."""
        if self._changed:
            self._changed.set()
            self._changed = None

    async def changed(self, timeout: float) -> None:
        """Return at the next change of state, or after `timeout` seconds."""
        event = self._changed
        if event is None:
            event = self._changed = asyncio.Event()
        try:
            async with asyncio.timeout(timeout):
                await event.wait()
        except TimeoutError:
            return
