"""The flood budget of a link: a token bucket, asked for each line that goes out."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping

RATE = 0.5
BURST = 4.0
"""RFC 1459 §8.10 allows about one message each two seconds after a few at once."""


class Budget:
    """`rate` lines a second after `burst` at once; rate 0 means no limit at all."""

    def __init__(
        self,
        rate: float = RATE,
        burst: float = BURST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limited = rate > 0
        self._rate = rate
        self._burst = max(1.0, burst)
        self._tokens = self._burst
        self._clock = clock
        self._at = clock()

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> "Budget":
        """From a network's settings; what is no number counts as not set."""
        return cls(*_numbers(settings))

    def change(self, settings: Mapping[str, str]) -> None:
        """Take other settings over; what is owed stays owed."""
        rate, burst = _numbers(settings)
        self.limited, self._rate, self._burst = rate > 0, rate, max(1.0, burst)

    def owed(self, cost: float = 1.0) -> float:
        """Pay for a line → seconds to wait before it may go."""
        if not self.limited:
            return 0.0
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        self._tokens -= cost
        return max(0.0, -self._tokens / self._rate)

    async def take(self, cost: float = 1.0) -> None:
        """Pay for a line and wait until it may go."""
        wait = self.owed(cost)
        if wait > 0:
            await asyncio.sleep(wait)


def _numbers(settings: Mapping[str, str]) -> tuple[float, float]:
    return _number(settings.get("rate"), RATE), _number(settings.get("burst"), BURST)


def _number(text: str | None, default: float) -> float:
    try:
        number = float(text) if text is not None else default
    except ValueError:
        return default
    return number if math.isfinite(number) and number >= 0 else default
