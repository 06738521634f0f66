"""Bulk writing beside SQLAlchemy: one connection, one worker thread, few statements for many rows.

For the accounting commit path alone, where every microsecond per record counts. On SQLite rows travel in multi-row
INSERT statements of a few fixed sizes: each step of a statement gives up Python's lock, so a statement per row would
hand it back and forth with the event loop thousands of times per commit. On PostgreSQL new rows travel by COPY, changes
as one array per column.

Table and column names come from our own source, never from a peer; values are always bound or copied.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Protocol

import psycopg
from sqlalchemy.engine import URL

from controller.store.arrays import array_text
from controller.store.engine import BUSY_TIMEOUT_S, SQLITE_PRAGMAS

Row = tuple[Any, ...]

_CHUNKS = (128, 64, 32, 16, 8, 4, 2, 1)
"""Rows per SQLite statement: few sizes, so that the driver keeps every statement prepared."""


class Bulk(Protocol):
    """A connection of its own. Not thread safe: one thread uses it. Raises what its driver raises."""

    is_sqlite: bool

    def begin(self) -> None: ...

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None: ...

    def update(self, table: str, columns: Sequence[str], guard: str, rows: Sequence[Row]) -> int:
        """Set `columns[1:]` where `columns[0]` equals, and `guard` still has the value that stands last in the row.

        Returns how many rows were changed: fewer than given means that somebody else wrote in between.
        """
        ...

    def lookup(
        self,
        table: str,
        columns: Sequence[str],
        keys: tuple[str, str],
        wanted: Sequence[tuple[str, bytes]],
        at_least: tuple[str, int] | None = None,
    ) -> list[Row]:
        """The rows whose two `keys` columns, an id and octets, equal one of the pairs in `wanted`.

        `at_least` is a column and its lowest value: what is partitioned by it is looked up in few partitions.
        """
        ...

    def query(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """One statement in the driver's own parameter style, and its rows. PostgreSQL takes several without values."""
        ...

    def durability(self) -> dict[str, str]:
        """The settings on which the promise rests that a commit survives a power cut, as this connection has them."""
        ...

    def close(self) -> None: ...


class SqliteBulk:
    """Bulk rows into an SQLite file, WAL and synchronous=FULL."""

    is_sqlite = True

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=128
        )
        for pragma in (*SQLITE_PRAGMAS, "cache_size=-32768"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._statements: dict[tuple[str, str, int, int], str] = {}

    def begin(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._connection.execute("COMMIT")

    def rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        for chunk in _chunks(rows):
            key = ("insert", table, len(columns), len(chunk))
            statement = self._statements.get(key)
            if statement is None:
                values = _placeholders(len(columns), len(chunk))
                statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES {values}"  # noqa: S608
                self._statements[key] = statement
            self._connection.execute(statement, list(chain.from_iterable(chunk)))

    def update(self, table: str, columns: Sequence[str], guard: str, rows: Sequence[Row]) -> int:
        changed = 0
        for chunk in _chunks(rows):
            key = ("update", table, len(columns), len(chunk))
            statement = self._statements.get(key)
            if statement is None:
                values = _placeholders(len(columns) + 1, len(chunk))
                settings = ", ".join(f"{name} = v.column{n}" for n, name in enumerate(columns[1:], 2))
                statement = (
                    f"UPDATE {table} SET {settings} FROM (VALUES {values}) AS v"  # noqa: S608
                    f" WHERE {table}.{columns[0]} = v.column1 AND {table}.{guard} = v.column{len(columns) + 1}"
                )
                self._statements[key] = statement
            changed += self._connection.execute(statement, list(chain.from_iterable(chunk))).rowcount
        return changed

    def lookup(
        self,
        table: str,
        columns: Sequence[str],
        keys: tuple[str, str],
        wanted: Sequence[tuple[str, bytes]],
        at_least: tuple[str, int] | None = None,
    ) -> list[Row]:
        found: list[Row] = []
        bound = () if at_least is None else (at_least[1],)
        for chunk in _chunks(wanted):
            key = ("lookup", table, len(columns), len(chunk))
            statement = self._statements.get(key)
            if statement is None:
                names = ", ".join(f"t.{name}" for name in columns)
                also = "" if at_least is None else f" AND t.{at_least[0]} >= ?"
                statement = (
                    f"SELECT {names} FROM (VALUES {_placeholders(2, len(chunk))}) AS v"  # noqa: S608
                    f" CROSS JOIN {table} AS t WHERE t.{keys[0]} = v.column1 AND t.{keys[1]} = v.column2{also}"
                )
                self._statements[key] = statement
            found += self._connection.execute(statement, [*chain.from_iterable(chunk), *bound]).fetchall()
        return found

    def query(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        return self._connection.execute(statement, values).fetchall()

    def durability(self) -> dict[str, str]:
        names = {0: "off", 1: "normal", 2: "full", 3: "extra"}
        return {
            "synchronous": names[self.query("PRAGMA synchronous")[0][0]],
            "journal_mode": self.query("PRAGMA journal_mode")[0][0],
        }

    def close(self) -> None:
        self._connection.close()


class PostgresBulk:
    """Bulk rows into PostgreSQL, over a connection whose commits wait for the disk."""

    is_sqlite = False

    def __init__(self, conninfo: str) -> None:
        # The limits end a transaction whose client is gone: the watermark and other writers wait for it.
        limits = "-c statement_timeout=60000 -c idle_in_transaction_session_timeout=60000"
        self._connection = psycopg.connect(conninfo, autocommit=True, options=f"{limits} -c synchronous_commit=on")
        self._updates: dict[tuple[str, tuple[str, ...]], bytes] = {}

    def begin(self) -> None:
        self._connection.execute("BEGIN")

    def commit(self) -> None:
        self._connection.execute("COMMIT")

    def rollback(self) -> None:
        if self._connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            self._connection.execute("ROLLBACK")

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        if len(rows) == 1:
            marks = ", ".join(["%s"] * len(columns))
            self._connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows[0])  # noqa: S608
        elif rows:
            self._copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN", rows)

    def update(self, table: str, columns: Sequence[str], guard: str, rows: Sequence[Row]) -> int:
        if not rows:
            return 0
        # Arrays, one for each column, in one statement: a COPY into a temporary table costs two round trips more, and
        # that table is emptied by each commit.
        arrays = tuple([array_text(column) for column in zip(*rows, strict=True)])
        return self._connection.execute(self._update(table, tuple(columns), guard), arrays).rowcount

    def lookup(
        self,
        table: str,
        columns: Sequence[str],
        keys: tuple[str, str],
        wanted: Sequence[tuple[str, bytes]],
        at_least: tuple[str, int] | None = None,
    ) -> list[Row]:
        if not wanted:
            return []
        names = ", ".join(f"t.{name}" for name in columns)
        # One text for all pairs: an array parameter costs the driver several microseconds for each element.
        pairs = ",".join([f"{first}:{second.hex()}" for first, second in wanted])
        bound = "" if at_least is None else f" WHERE t.{at_least[0]} >= {at_least[1]}"
        return self._connection.execute(
            f"SELECT {names} FROM (SELECT split_part(p, ':', 1) AS a, decode(split_part(p, ':', 2), 'hex') AS b"  # noqa: S608
            f" FROM unnest(string_to_array(%s, ',')) AS p) AS v"
            f" JOIN {table} AS t ON t.{keys[0]} = v.a AND t.{keys[1]} = v.b{bound}",
            (pairs,),
            binary=True,
        ).fetchall()

    def query(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        cursor = self._connection.execute(statement, values or None)
        rows: list[Row] = []
        while True:
            if cursor.description is not None:
                rows += cursor.fetchall()
            if not cursor.nextset():
                return rows

    def durability(self) -> dict[str, str]:
        return {name: self.query(f"SHOW {name}")[0][0] for name in ("fsync", "synchronous_commit")}

    def close(self) -> None:
        self._connection.close()

    def _copy(self, statement: str, rows: Iterable[Row]) -> None:
        with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)

    def _update(self, table: str, columns: tuple[str, ...], guard: str) -> bytes:
        """The statement, with the types that the table's columns have: made once."""
        statement = self._updates.get((table, columns))
        if statement is None:
            names = (*columns, guard)
            types: dict[str, str] = dict(
                self._connection.execute(
                    "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute"
                    " WHERE attrelid = %s::regclass AND attnum > 0",
                    (table,),
                ).fetchall()
            )
            arrays = ", ".join(f"%s::{types[name]}[]" for name in names)
            settings = ", ".join(f"{name} = s.{name}" for name in columns[1:])
            statement = self._updates[table, columns] = (
                f"UPDATE {table} AS t SET {settings}"  # noqa: S608
                f" FROM unnest({arrays}) AS s ({', '.join(columns)}, expected_guard)"
                f" WHERE t.{columns[0]} = s.{columns[0]} AND t.{guard} = s.expected_guard"
            ).encode()
        return statement


def open_bulk(url: URL) -> Bulk:
    """A bulk connection to the database that `url` (SQLAlchemy's) names."""
    if url.get_backend_name() == "sqlite":
        assert url.database, "the usage log needs a file"
        return SqliteBulk(url.database)
    return PostgresBulk(url.set(drivername="postgresql").render_as_string(hide_password=False))


def _chunks(rows: Sequence[Row]) -> Iterable[Sequence[Row]]:
    start, left = 0, len(rows)
    for size in _CHUNKS:
        while left >= size:
            yield rows[start : start + size]
            start, left = start + size, left - size


def _placeholders(columns: int, rows: int) -> str:
    return ", ".join(["(" + ", ".join("?" * columns) + ")"] * rows)
