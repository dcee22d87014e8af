"""The token bucket, by a clock of its own."""

import pytest

from instabot.runtime.budget import BURST, RATE, Budget


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_goes_at_once_and_the_rest_waits_its_turn() -> None:
    budget = Budget(rate=0.5, burst=4, clock=Clock())
    assert [budget.owed() for _ in range(6)] == [0, 0, 0, 0, 2, 4]


def test_time_gives_lines_back_up_to_the_burst() -> None:
    clock = Clock()
    budget = Budget(rate=0.5, burst=2, clock=clock)
    assert [budget.owed() for _ in range(3)] == [0, 0, 2]
    clock.now += 1000
    assert [budget.owed() for _ in range(3)] == [0, 0, 2]


async def test_rate_zero_means_no_limit_at_all() -> None:
    budget = Budget.of({"rate": "0"})
    assert not budget.limited
    taking = budget.take()
    with pytest.raises(StopIteration):
        taking.send(None)  # not even one turn of the loop


@pytest.mark.parametrize("text", ["", "fast", "nan", "inf", "-1", "1e999"])
def test_a_setting_that_is_no_number_counts_as_not_set(text: str) -> None:
    budget = Budget.of({"rate": text, "burst": text})
    budget._clock = clock = Clock()
    budget._at = clock.now
    assert [budget.owed() for _ in range(5)] == [0] * int(BURST) + [1 / RATE]


def test_other_settings_forgive_no_debt() -> None:
    budget = Budget(rate=1, burst=1, clock=Clock())
    assert [budget.owed() for _ in range(3)] == [0, 1, 2]
    budget.change({"rate": "2", "burst": "9"})
    assert budget.owed() == 1.5
