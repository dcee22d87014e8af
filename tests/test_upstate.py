"""One `up` per data folder, and the note it leaves."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from instabot import upstate
from instabot.errors import BadInput, InstabotError


def note(starts: int = 1, ready: bool = True, pid: int | None = None) -> upstate.Note:
    backend = upstate.Child(pid=41 + starts, starts=starts, ready=ready)
    return upstate.Note(pid=os.getpid() if pid is None else pid, children={"backend": backend})


def test_a_second_up_for_the_same_folder_is_refused_with_the_first_s_number(
    tmp_path: Path,
) -> None:
    with upstate.lock(tmp_path):
        upstate.write(tmp_path, note(pid=4711))
        with (
            pytest.raises(BadInput, match=r"already runs .*process 4711"),
            upstate.lock(tmp_path),
        ):
            pass
    with upstate.lock(tmp_path):
        pass


def test_a_note_is_believed_only_while_the_lock_is_held(tmp_path: Path) -> None:
    assert upstate.running(tmp_path) is None
    with upstate.lock(tmp_path):
        assert upstate.running(tmp_path) is None
        upstate.write(tmp_path, note())
        assert upstate.running(tmp_path) == note()
    assert upstate.running(tmp_path) is None
    assert upstate.read(tmp_path) == note()


def test_a_damaged_note_is_none(tmp_path: Path) -> None:
    with upstate.lock(tmp_path):
        (tmp_path / "up.json").write_text("{")
        assert upstate.running(tmp_path) is None


async def test_a_restart_asks_by_signal_and_waits_for_the_next_ready_backend(
    tmp_path: Path,
) -> None:
    def answer() -> None:
        upstate.write(tmp_path, note(starts=2, ready=False))
        asyncio.get_running_loop().call_later(
            0.1, upstate.write, tmp_path, note(starts=2, ready=True)
        )

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, answer)
    try:
        with upstate.lock(tmp_path):
            upstate.write(tmp_path, note(starts=1))
            assert await upstate.restart_backend(tmp_path, 5) == 43
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)


async def test_a_restart_without_an_up_or_without_an_end_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InstabotError, match="no `instabot up` runs"):
        await upstate.restart_backend(tmp_path, 5)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: None)
    try:
        with upstate.lock(tmp_path):
            upstate.write(tmp_path, note())
            with pytest.raises(InstabotError, match="not ready again within"):
                await upstate.restart_backend(tmp_path, 0.1)
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
