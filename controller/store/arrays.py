"""The text of a PostgreSQL array: a column of many rows as one parameter, to be cast to its type in the statement.

The driver's own arrays take it several microseconds for each element.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def array_text(values: Iterable[Any]) -> str:
    """Integers, texts, octets, booleans, dates and None. Whatever else there is in a text, it stays one element."""
    return "{" + ",".join([_element(value) for value in values]) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    kind = type(value)
    if kind is int:
        return str(value)
    if kind is bytes:
        return f'"\\\\x{value.hex()}"'
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
