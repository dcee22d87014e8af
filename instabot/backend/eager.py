"""Running a coroutine's first step before deciding whether it needs a timer.

Most commands answer without ever waiting; arming and disarming `asyncio.timeout` costs more than
they do.
"""

from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Started(Generic[T]):
    """A coroutine after its first step, in the task that will await the rest.

    `done` says that it has returned already, with `value`. Whatever the first step raises comes
    out of the constructor.
    """

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self.done = False
        self.value: T | None = None
        self._work = work
        try:
            self._waits_for = work.send(None)
        except StopIteration as stop:
            self.done, self.value = True, stop.value

    def __await__(self) -> Generator[Any, Any, T]:
        """Await the rest, as `await work` would have."""
        waits_for = self._waits_for
        while True:
            try:
                sent = yield waits_for
            except GeneratorExit:
                self._work.close()
                raise
            except BaseException as error:
                thrown: BaseException | None = error
            else:
                thrown = None
            try:
                waits_for = self._work.throw(thrown) if thrown else self._work.send(sent)
            except StopIteration as stop:
                result: T = stop.value
                return result
