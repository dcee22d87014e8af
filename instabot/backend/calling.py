"""Calling one function of a plugin: its arguments, its time, its errors.

This is the boundary of foreign code: nothing that a plugin raises goes beyond it.
"""

import asyncio
import hashlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn

from instabot.backend.arguments import Misused, bind
from instabot.backend.eager import Started
from instabot.backend.replies import clean
from instabot.backend.threads import in_thread
from instabot.commands import Command, Context, Duration, Handler, HookHandler
from instabot.errors import CommandError

Progress = Callable[[str], Awaitable[None]]

PROGRESS_LINES = 20
"""Texts said while a command runs; what it yields beyond is kept for its reply."""

KEPT_CHARS = 64 * 1024
"""Where a function that yields without end is stopped."""


class _Outside(Exception):
    """Carries what `progress` raised past the plugin's boundary: it is not the plugin's."""


async def run(
    handler: Handler, ctx: Context, text: str, args: tuple[Any, ...],
    progress: Progress | None, raise_errors: bool,
) -> str:  # fmt: skip
    """The reply, or the one line that says why there is none."""
    clock: asyncio.Timeout | None = None
    try:
        named: dict[str, Any] = {}
        if isinstance(handler, Command):
            positional, named = bind(handler, text)
            args = tuple(positional)
        started = Started(_work(handler, ctx, args, named, progress))
        if started.done:
            return started.value or ""
        clock = asyncio.timeout(handler.timeout)
        async with clock:
            return await started
    except Misused as error:
        return _usage(handler, ctx, str(error))
    except CommandError as error:
        return clean(str(error))
    except _Outside as carrier:
        _unpack(carrier)
    except asyncio.CancelledError as error:
        # A plugin may raise it too, from a future of its own; then nobody cancels this task.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return _failed(handler, ctx, error, raise_errors)
    except TimeoutError as error:
        if clock and clock.expired():
            return _late(handler, ctx)
        return _failed(handler, ctx, error, raise_errors)
    except (Exception, SystemExit) as error:
        # Foreign code: anything may come, sys.exit() included, and no room may notice more.
        return _failed(handler, ctx, error, raise_errors)


async def _work(
    handler: Handler, ctx: Context, args: tuple[Any, ...], named: dict[str, Any],
    progress: Progress | None,
) -> str:  # fmt: skip
    return await _collect(handler, await _call(handler, ctx, args, named), progress)


async def _call(
    handler: Handler, ctx: Context, args: tuple[Any, ...], named: dict[str, Any]
) -> Any:
    if handler.is_async:
        result = handler.run(ctx, *args, **named)
    else:
        result = await in_thread(handler.run, ctx, *args, **named)
    return await result if inspect.isawaitable(result) else result


async def _collect(handler: Handler, result: Any, progress: Progress | None) -> str:
    """All that was returned as one clean text; what is yielded goes to `progress` first."""
    if result is None:
        return ""
    if isinstance(result, str):
        return clean(result)
    if isinstance(result, list | tuple):
        return clean("\n".join(_text(handler, item) for item in result))
    if not isinstance(result, AsyncIterator):
        raise TypeError(f"{handler.name} returned {type(result).__name__}; return str, "
                        "list[str] or None")  # fmt: skip
    try:
        return await _drain(handler, result, progress)
    finally:
        close = getattr(result, "aclose", None)
        if close is not None:
            await close()


async def _drain(
    handler: Handler, result: AsyncIterator[Any], progress: Progress | None
) -> str:
    said, size = 0, 0
    kept: list[str] = []
    async for item in result:
        text = "" if item is None else clean(_text(handler, item))
        if text and progress is not None and said < PROGRESS_LINES:
            said += 1
            try:
                await progress(text)
            except Exception as error:
                raise _Outside from error
            continue
        if text:
            kept.append(text)
            size += len(text) + 1
        if size > KEPT_CHARS:
            kept.append("… (stopped: too much to say)")
            break
        # A generator that never waits would else hold the loop, beyond its timeout.
        await asyncio.sleep(0)
    return "\n".join(kept)


def _text(handler: Handler, item: Any) -> str:
    if not isinstance(item, str):
        raise TypeError(f"{handler.name} said {type(item).__name__}; a line must be str")
    return item


def _usage(handler: Handler, ctx: Context, reason: str) -> str:
    usage = handler.line(ctx.prefix) if isinstance(handler, Command) else handler.name
    return clean(f"usage: {usage} — {reason}" if reason else f"usage: {usage}")


def _late(handler: Handler, ctx: Context) -> str:
    ctx.log.warning("plugin timed out", plugin=handler.plugin, name=handler.name,
                    message=ctx.message.id, timeout=handler.timeout)  # fmt: skip
    if not _speaks(handler):
        return ""
    took = f"{_title(handler, ctx)} took longer than {Duration(handler.timeout)}"
    if handler.is_async:
        return f"{took} and was stopped"
    return f"{took}: I no longer wait for it, though it may still run"


def _failed(handler: Handler, ctx: Context, error: BaseException, raise_errors: bool) -> str:
    if raise_errors:
        raise error
    # From the message, so that a re-run after a crash says the same.
    trace = hashlib.blake2s(ctx.message.id.encode(), digest_size=3).hexdigest()
    ctx.log.error("plugin failed", plugin=handler.plugin, name=handler.name, trace=trace,
                  message=ctx.message.id, exc_info=error)  # fmt: skip
    return f"something went wrong (trace {trace})" if _speaks(handler) else ""


def _speaks(handler: Handler) -> bool:
    """Whether somebody waits for an answer; a broken listener must not answer every line."""
    return isinstance(handler, Command | HookHandler)


def _title(handler: Handler, ctx: Context) -> str:
    return f"{ctx.prefix if isinstance(handler, Command) else ''}{handler.name}"


def _unpack(carrier: _Outside) -> NoReturn:
    raise carrier.__cause__ or carrier
