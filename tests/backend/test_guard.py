"""Where our own mistakes end."""

import asyncio

import pytest

from instabot.backend.guard import Stopped, insist, unending, unless
from instabot.broker.redis import Full, ReplyError
from instabot.errors import BadInput, Fenced, Superseded


async def test_a_part_that_fails_starts_anew_until_it_is_to_stop() -> None:
    stop, runs = asyncio.Event(), 0

    async def run() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise RuntimeError("a mistake of ours")
        stop.set()

    await unending("part", run, stop)
    assert runs == 3


@pytest.mark.parametrize(
    "error",
    [Superseded("by b:2"), ExceptionGroup("bridge", [Superseded("by b:2")])],
    ids=["bare", "grouped"],
)
async def test_only_being_superseded_ends_a_part(error: Exception) -> None:
    async def run() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await unending("part", run)
    assert caught.value is error


async def test_a_script_is_repeated_until_redis_carries_it_out() -> None:
    errors = [ReplyError("NOPERM"), Full("OOM"), ReplyError("WRONGTYPE")]

    async def call() -> str:
        if errors:
            raise errors.pop()
        return "done"

    assert await insist("test", call) == "done"


async def test_a_fenced_script_is_not_repeated() -> None:
    async def call() -> None:
        raise Fenced("FENCED")

    with pytest.raises(Fenced):
        await insist("test", call)


async def test_work_ends_with_its_value_its_error_or_the_stop() -> None:
    stop = asyncio.Event()

    async def value() -> int:
        return 7

    async def error() -> int:
        raise BadInput("wrong")

    async def never() -> int:
        stop.set()
        await asyncio.Event().wait()
        return 0

    assert await unless(stop, value()) == 7
    with pytest.raises(BadInput, match="wrong"):
        await unless(stop, error())
    with pytest.raises(Stopped):
        await unless(stop, never())
