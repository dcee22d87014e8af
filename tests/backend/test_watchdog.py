"""A blocked loop ends the process and names the plugin; a process that stood still lives on."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from instabot.backend.holdup import remains
from instabot.backend.watchdog import EXIT_CODE, LIMIT, Watchdog, look

CHILD = Path(__file__).with_name("blocked.py")


class Child:
    """The backend in small, in a process of its own."""

    def __init__(self, folder: Path, command: str, limit: float = 0.5) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), str(folder), str(limit), command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def ends(self) -> int:
        """Wait for its end; the exit code, or minus the signal."""
        self.said, self.logged = self.process.communicate(timeout=60)
        return self.process.returncode

    @property
    def blame(self) -> list[str]:
        """Plugin, message, room, stack."""
        found: list[str] = json.loads((self.folder / "blame.json").read_text())
        return found


@pytest.fixture
def children() -> Iterator[list[Child]]:
    started: list[Child] = []
    yield started
    for child in started:
        if child.process.poll() is None:
            child.process.send_signal(signal.SIGCONT)
            child.process.kill()
            child.process.communicate()


# -- a process -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "where"),
    [
        ("spin", "in deeper"),
        ("sleep", "time.sleep(60)"),
        ("stubborn", "time.sleep(60)"),
        ("backtrack", "re.match"),
    ],
)
def test_a_plugin_that_blocks_the_loop_is_named_and_the_process_ends(
    tmp_path: Path, children: list[Child], command: str, where: str
) -> None:
    children.append(child := Child(tmp_path, command))
    assert child.ends() == EXIT_CODE
    plugin, message, room, stack = child.blame
    assert (plugin, message, room) == ("culprit", "m1", "7.k3f9qd")
    assert where in stack
    assert "the event loop is blocked" in child.logged + child.said


def test_code_that_never_lets_go_of_the_interpreter_ends_by_signal_and_leaves_its_stack(
    tmp_path: Path, children: list[Child]
) -> None:
    children.append(child := Child(tmp_path, "hold"))
    assert child.ends() == -signal.SIGPROF
    assert remains(tmp_path / "holdup.txt")[0] == str(tmp_path / "culprit.py")


@pytest.mark.parametrize("command", ["wait", "thread"])
def test_a_plugin_that_takes_long_without_blocking_the_loop_is_left_alone(
    tmp_path: Path, children: list[Child], command: str
) -> None:
    children.append(child := Child(tmp_path, command))
    assert (child.ends(), child.said) == (0, "done\n")
    assert not (tmp_path / "blame.json").exists()
    assert not (tmp_path / "holdup.txt").exists()


def test_a_process_that_was_stopped_for_longer_than_the_limit_lives_on(
    tmp_path: Path, children: list[Child]
) -> None:
    children.append(child := Child(tmp_path, "wait"))
    child.process.send_signal(signal.SIGSTOP)
    with pytest.raises(subprocess.TimeoutExpired):
        child.process.wait(1.5)  # the limit is 0.5
    child.process.send_signal(signal.SIGCONT)
    assert child.ends() == 0
    assert not (tmp_path / "blame.json").exists()


# -- one look after the other --------------------------------------------------------------


class Clock:
    """Time that passes when told to; a loop that beats when told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.dog = Watchdog(lambda *told: None, clock=lambda: self.now)
        self.dog.check()

    def ticks(self, count: int, beating: bool = False, tick: float = LIMIT / 10) -> bool:
        """Look `count` times, a tick apart; whether the last look found the loop blocked."""
        blocked = False
        for _ in range(count):
            self.now += tick
            self.dog._beats += beating
            blocked = self.dog.check()
        return blocked


def test_a_loop_that_beats_is_never_blocked() -> None:
    assert Clock().ticks(1000, beating=True) is False


def test_a_loop_is_blocked_when_it_has_not_beaten_for_longer_than_the_limit() -> None:
    clock = Clock()
    assert clock.ticks(10) is False
    assert clock.ticks(1) is True


def test_one_beat_starts_the_count_again() -> None:
    clock = Clock()
    assert clock.ticks(9) is False
    assert clock.ticks(1, beating=True) is False
    assert clock.ticks(10) is False
    assert clock.ticks(1) is True


def test_when_the_watchdog_itself_slept_the_count_starts_again() -> None:
    clock = Clock()
    assert clock.ticks(9) is False
    assert clock.ticks(1, tick=3600.0) is False
    assert clock.ticks(10) is False
    assert clock.ticks(1) is True


def test_a_tick_that_is_a_little_late_does_not_hide_a_blocked_loop() -> None:
    assert Clock().ticks(6, tick=1.2) is True


async def test_a_limit_of_zero_means_no_watchdog() -> None:
    dog = Watchdog(lambda *told: None, limit=0)
    before = threading.active_count()
    dog.start(asyncio.get_running_loop())
    assert threading.active_count() == before
    dog.stop()


async def test_a_callback_that_hangs_does_not_keep_the_process_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("instabot.backend.watchdog.LAST_WORDS", 0.1)
    ended, never = list[int](), threading.Event()

    def hang(plugin: str, message: str, room: str, stack: str) -> None:
        never.wait(30)

    dog = Watchdog(hang, end=ended.append)
    started = time.monotonic()
    dog._die(None)
    assert ended == [EXIT_CODE]
    assert time.monotonic() - started < 5
    never.set()


async def test_stopping_ends_its_thread() -> None:
    dog = Watchdog(lambda *told: None)
    dog.start(asyncio.get_running_loop())
    dog.stop()
    dog.stop()
    assert "watchdog" not in [thread.name for thread in threading.enumerate()]


def test_a_stack_without_plugin_or_message_is_told_as_it_is() -> None:
    ctx = "no context at all"
    culprit = look(sys._getframe(), lambda module: "")
    assert (culprit.plugin, culprit.message, culprit.room) == ("", "", "")
    assert ctx
    assert "test_a_stack_without_plugin" in culprit.stack


# -- what the last process left -------------------------------------------------------------


def test_nothing_remains_where_nothing_happened(tmp_path: Path) -> None:
    assert remains(tmp_path / "holdup.txt") == []


@pytest.mark.parametrize(
    "text", ["", "loop 7f\n", "loop zz\nThread 0x7f (most recent call first):\n", "\0\xff"]
)
def test_a_file_that_says_nothing_is_no_culprit(tmp_path: Path, text: str) -> None:
    file = tmp_path / "holdup.txt"
    file.write_text(text)
    assert remains(file) == []


def test_of_several_threads_the_loops_counts(tmp_path: Path) -> None:
    file = tmp_path / "holdup.txt"
    file.write_text(
        "loop 7f01\n"
        'Thread 0x00007f02 (most recent call first):\n  File "/other.py", line 1 in x\n\n'
        'Current thread 0x00007f01 (most recent call first):\n  File "/in.py", line 3 in y\n'
        '  File "/out.py", line 9 in z\n'
    )
    assert remains(file) == ["/in.py", "/out.py"]
