"""Settings: flag > environment > `instabot.toml` in the data folder > default.

Built once by `load`, then passed down; nothing else reads the environment. A value that cannot
be used raises BadInput, which names its source (the flag, the variable, or file and key) and
what is allowed there.
"""

import os
import re
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from instabot import values
from instabot.errors import BadInput

_REDIS_SCHEMES = ("redis", "rediss", "unix")
_STORE_SCHEMES = ("sqlite", "postgresql", "postgres")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set. Sizes in bytes, times in seconds.

    `redis` is empty where the embedded server of the data folder is meant; `redis_memory` 0
    means half of this machine's memory. `id` and `reload` concern one process only.
    """

    data: Path
    redis: str
    redis_server: str
    redis_memory: int
    store: str
    key_file: Path
    log: Literal["text", "json"]
    color: bool
    prefix: str
    plugins: Path | None
    room_log: bool
    retention: float
    spool: int
    messages_cap: int
    control_cap: int
    lease_ttl: float
    shards: int
    id: str
    reload: bool

    @property
    def socket_folder(self) -> Path:
        """Where the embedded server keeps its files, inside the data folder."""
        return self.data / "redis"


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table below; its name is the flag's, the key's and the field's."""

    name: str
    allowed: str
    parse: values.Parse
    default: str
    variable: str = ""

    @property
    def env(self) -> str:
        """The environment variable that sets it."""
        return self.variable or f"INSTABOT_{self.name.upper()}"

    @property
    def flag(self) -> str:
        """The flag that sets it, where a command has one."""
        return "--" + self.name.replace("_", "-")


def _memory(text: str) -> int:
    size = values.size(text)
    if 0 < size < 16_000_000:
        raise ValueError(text)
    return size


_SIZE = "a size: 64MB, 1GB, or a number of bytes"
_TIME = "a time: 30s, 12h, 7d, or a number of seconds"

SETTINGS = (
    Setting(
        "redis",
        "a URL: redis://HOST:PORT/DB, rediss://…, unix:///PATH",
        values.url(*_REDIS_SCHEMES),
        "",
        "INSTABOT_REDIS_URL",
    ),
    Setting("redis_server", "the path of a valkey-server or redis-server", str.strip, ""),
    Setting("redis_memory", f"{_SIZE} (at least 16MB; 0 = half of the memory)", _memory, "0"),
    Setting(
        "store",
        "a URL: sqlite:///PATH or postgresql://USER@HOST/DB",
        values.url(*_STORE_SCHEMES),
        "",
        "INSTABOT_STORE_URL",
    ),
    Setting("key_file", "a path", values.path, "{data}/key"),
    Setting("log", "text or json", values.pattern("text|json"), "text"),
    Setting(
        "prefix",
        "one to four punctuation marks, like ! or ..",
        values.pattern(r"[!-/:-@\[-`{-~]{1,4}"),
        "!",
    ),
    Setting("plugins", "a folder", values.maybe_path, ""),
    Setting("room_log", "true or false", values.switch, "true"),
    Setting("retention", f"{_TIME} (at least 1m)", values.at_least(60, values.seconds), "7d"),
    Setting("spool", f"{_SIZE} (at least 1MB)", values.at_least(10**6, values.size), "64MB"),
    Setting("messages_cap", "a number from 10 to 100000000", values.count(10, 10**8), "100000"),
    Setting("control_cap", "a number from 10 to 100000000", values.count(10, 10**8), "100000"),
    Setting("lease_ttl", f"{_TIME} (at least 1s)", values.at_least(1, values.seconds), "5s"),
    Setting("shards", "a number from 1 to 1024", values.count(1, 1024), "16"),
    Setting("id", "letters, digits, . _ and -", values.pattern(r"[A-Za-z0-9._-]{0,64}"), ""),
    Setting("reload", "true or false", values.switch, "false"),
)


def load(
    flags: Mapping[str, str | None] | None = None, env: Mapping[str, str] | None = None
) -> Settings:
    """Build the settings; reads `instabot.toml`, makes no folder. Raises BadInput."""
    flags, env = flags or {}, os.environ if env is None else env
    data = _data_folder(flags.get("data"), env)
    file = data / "instabot.toml"
    keys = _read_file(file)
    found: dict[str, Any] = {
        setting.name: _value(setting, flags, env, file, keys, data) for setting in SETTINGS
    }
    found["store"] = found["store"] or f"sqlite:///{data / 'instabot.db'}"
    return Settings(data=data, color=not env.get("NO_COLOR"), **found)


def for_service(settings: Settings, role: str, redis: str) -> Settings:
    """A process's own settings: its Redis, and an id of its own where none was given.

    The made-up id changes with every start, so a restart waits for the old lease to run out;
    whoever supervises a process gives it an id that stays.
    """
    machine = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:40]
    name = settings.id or f"{role}-{machine}-{os.getpid()}"
    return msgspec.structs.replace(settings, redis=redis, id=name)


def _value(
    setting: Setting,
    flags: Mapping[str, str | None],
    env: Mapping[str, str],
    file: Path,
    keys: Mapping[str, str],
    data: Path,
) -> Any:
    if (text := flags.get(setting.name)) is not None:
        source = setting.flag
    elif (text := env.get(setting.env, "")) != "":
        source = f"${setting.env}"
    elif (text := keys.get(setting.name)) is not None:
        source = f"{file}, key {setting.name}"
    else:
        return setting.parse(setting.default.format(data=data))
    try:
        return setting.parse(text)
    except ValueError:
        raise BadInput(f"{source} is {_shown(text)}; allowed is {setting.allowed}") from None


def _shown(text: str) -> str:
    """A bad value for the error, without the password that a URL may hold."""
    return repr(re.sub(r"//[^/@]*@", "//…@", text)[:80])


def _data_folder(flag: str | None, env: Mapping[str, str]) -> Path:
    given = flag if flag is not None else env.get("INSTABOT_DATA", "")
    source = "--data" if flag is not None else "$INSTABOT_DATA"
    if given or flag is not None:
        try:
            return values.path(given)
        except (ValueError, RuntimeError):
            raise BadInput(f"{source} is {given!r}; allowed is a folder's path") from None
    base = env.get("XDG_DATA_HOME", "")
    # The XDG specification says to ignore a relative path here.
    home = Path(base) if os.path.isabs(base) else Path("~/.local/share").expanduser()
    return home / "instabot"


def _read_file(file: Path) -> dict[str, str]:
    try:
        raw = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}") from None
    try:
        table = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"{file} is not TOML: {error}") from None
    known = {setting.name for setting in SETTINGS} - {"id", "reload"}
    for key, value in table.items():
        if key not in known:
            raise BadInput(
                f"{file}: there is no key {key!r}; known are {', '.join(sorted(known))}"
            )
        if not isinstance(value, str | int | float | bool):
            raise BadInput(f"{file}, key {key} must be a text, a number, true or false")
    return {key: str(value) for key, value in table.items()}


def make_data(path: Path) -> Path:
    """Make the data folder, for its owner alone (0700). Raises BadInput.

    An empty folder is made private; one that already holds files keeps its mode, unless others
    may write to it: they could put another key there, so that is refused.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o777
        if mode & 0o077 and not any(path.iterdir()):
            path.chmod(0o700)
        elif mode & 0o022:
            raise BadInput(f"others may write to the data folder {path}: run chmod 700 {path}")
    except OSError as error:
        raise BadInput(f"the data folder {path} cannot be used: {error.strerror}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise BadInput(f"the data folder {path} is not writable")
    return path
