"""The first tables."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table, and the one tenant there is for now."""
    tenants = op.create_table("tenants", _key("id"), sa.PrimaryKeyConstraint("id"))
    op.create_table("meta", _key("key"), _key("value"), sa.PrimaryKeyConstraint("key"))
    _networks()
    _rooms()
    _log()
    _journal()
    _memory()
    _roles()
    op.bulk_insert(tenants, [{"id": "local"}])


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def _need(name: str, kind: type[sa.types.TypeEngine[Any]]) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def _networks() -> None:
    op.create_table(
        "networks",
        _key("id"),
        _key("tenant"),
        _need("shard", sa.Integer),
        _key("name"),
        _key("url"),
        _text("secret"),
        _text("settings"),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"]),
    )
    op.create_index("networks_shard", "networks", ["shard"])


def _rooms() -> None:
    op.create_table(
        "rooms",
        _key("id"),
        _key("network"),
        _key("tenant"),
        _need("shard", sa.Integer),
        _key("name"),
        _key("folded"),
        _text("key"),
        _text("settings"),
        _need("wanted", sa.Boolean),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["network"], ["networks.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"]),
        sa.UniqueConstraint("network", "folded", name="rooms_network_folded_key"),
    )
    for column in ("shard", "name", "folded"):
        op.create_index(f"rooms_{column}", "rooms", [column])


def _log() -> None:
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "log",
        sa.Column("id", number, nullable=False),
        _need("shard", sa.Integer),
        _need("ms", sa.BigInteger),
        _need("seq", sa.BigInteger),
        _key("room"),
        _key("tenant"),
        _text("network"),
        _key("kind"),
        _text("sender"),
        _text("account"),
        _text("text"),
        _need("at", sa.Double),
        _need("since", sa.Double),
        _need("count", sa.Integer),
        _need("own", sa.Boolean),
        _need("late", sa.Boolean),
        _text("ref"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("shard", "ms", "seq", name="log_shard_ms_seq_key"),
    )
    op.create_index("log_room_ms_seq", "log", ["room", "ms", "seq"])
    hole = sa.text("kind IN ('gap', 'dataloss')")
    op.create_index(
        "log_holes", "log", ["room", "ms", "seq"], sqlite_where=hole, postgresql_where=hole
    )


def _journal() -> None:
    op.create_table(
        "journal",
        _key("id"),
        _text("message"),
        _key("tenant"),
        _key("room"),
        _key("command"),
        _text("text"),
        _text("sender"),
        _text("account"),
        _key("state"),
        _need("asked_at", sa.Double),
        _need("started", sa.Double),
        _need("finished", sa.Double),
        _text("reply"),
        _text("code"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("journal_room_code", "journal", ["room", "code"])


def _memory() -> None:
    op.create_table(
        "memory",
        _key("plugin"),
        _key("tenant"),
        _key("room"),
        _key("key"),
        _need("value", sa.LargeBinary),
        sa.PrimaryKeyConstraint("plugin", "tenant", "room", "key"),
    )


def _roles() -> None:
    op.create_table(
        "roles",
        _key("network"),
        _key("account"),
        _key("role"),
        _key("tenant"),
        _text("by"),
        _need("at", sa.Double),
        sa.PrimaryKeyConstraint("network", "account", "role"),
        sa.ForeignKeyConstraint(["network"], ["networks.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"]),
    )
