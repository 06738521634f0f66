"""Reads the tables of a FreeRADIUS SQL schema: from PostgreSQL, from an SQLite file, or from a dump of MySQL.

Nothing is written there. Names of columns are in lower case; values are text, or None.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

from controller.domain.errors import RuleError
from radius.freeradius import mysql_dump

Row = dict[str, str | None]

CONFIGURED = ("nas", "radcheck", "radreply", "radusergroup", "radgroupcheck", "radgroupreply")
SESSIONS = "radacct"
_BATCH = 2_000


@dataclass
class Tables:
    """What is configured, whole: it fits into memory as it fits into FreeRADIUS's."""

    rows: dict[str, list[Row]] = field(default_factory=lambda: {name: [] for name in CONFIGURED})

    def __getitem__(self, table: str) -> list[Row]:
        return self.rows[table]


class Source:
    """`url` is postgresql://…, sqlite:///file, or the path of a file: an SQLite database, or a dump of MySQL (.sql)."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._path = None if url.startswith(("postgres://", "postgresql://")) else _path(url)

    def tables(self) -> Tables:
        """Raises RuleError when it cannot be read, or is no such schema."""
        found = Tables()
        try:
            for table in CONFIGURED:
                found.rows[table] = list(self._read(table)) if not self._is_dump else []
            if self._is_dump:
                for table, row in self._dump(CONFIGURED):
                    found.rows[table].append(row)
        except (OSError, sqlite3.Error, psycopg.Error) as error:
            raise RuleError(f"{self.shown} is no FreeRADIUS schema that can be read: {error}") from None
        if self._is_dump and not any(found.rows.values()):
            raise RuleError(f"{self.shown} has no row of {', '.join(CONFIGURED)}: give what mysqldump wrote, unpacked")
        return found

    def sessions(self) -> Iterator[Row]:
        """Rows of radacct, a few at a time; none where there is no such table. Raises RuleError."""
        try:
            if self._is_dump:
                yield from (row for _, row in self._dump((SESSIONS,)))
            else:
                yield from self._read(SESSIONS)
        except (OSError, sqlite3.Error, psycopg.Error) as error:
            if _has_no_table(error):
                return  # accounting may be kept elsewhere, or nowhere
            raise RuleError(f"radacct of {self.shown} cannot be read: {error}") from None

    @property
    def shown(self) -> str:
        """The address without a password."""
        before, at, place = self._url.rpartition("@")
        return f"{before.partition('://')[0]}://***@{place}" if at else self._url

    @property
    def _is_dump(self) -> bool:
        if self._path is None:
            return False
        with self._path.open("rb") as opened:
            return opened.read(15) != b"SQLite format 3"

    def _dump(self, wanted: tuple[str, ...]) -> Iterator[tuple[str, Row]]:
        assert self._path is not None, "a dump is a file"
        with self._path.open(encoding="utf-8", errors="backslashreplace", newline="") as lines:
            yield from mysql_dump.rows(lines, wanted)

    def _read(self, table: str) -> Iterator[Row]:
        query = f"SELECT * FROM {table}"  # noqa: S608 - one of our own names
        if self._path is None:
            with psycopg.connect(self._url, row_factory=dict_row) as connection, connection.cursor("rows") as cursor:
                cursor.itersize = _BATCH
                cursor.execute(query)
                for row in cursor:
                    yield {name.lower(): _text(value) for name, value in row.items()}
            return
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as opened:
            selected = opened.execute(query)
            columns = [str(column[0]).lower() for column in selected.description]
            for values in selected:
                yield dict(zip(columns, map(_text, values), strict=True))


def _has_no_table(error: Exception) -> bool:
    no_table = isinstance(error, sqlite3.OperationalError) and str(error).startswith("no such table")
    return no_table or isinstance(error, psycopg.errors.UndefinedTable)


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return None if value is None else str(value)


def _path(url: str) -> Path:
    path = Path(url.removeprefix("sqlite://").removeprefix("file://"))
    if "://" in str(url) and not url.startswith(("sqlite://", "file://")):
        scheme = url.partition("://")[0]
        raise RuleError(f"{scheme}:// is not read: give postgresql://…, sqlite:///file, or a file that mysqldump wrote")
    if not path.is_file():
        raise RuleError(f"{path} is no file")
    return path
