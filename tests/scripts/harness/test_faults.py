"""A chaos run's faults come from its seed and leave the parts time to start."""

import random
from itertools import pairwise

from scripts.harness.faults import Fault, schedule


def test_the_same_seed_hits_alike() -> None:
    plans = [schedule(random.Random(7), 60, ["backend", "redis"], 5, 2) for _ in range(2)]
    assert plans[0] == plans[1]
    assert plans[0] != schedule(random.Random(8), 60, ["backend", "redis"], 5, 2)


def test_each_named_part_is_killed_as_often_as_asked() -> None:
    plan = schedule(random.Random(1), 60, ["backend", "runtime"], 20, 0)
    assert {fault.kind for fault in plan} == {"kill"}
    assert [fault.part for fault in plan].count("backend") == 20
    assert [fault.part for fault in plan].count("runtime") == 20


def test_every_part_freezes_for_one_to_six_seconds() -> None:
    plan = schedule(random.Random(1), 60, [], 0, 3)
    assert sorted(fault.part for fault in plan) == sorted(["backend", "runtime", "redis"] * 3)
    assert all(fault.kind == "freeze" and 1 <= fault.seconds <= 6 for fault in plan)


def test_faults_come_in_order_within_the_first_nine_tenths_and_apart() -> None:
    plan = schedule(random.Random(1), 100, ["backend"], 20, 0)
    times = [fault.at for fault in plan]
    assert times == sorted(times)
    assert times[0] > 0
    assert times[-1] < 90
    assert min(b - a for a, b in pairwise(times)) > 100 * 0.9 / 20 * 0.39


def test_redis_can_stay_away() -> None:
    assert schedule(random.Random(1), 100, [], 0, 0, redis_down=60) == [
        Fault(10.0, "redis", "kill", 60)
    ]
