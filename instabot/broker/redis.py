"""The one door to Redis: how we connect, and what its errors mean to us.

Two connections' worth of settings, as measured: commands with a time-out and **no** retries
(redis-py would send a write twice when only its answer was lost), and a client of its own for
`XREAD BLOCK`. Callers repeat idempotent scripts themselves.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, runtime_checkable

from instabot.errors import BadInput, Fenced, InstabotError, NotAllowed, Unreachable

if TYPE_CHECKING:
    import redis.asyncio

T = TypeVar("T")
Client: TypeAlias = "redis.asyncio.Redis"
"""A client of redis-py that speaks bytes. Imported on the first `connect`: it takes 23 MB, and
the runtime, which has only pipes, never needs it."""


class Caller(Protocol):
    """Whatever carries one command: a `Pipe`, or the client."""

    async def execute_command(self, *command: Any) -> Any:
        """Send a command → its reply."""
        ...


class ReplyError(InstabotError):
    """Redis refused a command: a mistake of ours, or of whoever wrote into our keys."""


class Forbidden(ReplyError, NotAllowed):
    """This Redis user may not do that: a console's that may only look."""


class Full(Unreachable):
    """Redis is out of memory or cannot write its file: nothing was written, try again later."""


class NoGroup(Unreachable):
    """A consumer group is gone: the data behind it was lost. See `scripts.groups`."""


class NoScript(ReplyError):
    """The server does not know a script's checksum: it was restarted, or is new."""


def connect(url: str, name: str = "instabot", *, blocking: bool = False) -> Client:
    """A client for `redis://`, `rediss://` or `unix://`; it dials on first use."""
    import redis.asyncio
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    try:
        return redis.asyncio.Redis.from_url(
            url,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=8 if blocking else 5,
            socket_connect_timeout=3,
            health_check_interval=0 if blocking else 15,
            client_name=name,
        )
    except ValueError as error:
        raise BadInput(f"{url!r} is not a Redis URL: {error}") from None


@contextmanager
def our_errors() -> Iterator[None]:
    """Turn what redis-py, or a pipe, raises into our few errors."""
    try:
        yield
    except InstabotError:
        raise
    except OSError as error:  # TimeoutError and ConnectionError among them
        raise Unreachable(f"Redis does not answer: {error}") from None
    except Exception as error:  # redis-py's own, told by name: it may not be imported at all
        names = {kind.__name__ for kind in type(error).__mro__}
        if "RedisError" not in names:
            raise
        if names & {"ConnectionError", "TimeoutError"}:
            raise Unreachable(f"Redis does not answer: {error}") from None
        # redis-py cuts the reply's first word off when it has a class for it.
        code = next((code for name, code in _CODES.items() if name in names), "")
        raise meaning(f"{code} {error}".strip()) from None


_CODES = {
    "NoScriptError": "NOSCRIPT",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "NoPermissionError": "NOPERM",
    "ClusterDownError": "CLUSTERDOWN",
    "MasterDownError": "MASTERDOWN",
}


def meaning(text: str) -> InstabotError:
    """The error that an error reply stands for."""
    if "FENCED" in text:
        return Fenced(text)
    if "NOGROUP" in text:
        return NoGroup(text)
    if "OOM" in text or "MISCONF" in text:
        return Full(f"Redis takes no writes: {text}")
    if any(word in text for word in ("READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN")):
        return Unreachable(f"Redis is not ready: {text}")
    if "NOPERM" in text:
        return Forbidden(f"this Redis user may not do that: {text}")
    return NoScript(text) if "NOSCRIPT" in text else ReplyError(text)


class Backoff:
    """Full jitter between tries; `reset` after a success."""

    def __init__(self, first: float = 0.05, most: float = 1.0) -> None:
        self._first = first
        self._most = most
        self._tries = 0

    def reset(self) -> None:
        self._tries = 0

    async def wait(self) -> None:
        top = min(self._most, self._first * 2.0 ** min(self._tries, 30))
        self._tries += 1
        await asyncio.sleep(random.uniform(top / 2, top))  # noqa: S311


async def persist(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat an idempotent call until Redis answers. Fenced and the like pass through."""
    backoff = Backoff()
    while True:
        try:
            return await call()
        except Unreachable:
            await backoff.wait()


async def pipelined(caller: Caller, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Send commands in one round trip; errors of single commands come back as values."""
    with our_errors():
        if isinstance(caller, Many):
            return await caller.execute_many(commands)
        pipe = caller.pipeline(transaction=False)  # type: ignore[attr-defined] # redis-py's
        for command in commands:
            pipe.execute_command(*command)
        return list(await pipe.execute(raise_on_error=False))


@runtime_checkable
class Many(Protocol):
    """A caller that pipelines by itself."""

    async def execute_many(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send commands in one write → their replies, error replies as values."""
        ...


def table(answer: Any) -> dict[bytes, bytes]:
    """The pairs of a reply like HGETALL's, whichever shape the caller gives it.

    An error reply is raised as ours.
    """
    if isinstance(answer, Exception):
        with our_errors():
            raise answer
    return dict(pairs(answer))


def pairs(answer: Any) -> list[tuple[Any, Any]]:
    """Fields with their values: redis-py has a dict of them, a pipe one flat list."""
    if isinstance(answer, dict):
        return list(answer.items())
    return list(zip(answer[::2], answer[1::2], strict=True))
