"""Alembic's entry: runs the migrations on the connection that the store hands over."""

from alembic import context

from pmapdiff.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=True,
    # SQLite's DDL is transactional; the store's engine begins transactions itself, so a kill leaves nothing half done.
    transactional_ddl=True,
)
context.run_migrations()
