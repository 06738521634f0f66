"""Alembic's entry point. `controller.app.migration` runs it with a ready connection; there is no alembic.ini."""

from __future__ import annotations

from alembic import context

from controller.app.schema import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
    transaction_per_migration=True,
    transactional_ddl=True,  # SQLite can; Alembic believes it cannot, because its Python driver gets in the way
)
with context.begin_transaction():
    context.run_migrations()
