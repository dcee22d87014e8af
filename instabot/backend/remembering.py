"""A plugin's memory while the store is away: its message waits; the plugin did nothing wrong."""

from collections.abc import Awaitable
from typing import TypeVar

from instabot.backend.calling import _Outside
from instabot.commands import Memory
from instabot.errors import Unreachable

T = TypeVar("T")


class Remembering:
    """Memory whose Unreachable goes past the plugin to whoever evaluates, who tries again.

    Not for effects: those are never run again unasked.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def get(self, key: str) -> bytes | None:
        """As the memory's own."""
        return await _past(self._memory.get(key))

    async def put(self, key: str, value: bytes) -> None:
        """As the memory's own."""
        await _past(self._memory.put(key, value))

    async def delete(self, key: str) -> None:
        """As the memory's own."""
        await _past(self._memory.delete(key))


async def _past(work: Awaitable[T]) -> T:
    try:
        return await work
    except Unreachable as error:
        raise _Outside from error
