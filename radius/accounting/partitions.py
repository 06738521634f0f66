"""The history's months: partitions made ahead on PostgreSQL, and what is too old dropped in one piece.

SQLite keeps the history in one table, clustered by the same time, and gives up its oldest rows a chunk at a time.

    radius_session_history ─┬ radius_session_history_2026_10   last heard of in October 2026 (UTC)
                            ├ radius_session_history_2026_11
                            ├ …                                three months ahead
                            └ radius_session_history_rest      whatever no month was made for
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from controller.store.bulk import Bulk
from controller.store.metadata import to_micros

AHEAD = 3
"""Months made ahead: a controller that is not restarted and not swept for a quarter still has its partitions."""
CHUNK = 5_000
"""Rows that are given up in one transaction where there are no partitions."""

_TABLE = "radius_session_history"
_NAME = re.compile(_TABLE + r"_(\d{4})_(\d{2})")
_LOCK = 0x4845_4144_0102


def month_of(at: datetime, later: int = 0) -> datetime:
    """The first instant of the month of `at`, or of one `later`."""
    months = at.year * 12 + at.month - 1 + later
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)


def keep(bulk: Bulk, now: datetime, before: datetime | None) -> bool:
    """Make what is needed ahead of `now`, and give up what was last heard of before `before`; whether some is left."""
    make(bulk, now)
    return before is not None and give_up(bulk, before)


def make(bulk: Bulk, now: datetime) -> list[str]:
    """Make this month's partition and the next ones, in the caller's transaction; returns the names of new ones."""
    if bulk.is_sqlite:
        return []
    bulk.query(f"SELECT pg_advisory_xact_lock({_LOCK})")
    existing = set(partitions(bulk))
    made = []
    for later in range(AHEAD + 1):
        first, until = month_of(now, later), month_of(now, later + 1)
        name = f"{_TABLE}_{first:%Y_%m}"
        if name not in existing:
            _make(bulk, name, to_micros(first), to_micros(until))
            made.append(name)
    return made


def _make(bulk: Bulk, name: str, first_us: int, until_us: int) -> None:
    """Rows of that month that lie in the rest move into it: a partition beside them would be refused."""
    among = f"last_seen_us >= {first_us} AND last_seen_us < {until_us}"
    bulk.query(f"CREATE TABLE {name} (LIKE {_TABLE} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
    bulk.query(
        f"WITH moved AS (DELETE FROM {_TABLE}_rest WHERE {among} RETURNING *) INSERT INTO {name} SELECT * FROM moved"  # noqa: S608
    )
    bulk.query(f"ALTER TABLE {_TABLE} ATTACH PARTITION {name} FOR VALUES FROM ({first_us}) TO ({until_us})")


def partitions(bulk: Bulk) -> Sequence[str]:
    """Names of the months that exist, oldest first. PostgreSQL only."""
    rows = bulk.query(
        "SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid"  # noqa: S608
        f" WHERE i.inhparent = '{_TABLE}'::regclass"
    )
    return sorted(row[0] for row in rows if _NAME.fullmatch(row[0]))


def give_up(bulk: Bulk, before: datetime) -> bool:
    """Give up history last heard of before `before`, by whole months on PostgreSQL, in the caller's transaction.

    Returns whether more of it is left, so that nobody is held up for long.
    """
    return _give_up_rows(bulk, before) if bulk.is_sqlite else _give_up_months(bulk, before)


def _give_up_months(bulk: Bulk, before: datetime) -> bool:
    bulk.query(f"SELECT pg_advisory_xact_lock({_LOCK})")
    for name in partitions(bulk):
        match = _NAME.fullmatch(name)
        assert match is not None
        if month_of(datetime(int(match[1]), int(match[2]), 1, tzinfo=UTC), 1) > before:
            break
        # One month a turn: its sessions' addresses go with it.
        bulk.query(f"DELETE FROM radius_session_address WHERE session_key IN (SELECT session_key FROM {name})")  # noqa: S608
        bulk.query(f"DROP TABLE {name}")
        return True
    return False


def _give_up_rows(bulk: Bulk, before: datetime) -> bool:
    oldest = bulk.query(
        f"SELECT last_seen_us, session_key FROM {_TABLE} WHERE last_seen_us < ?"  # noqa: S608
        f" ORDER BY last_seen_us LIMIT {CHUNK}",
        (to_micros(before),),
    )
    if not oldest:
        return False
    last_us = oldest[-1][0]
    bulk.query(
        "DELETE FROM radius_session_address WHERE session_key IN"  # noqa: S608
        f" (SELECT session_key FROM {_TABLE} WHERE last_seen_us <= ?)",
        (last_us,),
    )
    bulk.query(f"DELETE FROM {_TABLE} WHERE last_seen_us <= ?", (last_us,))  # noqa: S608
    return len(oldest) == CHUNK
