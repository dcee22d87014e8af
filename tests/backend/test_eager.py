"""`backend/eager.py`: a coroutine's first step, and then the rest."""

import asyncio

import pytest

from instabot.backend.eager import Started


async def test_what_never_waits_is_done_after_its_first_step() -> None:
    async def work() -> str:
        return "pong"

    started = Started(work())

    assert started.done
    assert started.value == "pong"


async def test_the_rest_of_what_waits_is_awaited() -> None:
    gate = asyncio.Event()

    async def work() -> str:
        await gate.wait()
        await asyncio.sleep(0)
        return "late"

    started = Started(work())
    assert not started.done
    gate.set()

    assert await started == "late"


async def test_an_error_of_the_first_step_comes_out_at_once() -> None:
    async def work() -> str:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Started(work())


async def test_an_error_of_a_later_step_comes_out_of_the_await() -> None:
    async def work() -> str:
        await asyncio.sleep(0)
        raise ValueError("later")

    with pytest.raises(ValueError, match="later"):
        await Started(work())


async def test_a_timeout_around_the_rest_reaches_the_coroutine() -> None:
    cleaned = False

    async def work() -> str:
        nonlocal cleaned
        try:
            await asyncio.Event().wait()
        finally:
            cleaned = True
        return "never"

    started = Started(work())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await started

    assert cleaned
