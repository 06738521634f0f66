"""Triggers with which the database itself refuses what no program may do, the same on SQLite and PostgreSQL.

They are attached to the tables, so `metadata.create_all` makes them and a migration can take the same statements.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Table, event


def refuse_changes(table: Table, message: str, *, when: str | None = None) -> None:
    """Refuse UPDATE and DELETE of rows of `table`; with `when` (SQL over OLD) only of rows for which it holds.

    The refusal reaches callers as sqlalchemy.exc.IntegrityError with `message` in it.
    """

    def create(_target: Any, connection: Connection, **_: Any) -> None:
        for statement in refusal_statements(table.name, message, when, connection.dialect.name):
            connection.exec_driver_sql(statement)

    event.listen(table, "after_create", create)


def refusal_statements(table: str, message: str, when: str | None, dialect: str) -> list[str]:
    """The DDL of `refuse_changes`."""
    name = f"{table}_immutable"
    if dialect == "sqlite":
        condition = f"WHEN {when} " if when else ""
        return [
            f"CREATE TRIGGER {name}_{verb.lower()} BEFORE {verb} ON {table} {condition}"
            f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
            for verb in ("UPDATE", "DELETE")
        ]
    condition = f"WHEN ({when}) " if when else ""
    return [
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger AS $$ BEGIN "
        f"RAISE EXCEPTION '{message}' USING ERRCODE = 'integrity_constraint_violation'; END $$ LANGUAGE plpgsql",
        f"CREATE TRIGGER {name} BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW {condition}EXECUTE FUNCTION {name}()",
    ]
