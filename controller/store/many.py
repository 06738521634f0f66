"""Many rows in few statements, inside a transaction of SQLAlchemy's, for those who follow the usage log.

SQLAlchemy's own executemany handles a mapping per row and has the driver step row by row, which costs a follower more
than what it computes. Here rows are plain tuples: on SQLite they travel in multi-row VALUES of a few fixed sizes, on
PostgreSQL as one array per column. Names come from our own tables, values are always bound.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any

from sqlalchemy import ARRAY, Dialect, Float, LargeBinary, String, Table, cast, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ColumnElement

from controller.store.arrays import array_text

Row = tuple[Any, ...]

_CHUNKS = (400, 50, 8, 1)
"""Rows per SQLite statement: few sizes, so that the driver keeps every statement prepared."""


async def insert_rows(
    conn: AsyncConnection, table: Table, columns: Sequence[str], rows: Sequence[Row], conflict: str = ""
) -> None:
    """Insert `rows`, whose values stand in the order of `columns`; `conflict` is an ON CONFLICT clause.

    Raises what the driver raises, as SQLAlchemy's errors.
    """
    if not rows:
        return
    names, dialect = tuple(columns), conn.dialect
    rows = _bound(table, names, rows, dialect)
    if dialect.name == "postgresql":
        arrays = tuple(array_text(column) for column in zip(*rows, strict=True))
        await conn.exec_driver_sql(_from_arrays(table, names, conflict, dialect), arrays)
        return
    start = 0
    for size in _CHUNKS:
        while len(rows) - start >= size:
            values = tuple(chain.from_iterable(rows[start : start + size]))
            await conn.exec_driver_sql(_from_values(table, names, conflict, size), values)
            start += size


async def insert_all(conn: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """`insert_rows` of rows that name their values; all name the same. Python-side defaults are not applied."""
    if rows:
        columns = tuple(rows[0])
        values = itemgetter(*columns) if len(columns) > 1 else lambda row: (row[columns[0]],)
        await insert_rows(conn, table, columns, [values(row) for row in rows])


def replacing(table: Table, columns: Sequence[str]) -> str:
    """The ON CONFLICT clause that puts a row in the place of the one with its primary key."""
    keys = [column.name for column in table.primary_key]
    settings = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in keys)
    return f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {settings}"


def one_of(conn: AsyncConnection, column: ColumnElement[Any], keys: Iterable[str]) -> ColumnElement[bool]:
    """The condition that `column` is one of many keys, which travel as a single parameter."""
    listed = list(keys)
    if conn.dialect.name == "postgresql":
        return column.in_(select(func.unnest(cast(literal(array_text(listed), String), ARRAY(String)))))
    return column.in_(select(func.json_each(json.dumps(listed)).table_valued("value").c.value))


async def by_keys(conn: AsyncConnection) -> None:
    """From here on the transaction reads what it names by key, whatever the size of the tables.

    PostgreSQL keeps the plan that it once made for a statement. One made while a table was small reads the whole of it,
    and goes on to do so while the work of a night lets it grow a thousandfold, until its statistics are next looked at.
    """
    if conn.dialect.name == "postgresql":
        await conn.exec_driver_sql("SET LOCAL enable_seqscan = off")


def _bound(table: Table, names: Sequence[str], rows: Sequence[Row], dialect: Dialect) -> Sequence[Row]:
    """Values as the driver takes them: instants become microseconds, and so on, column by column."""
    processors = _processors(table, tuple(names), dialect)
    if not any(processors):
        return rows
    columns = zip(*rows, strict=True)
    return list(
        zip(
            *(
                column if process is None else [process(value) for value in column]
                for process, column in zip(processors, columns, strict=True)
            ),
            strict=True,
        )
    )


@lru_cache(maxsize=64)
def _processors(table: Table, names: tuple[str, ...], dialect: Dialect) -> list[Callable[[Any], Any] | None]:
    kinds = [table.c[name].type for name in names]
    # Octets are octets to both drivers; a processor would wrap them for parameters of their own.
    return [None if isinstance(k, LargeBinary) else k.dialect_impl(dialect).bind_processor(dialect) for k in kinds]


@lru_cache(maxsize=256)
def _from_values(table: Table, names: tuple[str, ...], conflict: str, rows: int) -> str:
    values = ", ".join(["(" + ", ".join("?" * len(names)) + ")"] * rows)
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES {values} {conflict}"  # noqa: S608


@lru_cache(maxsize=64)
def _from_arrays(table: Table, names: tuple[str, ...], conflict: str, dialect: Dialect) -> str:
    # Without the length of a text: a cast to it cuts silently what is too long, which the column refuses.
    types = [table.c[name].type.compile(dialect).partition("(")[0] for name in names]
    arrays = ", ".join(f"%s::{kind}[]" for kind in types)
    return f"INSERT INTO {table.name} ({', '.join(names)}) SELECT * FROM unnest({arrays}) {conflict}"  # noqa: S608


def total(octets: ColumnElement[Any]) -> ColumnElement[float]:
    """The sum of counters, whatever they say: a sum of integers fails where it goes beyond 64 bits, and a peer's
    nonsense would end a page. Exact up to 2^53."""
    return func.sum(cast(octets, Float))
