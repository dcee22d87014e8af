"""Sealing: a secret enters Redis and the store only as a token that this file's keys open.

Fernet (AES-128-CBC with HMAC-SHA256, https://github.com/fernet/spec). The seal binds network id,
host and port, so that whoever may edit a network's URL cannot have its password sent elsewhere.
The first key of the key file seals; all of them open.
"""

import base64
import contextlib
import os
import stat
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

import msgspec

from instabot.errors import BadInput

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

MAX_FILE = 1 << 16
"""Bytes; a key takes 45, so a larger file is no key file."""


class _Sealed(msgspec.Struct, frozen=True):
    network: str
    host: str
    port: int
    secret: str


class Keyring:
    """The keys of one key file. Safe to use from any task or thread."""

    def __init__(self, path: Path, keys: list[str]) -> None:
        self._path = path
        self._keys = keys
        self._opened: MultiFernet | None = None

    @property
    def _box(self) -> "MultiFernet":
        """Made when a secret is first met: `cryptography` takes 6 MB, and many rooms have none."""
        if self._opened is None:
            from cryptography.fernet import Fernet, MultiFernet

            self._opened = MultiFernet([Fernet(key) for key in self._keys])
        return self._opened

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, create: bool = False) -> Self:
        """Read the key file; with `create`, make it (mode 0600) where there is none.

        One urlsafe-base64 key a line, the current one first; `#` starts a comment line.
        Raises BadInput for a file that is missing, malformed, or open to other users.
        """
        path = Path(path)
        if create and not path.exists():
            _create(path)
        return cls(path, _read(path))

    def seal(self, secret: str, *, network: str, host: str, port: int) -> str:
        """Seal a secret for one network at one address; '' (no secret) stays ''.

        Raises BadInput for text that is not valid Unicode.
        """
        if not secret:
            return ""
        try:
            body = msgspec.json.encode(_Sealed(network, _plain(host), port, secret))
        except UnicodeError:
            # The cause would carry the secret, hence `from None`.
            raise BadInput("the secret is not valid Unicode text; enter it again") from None
        return self._box.encrypt(body).decode()

    def open(self, sealed: str, *, network: str, host: str, port: int) -> str:
        """Open a sealed secret, at the moment of login; '' stays ''.

        Raises BadInput when no key opens it, or when it was sealed for another network or
        address. No error's text holds the secret.
        """
        if not sealed:
            return ""
        found = self._unseal(sealed)
        if found.network != network:
            raise BadInput(
                f"this secret is sealed for network {found.network!r}, not for {network!r}; "
                "enter it again"
            )
        if (found.host, found.port) != (_plain(host), port):
            raise BadInput(
                f"the secret of {network!r} is sealed for {found.host}:{found.port}, "
                f"not for {host}:{port}; enter it again"
            )
        return found.secret

    def rotate(self, sealed: str) -> str:
        """Seal again under the current key, the binding kept; '' stays ''. Raises BadInput."""
        if not sealed:
            return ""
        self._unseal(sealed)  # reads the key file again if need be; a damaged token raises
        return self._box.rotate(sealed.encode()).decode()

    def add_key(self) -> None:
        """Put a new current key into the file, before the old ones, which still open.

        Other processes take it up when they first meet a token they cannot open. Raises
        BadInput when another process is adding a key, or when the file cannot be written.
        """
        fresh = self._path.with_name(self._path.name + ".new")
        try:
            # The exclusive file is also the lock: two writers would lose one's key.
            _write_new(fresh)
        except FileExistsError:
            raise BadInput(
                f"another process is adding a key; if none is, remove {fresh} and try again"
            ) from None
        except OSError as error:
            raise BadInput(f"cannot write {fresh}: {error.strerror}") from None
        try:
            keys = [_new_key(), *_read(self._path)]
            _overwrite(fresh, keys)
            os.replace(fresh, self._path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        _sync_folder(self._path.parent)
        self._take(keys)

    def _unseal(self, sealed: str) -> _Sealed:
        from cryptography.fernet import InvalidToken

        try:
            token = sealed.encode("ascii")
            try:
                body = self._box.decrypt(token)
            except InvalidToken:
                self._take(_read(self._path))  # another process may have added a key since
                body = self._box.decrypt(token)
            return msgspec.json.decode(body, type=_Sealed)
        except (InvalidToken, UnicodeError, msgspec.MsgspecError):
            raise BadInput(
                f"a sealed secret is damaged, or its key is not in {self._path}; "
                "enter the secret again, or bring the key back"
            ) from None

    def _take(self, keys: list[str]) -> None:
        if keys != self._keys:
            self._keys, self._opened = keys, None

    def __repr__(self) -> str:
        return f"Keyring({str(self._path)!r}, {len(self._keys)} keys)"


def _new_key() -> str:
    from cryptography.fernet import Fernet

    return Fernet.generate_key().decode()


def _plain(host: str) -> str:
    return host.lower().rstrip(".")


def _read(path: Path) -> list[str]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            _check(path, os.fstat(file.fileno()))
            text = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        raise BadInput(
            f"there is no key file at {path}; start the backend once to make one, "
            "or set INSTABOT_KEY_FILE"
        ) from None
    except OSError as error:
        raise BadInput(f"cannot read the key file {path}: {error.strerror}") from None
    return _parse(path, text)


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise BadInput(f"{path} is not a file, so it cannot be the key file")
    if status.st_mode & 0o077:
        raise BadInput(f"other users can reach the key file; run: chmod 600 {path}")


def _parse(path: Path, text: bytes) -> list[str]:
    keys = []
    if len(text) > MAX_FILE:
        raise BadInput(f"{path} is too large to be a key file")
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith(b"#"):
            continue
        try:
            if len(base64.urlsafe_b64decode(line)) != 32:
                raise ValueError(line)
            keys.append(line.decode("ascii"))
        except ValueError:
            # Never quote the line: it may be a key with one letter missing.
            raise BadInput(
                f"line {number} of {path} is not a key (32 bytes in urlsafe base64)"
            ) from None
    if not keys:
        raise BadInput(f"the key file {path} holds no key; restore it, or remove it")
    return keys


def _create(path: Path) -> None:
    """Make the key file whole or not at all; where another process was faster, keep its file."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.") as part:
            os.fchmod(part.fileno(), 0o600)  # whatever the umask left of it
            _flush(part, [_new_key()])
            with contextlib.suppress(FileExistsError):
                os.link(part.name, path)  # refuses to replace, unlike rename
        _sync_folder(path.parent)
    except OSError as error:
        raise BadInput(f"cannot make the key file {path}: {error.strerror}") from None


def _write_new(path: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)
    os.close(descriptor)


def _overwrite(path: Path, keys: list[str]) -> None:
    with open(path, "w") as file:
        _flush(file, keys)


def _flush(file: IO[str], keys: list[str]) -> None:
    file.write("".join(f"{key}\n" for key in keys))
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
