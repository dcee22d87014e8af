"""Which process is hit when, by a seed: the same seed always hits alike."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

PARTS = ("backend", "runtime", "redis")


@dataclass(frozen=True, order=True)
class Fault:
    """`at` seconds after the start, `part` is killed, or frozen for `seconds`.

    A killed part comes back at once, or after `seconds` where that is not 0.
    """

    at: float
    part: str
    kind: Literal["kill", "freeze"]
    seconds: float = 0.0


def schedule(
    rng: random.Random,
    length: float,
    kill: Sequence[str],
    kills: int,
    freezes: int,
    redis_down: float = 0.0,
) -> list[Fault]:
    """The faults of a run of `length` seconds, by time.

    Each part of `kill` dies `kills` times and every part freezes `freezes` times for 1 to 6
    seconds, each time somewhere in a slot of its own, so that a part is seldom hit while it
    still starts. With `redis_down`, Redis dies once more and stays away so long.
    """
    faults = []
    for part in kill:
        faults += [Fault(at, part, "kill") for at in _times(rng, length, kills)]
    for part in PARTS if freezes else ():
        faults += [
            Fault(at, part, "freeze", rng.uniform(1, 6)) for at in _times(rng, length, freezes)
        ]
    if redis_down:
        faults.append(Fault(length * 0.1, "redis", "kill", redis_down))
    return sorted(faults)


def _times(rng: random.Random, length: float, count: int) -> list[float]:
    # The last tenth stays calm, so that the last fault is followed by work, not by the end.
    slot = length * 0.9 / max(count, 1)
    return [number * slot + rng.uniform(0.1, 0.7) * slot for number in range(count)]
