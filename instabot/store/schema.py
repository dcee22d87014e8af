"""The tables. A change here needs a migration beside the others in `migrations/versions`.

Times are Unix seconds (double precision). Text is cleaned on its way in: PostgreSQL stores
neither NUL nor lone surrogates, so both become U+FFFD, on either database alike.
"""

from typing import Any

import sqlalchemy as sa

from instabot.errors import BadInput

HEAD = "0001"
"""The newest migration. Numbers, so that a newer store can be told from an older one."""

HOLES = ("gap", "dataloss")
"""The kinds of log rows that say that something is missing."""

_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


def clean(text: str) -> str:
    """Text that every database takes: NUL and lone surrogates become U+FFFD."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.translate(_SURROGATES)
    return text


class Text(sa.types.TypeDecorator[str]):
    """Text of any length, cleaned."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else clean(value)


class Name(sa.types.TypeDecorator[str]):
    """Text that is part of a key, cleaned. Over `length` characters it is BadInput.

    PostgreSQL's index entries end at 2,704 bytes; SQLite would take anything.
    """

    impl = sa.Text
    cache_ok = True

    def __init__(self, length: int = 200) -> None:
        super().__init__()
        self.length = length

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        if value is not None and len(value) > self.length:
            raise BadInput(
                f"{value[:40]!r}… has {len(value)} characters; at most {self.length} are allowed"
            )
        return None if value is None else clean(value)


metadata = sa.MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    }
)


def _tenant() -> sa.Column[str]:
    return sa.Column("tenant", Name(64), sa.ForeignKey("tenants.id"), nullable=False)


def _network() -> sa.Column[str]:
    owner = sa.ForeignKey("networks.id", ondelete="CASCADE")
    return sa.Column("network", Name(), owner, nullable=False)


def _text(name: str, kind: type[Text] | Name = Text, **more: Any) -> sa.Column[str]:
    return sa.Column(name, kind, nullable=False, server_default="", **more)


tenants = sa.Table(
    "tenants",
    metadata,
    sa.Column("id", Name(64), primary_key=True),
)

meta = sa.Table(
    "meta",
    metadata,
    sa.Column("key", Name(), primary_key=True),
    sa.Column("value", Text, nullable=False),
)

networks = sa.Table(
    "networks",
    metadata,
    sa.Column("id", Name(), primary_key=True),
    _tenant(),
    sa.Column("shard", sa.Integer, nullable=False, index=True),
    sa.Column("name", Name(), nullable=False),
    sa.Column("url", Text, nullable=False),
    _text("secret"),
    _text("settings"),
)

rooms = sa.Table(
    "rooms",
    metadata,
    sa.Column("id", Name(64), primary_key=True),
    _network(),
    _tenant(),
    sa.Column("shard", sa.Integer, nullable=False, index=True),
    sa.Column("name", Name(), nullable=False, index=True),
    sa.Column("folded", Name(), nullable=False, index=True),
    _text("key"),
    _text("settings"),
    sa.Column("wanted", sa.Boolean, nullable=False),
    sa.UniqueConstraint("network", "folded"),
)

# No foreign keys: rows outlive their room and network, and are written in thousands a second.
# An integer key of its own, because a full-text index refers to rows by such a one.
log = sa.Table(
    "log",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("shard", sa.Integer, nullable=False),
    sa.Column("ms", sa.BigInteger, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("room", Name(64), nullable=False),
    sa.Column("tenant", Name(64), nullable=False),
    _text("network"),
    sa.Column("kind", Text, nullable=False),
    _text("sender"),
    _text("account"),
    _text("text"),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("since", sa.Double, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("own", sa.Boolean, nullable=False),
    sa.Column("late", sa.Boolean, nullable=False),
    _text("ref"),
    sa.UniqueConstraint("shard", "ms", "seq"),
    sa.Index(None, "room", "ms", "seq"),
)

_hole = log.c.kind.in_([sa.literal_column(f"'{kind}'") for kind in HOLES])
sa.Index(
    "log_holes", log.c.room, log.c.ms, log.c.seq, sqlite_where=_hole, postgresql_where=_hole
)

journal = sa.Table(
    "journal",
    metadata,
    sa.Column("id", Name(), primary_key=True),
    _text("message"),
    sa.Column("tenant", Name(64), nullable=False),
    sa.Column("room", Name(64), nullable=False),
    sa.Column("command", Text, nullable=False),
    _text("text"),
    _text("sender"),
    _text("account"),
    sa.Column("state", Text, nullable=False),
    sa.Column("asked_at", sa.Double, nullable=False),
    sa.Column("started", sa.Double, nullable=False),
    sa.Column("finished", sa.Double, nullable=False),
    _text("reply"),
    _text("code", Name(64)),
    sa.Index(None, "room", "code"),
)

memory = sa.Table(
    "memory",
    metadata,
    sa.Column("plugin", Name(64), primary_key=True),
    sa.Column("tenant", Name(64), primary_key=True),
    sa.Column("room", Name(64), primary_key=True),
    sa.Column("key", Name(), primary_key=True),
    sa.Column("value", sa.LargeBinary, nullable=False),
)

roles = sa.Table(
    "roles",
    metadata,
    _network(),
    sa.Column("account", Name(), nullable=False),
    sa.Column("role", Name(64), nullable=False),
    _tenant(),
    _text("by"),
    sa.Column("at", sa.Double, nullable=False),
    sa.PrimaryKeyConstraint("network", "account", "role"),
)
