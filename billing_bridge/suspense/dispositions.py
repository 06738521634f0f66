"""What the ledger of usage says of booked octets: rated, unless their day has no plan and they wait or were given up.

    items of the day    |- written off -|-- waiting --|
    its intervals       1       2       3      4      5      (ids only ever rise)

An item covers the intervals up to its `last_interval_id` that no item before it covers, so what an interval counts as
is never stored: it follows from its id and the items of its day. `recount` moves the ledger by the difference of two
such answers, hour by hour of arrival; a record counts whole, and waits while any part of it does (`fates`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.mediation.attribution import DayPart, split_by_day
from billing_bridge.sources import identifiers
from billing_bridge.sources.identifiers import SERVICE, USERNAME
from billing_bridge.sources.ledger import RADIUS, RATED, SUSPENSE, UNRATED, Tally, fate
from billing_bridge.sources.repository import set_states
from billing_bridge.sources.tables import record
from billing_bridge.suspense.model import CHARGED, NOT_ENTITLED, WAITING, WRITTEN_OFF, DayItem
from billing_bridge.tables import suspense, usage_interval
from controller.domain.identity import OfferingVersionId
from controller.store.many import one_of
from controller.store.metadata import from_micros
from controller.store.usage_log import usage_records

OPEN = (WAITING, CHARGED, WRITTEN_OFF)
DayKey = tuple[str, date]
"""A service and a local day."""
RecordKey = tuple[str, int]
"""A source and a record of it."""

_COUNTS_AS = {WAITING: SUSPENSE, CHARGED: RATED, WRITTEN_OFF: UNRATED}
_ID = usage_interval.c.interval_id
_CHUNK = 500
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Part:
    """A booked interval: what a record added on one day. The reversal of a part has its octets negated."""

    interval_id: int
    service_id: str
    day: date
    session_key: str
    grown_since: datetime
    since: datetime
    until: datetime
    upstream_octets: int
    downstream_octets: int
    record_ids: tuple[int, ...]
    source: str

    @property
    def key(self) -> DayKey:
        return self.service_id, self.day

    @property
    def of(self) -> RecordKey:
        return self.source, self.record_ids[-1]

    @property
    def octets(self) -> int:
        return self.upstream_octets + self.downstream_octets

    @property
    def reversed(self) -> bool:
        return self.octets < 0


@dataclass(frozen=True, slots=True)
class Told:
    """What the record of a part says of itself; `services` are those of which it may have other parts."""

    accepted_at: datetime
    until: datetime
    upstream_octets: int
    downstream_octets: int
    services: frozenset[str]
    username: str = ""
    nas_id: str = ""
    by_radius: bool = False
    """RADIUS knew the service."""

    def whole(self, part: Part) -> bool:
        """Whether the part is all that its record added."""
        return part.since == part.grown_since and part.until == self.until


def counts_as(interval_id: int, items: Sequence[DayItem]) -> str:
    """What the octets of an interval count as, by the items of its day that are open. Pure."""
    for item in sorted(items, key=lambda i: i.last_interval_id):
        if item.state in _COUNTS_AS and interval_id <= item.last_interval_id:
            return _COUNTS_AS[item.state]
    return RATED


def live(parts: Iterable[Part]) -> list[Part]:
    """Parts that were not taken back. Pure."""
    found = list(parts)
    gone = Counter(_mirror(p, -1) for p in found if p.reversed)
    kept = []
    for part in found:
        if part.reversed:
            continue
        if gone[_mirror(part, 1)]:
            gone[_mirror(part, 1)] -= 1
        else:
            kept.append(part)
    return kept


def shares_of(part: Part, told: Told, cuts: Sequence[datetime], zone: ZoneInfo) -> list[DayPart]:
    """The part in pieces, as shares of all that its record added: each can be computed from the record alone. Pure."""
    also = [part.since, part.until, *cuts]
    whole = split_by_day(part.grown_since, told.until, told.upstream_octets, told.downstream_octets, zone, also)
    own = [p for p in whole if part.since <= p.since and p.until <= part.until]
    if sum(p.upstream_octets + p.downstream_octets for p in own) == part.octets:
        return own
    return split_by_day(part.since, part.until, part.upstream_octets, part.downstream_octets, zone, cuts)


async def day_items(
    conn: AsyncConnection, service_ids: Iterable[str], since: date | None = None
) -> dict[DayKey, list[DayItem]]:
    """The open items of the days of services, in order of their ids."""
    query = (
        select(suspense)
        .where(one_of(conn, suspense.c.service_id, sorted(set(service_ids))))
        .where(suspense.c.reason == NOT_ENTITLED, suspense.c.state.in_(OPEN), suspense.c.day.is_not(None))
        .order_by(suspense.c.suspense_id)
    )
    if since is not None:
        query = query.where(suspense.c.day >= since)
    found: dict[DayKey, list[DayItem]] = defaultdict(list)
    for row in await conn.execute(query):
        item = DayItem(
            row.suspense_id,
            row.state,
            row.upstream_octets,
            row.downstream_octets,
            row.detail,
            None if row.version_id is None else OfferingVersionId(row.version_id),
            row.counted_on,
            row.last_interval_id or 0,
        )
        found[row.service_id, row.day].append(item)
    return found


async def parts_of(conn: AsyncConnection, days: Collection[DayKey], upto: int | None = None) -> list[Part]:
    """The intervals of these days, in order of their ids; those of ids up to `upto`."""
    by_service: dict[str, list[date]] = defaultdict(list)
    for service_id, day in days:
        by_service[service_id].append(day)
    i, found = usage_interval.c, []
    for service_id, own in sorted(by_service.items()):
        query = select(usage_interval).where(i.service_id == service_id, i.day >= min(own), i.day <= max(own))
        if upto is not None:
            query = query.where(i.interval_id <= upto)
        wanted = set(own)
        found += [
            Part(
                row.interval_id, row.service_id, row.day, row.session_key, row.grown_since, row.since, row.until,
                row.upstream_octets, row.downstream_octets, tuple(int(n) for n in row.record_ids.split(",")),
                row.source or RADIUS,
            )
            for row in await conn.execute(query.order_by(i.interval_id))
            if row.day in wanted
        ]  # fmt: skip
    return found


async def told_of(conn: AsyncConnection, parts: Iterable[Part]) -> dict[RecordKey, Told]:
    """What the records of these parts say; one that somebody took out of the usage log says nothing any more."""
    of = {part.of: part for part in parts}
    radius = [part for part in of.values() if part.source == RADIUS]
    return await _logged(conn, radius) | await _sourced(conn, [p for p in of.values() if p.source != RADIUS])


async def recount(
    conn: AsyncConnection,
    changed: Mapping[DayKey, tuple[Sequence[DayItem], Sequence[DayItem]]],
    *,
    upto: int | None = None,
) -> None:
    """The items of these days were the first, and are (in the database too) the second: move the ledger.

    Intervals after `upto` are none of its business: whoever books them counts them.
    """
    parts = await parts_of(conn, changed, upto)
    told = await told_of(conn, parts)
    moved = [
        (part, old, new)
        for part in parts
        if part.of in told
        and (old := counts_as(part.interval_id, changed[part.key][0]))
        != (new := counts_as(part.interval_id, changed[part.key][1]))
    ]
    if not moved:
        return
    touched = live(part for part, _, _ in moved)
    before = {key: items for key, (items, _) in changed.items()}
    fates_before = await fates(conn, touched, told, upto=upto, instead=before)
    fates_after = await fates(conn, touched, told, upto=upto)
    tally = Tally()
    for part, old, new in moved:
        tally.move(part.source, told[part.of].accepted_at, old, new, part.octets, 0)
    await count_records(conn, fates_before, fates_after, told, tally)
    await tally.write(conn)


async def count_records(
    conn: AsyncConnection,
    before: Mapping[RecordKey, str],
    after: Mapping[RecordKey, str],
    told: Mapping[RecordKey, Told],
    tally: Tally,
) -> None:
    """Records of which something else has become count as that."""
    states = []
    for key in sorted(before):
        if before[key] == after[key]:
            continue
        source, record_id = key
        tally.move(source, told[key].accepted_at, before[key], after[key], 0)
        if source != RADIUS:
            states.append((record_id, after[key]))
    await set_states(conn, states)


async def fates(
    conn: AsyncConnection,
    parts: Sequence[Part],
    told: Mapping[RecordKey, Told],
    *,
    upto: int | None = None,
    instead: Mapping[DayKey, Sequence[DayItem]] | None = None,
    also: Collection[str] = (),
) -> dict[RecordKey, str]:
    """What the records of these parts are, by all of their parts with ids up to `upto`.

    `instead` are items of days, in the place of those in the database; `also` services to which parts were given.
    """
    cut = [part for part in parts if also or not told[part.of].whole(part)]
    records = {part.of for part in parts}
    days = {part.key for part in parts}
    for part in cut:
        # Other parts may be of services in other zones: nowhere is it more than a day earlier or later than in UTC.
        first, last = part.grown_since.date() - _DAY, told[part.of].until.date() + _DAY
        span = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        days |= {(service_id, day) for service_id in {*told[part.of].services, *also} for day in span}
    own = live(p for p in await parts_of(conn, days, upto) if p.of in records)
    items = {**await day_items(conn, {service_id for service_id, _ in days}), **(instead or {})}
    dispositions: dict[RecordKey, set[str]] = defaultdict(set)
    for part in own:
        dispositions[part.of].add(counts_as(part.interval_id, items.get(part.key, ())))
    for key in await _held(conn, cut):
        dispositions[key].add(SUSPENSE)
    return {key: fate(dispositions[key]) for key in records}


async def _held(conn: AsyncConnection, parts: Sequence[Part]) -> set[RecordKey]:
    """Records of which a part waits that was never booked."""
    found: set[RecordKey] = set()
    by_ids = {",".join(map(str, p.record_ids)): p.of for p in parts if p.source == RADIUS}
    sourced = sorted(p.record_ids[-1] for p in parts if p.source != RADIUS)
    s = suspense.c
    keys = sorted({(p.session_key, ",".join(map(str, p.record_ids))) for p in parts if p.source == RADIUS})
    for start in range(0, len(keys), _CHUNK):
        query = select(s.record_ids).where(
            s.state == WAITING,
            s.source.is_(None),
            tuple_(s.session_key, s.record_ids).in_(keys[start : start + _CHUNK]),
        )
        found |= {by_ids[ids] for ids in await conn.scalars(query)}
    for start in range(0, len(sourced), _CHUNK):
        query = select(s.source, s.source_record_id).where(
            s.state == WAITING, s.source_record_id.in_(sourced[start : start + _CHUNK])
        )
        found |= {(row.source, row.source_record_id) for row in await conn.execute(query)}
    return found


async def _logged(conn: AsyncConnection, parts: Sequence[Part]) -> dict[RecordKey, Told]:
    """Of records of the usage log: what the last one added to those before it."""
    ids = sorted({i for part in parts for i in part.record_ids})
    rows: dict[int, Row[Any]] = {}
    r = usage_records.c
    for start in range(0, len(ids), _CHUNK):
        columns = (
            r.record_id, r.username, r.nas_id, r.service_id, r.event_us, r.received_us, r.upstream_octets,
            r.downstream_octets,
        )  # fmt: skip
        query = select(*columns).where(r.record_id.in_(ids[start : start + _CHUNK]))
        rows |= {row.record_id: row for row in await conn.execute(query)}
    owners = await identifiers.timelines(conn, USERNAME, {row.username for row in rows.values()})
    found: dict[RecordKey, Told] = {}
    for part in parts:
        own = [rows[i] for i in part.record_ids if i in rows]
        if len(own) < len(part.record_ids):
            continue
        last = own[-1]
        decided = {service_id for _, service_id in owners.get(last.username, ())}
        services = frozenset(i for i in (part.service_id, *(row.service_id for row in own), *decided) if i)
        found[part.of] = Told(
            from_micros(last.received_us),
            from_micros(last.event_us),
            _grown(row.upstream_octets for row in own),
            _grown(row.downstream_octets for row in own),
            services,
            last.username,
            last.nas_id,
            any(row.service_id is not None for row in own),
        )
    return found


def _grown(totals: Iterable[int | None]) -> int:
    """What the last of these running totals added to the highest before it."""
    *before, last = [total or 0 for total in totals]
    return max(0, last - max(before, default=0))


async def _sourced(conn: AsyncConnection, parts: Sequence[Part]) -> dict[RecordKey, Told]:
    ids = sorted(part.record_ids[-1] for part in parts)
    rows: dict[int, Row[Any]] = {}
    for start in range(0, len(ids), _CHUNK):
        query = select(record).where(record.c.record_id.in_(ids[start : start + _CHUNK]))
        rows |= {row.record_id: row for row in await conn.execute(query)}
    by_kind: dict[str, set[str]] = defaultdict(set)
    for row in rows.values():
        by_kind[row.identifier_kind].add(row.identifier)
    owners = {
        kind: await identifiers.timelines(conn, kind, names) for kind, names in by_kind.items() if kind != SERVICE
    }
    found: dict[RecordKey, Told] = {}
    for part in parts:
        row = rows[part.record_ids[-1]]
        timeline = owners.get(row.identifier_kind, {}).get(row.identifier, ())
        services = frozenset(i for i in (part.service_id, *(service_id for _, service_id in timeline)) if i)
        found[part.of] = Told(
            row.accepted_at, row.until, row.upstream_octets, row.downstream_octets, services, row.identifier
        )
    return found


def _mirror(part: Part, sign: int) -> tuple[object, ...]:
    return (
        part.service_id, part.day, part.source, part.session_key, part.record_ids, part.since, part.until,
        sign * part.upstream_octets, sign * part.downstream_octets,
    )  # fmt: skip
