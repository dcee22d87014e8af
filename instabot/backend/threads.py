"""Running a plugin's sync function without holding up the event loop.

Each call gets a daemon thread of its own. A pool would be filled by functions that never
return, and would keep the process from ending; a daemon thread does neither.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from instabot.errors import CommandError

MOST = 64
"""Threads at once, those included that were given up but still run."""

_lock = threading.Lock()  # guards _running
_running = 0


async def in_thread(function: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Call `function` in a thread and return what it returns, or raise what it raises.

    When cancelled, the thread is left to itself and its result is dropped.
    Raises CommandError when too many calls run already.
    """
    if _running >= MOST:
        raise CommandError("too busy: other commands still run, try again later")
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def run() -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = context.run(function, *args, **named)
        except StopIteration:
            # A future cannot hold it: it would end the coroutine that awaits.
            error = RuntimeError("the function raised StopIteration")
        except BaseException as problem:  # foreign code; raised again where it is awaited
            error = problem
        _count(-1)
        with suppress(RuntimeError):  # the loop closed while we ran: nobody waits
            loop.call_soon_threadsafe(_finish, done, result, error)

    _count(1)
    try:
        threading.Thread(target=run, name=f"plugin {function!r}", daemon=True).start()
    except BaseException:
        _count(-1)
        raise
    return await done


def _finish(done: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if done.cancelled():
        return
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)


def _count(by: int) -> None:
    global _running
    with _lock:
        _running += by
