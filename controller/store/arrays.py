"""The text of a PostgreSQL array: a column of many rows as one parameter, to be cast to its type in the statement.

The driver's own arrays take it several microseconds for each element.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any


def array_text(values: Iterable[Any]) -> str:
    """Integers, texts, octets, booleans, dates and None. Whatever else there is in a text, it stays one element."""
    listed = list(values)
    kinds = set(map(type, listed))
    if kinds == {int}:
        return "{" + ",".join(map(str, listed)) + "}"
    if kinds == {date}:
        return "{" + ",".join(map(date.isoformat, listed)) + "}"
    if kinds == {str} and not _escaped("".join(listed)):
        return '{"' + '","'.join(listed) + '"}'
    return "{" + ",".join([_element(value) for value in listed]) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    kind = type(value)
    if kind is int:
        return str(value)
    if kind is bytes:
        return f'"\\\\x{value.hex()}"'
    text = str(value)
    return '"' + (text.replace("\\", "\\\\").replace('"', '\\"') if _escaped(text) else text) + '"'


def _escaped(text: str) -> bool:
    """Whether something in it has to be."""
    return '"' in text or "\\" in text
