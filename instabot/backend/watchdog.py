"""Ends a backend whose event loop is blocked, and names the plugin that blocks it.

The loop counts up a heartbeat; a daemon thread looks whether it still counts. When it does not,
the thread reads the loop thread's stack: the innermost frame of a plugin is to blame, and the
innermost `ctx` in sight says for which message. Then it ends the process with code 70
(`EX_SOFTWARE`, sysexits.h), whatever the loop does: a supervisor starts the next one at once.

Time counts only while the watchdog itself is awake. If its own ticks come late (SIGSTOP, the
machine slept, a debugger), the whole process stood still, and the count starts again.
"""

import asyncio
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol

import structlog

from instabot.backend.holdup import Holdup
from instabot.commands import Context, Listener
from instabot.model import Heard

EXIT_CODE = 70
LIMIT = 5.0
"""Seconds that the loop may be blocked."""
LAST_WORDS = 2.0
"""Seconds that naming the culprit may take; then the process ends without."""
_TICKS = 10
"""Looks per limit. A tick that takes three times its length was no tick of an awake process."""

log = structlog.get_logger(__name__)

Owner = Callable[[str], str]
"""A module's name → the name of the plugin it belongs to, or ''."""


class Blame(Protocol):
    """Called from the watchdog's thread, once, just before the end; must not need the loop.

    `plugin`, `message` and `room` are '' where they cannot be told.
    """

    def __call__(self, plugin: str, message: str, room: str, stack: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Culprit:
    """What the blocked stack says."""

    plugin: str
    message: str
    room: str
    stack: str


def look(frame: FrameType | None, owner: Owner) -> Culprit:
    """Read a stack from its innermost frame outwards."""
    frames = list(_outwards(frame))
    plugin = next(
        (name for f in frames if (name := owner(f.f_globals.get("__name__", "")))), ""
    )
    plugin = plugin or next((name for f in frames if (name := _listener(f))), "")
    message, room = next((found for f in frames if (found := _message(f))), ("", ""))
    stack = "".join(traceback.format_stack(frame)) if frame else ""
    return Culprit(plugin, message, room, stack)


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _message(frame: FrameType) -> tuple[str, str] | None:
    """The id and room of the message that this frame evaluates, by its local `ctx`.

    The router and every command hold their Context under that name.
    """
    ctx, heard = frame.f_locals.get("ctx"), frame.f_locals.get("heard")
    if isinstance(ctx, Context):
        return ctx.message.id, ctx.message.room
    return (heard.id, heard.room) if isinstance(heard, Heard) else None


def _listener(frame: FrameType) -> str:
    """The plugin whose pattern this frame searches for (`router._wants`), or ''."""
    listener = frame.f_locals.get("listener")
    return listener.plugin if isinstance(listener, Listener) else ""


class Watchdog:
    """One per process. `start` in the loop's own thread, `stop` before the loop is closed.

    A limit of 0 means: no watchdog (debuggers block the loop by design). `dump` is the file for
    `holdup`; without it, code that never lets go of the interpreter goes unseen.
    """

    def __init__(
        self,
        blame: Blame,
        owner: Owner = lambda module: "",
        *,
        limit: float = LIMIT,
        dump: Path | None = None,
        end: Callable[[int], object] = os._exit,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._blame = blame
        self._owner = owner
        self._limit = limit
        self._tick = limit / _TICKS
        self._end = end
        self._clock = clock
        self._beats = 0
        self._heard = -1
        self._since = self._last = clock()
        self._loop_thread = 0
        self._timer: asyncio.TimerHandle | None = None
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._holdup = Holdup(dump, limit, self._die) if dump else None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to watch; to be called from the thread that runs `loop`.

        Raises OSError when `dump` cannot be written.
        """
        if self._limit <= 0:
            return
        self._loop_thread = threading.get_ident()
        self._since = self._last = self._clock()
        if self._holdup:
            self._holdup.start()
        self._beat(loop)
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer. May be called twice."""
        self._stopped.set()
        if self._timer:
            self._timer.cancel()
        if self._thread:
            # It must not wind up a timer that nobody takes away any more.
            self._thread.join(LAST_WORDS)
        if self._holdup:
            self._holdup.stop()

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        # Written by the loop's thread only, read by the watchdog's only.
        self._beats += 1
        if not self._stopped.is_set():
            self._timer = loop.call_later(self._tick, self._beat, loop)

    def _run(self) -> None:
        while not self._stopped.wait(self._tick):
            if self._holdup:
                self._holdup.wind()
            if self.check():
                self._die(sys._current_frames().get(self._loop_thread))
                return

    def check(self) -> bool:
        """One look: True when the loop has been blocked for longer than the limit."""
        now = self._clock()
        slept = now - self._last > 3 * self._tick + 0.1
        self._last = now
        if slept or self._beats != self._heard:
            self._heard, self._since = self._beats, now
            return False
        return now - self._since > self._limit

    def _die(self, frame: FrameType | None) -> None:
        # The log or the callback may need a lock which the blocked thread holds: so they get
        # threads of their own, and a limit.
        words = threading.Thread(
            target=self._last_words, args=[frame], name="last words", daemon=True
        )
        words.start()
        words.join(LAST_WORDS)
        self._end(EXIT_CODE)

    def _last_words(self, frame: FrameType | None) -> None:
        culprit = look(frame, self._owner)
        written = threading.Thread(target=self._write, args=[culprit], daemon=True)
        written.start()
        try:
            self._blame(culprit.plugin, culprit.message, culprit.room, culprit.stack)
        except Exception:
            # The service's note must not keep the process alive, whatever goes wrong with it.
            log.exception("the culprit could not be noted")
        written.join(LAST_WORDS)

    def _write(self, culprit: Culprit) -> None:
        log.critical(
            "the event loop is blocked; ending the process",
            seconds=self._limit,
            plugin=culprit.plugin,
            message=culprit.message,
            room=culprit.room,
            stack=culprit.stack,
        )
