"""The set-up of .venv by scripts/venv.sh, with a Python that only writes down what it is asked."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = (
    "bash",
    "cat",
    "cksum",
    "dirname",
    "env",
    "mkdir",
    "rm",
    "sleep",
    "tail",
    "chmod",
    "cp",
)

PYTHON = """#!/usr/bin/env bash
case "$*" in
  *version_info*) exit {old} ;;
  *ensurepip*) exit {bare} ;;
  *sys.executable*) echo "$0" ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  *pip*) echo "$*" >>pip.log; [ ! -e pip.log.fail ] || {{ echo "no network"; exit 1; }} ;;
esac
"""


class House:
    """A checkout of the scripts alone, with a PATH of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bin = path / "bin"
        self.log = path / "pip.log"
        for name in ("bin", "scripts", "requirements"):
            (path / name).mkdir()
        shutil.copy(ROOT / "scripts" / "venv.sh", path / "scripts")
        for name in ("main", "dev", "build"):
            (path / "requirements" / f"{name}.lock").write_text(name)
        (path / "pyproject.toml").touch()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(str(shutil.which(tool)))

    def python(self, name: str, *, old: int = 0, bare: int = 0) -> None:
        file = self.bin / name
        file.write_text(PYTHON.format(old=old, bare=bare))
        file.chmod(0o755)

    def start(self, lock: str = "main") -> "subprocess.Popen[str]":
        return subprocess.Popen(
            ["bash", "-c", f"source scripts/venv.sh; set_up {lock}; echo done"],
            cwd=self.path,
            env={"PATH": str(self.bin)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def set_up(self, lock: str = "main") -> tuple[str, str]:
        with self.start(lock) as process:
            out, err = process.communicate(timeout=20)
        return out.strip(), err

    def installs(self) -> int:
        """How often packages were installed so far (three steps each time)."""
        return len(self.log.read_text().splitlines()) // 3 if self.log.exists() else 0


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path.resolve())


def test_the_first_run_installs_and_the_second_only_looks(house: House) -> None:
    house.python("python3.12")
    out, err = house.set_up()
    assert out == "done", err
    assert "setting up .venv" in err
    assert house.set_up() == ("done", "")
    assert house.installs() == 1
    calls = house.log.read_text()
    assert "--require-hashes -r" in calls
    assert "--no-deps --no-build-isolation -e" in calls
    assert "index" not in calls


def test_a_changed_lock_or_a_moved_checkout_installs_again(house: House) -> None:
    house.python("python3")
    house.set_up()
    (house.path / "requirements" / "main.lock").write_text("changed")
    house.set_up()
    assert house.installs() == 2
    (house.path / "pip.log").unlink()
    moved = house.path.with_name(f"{house.path.name}-moved")
    house.path.rename(moved)
    house.path, house.bin, house.log = moved, moved / "bin", moved / "pip.log"
    house.python("python3")
    house.set_up()
    assert f"-e {moved}\n" in house.log.read_text()
    assert house.installs() == 1


def test_the_test_set_holds_the_main_one(house: House) -> None:
    house.python("python3")
    house.set_up("dev")
    house.set_up("main")
    assert house.installs() == 1


def test_many_at_once_install_once(house: House) -> None:
    house.python("python3")
    running = [house.start() for _ in range(4)]
    for process in running:
        with process:
            out, err = process.communicate(timeout=30)
        assert out.strip() == "done", err
    assert house.installs() == 1


def test_a_lock_left_by_a_killed_set_up_is_no_obstacle(house: House) -> None:
    house.python("python3")
    dead = subprocess.Popen(["true"])
    dead.wait()
    (house.path / ".venv.lock").mkdir()
    (house.path / ".venv.lock" / "pid").write_text(str(dead.pid))
    assert house.set_up()[0] == "done"
    assert not (house.path / ".venv.lock").exists()


def test_a_python_that_is_too_old_is_named(house: House) -> None:
    house.python("python3", old=1)
    out, err = house.set_up()
    assert out == ""
    assert "needs Python 3.11 or later; too old or broken: python3" in err


def test_no_python_at_all_is_said_plainly(house: House) -> None:
    out, err = house.set_up()
    assert out == ""
    assert "needs Python 3.11 or later" in err


def test_a_python_without_venv_names_the_debian_package(house: House) -> None:
    house.python("python3", bare=1)
    out, err = house.set_up()
    assert out == ""
    assert "apt install python3-venv" in err


def test_the_newer_of_two_is_taken_and_a_bare_one_passed_over(house: House) -> None:
    house.python("python3", old=1)
    house.python("python3.13", bare=1)
    house.python("python3.11")
    assert house.set_up()[0] == "done"


def test_a_failed_install_shows_its_end_and_is_tried_again(house: House) -> None:
    house.python("python3")
    fail = Path(f"{house.log}.fail")
    fail.touch()
    out, err = house.set_up()
    assert out == ""
    assert "no network" in err
    assert "The set-up failed" in err
    assert not (house.path / ".venv.lock").exists()
    fail.unlink()
    assert house.set_up()[0] == "done"


def test_the_locks_hold_what_pyproject_asks_for() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "locks.py"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["scripts/up", "scripts/test", "scripts/check", ".ci/run"])
def test_scripts_can_be_run_and_are_sound(name: str) -> None:
    path = ROOT / name
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith("#!/usr/bin/env bash\n")
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
