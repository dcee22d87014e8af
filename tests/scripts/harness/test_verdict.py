"""A chaos run's verdict: what breaks a promise, and what a killed runtime excuses."""

from pathlib import Path

from scripts.harness.aftermath import Left
from scripts.harness.checks import Gap, Move, Seen
from scripts.harness.keeper import Keeper
from scripts.harness.people import Witness
from scripts.harness.verdict import Verdict, judge
from tests.servers.process import Process


def verdict(
    seen: list[Seen],
    moves: tuple[Move, ...] = (),
    left: Left | None = None,
    runtime_killed: tuple[float, ...] = (),
) -> Verdict:
    witness = Witness()
    witness.seen, witness.moves = seen, list(moves)
    parts = ("backend", "runtime", "redis")
    keepers = {name: Keeper(Process(name, ["true"], Path())) for name in parts}
    keepers["runtime"].killed += runtime_killed
    return judge({"seed": 1}, witness, keepers, left or Left(), rooms=1)


ASKED = Seen(10.0, "#a", "ask", 1)
ANSWERED = Seen(10.1, "#a", "reply", 1)


def test_a_run_in_which_all_was_answered_once_holds() -> None:
    good = verdict([ASKED, ANSWERED])
    assert good.violations == []
    assert good.facts()["ok"] is True
    assert good.table().endswith("all promises held")


def test_a_lost_line_breaks_a_promise_unless_a_dead_runtime_put_it_on_record() -> None:
    gap = Left(gaps=[Gap("#a", 9.0, 12.0)])
    assert verdict([ASKED], left=gap, runtime_killed=(9.5,)).violations == []
    assert verdict([ASKED], runtime_killed=(9.5,)).violations == [
        "lost before it was ingested: #a ask 1 at 10.000"
    ]
    assert verdict([ASKED], left=gap).violations[0] == (
        "lost before it was ingested: #a ask 1 at 10.000 (nearest gap -1.00 to +2.00 s)"
    )


def test_a_line_that_was_ingested_is_never_excused() -> None:
    left = Left(gaps=[Gap("#a", 9.0, 12.0)], ingested={("#a", 1)})
    assert verdict([ASKED], left=left, runtime_killed=(9.5,)).violations


def test_everything_left_behind_is_named() -> None:
    left = Left(depth=2, unacked=1, dead=["why=bad"], losses=1)
    assert verdict([ASKED, ANSWERED], left=left).violations == [
        "queues not empty: depth 2, unacknowledged 1",
        "dead letter: why=bad",
        "1 reports of lost data",
    ]


def test_a_bot_that_left_its_room_breaks_the_first_promise() -> None:
    away = (Move(11.0, "QUIT"), Move(12.0, "JOIN", "#a"))
    assert verdict([ASKED, ANSWERED], away).violations == [
        "1 JOIN that nothing explains",
        "1 QUIT that nothing explains",
    ]
    assert verdict([ASKED, ANSWERED], away, runtime_killed=(10.9,)).violations == []


def test_many_lines_are_summed_up() -> None:
    lost = [Seen(10.0, "#a", "ask", number) for number in range(1, 9)]
    assert verdict(lost).violations[-1] == "lost before it was ingested: 3 more"
