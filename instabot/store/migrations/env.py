"""What alembic runs: one transaction, on the connection that `store/migrate.py` holds."""

from alembic import context

from instabot.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite's too, once the driver does not commit by itself
)
context.run_migrations()
