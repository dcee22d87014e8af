"""Backoff, by a clock and dice of its own."""

from instabot.runtime.patience import Patience, doubled


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def longest(low: float, high: float) -> float:
    return high


def test_each_failure_doubles_the_wait_up_to_the_cap() -> None:
    patience, waits = Patience(1, 10, Clock(), longest), []
    for _ in range(6):
        patience.failed()
        waits.append(patience.wait)
    assert waits == [1, 2, 4, 8, 10, 10]


def test_the_jitter_is_full() -> None:
    asked: list[tuple[float, float]] = []

    def dice(low: float, high: float) -> float:
        asked.append((low, high))
        return low

    patience = Patience(1, 10, Clock(), dice)
    patience.failed()
    patience.failed()
    assert asked == [(0, 1), (0, 2)]
    assert patience.wait == 0


def test_what_the_service_asks_for_is_the_least_even_in_a_hurry() -> None:
    clock = Clock()
    patience = Patience(1, 10, clock, longest)
    patience.failed(least=60)
    assert patience.wait == 60
    patience.hurry()
    assert patience.wait == 60
    clock.now += 60
    assert patience.wait == 0


def test_a_hurry_forgets_our_own_wait_and_the_failures() -> None:
    patience = Patience(1, 10, Clock(), longest)
    for _ in range(5):
        patience.failed()
    patience.hurry()
    assert patience.wait == 0
    patience.failed()
    assert patience.wait == 1


def test_once_settled_the_next_failure_is_a_first_one() -> None:
    patience = Patience(1, 10, Clock(), longest)
    for _ in range(5):
        patience.failed()
    patience.settled()
    patience.failed()
    assert patience.wait == 1


def test_a_service_away_for_weeks_overflows_nothing() -> None:
    patience = Patience(1, 300, Clock(), longest)
    for _ in range(5000):
        patience.failed()
    assert patience.wait == 300
    assert doubled(30, 600, 10**9) == 600
