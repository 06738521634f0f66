"""Rows of `radius_session_address`: written in the commit of their record, read with the sessions they belong to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from controller.store.bulk import Bulk, Row
from radius.accounting.tenure import Stretch

_COLUMNS = (
    "session_key",
    "kind",
    "network",
    "first_port",
    "last_port",
    "since_us",
    "until_us",
    "received_us",
    "packet_sha256",
)
_CHUNK = 400
_CHANGE = (
    "UPDATE radius_session_address SET since_us = ?, until_us = ?, received_us = ?, packet_sha256 = ?"
    " WHERE session_key = ? AND network = ? AND first_port = ? AND since_us = ?"
)


@dataclass(frozen=True, slots=True)
class AddressChanges:
    """What one commit writes: rows that are new, and new values with the key of the row that they change."""

    new: list[Row]
    changed: list[Row]


def changes_of(touched: Mapping[Stretch, str]) -> AddressChanges:
    """Rows for stretches, by session key, that changed since they were last written; from here on they count as
    written."""
    changes = AddressChanges([], [])
    for s, session_key in touched.items():
        said = (s.since_us, s.until_us, s.received_us, s.packet_sha256)
        if s.stored_since_us is None:
            changes.new.append((session_key, s.kind, s.network, s.first_port, s.last_port, *said))
        else:
            changes.changed.append((*said, session_key, s.network, s.first_port, s.stored_since_us))
        s.stored_since_us = s.since_us
    return changes


def write(bulk: Bulk, changes: AddressChanges) -> None:
    """Write them in the caller's transaction. Raises the driver's error where another worker wrote the same."""
    bulk.insert("radius_session_address", _COLUMNS, changes.new)
    statement = _CHANGE if bulk.is_sqlite else _CHANGE.replace("?", "%s")
    for row in changes.changed:
        bulk.query(statement, row)


def load(bulk: Bulk, session_keys: Sequence[str]) -> Iterator[tuple[str, Stretch]]:
    """The stretches of these sessions, each with its session's key, oldest first."""
    mark, columns = "?" if bulk.is_sqlite else "%s", ", ".join(_COLUMNS)
    for start in range(0, len(session_keys), _CHUNK):
        some = session_keys[start : start + _CHUNK]
        marks = ", ".join([mark] * len(some))
        rows = bulk.query(
            f"SELECT {columns} FROM radius_session_address WHERE session_key IN ({marks}) ORDER BY since_us",  # noqa: S608
            some,
        )
        for session_key, *values in rows:
            stretch = Stretch(*values)
            stretch.stored_since_us = stretch.since_us
            yield session_key, stretch
