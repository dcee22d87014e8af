"""The boundaries of the runtime: around adapters, and around our own mistakes.

Whatever an adapter raises becomes one of our errors. Whatever else goes wrong in a task is logged,
and the task ends or starts anew: the rooms must not pay for it. Only Superseded ends the process.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any

import structlog

from instabot.adapters.base import Folds
from instabot.broker.redis import Backoff
from instabot.errors import BadInput, LinkError, Refused, Superseded

log = structlog.get_logger()


@contextmanager
def guarded(doing: str, *, one: bool = False) -> Iterator[None]:
    """Let LinkError and Refused pass; anything else an adapter raises is a lost link.

    With `one`, a bug of the adapter refuses the one room or line it was busy with instead: no
    text and no room's name may cost all rooms their connection. Network errors stay LinkErrors.
    """
    try:
        yield
    except (LinkError, Refused):
        raise
    except BadInput as error:  # settings that cannot work, a secret that cannot be opened
        raise Refused("config", str(error)) from None
    except TimeoutError:
        raise LinkError(f"the service did not answer to {doing}") from None
    except Exception as error:  # an adapter is foreign code
        log.exception("adapter failed", doing=doing)
        text = f"the adapter failed at {doing}: {type(error).__name__}"
        if one and not isinstance(error, OSError):
            raise Refused("other", text, final=False) from error
        raise LinkError(text) from error


def spelling(adapter: object) -> Callable[[str], str]:
    """How this adapter's service spells names for comparison; never raises."""
    if not isinstance(adapter, Folds):
        return str.lower
    fold = adapter.fold

    def safely(name: str) -> str:
        try:
            with guarded("fold", one=True):
                return fold(name)
        except (LinkError, Refused):
            return name.lower()

    return safely


class Tasks(asyncio.TaskGroup):
    """A TaskGroup that outlives the errors of its tasks: logged, and only that task is over."""

    def create_task(  # type: ignore[override] # a task that failed returns None
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[Any]:
        """Start a task. Superseded still ends the group. RuntimeError: the group is over."""
        survivor = _survive(coro, name)
        try:
            task = super().create_task(survivor, name=name, context=context)
        except RuntimeError:
            survivor.close()
            coro.close()
            raise
        # Cancelled before its first step it would never be awaited.
        task.add_done_callback(lambda _: coro.close())
        return task


async def _survive(coro: Coroutine[Any, Any, Any], name: str | None) -> Any:
    try:
        return await coro
    except Superseded:
        raise
    except Exception:  # a mistake of ours: it may cost one task, never the rooms
        log.exception("task failed", task=name)
        return None


async def unending(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run a loop for ever: after a mistake of ours it starts anew. Superseded passes."""
    backoff = Backoff()
    while True:
        try:
            await run()
        except Superseded:
            raise
        except Exception:  # as above; without this part the runtime would be deaf or dumb
            log.exception("part failed, starting it anew", part=name)
        await backoff.wait()
