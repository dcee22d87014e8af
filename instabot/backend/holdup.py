"""The watchdog's second line: code inside C that never lets go of the interpreter.

The watchdog is a thread, and needs the interpreter to look. So it winds up two CPU-time timers
at each look; they run out only when it could not look for so long, and never while the process
is stopped, since then it uses no CPU.

The first (SIGVTALRM) calls back in the loop's thread, which works where C code looks for signals
now and then, as `re` does. The second (SIGPROF) needs nobody's help: the stack is written to a
file and the process dies of the signal. The next process reads the file with `remains`.
"""

import faulthandler
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import BinaryIO

_THREAD = re.compile(r"^(?:Current thread|Thread) 0x([0-9a-f]+)", re.MULTILINE)
_FRAME = re.compile(r'^  File "(.+)", line \d+ in ', re.MULTILINE)


class Holdup:
    """`start` and `stop` in the main thread; `wind` in any. `limit` in seconds of CPU time."""

    def __init__(
        self, path: Path, limit: float, interrupted: Callable[[FrameType | None], None]
    ) -> None:
        self._path = path
        self._limit = limit
        self._interrupted = interrupted
        self._file: BinaryIO | None = None

    def start(self) -> None:
        """Set the signals' handlers. Raises OSError when the file cannot be written."""
        self._file = self._path.open("wb", buffering=0)
        self._file.write(b"loop %x\n" % threading.get_ident())
        signal.signal(signal.SIGVTALRM, lambda number, frame: self._interrupted(frame))
        # chain: after the dump comes the default action, which is death.
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        faulthandler.register(signal.SIGPROF, self._file, all_threads=True, chain=True)
        self.wind()

    def wind(self) -> None:
        """Give both timers their full time again."""
        signal.setitimer(signal.ITIMER_VIRTUAL, self._limit)
        signal.setitimer(signal.ITIMER_PROF, 2 * self._limit)

    def stop(self) -> None:
        """Take the timers away and remove the file."""
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        if self._file is None:
            return
        faulthandler.unregister(signal.SIGPROF)
        self._file.close()
        self._file = None
        self._path.unlink(missing_ok=True)


def remains(path: Path) -> list[str]:
    """The source files on the loop's stack when the last process died of a hold-up, innermost
    first; [] when it did not. To be asked before `start`, which empties the file."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return []
    first, _, dump = text.partition("\n")
    loop = first.removeprefix("loop ")
    stacks = _THREAD.split(dump)
    for ident, stack in zip(stacks[1::2], stacks[2::2], strict=True):
        if ident.lstrip("0") == loop:
            return _FRAME.findall(stack)
    return []
