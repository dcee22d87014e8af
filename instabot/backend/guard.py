"""The boundaries of the backend, around our own mistakes: one may cost a message, never the rest.

Only Superseded ends the process.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import structlog

from instabot.broker.redis import Backoff, ReplyError, persist
from instabot.errors import Superseded

T = TypeVar("T")

log = structlog.get_logger()


class Stopped(Exception):
    """We were asked to stop before it was done."""


async def unending(
    name: str, run: Callable[[], Awaitable[None]], stop: asyncio.Event | None = None
) -> None:
    """Run a loop until `stop` is set; after a mistake of ours it starts anew. Superseded passes."""
    backoff = Backoff()
    while not (stop and stop.is_set()):
        try:
            await run()
        except Exception as error:  # without this part the backend would be deaf or dumb
            if _superseded(error):
                raise
            log.exception("part failed, starting it anew", part=name)
        await backoff.wait()


def _superseded(error: Exception) -> bool:
    if isinstance(error, ExceptionGroup):
        return error.subgroup(Superseded) is not None
    return isinstance(error, Superseded)


async def insist(doing: str, call: Callable[[], Awaitable[T]]) -> T:
    """Repeat an idempotent script until Redis carries it out, even where it refuses for now.

    Raises Fenced; and a key of ours that holds something else waits for an operator.
    """
    backoff = Backoff(0.1, 5.0)
    while True:
        try:
            return await persist(call)
        except ReplyError as error:
            log.error("Redis refuses", doing=doing, error=str(error))
            await backoff.wait()


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. Raises Stopped, and cancels it, once `stop` is set."""
    try:
        async with asyncio.TaskGroup() as pair:
            working = pair.create_task(work)
            watching = pair.create_task(stop.wait())
            await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
            watching.cancel()
            working.cancel()  # which changes nothing when it is done
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    if working.cancelled():
        raise Stopped
    return working.result()
