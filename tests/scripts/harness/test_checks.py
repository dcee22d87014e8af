"""The checks of a chaos run find every kind of damage, and nothing where there is none."""

import random

from hypothesis import given
from hypothesis import strategies as st

from scripts.harness.checks import (
    Findings,
    Gap,
    Move,
    Seen,
    compare,
    in_gap,
    moves_beyond,
    unexcused,
    unrecorded,
)


def ask(number: int, at: float = 0.0, room: str = "#a") -> Seen:
    return Seen(at, room, "ask", number)


def reply(number: int, at: float = 0.0, room: str = "#a") -> Seen:
    return Seen(at, room, "reply", number)


def numbers(lines: list[Seen]) -> list[int]:
    return [line.number for line in lines]


def faults(found: Findings) -> dict[str, list[int]]:
    kinds = ("missing", "repeated", "disordered", "unasked", "other")
    lists = {kind: numbers(getattr(found, kind)) for kind in kinds}
    return {kind: them for kind, them in lists.items() if them}


def test_answers_in_the_order_of_the_questions_are_right() -> None:
    found = compare([ask(1), ask(2), reply(1), ask(3), reply(2), reply(3)])
    assert faults(found) == {}
    assert (found.asked, found.answered) == (3, 3)


def test_the_servers_order_counts_and_not_the_numbers() -> None:
    # Two people talk: 2 reached the room before 1.
    assert faults(compare([ask(2), ask(1), reply(2), reply(1)])) == {}
    assert faults(compare([ask(2), ask(1), reply(1), reply(2)])) == {"disordered": [2]}


def test_each_kind_of_damage_is_found() -> None:
    found = compare([
        ask(1), ask(2), ask(3), ask(4),
        reply(2), reply(1), reply(2), reply(9),
        Seen(0.0, "#a", "other", text="<bot> oops"),
        reply(4),
    ])  # fmt: skip
    assert faults(found) == {
        "missing": [3],
        "repeated": [2],
        "disordered": [1],
        "unasked": [9],
        "other": [0],
    }


def test_an_answer_before_its_question_is_no_answer() -> None:
    assert faults(compare([reply(1), ask(1)])) == {"unasked": [1], "missing": [1]}


def test_rooms_do_not_mix() -> None:
    found = compare([ask(1), ask(1, room="#b"), reply(1, room="#b")])
    assert [(line.room, line.number) for line in found.missing] == [("#a", 1)]


def test_a_loss_is_excused_by_a_gap_record_of_its_room_and_time() -> None:
    gaps = [Gap("#a", 10.0, 20.0)]
    assert in_gap(ask(1, at=15.0), gaps)
    assert not in_gap(ask(1, at=21.0), gaps)
    assert not in_gap(ask(1, at=15.0, room="#b"), gaps)


def test_nothing_excuses_the_loss_of_an_ingested_line() -> None:
    gaps = [Gap("#a", 10.0, 20.0)]
    missing = [ask(1, at=15.0), ask(2, at=16.0), ask(3, at=25.0)]
    assert numbers(unrecorded(missing, gaps, ingested={("#a", 1)})) == [1, 3]
    assert numbers(unrecorded(missing, [], ingested=set())) == [1, 2, 3]


def test_a_repeat_is_excused_only_by_a_kill_between_the_two() -> None:
    found = compare([
        ask(1, 1.0), reply(1, 2.0),
        ask(2, 3.0), reply(2, 4.0),
        reply(2, 9.0), reply(1, 4.5),
    ])  # fmt: skip
    assert numbers(unexcused(found, kills=[])) == [2, 1]
    assert numbers(unexcused(found, kills=[5.0])) == [1]


def test_only_a_killed_runtime_makes_the_bot_move() -> None:
    moves = [Move(1.0, "QUIT"), Move(2.0, "JOIN", "#a"), Move(2.0, "JOIN", "#b")]
    assert moves_beyond(moves, kills=1, rooms=2) == {}
    assert moves_beyond(moves, kills=0, rooms=2) == {"JOIN": 2, "QUIT": 1}
    assert moves_beyond([*moves, Move(3.0, "PART", "#a")], kills=1, rooms=2) == {"PART": 1}


@st.composite
def transcripts(draw: st.DrawFn) -> list[Seen]:
    """What a faultless bot's rooms look like: questions mixed, answers behind, in order."""
    rng = random.Random(draw(st.integers(0, 10**6)))
    events: list[Seen] = []
    waiting: dict[str, list[int]] = {"#a": [], "#b": []}
    for number in range(1, draw(st.integers(2, 40))):
        room = rng.choice(["#a", "#b"])
        events.append(ask(number, float(len(events)), room))
        waiting[room].append(number)
        while waiting[room] and rng.random() < 0.6:
            events.append(reply(waiting[room].pop(0), float(len(events)), room))
    for room, rest in waiting.items():
        events += [reply(number, 1e6, room) for number in rest]
    return events


@given(transcripts())
def test_a_faultless_transcript_has_no_faults(events: list[Seen]) -> None:
    assert faults(compare(events)) == {}


@given(transcripts(), st.randoms(use_true_random=False))
def test_any_single_fault_is_found_and_named(events: list[Seen], rng: random.Random) -> None:
    places = [place for place, event in enumerate(events) if event.kind == "reply"]
    place = rng.choice(places)
    victim = events[place]
    lost = events[:place] + events[place + 1 :]
    assert faults(compare(lost)) == {"missing": [victim.number]}
    assert faults(compare([*events, victim])) == {"repeated": [victim.number]}
    later = [p for p in places if p > place and events[p].room == victim.room]
    if later:
        other = later[0]
        swapped = [*events]
        swapped[place], swapped[other] = events[other], events[place]
        assert set(faults(compare(swapped))) <= {"disordered", "unasked", "missing"}
        assert faults(compare(swapped)) != {}
