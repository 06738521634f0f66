"""Rows of a mysqldump file: its INSERT or REPLACE statements, with the columns that they or CREATE TABLE named.

Nothing is executed. A statement that cannot be read raises RuleError with its line; other statements are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from controller.domain.errors import RuleError

Row = dict[str, str | None]

_CREATE = re.compile(r"CREATE TABLE (?:IF NOT EXISTS )?[`\"]?(\w+)[`\"]?\s*\(", re.I)
_COLUMN = re.compile(r"\s*[`\"](\w+)[`\"]\s")
_INSERT = re.compile(r"(?:INSERT (?:IGNORE )?|REPLACE )INTO [`\"]?(\w+)[`\"]?\s*(?:\(([^)]*)\)\s*)?VALUES\s*", re.I)
_VALUE = re.compile(
    r"\s*(?:(NULL)|(?:_\w+\s*)?'((?:[^'\\]|\\.|'')*)'|0x([0-9A-Fa-f]+)|(-?[\d.]+(?:e[+-]?\d+)?))\s*([,)])", re.I | re.S
)
_ESCAPED = re.compile(r"\\(.)|''", re.S)
_MEANT = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "Z": "\x1a", "b": "\b"}


def rows(lines: Iterable[str], wanted: Collection[str]) -> Iterator[tuple[str, Row]]:
    """(table, row) of every row of the `wanted` tables, names in lower case."""
    columns: dict[str, list[str]] = {}
    for first_line, statement in _statements(lines):
        created = _CREATE.match(statement)
        if created is not None:
            found = [match[1].lower() for line in statement.split("\n")[1:] if (match := _COLUMN.match(line))]
            columns[created[1].lower()] = found
            continue
        inserted = _INSERT.match(statement)
        if inserted is None or inserted[1].lower() not in wanted:
            continue
        table = inserted[1].lower()
        names = columns.get(table, [])
        if inserted[2]:
            names = [name.strip().strip('`"').lower() for name in inserted[2].split(",")]
        if not names:
            raise RuleError(
                f"line {first_line}: no columns of {table} are named: dump with its CREATE TABLE statements"
            )
        for values in _tuples(statement, inserted.end(), first_line):
            if len(values) != len(names):
                raise RuleError(f"line {first_line}: {table} has {len(names)} columns, and a row {len(values)} values")
            yield table, dict(zip(names, values, strict=True))


def _statements(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """(number of the first line, statement); in a dump a statement ends where a line ends with a semicolon."""
    gathered: list[str] = []
    first = 0
    for number, line in enumerate(lines, 1):
        if not gathered:
            if not line.strip() or line.startswith(("--", "/*", "#")):
                continue
            first = number
        gathered.append(line)
        # mysqldump writes line ends inside texts as \n, so a line that ends so ends its statement.
        if line.rstrip().endswith(";"):
            yield first, "".join(gathered)
            gathered = []


def _tuples(statement: str, at: int, line: int) -> Iterator[list[str | None]]:
    while at < len(statement) and statement[at] == "(":
        values: list[str | None] = []
        at += 1
        while True:
            match = _VALUE.match(statement, at)
            if match is None:
                raise RuleError(f"line {line}: a value of this INSERT cannot be read")
            values.append(_value(match))
            at = match.end()
            if match[5] == ")":
                break
        yield values
        while at < len(statement) and statement[at] in ", \r\n":
            at += 1


def _value(match: re.Match[str]) -> str | None:
    if match[1]:
        return None
    if match[2] is not None:
        return _ESCAPED.sub(lambda found: "'" if found[1] is None else _MEANT.get(found[1], found[1]), match[2])
    return bytes.fromhex(match[3]).decode(errors="backslashreplace") if match[3] else match[4]
