"""Brings a database to this program's schema, and refuses one that a newer program has been at.

On SQLite the file is copied beside itself first (SQLite's online backup, so a copy is whole even while others read).
Each migration is one transaction on both databases: whoever is killed in its midst finds the schema as it was before.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DatabaseError

from controller.app.schema import metadata
from controller.domain.errors import RuleError
from controller.store.engine import BUSY_TIMEOUT_S, begin_sqlite

MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATE_LOCK = 0x4845_4144_0003


class SchemaIsNewer(RuleError):
    code = "schema-newer"


class SchemaUnknown(RuleError):
    code = "schema-unknown"


class DatabaseAway(RuleError):
    code = "database-away"


def migrate(url: str, now: datetime) -> str:
    """Run what is missing; returns one sentence that says what was done.

    Raises SchemaIsNewer, SchemaUnknown, DatabaseAway.
    """
    target = make_url(url)
    _require(target)
    with _connect(target) as connection:
        script = ScriptDirectory.from_config(_config(connection))
        current = MigrationContext.configure(connection).get_current_revision()
        connection.rollback()
        head = script.get_current_head()
        known = {revision.revision for revision in script.walk_revisions()}
        if current is not None and current not in known:
            raise SchemaIsNewer(
                f"the database has schema {current}, which this program does not know: start a newer headend, "
                "or restore the backup that was made before that one migrated"
            )
        if current is None:
            _require_nothing_of_ours(connection)
        if current == head:
            return f"schema {head}: up to date"
        saved = ""
        if current is not None and (path := _sqlite_file(target)) is not None:
            saved = f", backup in {back_up_sqlite(path, now).name}"
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _MIGRATE_LOCK})
            connection.commit()
        connection.execution_options(headend_write=True)
        command.upgrade(_config(connection), "head")
        connection.commit()
        return f"schema {current or 'empty'} → {head}{saved}"


def differences(url: str) -> list[str]:
    """What a migrated database lacks compared with the tables in the code; empty when migrations are up to date."""
    with _connect(make_url(url)) as connection:
        partitions = _partitions(connection)
        options = {
            "compare_type": True,
            "include_name": lambda name, kind, _: kind != "table" or name not in partitions,
        }
        context = MigrationContext.configure(connection, opts=options)
        return [str(difference) for difference in compare_metadata(context, metadata)]


def _partitions(connection: Connection) -> set[str]:
    """Tables that are parts of a declared one: made and given up by the month, never declared themselves."""
    if connection.dialect.name != "postgresql":
        return set()
    query = "SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid WHERE c.relkind = 'r'"
    return set(connection.scalars(text(query)))


def new_revision(url: str, message: str) -> None:
    """Write a migration from the difference between the database at `url` and the tables in the code."""
    with _connect(make_url(url)) as connection:
        command.revision(_config(connection), message=message, autogenerate=True)


def back_up_sqlite(path: Path, now: datetime) -> Path:
    """Copy an SQLite file to `<name>.before-<UTC instant>` beside it and return the copy's path."""
    copy = path.with_name(f"{path.name}.before-{now:%Y%m%dT%H%M%S%f}Z")
    source, target = sqlite3.connect(path), sqlite3.connect(copy)
    try:
        source.backup(target)
    finally:
        source.close()
        target.close()
    copy.chmod(0o600)
    return copy


def _require_nothing_of_ours(connection: Connection) -> None:
    """Raises SchemaUnknown: tables of ours without a version were made, or tampered with, by something else."""
    ours = sorted(set(inspect(connection).get_table_names()) & set(metadata.tables))
    connection.rollback()
    # Asked again after the tables were seen: another process may just have migrated, all in one transaction.
    version = MigrationContext.configure(connection).get_current_revision()
    connection.rollback()
    if ours and version is None:
        raise SchemaUnknown(
            f"the database has no schema version, and {len(ours)} tables of a headend ({ours[0]} …): "
            "restore a backup, or give headend a database of its own"
        )


def _require(target: URL) -> None:
    """Raises DatabaseAway, in words for an operator and without the password."""
    try:
        with _connect(target) as connection:
            # SQLite opens whatever file it is given, and looks at it when it is first asked.
            is_sqlite = connection.dialect.name == "sqlite"
            connection.execute(text("SELECT COUNT(*) FROM sqlite_master" if is_sqlite else "SELECT 1"))
    except DatabaseError as error:
        where = target.render_as_string(hide_password=True)
        raise DatabaseAway(f"the database {where} cannot be used: {error.orig}") from error


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _connect(url: URL) -> Iterator[Connection]:
    plain = url.set(drivername="sqlite") if url.get_backend_name() == "sqlite" else url
    is_sqlite = url.get_backend_name() == "sqlite"
    engine = create_engine(plain, connect_args={"timeout": BUSY_TIMEOUT_S} if is_sqlite else {})
    if is_sqlite:
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", begin_sqlite)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _configure_sqlite(dbapi_connection: Any, _record: Any) -> None:
    """Transactions are ours: the driver's own would commit before each CREATE TABLE."""
    dbapi_connection.isolation_level = None
    dbapi_connection.execute("PRAGMA foreign_keys=OFF")


def _sqlite_file(url: URL) -> Path | None:
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
