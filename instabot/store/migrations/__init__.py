"""The store's tables, from the first version to this one; alembic runs them by number."""
