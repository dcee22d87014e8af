"""When a link may dial again: exponential backoff with full jitter."""

import random
import time
from collections.abc import Callable

_MOST_DOUBLINGS = 30
"""2**1024 would be no float any more, and a service may be away for weeks."""


def doubled(first: float, most: float, tries: int) -> float:
    """`first` doubled for each try, at most `most`."""
    return min(most, first * 2.0 ** min(tries, _MOST_DOUBLINGS))


class Patience:
    """Counts failures. A service that comes back is not met by all its clients at once."""

    def __init__(
        self,
        first: float,
        most: float,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._first = first
        self._most = most
        self._clock = clock
        self._jitter = jitter
        self._tries = 0
        self._at = 0.0
        self._floor = 0.0

    @property
    def wait(self) -> float:
        """Seconds until the next dial may start."""
        return max(0.0, self._at - self._clock())

    def failed(self, least: float = 0.0) -> None:
        """A dial failed or a link broke. The service asked for `least` seconds, if any."""
        now, top = self._clock(), doubled(self._first, self._most, self._tries)
        self._tries += 1
        self._floor = now + least
        self._at = now + max(least, self._jitter(0.0, top))

    def settled(self) -> None:
        """The link was up long enough: the next failure is a first one."""
        self._tries = 0

    def hurry(self) -> None:
        """Somebody changed something: dial as soon as the service allows."""
        self._tries, self._at = 0, self._floor
