"""Where the store is: reading its URL."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from instabot.errors import BadInput

_FORMS = "write sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE"
_QUERY = {"host", "ssl", "sslmode"}


@dataclass(frozen=True, slots=True)
class Place:
    """A store's address: `path` is SQLite's file, `label` is fit for a user's eyes."""

    url: URL
    path: Path | None
    label: str


def place_of(text: str) -> Place:
    """Read a store's URL. Raises BadInput with the forms that are allowed."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Never quote the text: it may hold a password in the wrong place.
        raise BadInput(f"the store's URL cannot be read; {_FORMS}") from None
    match url.drivername:
        case "sqlite" | "sqlite+aiosqlite":
            return _sqlite(url)
        case "postgresql" | "postgres" | "postgresql+asyncpg":
            return _postgresql(url)
        case other:
            raise BadInput(f"the store's URL cannot begin with {other!r}; {_FORMS}")


def _sqlite(url: URL) -> Place:
    if not url.database or url.database == ":memory:" or url.host or url.query:
        raise BadInput("a SQLite store needs a file: write sqlite:///PATH")
    path = Path(url.database)
    return Place(URL.create("sqlite+aiosqlite", database=str(path)), path, str(path))


def _postgresql(url: URL) -> Place:
    if find_spec("asyncpg") is None:
        raise BadInput("PostgreSQL needs one more package: pip install 'instabot[postgres]'")
    if not url.database:
        raise BadInput(f"the store's URL names no database; {_FORMS}")
    unknown = sorted(set(url.query) - _QUERY)
    if unknown:
        raise BadInput(f"the store's URL may not say {unknown[0]!r}; allowed: host, sslmode")
    query = dict(url.query)
    if "sslmode" in query:  # libpq's word; the driver's is `ssl`, with the same values
        query["ssl"] = query.pop("sslmode")
    url = url.set(drivername="postgresql+asyncpg", query=query)
    return Place(url, None, url.set(drivername="postgresql").render_as_string())
