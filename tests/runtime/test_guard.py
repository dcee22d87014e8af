"""The boundaries: foreign errors become ours, and our own mistakes end no process."""

import asyncio

import pytest

from instabot.errors import BadInput, LinkError, Refused, Superseded
from instabot.runtime.guard import Tasks, guarded, spelling, unending


@pytest.mark.parametrize(
    ("raised", "one", "becomes"),
    [
        (LinkError("cut"), False, LinkError),
        (Refused("key", "no"), False, Refused),
        (BadInput("no such file"), False, Refused),
        (TimeoutError(), True, LinkError),
        (ConnectionResetError(), True, LinkError),
        (ValueError("bug"), False, LinkError),
        (ValueError("bug"), True, Refused),
    ],
)
def test_whatever_an_adapter_raises_becomes_one_of_our_errors(
    raised: Exception, one: bool, becomes: type[Exception]
) -> None:
    with pytest.raises(becomes), guarded("test", one=one):
        raise raised


def test_a_bug_met_with_one_room_may_be_tried_again() -> None:
    with pytest.raises(Refused) as caught, guarded("join", one=True):
        raise ValueError
    assert (caught.value.code, caught.value.final) == ("other", False)


def test_spelling_never_raises() -> None:
    class Odd:
        def fold(self, name: str) -> str:
            if name == "bad":
                raise KeyError(name)
            return name.upper()

    assert [spelling(Odd())(name) for name in ("a", "bad")] == ["A", "bad"]
    assert spelling(object())("A") == "a"


async def test_a_task_that_fails_leaves_the_others_alone() -> None:
    async def fails() -> None:
        raise ZeroDivisionError

    done = asyncio.Event()

    async def works() -> None:
        await asyncio.sleep(0)
        done.set()

    async with Tasks() as tasks:
        tasks.create_task(fails(), name="fails")
        tasks.create_task(works(), name="works")
    assert done.is_set()


async def test_being_superseded_ends_the_group() -> None:
    async def superseded() -> None:
        raise Superseded("a newer one runs")

    async def group() -> None:
        async with Tasks() as tasks:
            tasks.create_task(superseded())
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        await group()
    assert isinstance(caught.value.exceptions[0], Superseded)


async def test_a_task_cancelled_before_its_first_step_leaves_no_warning() -> None:
    async with Tasks() as tasks:
        tasks.create_task(asyncio.sleep(99)).cancel()
    with pytest.raises(RuntimeError):
        tasks.create_task(asyncio.sleep(0))


async def test_a_loop_that_fails_starts_anew_until_it_is_superseded() -> None:
    runs: list[int] = []

    async def run() -> None:
        runs.append(1)
        raise ZeroDivisionError if len(runs) < 3 else Superseded("enough")

    with pytest.raises(Superseded):
        await unending("test", run)
    assert len(runs) == 3
