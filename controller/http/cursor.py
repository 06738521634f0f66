"""Keyset cursors: where a page ended, as text that callers hand back and do not read.

    next = cursor.encode(row.created_at_micros, row.id)
    at, key = cursor.decode(query.after, int, str)

A cursor holds the sort key of the last row, never an offset: rows that appear meanwhile move nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from controller.http.problem import Problem

RowT = TypeVar("RowT")

_MAX_INTEGER = 2**63 - 1


def encode(*key: int | str) -> str:
    """The cursor for a sort key of integers and texts. Give instants as `to_micros`."""
    return base64.urlsafe_b64encode(json.dumps(key, separators=(",", ":")).encode()).decode().rstrip("=")


def decode(cursor: str, *kinds: type) -> tuple[Any, ...]:
    """The key that `encode` was given, one value per kind. Raises Problem 400 for anything that is not our cursor."""
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        key = json.loads(raw)
    except (ValueError, binascii.Error, RecursionError) as error:
        raise _wrong() from error
    if not isinstance(key, list) or len(key) != len(kinds):
        raise _wrong()
    for value, kind in zip(key, kinds, strict=True):
        if type(value) is not kind or not isinstance(value, int | str) or not _storable(value):
            raise _wrong()
    return tuple(key)


def cut(
    rows: Sequence[RowT], limit: int, key: Callable[[RowT], tuple[int | str, ...]]
) -> tuple[list[RowT], str | None]:
    """Of `limit + 1` rows asked for: those of this page, and the cursor of the next (None when this was the last)."""
    page = list(rows[:limit])
    return page, encode(*key(page[-1])) if len(rows) > limit and page else None


def _storable(value: int | str) -> bool:
    if isinstance(value, int):
        return abs(value) <= _MAX_INTEGER
    return "\x00" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


def _wrong() -> Problem:
    return Problem(400, "after is not a cursor of this list; pass the next of the page before.", code="cursor")
