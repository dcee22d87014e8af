"""The backend's database: SQLite by default, PostgreSQL when one machine is not enough.

This package alone knows SQLAlchemy and alembic.
"""

from instabot.store.journal import Entry
from instabot.store.log import LogRow, row_of
from instabot.store.memory import Namespace
from instabot.store.roles import Grant
from instabot.store.rooms import Wish
from instabot.store.store import Store

__all__ = ["Entry", "Grant", "LogRow", "Namespace", "Store", "Wish", "row_of"]
