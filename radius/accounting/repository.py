"""Sessions between rows and memory: in bulk, on the accounting path.

Whoever writes a session says which revision of its row the new one was made from. When another worker was faster, the
row does not match, `SessionConflict` ends the transaction, and the recorder starts again from the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.store.bulk import Bulk
from controller.store.bulk import Row as BulkRow
from radius.accounting import address_store
from radius.accounting.session import (
    CHANGING,
    COLUMNS,
    MOVING,
    Session,
    all_values,
    changing_values,
    moving_values,
    naming_values,
)

_LIFE = ("nas_id", "acct_session_id")

Key = tuple[str, bytes]
"""NAS and Acct-Session-Id, under which all lives of that id are found."""


class SessionConflict(Exception):
    """Another worker wrote one of these sessions since we read it."""


@dataclass(slots=True)
class Restart:
    """The newest Accounting-On or -Off of one NAS."""

    nas_id: str
    boundary_us: int
    seen_us: int
    kind: str
    recent: bytes


@dataclass(frozen=True, slots=True)
class SessionChanges:
    """What one commit writes about sessions, as rows: nothing here changes when the sessions go on."""

    new: list[BulkRow]
    moved: list[BulkRow]
    changed: list[BulkRow]
    named: list[BulkRow]
    revived: list[str]
    """Keys whose rows leave the history, because `new` puts them back into the hot table."""
    restarts: list[Restart]


def changes_of(touched: Sequence[Session], restarts: Sequence[Restart]) -> SessionChanges:
    """Rows for sessions that changed since they were last written; from here on they count as written."""
    changes = SessionChanges([], [], [], [], [], list(restarts))
    for session in touched:
        before = session.revision
        session.revision = before + 1
        if not session.stored:
            if session.archived:
                changes.revived.append(session.session_key)
                session.archived = False
            session.stored = True
            changes.new.append(all_values(session))
        elif session.touched:
            changes.changed.append((*changing_values(session), before))
        else:
            changes.moved.append((*moving_values(session), before))
        if session.renamed:
            changes.named.append(naming_values(session))
        session.touched = session.renamed = False
    return changes


def write(bulk: Bulk, changes: SessionChanges) -> None:
    """Write them in the caller's transaction. Raises SessionConflict, or the driver's error for a life that exists."""
    if changes.revived:
        marks = ", ".join(["?" if bulk.is_sqlite else "%s"] * len(changes.revived))
        bulk.query(f"DELETE FROM radius_session_history WHERE session_key IN ({marks})", changes.revived)  # noqa: S608
    bulk.insert("radius_session", COLUMNS, changes.new)
    changed = bulk.update("radius_session", MOVING, "revision", changes.moved)
    changed += bulk.update("radius_session", CHANGING, "revision", changes.changed)
    if changed != len(changes.moved) + len(changes.changed):
        raise SessionConflict
    bulk.update("radius_session", ("session_key", "service_id"), "revision", changes.named)
    for restart in changes.restarts:
        _write_restart(bulk, restart)


def load(bulk: Bulk, keys: Sequence[Key], heard_since_us: int = 0) -> dict[Key, list[Session]]:
    """The lives of these ids, oldest first; an empty list for an id never seen.

    Of lives in the history only those that were heard of since `heard_since_us`.
    """
    found: dict[Key, list[Session]] = {key: [] for key in keys}
    known: dict[str, Session] = {}
    rows = bulk.lookup("radius_session", COLUMNS, _LIFE, keys)
    past = bulk.lookup("radius_session_history", COLUMNS, _LIFE, keys, at_least=("last_seen_us", heard_since_us))
    for archived, row in ((False, rows), (True, past)):
        for values in row:
            session = Session(*values)
            session.stored, session.archived, session.touched = not archived, archived, archived
            found[session.nas_id, session.acct_session_id].append(session)
            known[session.session_key] = session
    if not known:
        return found
    for lives in found.values():
        lives.sort(key=lambda life: life.started_us)
        _number_apart(lives)
    for session_key, stretch in address_store.load(bulk, list(known)):
        known[session_key].addresses.append(stretch)
    return found


def _number_apart(lives: Sequence[Session]) -> None:
    """A life of the history may bear the number of one that began when nobody looked back so far."""
    taken = {life.life for life in lives if not life.archived}
    for life in lives:
        if life.archived and life.life in taken:
            life.life = max(other.life for other in lives) + 1
        taken.add(life.life)


def load_restarts(bulk: Bulk) -> dict[str, Restart]:
    rows = bulk.query("SELECT nas_id, boundary_us, seen_us, kind, recent FROM radius_nas_restart")
    return {row[0]: Restart(*row) for row in rows}


def find_silent(bulk: Bulk, now_us: int, missed_interims: int, restart_grace_us: int, limit: int) -> list[BulkRow]:
    """(nas_id, acct_session_id, silent intervals that end it) of live sessions that are stale, or suspect since their
    NAS restarted. `missed_interims` holds for NAS that have no number of their own; 0 of one ends nothing."""
    mark = "?" if bulk.is_sqlite else "%s"
    missed = f"COALESCE(n.missed_interims, {missed_interims})"
    return bulk.query(
        f"SELECT s.nas_id, s.acct_session_id, {missed} FROM radius_session AS s"  # noqa: S608
        " LEFT JOIN radius_nas_restart AS r ON r.nas_id = s.nas_id AND s.last_event_us <= r.boundary_us"
        f" AND r.seen_us < {mark} LEFT JOIN ({_OWN_NUMBER}) AS n ON n.nas_id = s.nas_id WHERE s.state = 'live'"
        f" AND (r.nas_id IS NOT NULL OR {missed} > 0 AND"
        f" s.last_seen_us < {mark} - CAST(s.interim_s AS BIGINT) * {missed} * 1000000) LIMIT {limit}",
        (now_us - restart_grace_us, now_us),
    )


_OWN_NUMBER = (
    "SELECT nas_id, missed_interims FROM radius_nas WHERE missed_interims IS NOT NULL"
    " UNION ALL SELECT m.nas_id, k.missed_interims FROM radius_nas_member AS m"
    " JOIN radius_nas AS k ON k.nas_id = m.network_id WHERE k.missed_interims IS NOT NULL"
)
"""NAS, and boxes of networks, with a number of missed interims of their own: few, so the many sessions cost nothing."""


def find_past(bulk: Bulk, before_us: int, limit: int) -> list[BulkRow]:
    """(session_key, nas_id, acct_session_id) of sessions that ended, unheard of since `before_us`."""
    mark = "?" if bulk.is_sqlite else "%s"
    return bulk.query(
        "SELECT session_key, nas_id, acct_session_id FROM radius_session"  # noqa: S608
        f" WHERE state <> 'live' AND last_seen_us < {mark} LIMIT {limit}",
        (before_us,),
    )


def archive(bulk: Bulk, session_keys: Sequence[str], before_us: int) -> None:
    """Move them to the history, as far as nothing happened to them meanwhile; lives that were void just end."""
    mark = "?" if bulk.is_sqlite else "%s"
    marks = ", ".join([mark] * len(session_keys))
    columns = ", ".join(COLUMNS)
    past = f"session_key IN ({marks}) AND state <> 'live' AND last_seen_us < {mark}"
    values = (*session_keys, before_us)
    if not bulk.is_sqlite:
        # Rows first locked stay as they are until both statements have seen them.
        bulk.query(f"SELECT session_key FROM radius_session WHERE {past} FOR UPDATE", values)  # noqa: S608
    bulk.query(
        f"INSERT INTO radius_session_history ({columns}) SELECT {columns} FROM radius_session"  # noqa: S608
        f" WHERE {past} AND state <> 'void'",
        values,
    )
    bulk.query(f"DELETE FROM radius_session WHERE {past}", values)  # noqa: S608


def _write_restart(bulk: Bulk, restart: Restart) -> None:
    marks = ", ".join(["?" if bulk.is_sqlite else "%s"] * 5)
    bulk.query(
        "INSERT INTO radius_nas_restart (nas_id, boundary_us, seen_us, kind, recent)"  # noqa: S608
        f" VALUES ({marks}) ON CONFLICT (nas_id) DO UPDATE SET boundary_us = excluded.boundary_us,"
        " seen_us = excluded.seen_us, kind = excluded.kind, recent = excluded.recent"
        " WHERE excluded.boundary_us >= radius_nas_restart.boundary_us",
        (restart.nas_id, restart.boundary_us, restart.seen_us, restart.kind, restart.recent),
    )
