"""The ledger of usage: per source and hour of arrival, what was accepted and what has become of it.

    accepted = rated + unrated + suspense + duplicate

Written in the transaction of whatever it counts, so the two sides are never apart; `recount` counts them again from
what is stored, and says where they are. A record counts whole: one of which a part waits is in suspense. Amounts are
octets, or seconds of calls. `unrated` is what costs nothing: a call that nobody answered, a report of nothing new, what
only compares with another source, what a person wrote off.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.sources.tables import usage_hour
from controller.store.many import insert_rows

RADIUS = "radius"
"""The source that needs no registering: accounting of sessions, by the usage log."""

RATED, UNRATED, SUSPENSE, DUPLICATE = "rated", "unrated", "suspense", "duplicate"
DISPOSITIONS = (RATED, UNRATED, SUSPENSE, DUPLICATE)

_MOST = 10**15
"""Of one record no more is counted: a peer's nonsense must not take the sum of an hour beyond 64 bits."""
_LOW = 10**9

_COUNTS = tuple(f"{name}_{what}" for name in ("accepted", *DISPOSITIONS) for what in ("records", "amount"))
_COLUMNS = ("source", "hour", *_COUNTS)
_ADD = "ON CONFLICT (source, hour) DO UPDATE SET " + ", ".join(
    f"{name} = {usage_hour.name}.{name} + excluded.{name}" for name in _COUNTS
)


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of one source; per disposition (records, amount)."""

    source: str
    hour: datetime
    accepted: tuple[int, int]
    rated: tuple[int, int]
    unrated: tuple[int, int]
    suspense: tuple[int, int]
    duplicate: tuple[int, int]

    @property
    def adds_up(self) -> bool:
        parts = (self.rated, self.unrated, self.suspense, self.duplicate)
        return all(self.accepted[n] == sum(part[n] for part in parts) for n in (0, 1))


class Tally:
    """Collects what a transaction counts; `write` puts it into the ledger."""

    def __init__(self) -> None:
        self._hours: dict[tuple[str, datetime], dict[str, list[int]]] = {}
        self._last: tuple[str, datetime, datetime, dict[str, list[int]]] | None = None

    def accept(self, source: str, at: datetime, disposition: str, amount: int, records: int = 1) -> None:
        """Records that arrived at `at`, and what became of them."""
        hour, amount = self._hour(source, at), min(amount, _MOST)
        for name in ("accepted", disposition):
            counts = hour[name]
            counts[0] += records
            counts[1] += amount

    def move(self, source: str, at: datetime, old: str, new: str, amount: int, records: int = 1) -> None:
        """A record that arrived at `at`, or a part of it (0 records), has become something else."""
        hour, amount = self._hour(source, at), min(amount, _MOST)
        for name, sign in ((old, -1), (new, 1)):
            hour[name][0] += sign * records
            hour[name][1] += sign * amount

    def totals(self) -> dict[tuple[str, str], int]:
        """Records by source and disposition."""
        found: dict[tuple[str, str], int] = {}
        for (source, _), hour in self._hours.items():
            for name in DISPOSITIONS:
                found[source, name] = found.get((source, name), 0) + hour[name][0]
        return found

    async def write(self, conn: AsyncConnection) -> None:
        rows = [
            (*key, *(count for name in ("accepted", *DISPOSITIONS) for count in hour[name]))
            for key, hour in sorted(self._hours.items())
        ]
        await insert_rows(conn, usage_hour, _COLUMNS, rows, _ADD)

    def _hour(self, source: str, at: datetime) -> dict[str, list[int]]:
        last = self._last
        if last is not None and last[0] == source and last[1] <= at < last[2]:
            return last[3]  # records come in bunches of the same hour
        hour = hour_of(at)
        found = self._hours.get((source, hour))
        if found is None:
            found = self._hours[source, hour] = {name: [0, 0] for name in ("accepted", *DISPOSITIONS)}
        self._last = source, hour, hour + timedelta(hours=1), found
        return found


def fate(parts: Collection[str]) -> str:
    """What becomes of a record whose parts became these: it waits while a part of it does."""
    return next((name for name in (SUSPENSE, RATED) if name in parts), UNRATED)


def hour_of(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


async def page(
    conn: AsyncConnection,
    source: str | None,
    since: datetime | None,
    until: datetime | None,
    after: tuple[datetime, str] | None,
    limit: int,
) -> list[Hour]:
    """Newest hour first, then by source."""
    query = select(usage_hour).order_by(usage_hour.c.hour.desc(), usage_hour.c.source).limit(limit)
    if source is not None:
        query = query.where(usage_hour.c.source == source)
    if since is not None:
        query = query.where(usage_hour.c.hour >= hour_of(since))
    if until is not None:
        query = query.where(usage_hour.c.hour < until)
    if after is not None:
        at, name = after
        same_hour = (usage_hour.c.hour == at) & (usage_hour.c.source > name)
        query = query.where((usage_hour.c.hour < at) | same_hour)
    return [_hour(row) for row in await conn.execute(query)]


async def sums(conn: AsyncConnection, since: datetime | None = None) -> list[Hour]:
    """Per source over all its hours since `since`; `hour` is the first of them."""
    # In two parts: years of a large network's octets do not fit into 64 bits, and SQLite's sum then fails.
    columns = [
        func.sum(part).label(f"{name}_{which}")
        for name in _COUNTS
        for which, part in (("high", usage_hour.c[name] // _LOW), ("low", usage_hour.c[name] % _LOW))
    ]
    query = select(usage_hour.c.source, func.min(usage_hour.c.hour).label("hour"), *columns)
    if since is not None:
        query = query.where(usage_hour.c.hour >= hour_of(since))
    rows = await conn.execute(query.group_by(usage_hour.c.source).order_by(usage_hour.c.source))
    return [_hour(row, whole=False) for row in rows]


async def unbalanced(conn: AsyncConnection) -> list[Hour]:
    """Hours that do not add up: there are none unless somebody changed the ledger with SQL."""
    c = usage_hour.c
    apart = [
        c[f"accepted_{what}"] != sum((c[f"{name}_{what}"] for name in DISPOSITIONS[1:]), c[f"rated_{what}"])
        for what in ("records", "amount")
    ]
    query = select(usage_hour).where(apart[0] | apart[1]).order_by(c.hour, c.source)
    return [_hour(row) for row in await conn.execute(query)]


def _hour(row: Row[Any], *, whole: bool = True) -> Hour:
    def count(name: str) -> int:
        if whole:
            return int(getattr(row, name))
        return int(getattr(row, f"{name}_high")) * _LOW + int(getattr(row, f"{name}_low"))

    def pair(name: str) -> tuple[int, int]:
        return count(f"{name}_records"), count(f"{name}_amount")

    return Hour(
        row.source,
        row.hour,
        *(pair(name) for name in ("accepted", *DISPOSITIONS)),
    )
