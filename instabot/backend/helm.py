"""What plugins may ask of the backend they run in: the commands, and how the bot is doing."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

from instabot import wire
from instabot.backend.router import Router
from instabot.broker.keys import key
from instabot.broker.redis import Caller, pipelined
from instabot.commands import Command, Status
from instabot.errors import Malformed
from instabot.version import __version__

FRESH = 1.0
"""Seconds that one answer of `status` serves everybody who asks."""

_JOINING = {"wanted", "connecting", "joining"}


class Backstage:
    """The Helm of plugins. `router` gives the plugins of now."""

    def __init__(self, client: Caller, shards: int, router: Callable[[], Router]) -> None:
        self._client = client
        self._shards = shards
        self._router = router
        self._since = time.time()
        self._last: tuple[float, Status] | None = None

    def commands(self) -> Sequence[Command]:
        """Every command there is, sorted by plugin and name."""
        return self._router().commands

    async def status(self, tenant: str) -> Status:
        """Rooms by state and queue depths, of all shards; one tenant is served so far."""
        del tenant
        if self._last is None or time.monotonic() - self._last[0] > FRESH:
            self._last = time.monotonic(), await self._read()
        return self._last[1]

    async def _read(self) -> Status:
        shards = range(self._shards)
        commands: list[tuple[object, ...]] = []
        for shard in shards:
            commands.append(("HVALS", key(shard, "live")))
            commands.append(("HMGET", key(shard, "depth"), "m", "c"))
            commands.append(("XLEN", key(shard, "dead")))
        answers = await pipelined(self._client, commands)
        states: Counter[str] = Counter()
        waiting = unsaid = dead = 0
        for shard in shards:
            rows, depths, letters = answers[3 * shard : 3 * shard + 3]
            states.update(_states(rows))
            if isinstance(depths, list):
                waiting += int(depths[0] or 0)
                unsaid += int(depths[1] or 0)
            dead += letters if isinstance(letters, int) else 0
        return Status(
            version=__version__,
            up=time.time() - self._since,
            joined=states["joined"],
            joining=sum(states[state] for state in _JOINING),
            lost=states["lost"],
            refused=states["refused"],
            waiting=waiting,
            unsaid=unsaid,
            dead=dead,
        )


def _states(rows: object) -> list[str]:
    states: list[str] = []
    for row in rows if isinstance(rows, list) else ():
        try:
            states.append(wire.decode_live(row).state)
        except Malformed:
            continue
    return states
