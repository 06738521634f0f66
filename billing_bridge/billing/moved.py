"""What a charge was made for and another service was given since: the reversals, whose word it was, what corrects it.

    charge 1    intervals up to n   booked by whose it was by then
    decision                        n + 1: a reversal of one of them, and its parts anew
    charge 2    intervals up to m   without both: the difference is credited

An interval is taken back by a reversal of a higher id, so which charge knew of it follows from the ids alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing import evidence, usage_rows
from billing_bridge.billing.model import BookedInterval, DayUsage, RatedCharge
from billing_bridge.billing.repository import to_interval
from billing_bridge.sources import identifiers
from billing_bridge.sources.identifiers import USERNAME, Mapped, changes_within, owner
from billing_bridge.sources.tables import record
from billing_bridge.tables import charge, usage_interval
from controller.domain.identity import ChargeId
from controller.store.usage_log import usage_records

_CHUNK = 500
_Name = tuple[str, str]
"""Kind and name of an identifier."""


@dataclass(frozen=True, slots=True)
class Moved:
    """An interval that `billed_by` was made for, and the reversal that took it back afterwards.

    `decision` is whose word it was (None: nobody's that is known); `was_theirs`: by what was said before it, or by the
    record itself, the interval was the service's. `corrected_by` is the first charge that knows of the reversal.
    """

    booked: BookedInterval
    reversal_id: int
    billed_by: ChargeId
    corrected_by: ChargeId | None
    decision: Mapped | None
    was_theirs: bool


async def of_charge(conn: AsyncConnection, rated: RatedCharge) -> list[Moved]:
    """What was moved away of this charge since it was made, and of the one before it what this one takes back."""
    if not rated.evidence and not rated.attempt:
        return []
    chain = await _chain(conn, rated)
    at = next(n for n, (charge_id, _) in enumerate(chain) if charge_id == rated.charge.charge_id)
    found = await _taken_back(conn, chain, at)
    if at:
        own = rated.charge.charge_id
        found += [pair for pair in await _taken_back(conn, chain, at - 1) if pair[3] == own]
    return await _judged(conn, found)


async def _chain(conn: AsyncConnection, rated: RatedCharge) -> list[tuple[ChargeId, datetime]]:
    """The charges for the same, in order, and when each was made."""
    c = charge.c
    query = select(c.charge_id, c.created_at).where(
        c.subscription_id == rated.charge.subscription_id,
        c.period_first_on == rated.period.first_on,
        c.version_id == rated.charge.version_id,
        c.kind == rated.charge.kind.value,
        c.code == rated.code,
    )
    return [(ChargeId(row.charge_id), row.created_at) for row in await conn.execute(query.order_by(c.attempt))]


_Pair = tuple[BookedInterval, int, ChargeId, ChargeId | None, datetime]
"""Interval, reversal, the charge it was billed by and the one that knows better, and when it was billed."""


async def _taken_back(conn: AsyncConnection, chain: Sequence[tuple[ChargeId, datetime]], at: int) -> list[_Pair]:
    charge_id, made_at = chain[at]
    later: list[tuple[ChargeId, dict[object, int]]] | None = None
    found: list[_Pair] = []
    for day in await usage_rows.evidence_of(conn, charge_id):
        reversals = await _reversals(conn, day)
        if not reversals:
            continue
        if later is None:
            later = [(i, await _upto(conn, i)) for i, _ in chain[at + 1 :]]
        waiting = defaultdict(list)
        for reversal in reversed(reversals):
            waiting[evidence.content(reversal, -1)].append(reversal.interval_id)
        for booked in await evidence.intervals(conn, day):
            own = waiting[evidence.content(booked, 1)]
            if own:
                reversal_id, key = own.pop(), (day.service_id, day.day)
                # A day that a later charge does not name had nothing left when it was made.
                knows = next((i for i, upto in later if upto.get(key, reversal_id) >= reversal_id), None)
                found.append((booked, reversal_id, charge_id, knows, made_at))
    return found


async def _upto(conn: AsyncConnection, charge_id: ChargeId) -> dict[object, int]:
    return {(d.service_id, d.day): d.last_interval_id for d in await usage_rows.evidence_of(conn, charge_id)}


async def _reversals(conn: AsyncConnection, day: DayUsage) -> list[BookedInterval]:
    """Reversals on a day that came after what a charge names of it, in order."""
    i = usage_interval.c
    query = select(usage_interval).where(
        i.service_id == day.service_id,
        i.day == day.day,
        i.interval_id > day.last_interval_id,
        i.upstream_octets + i.downstream_octets < 0,
    )
    return [to_interval(row) for row in await conn.execute(query.order_by(i.interval_id))]


async def _judged(conn: AsyncConnection, pairs: Sequence[_Pair]) -> list[Moved]:
    if not pairs:
        return []
    names = await _names(conn, [pair[0] for pair in pairs])
    said = {
        identifier: sorted(await identifiers.entries(conn, *identifier), key=lambda e: e.mapped_at)
        for identifier in {named for named, _ in names.values()}
    }
    found = []
    for booked, reversal_id, billed_by, knows, made_at in pairs:
        name, told = names.get((booked.source, booked.interval.record_ids[-1]), (None, None))
        decision, theirs = whose(booked, told, said[name] if name else (), made_at)
        found.append(Moved(booked, reversal_id, billed_by, knows, decision, theirs))
    return found


def whose(
    booked: BookedInterval, told: str | None, entries: Sequence[Mapped], billed_at: datetime
) -> tuple[Mapped | None, bool]:
    """(the decision that moved it, whether it was its service's before that). Pure.

    `told` is the service that the record names, `entries` all decisions about its identifier as they were made.
    """
    own = booked.interval.service_id
    theirs = told is None or told == own
    known: list[Mapped] = []
    for entry in entries:
        before = _owners(booked, known)
        known.append(entry)
        after = _owners(booked, known)
        theirs = theirs or own in before
        if entry.mapped_at >= billed_at and after != before and after - {own}:
            return entry, theirs
    return None, theirs or own in _owners(booked, known)


def _owners(booked: BookedInterval, entries: Iterable[Mapped]) -> set[str | None]:
    """Whose the interval is, piece by piece, by these decisions; empty where they say nothing of it."""
    timeline = sorted((e.since, e.service_id) for e in entries)
    first, last = booked.interval.since, booked.interval.until
    pieces = [last] if first == last else [first, *changes_within(timeline, first, last)]
    return {owner(timeline, at) for at in pieces if identifiers.decided(timeline, at)}


async def _names(
    conn: AsyncConnection, booked: Iterable[BookedInterval]
) -> Mapping[tuple[str | None, int], tuple[_Name, str | None]]:
    """By record its identifier, and the service that it names."""
    logged: set[int] = set()
    sourced: set[int] = set()
    for one in booked:
        (logged if one.source is None else sourced).add(one.interval.record_ids[-1])
    found: dict[tuple[str | None, int], tuple[_Name, str | None]] = {}
    r = usage_records.c
    for row in await _rows(conn, logged, (r.record_id, r.username, r.service_id)):
        found[None, row.record_id] = ((USERNAME, row.username), row.service_id)
    r = record.c
    for row in await _rows(conn, sourced, (r.record_id, r.source, r.identifier_kind, r.identifier)):
        found[row.source, row.record_id] = ((row.identifier_kind, row.identifier), None)
    return found


async def _rows(conn: AsyncConnection, ids: Iterable[int], columns: Sequence[Any]) -> list[Row[Any]]:
    wanted = sorted(ids)
    found: list[Row[Any]] = []
    for start in range(0, len(wanted), _CHUNK):
        found += (await conn.execute(select(*columns).where(columns[0].in_(wanted[start : start + _CHUNK])))).all()
    return found
