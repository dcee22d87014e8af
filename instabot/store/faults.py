"""What a database's complaint means for the caller: wait, or write something else."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from instabot.errors import BadInput, InstabotError, Unreachable

# https://www.sqlite.org/rescode.html; extended names begin with the primary one.
_SQLITE = {
    "SQLITE_BUSY": "is locked by another process",
    "SQLITE_LOCKED": "is locked by another process",
    "SQLITE_FULL": "cannot grow: the disk is full",
    "SQLITE_IOERR": "cannot be read or written: the disk reports an error",
    "SQLITE_CANTOPEN": "cannot be opened; look at its folder's rights",
    "SQLITE_READONLY": "cannot be written; look at its rights",
    "SQLITE_PERM": "cannot be opened; look at its rights",
    "SQLITE_CORRUPT": "is damaged; restore it from a backup",
    "SQLITE_NOMEM": "cannot be read: out of memory",
}

# https://www.postgresql.org/docs/current/errcodes-appendix.html; classes, or whole codes.
_POSTGRES_AWAY = {
    "08": "the connection failed",
    "0A000": "its tables changed meanwhile",  # a cached plan; the next try makes a new one
    "25006": "it is read-only, perhaps a standby",
    "40": "two changes got into each other's way",
    "53": "it is out of disk, memory or connections",
    "55P03": "it is locked by another process",
    "57": "it is stopping or starting",
    "58": "its disk reports an error",
}
_POSTGRES_WRONG = {
    "28": "refuses the login; correct user and password in its URL",
    "3D000": "has no such database; create it first",
    "3F000": "has no such schema",
    "42501": "does not allow that to this user; grant it rights on the schema",
}


@contextmanager
def faults(label: str) -> Iterator[None]:
    """Turn a database's errors into ours. What is left is a mistake in our own SQL."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        meant = _meaning(label, error)
        if meant is None:
            raise
        raise meant from None


def _meaning(label: str, error: Exception) -> InstabotError | None:
    if isinstance(error, StatementError) and isinstance(error.orig, InstabotError):
        return error.orig  # a column's type refused the value
    if isinstance(error, PoolTimeout):
        return Unreachable(f"the store {label} is too busy; try again")
    if isinstance(error, OSError):  # TimeoutError too: nothing listens, or nothing answers
        reason = error.strerror or str(error) or "no answer in time"
        return Unreachable(f"the store {label} does not answer: {reason}")
    if isinstance(error, sqlite3.Error):
        return _sqlite(label, error)
    if isinstance(error, DBAPIError):
        return _driver(label, error)
    return None


def _driver(label: str, error: DBAPIError) -> InstabotError | None:
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite(label, error.orig)
    code = str(getattr(error.orig, "sqlstate", None) or "")
    for known, text in _POSTGRES_WRONG.items():
        if code.startswith(known):
            return BadInput(f"the store {label} {text}")
    for known, text in _POSTGRES_AWAY.items():
        if code.startswith(known):
            return Unreachable(f"the store {label} does not answer: {text}")
    if error.connection_invalidated or not code:
        return Unreachable(f"the store {label} does not answer: the connection failed")
    return None


def _sqlite(label: str, error: sqlite3.Error) -> InstabotError | None:
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_NOTADB":
        return BadInput(f"the store {label} is not a SQLite database; name another file")
    for known, text in _SQLITE.items():
        if name.startswith(known):
            return Unreachable(f"the store {label} {text}")
    return None
