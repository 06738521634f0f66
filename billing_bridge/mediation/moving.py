"""Gives booked usage to whoever an identifier was, once that is entered late: taken back there, booked again here.

    booked       A  |------------ 100 ------------|
    said later         B since here ↓
    afterwards   A  |------------ 100 ------------|   stays as it was booked: what was billed names it
                 A  |----------- −100 ------------|   the reversal
                 A  |----- 60 -----|                  and its parts again, by whose they are
                 B                 |----- 40 -----|

Nothing is changed in place, so the evidence of what was billed stands. A part on a day that was billed is an adjustment
of its service: the next run credits or charges the difference, and names the period. What a person wrote off stays so;
what was only compared with another source stays where it was compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.mediation import repository
from billing_bridge.mediation.attribution import DayPart
from billing_bridge.mediation.booking import post
from billing_bridge.mediation.growth import Growth
from billing_bridge.mediation.repository import Booking, Held, Standing
from billing_bridge.sources import assignments
from billing_bridge.sources.assignments import OCTETS
from billing_bridge.sources.comparing import compare
from billing_bridge.sources.identifiers import USERNAME as OF_RADIUS
from billing_bridge.sources.identifiers import Timeline, changes_within, decided, owner
from billing_bridge.sources.ledger import RADIUS, SUSPENSE, UNRATED, Tally
from billing_bridge.sources.moves import Moved
from billing_bridge.sources.repository import Waiting
from billing_bridge.sources.repository import suspend as suspend_sourced
from billing_bridge.sources.tables import record
from billing_bridge.suspense.dispositions import (
    Part,
    RecordKey,
    Told,
    count_records,
    counts_as,
    day_items,
    fates,
    live,
    parts_of,
    shares_of,
    told_of,
)
from billing_bridge.suspense.model import NO_SERVICE
from billing_bridge.tables import usage_day
from billing_bridge.zones import Zones, midnights, zones_of
from controller.domain.clock import local_date
from controller.store.engine import Database
from controller.store.metadata import to_micros
from controller.store.usage_log import usage_links, usage_records

_DAY = timedelta(days=1)
_EARLIER = timedelta(days=1)
"""How far the clock of a NAS, and so the instant of a record, may be ahead of its arrival here."""
_AT_ONCE = 50_000
"""Records of the usage log read in one statement, while nobody waits for it."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """Records of a username from `since` on, up to `upto_record` of the usage log, and the services that they name.

    What mediation has passed is never changed, so it can be read before anybody is kept waiting.
    """

    name: str
    since: datetime
    upto_record: int
    records: frozenset[int]
    services: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Cut:
    """A booked part, and by whose it is now its pieces."""

    part: Part
    pieces: Sequence[tuple[str | None, DayPart]]


async def read_ahead(database: Database, kind: str, name: str, since: datetime) -> Ahead | None:
    """What `move` will need of the usage log, which has no index by username: read piece by piece, up to the position.

    None where it needs none of it. The caller holds nothing. Mediation goes on meanwhile: what it takes up after this,
    `move` reads itself.
    """
    if kind != OF_RADIUS:
        return None
    async with database.read() as conn:
        # In this order: a record that the position has passed is among those of which the first is asked for.
        upto = (await repository.read_position(conn)).record_id
        first = await _first_record(conn, since)
    records: set[int] = set()
    services: set[str] = set()
    start = upto + 1 if first is None else first
    while start <= upto:
        end = min(start + _AT_ONCE - 1, upto)
        async with database.read() as conn:
            await _logged(conn, name, start, end, records, services)
            now_at = (await repository.read_position(conn)).record_id
        start = end + 1
        if now_at - end > _AT_ONCE:
            upto = now_at
        await asyncio.sleep(0)
    return Ahead(name, since, upto, frozenset(records), frozenset(services))


async def move(
    conn: AsyncConnection,
    kind: str,
    name: str,
    since: datetime,
    timelines: tuple[Timeline, Timeline],
    *,
    ahead: Ahead | None,
    upto_record: int,
    last_interval_id: int,
    zone: ZoneInfo,
    now: datetime,
) -> tuple[list[Moved], int]:
    """Move what was booked under the identifier from `since` on; returns that, and the last interval.

    `timelines` are all that was decided, and what is stronger than RADIUS. Reads the usage log from where `ahead` ends
    up to `upto_record`; from a day before `since`, where it is of something else. The caller holds the position.
    """
    every, _ = timelines
    end = min((at for at, _ in every if at > since), default=None)
    records, services = await _records(conn, kind, name, since, ahead, upto_record)
    services |= {service_id for _, service_id in every if service_id is not None}
    if not records:
        return [], last_interval_id
    # Of services in any zone: nowhere is it more than a day earlier or later than in UTC.
    last_on = (now if end is None else min(end, now)).date() + _DAY
    first_on = since.date() - _DAY
    days = {(s, first_on + timedelta(days=n)) for s in services for n in range((last_on - first_on).days + 1)}
    booked = [
        p for p in live(await parts_of(conn, days))
        if p.of in records and (p.until > since or p.since == p.until == since) and (end is None or p.since < end)
    ]  # fmt: skip
    told = await told_of(conn, booked)
    items = await day_items(conn, {p.service_id for p in booked}, first_on)
    zones = await zones_of(conn, services, zone)
    cuts = [
        found for p in booked
        if p.of in told and counts_as(p.interval_id, items.get(p.key, ())) != UNRATED
        and (found := _cut(p, told[p.of], timelines, since, zones)) is not None
    ]  # fmt: skip
    if not cuts:
        return [], last_interval_id
    return await _Move(conn, kind, name, told, zone, now).make(cuts, last_interval_id)


async def date_anew(
    conn: AsyncConnection, service_id: str, last_interval_id: int, *, zone: ZoneInfo, now: datetime
) -> int:
    """Book by its own days what a service used before its zone was known; returns the last interval.

    What a person wrote off stays where it is. The caller holds the position.
    """
    used = await conn.scalars(select(usage_day.c.day).where(usage_day.c.service_id == service_id))
    booked = live(await parts_of(conn, {(service_id, day) for day in used}))
    if not booked:
        return last_interval_id
    told = await told_of(conn, booked)
    items = await day_items(conn, [service_id])
    own = (await zones_of(conn, [service_id], zone)).of(service_id)
    cuts = []
    for part in booked:
        if part.of in told and counts_as(part.interval_id, items.get(part.key, ())) != UNRATED:
            days = shares_of(part, told[part.of], midnights(part.since, part.until, own), own)
            if any(piece.day != part.day for piece in days):
                cuts.append(_Cut(part, [(service_id, piece) for piece in days]))
    if not cuts:
        return last_interval_id
    _, last_interval_id = await _Move(conn, "", "", told, zone, now).make(cuts, last_interval_id)
    return last_interval_id


class _Move:
    def __init__(
        self,
        conn: AsyncConnection,
        kind: str,
        name: str,
        told: Mapping[RecordKey, Told],
        zone: ZoneInfo,
        now: datetime,
    ) -> None:
        self._conn = conn
        self._kind = kind
        self._name = name
        self._told = told
        self._zone = zone
        self._now = now

    async def make(self, cuts: Sequence[_Cut], last_interval_id: int) -> tuple[list[Moved], int]:
        conn, tally = self._conn, Tally()
        owners = {to for cut in cuts for to, _ in cut.pieces if to is not None} | {c.part.service_id for c in cuts}
        standings = await repository.standings(conn, owners)
        bills = await assignments.of_services(conn, OCTETS, owners)
        bookings: list[Booking] = []
        posted: list[tuple[_Cut, int, range]] = []
        elsewhere: list[tuple[int, str, int]] = []
        nobodys: list[tuple[Part, DayPart]] = []
        for n, cut in enumerate(cuts):
            reversal = len(bookings)
            bookings.append(_reversal(cut.part, standings))
            for to, piece in cut.pieces:
                octets = piece.upstream_octets + piece.downstream_octets
                if to is None:
                    nobodys.append((cut.part, piece))
                    elsewhere.append((n, SUSPENSE, octets))
                elif to != cut.part.service_id and not _bills(bills.source(to, piece.since), cut.part.source):
                    growth = replace(_growth(cut.part, piece), service_id=to)
                    await compare(conn, cut.part.source, [growth], self._zone)
                    elsewhere.append((n, UNRATED, octets))
                else:
                    bookings.append(_booking(cut.part, piece, to, standings))
            posted.append((cut, reversal, range(reversal + 1, len(bookings))))
        parts = [cut.part for cut in cuts]
        made = await post(conn, bookings, standings, last_interval_id, zone=self._zone, now=self._now)
        # What settling the days has counted already, and what they are with all of it.
        before = await fates(conn, parts, self._told, upto=last_interval_id, also=owners)
        for part, piece in nobodys:
            await self._hold(part, piece)
        after = await fates(conn, parts, self._told, also=owners)
        counted = [(n, made.disposition(place), bookings[place].octets)
                   for n, (_, _, again) in enumerate(posted) for place in again]  # fmt: skip
        for n, new, octets in (*counted, *elsewhere):
            cut, reversal, _ = posted[n]
            at = self._told[cut.part.of].accepted_at
            tally.move(cut.part.source, at, made.disposition(reversal), new, octets, 0)
        await count_records(conn, before, after, self._told, tally)
        await tally.write(conn)
        return _summary(cuts, standings), made.last_interval_id

    async def _hold(self, part: Part, piece: DayPart) -> None:
        """It is nobody's: it waits."""
        said = self._told[part.of]
        if part.source == RADIUS:
            growth = replace(_growth(part, piece), service_id=None)
            held = Held(growth, NO_SERVICE, said.username, said.nas_id, said.accepted_at)
            await repository.suspend(self._conn, [held], self._now)
            return
        waiting = Waiting(
            part.record_ids[-1], said.accepted_at, NO_SERVICE, "nobody is known to have it", self._name, piece.since,
            piece.until, piece.upstream_octets, piece.downstream_octets, grown_since=part.grown_since,
        )  # fmt: skip
        await suspend_sourced(self._conn, part.source, [waiting], self._now)


async def _records(
    conn: AsyncConnection, kind: str, name: str, since: datetime, ahead: Ahead | None, upto_record: int
) -> tuple[set[RecordKey], set[str]]:
    """Records that the identifier may be in at `since` or later, and services that they name."""
    query = select(record.c.source, record.c.record_id).where(
        record.c.identifier_kind == kind, record.c.identifier == name, record.c.until >= since
    )
    found: set[RecordKey] = {(row.source, row.record_id) for row in await conn.execute(query)}
    if kind != OF_RADIUS:
        return found, set()
    if ahead is not None and ahead.name == name and ahead.since <= since:
        records, services, first = set(ahead.records), set(ahead.services), ahead.upto_record + 1
    else:
        records, services = set(), set()
        first = await _first_record(conn, since) or upto_record + 1
    if first <= upto_record:
        await _logged(conn, name, first, upto_record, records, services)
    return found | {(RADIUS, record_id) for record_id in records}, services


async def _first_record(conn: AsyncConnection, since: datetime) -> int | None:
    """The first record that may tell of `since`; None when none came since."""
    links = select(func.min(usage_links.c.first_record_id)).where(
        usage_links.c.committed_us >= to_micros(since - _EARLIER)
    )
    found: int | None = await conn.scalar(links)
    return found


async def _logged(
    conn: AsyncConnection, name: str, first: int, last: int, records: set[int], services: set[str]
) -> None:
    """Add the records of the username among these of the usage log, and the services that they name."""
    r = usage_records.c
    query = select(r.record_id, r.service_id).where(r.record_id >= first, r.record_id <= last, r.username == name)
    for row in await conn.execute(query):
        records.add(row.record_id)
        if row.service_id is not None:
            services.add(row.service_id)


def _cut(part: Part, told: Told, timelines: tuple[Timeline, Timeline], since: datetime, zones: Zones) -> _Cut | None:
    """The part in pieces by whose it is from `since` on, and by their days; None when that is nobody new. Pure."""
    every, strong = timelines
    timeline = strong if told.by_radius else every
    cuts = {at for at in changes_within(timeline, part.since, part.until) if at >= since}
    cuts |= zones.midnights((service_id for _, service_id in timeline), part.since, part.until)
    pieces = []
    for piece in shares_of(part, told, sorted(cuts), zones.usual):
        if not piece.upstream_octets and not piece.downstream_octets:
            continue
        at = piece.until if part.since == part.until else piece.since
        now_of = owner(timeline, at) if at >= since and decided(timeline, at) else part.service_id
        pieces.append((now_of, replace(piece, day=local_date(at, zones.of(now_of)))))
    if all(now_of == part.service_id for now_of, _ in pieces):
        return None
    return _Cut(part, pieces)


def _bills(decided_source: str | None, source: str) -> bool:
    return decided_source == source or (source == RADIUS and decided_source is None)


def _reversal(part: Part, standings: Mapping[str, Standing]) -> Booking:
    return Booking(
        part.service_id, part.day, part.session_key, part.grown_since, part.since, part.until, -part.upstream_octets,
        -part.downstream_octets, part.record_ids, _late(standings, part.service_id, part.day), _named(part),
    )  # fmt: skip


def _booking(part: Part, piece: DayPart, to: str, standings: Mapping[str, Standing]) -> Booking:
    return Booking(
        to, piece.day, part.session_key, part.grown_since, piece.since, piece.until, piece.upstream_octets,
        piece.downstream_octets, part.record_ids, _late(standings, to, piece.day), _named(part),
    )  # fmt: skip


def _growth(part: Part, piece: DayPart) -> Growth:
    return Growth(
        part.session_key, None, piece.since, piece.until, piece.upstream_octets, piece.downstream_octets,
        part.record_ids, grown_since=part.grown_since,
    )  # fmt: skip


def _named(part: Part) -> str | None:
    return None if part.source == RADIUS else part.source


def _late(standings: Mapping[str, Standing], service_id: str, day: date) -> bool:
    known = standings.get(service_id)
    return known is not None and known.bills_late(day)


def _summary(cuts: Sequence[_Cut], standings: Mapping[str, Standing]) -> list[Moved]:
    found: dict[tuple[str, str | None], list[Any]] = {}
    for cut in cuts:
        for to, piece in cut.pieces:
            if to == cut.part.service_id:
                continue
            own = found.setdefault((cut.part.service_id, to), [0, set(), piece.day, piece.day, False])
            own[0] += piece.upstream_octets + piece.downstream_octets
            own[1].add(cut.part.of)
            own[2], own[3] = min(own[2], piece.day), max(own[3], piece.day)
            services = [cut.part.service_id, *([] if to is None else [to])]
            own[4] = own[4] or any(_late(standings, s, piece.day) for s in services)
    return [
        Moved(old, new, octets, len(records), first_on, last_on, adjusted)
        for (old, new), (octets, records, first_on, last_on, adjusted) in sorted(
            found.items(), key=lambda f: (f[0][0], f[0][1] or "")
        )
    ]
