"""What a charge was made for and another service was given since: the reversals, whose word it was, what corrects it.

    charge 1    intervals up to n   booked by whose it was by then
    decision                        n + 1: a reversal of one of them, and its parts anew
    charge 2    intervals up to m   without both: the difference is credited

An interval, or a call, is taken back by a reversal of a higher id, so which charge knew of it follows from the ids
alone; and by which decision from what each move noted of its ids (sources.moves).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing import evidence, usage_rows
from billing_bridge.billing.model import BookedInterval, DayUsage, RatedCharge
from billing_bridge.billing.repository import to_interval
from billing_bridge.sources import booked as calls
from billing_bridge.sources import identifiers, moves
from billing_bridge.sources.assignments import CALLS, OCTETS
from billing_bridge.sources.booked import BookedCall
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
    """An interval or a call that `billed_by` was made for, and the reversal that took it back afterwards.

    `decision` is by whose word it was (None: nobody's that is known); `was_theirs`: by what was said before it, or by
    the record itself, it was the service's. `corrected_by` is the first charge that knows of the reversal.
    """

    booked: BookedInterval | BookedCall
    reversal_id: int
    billed_by: ChargeId
    corrected_by: ChargeId | None
    decision: Mapped | None
    was_theirs: bool


async def of_charge(conn: AsyncConnection, rated: RatedCharge) -> list[Moved]:
    """What was moved away of this charge since it was made, and of the one before it what this one takes back."""
    if not rated.evidence and not rated.calls and not rated.attempt:
        return []
    chain = await _chain(conn, rated)
    at, own = chain.index(rated.charge.charge_id), rated.charge.charge_id
    octets, calls = await _taken_back(conn, chain, at), await _calls_taken_back(conn, chain, at)
    if at:
        octets += [pair for pair in await _taken_back(conn, chain, at - 1) if pair[3] == own]
        calls += [pair for pair in await _calls_taken_back(conn, chain, at - 1) if pair[3] == own]
    return await _judged(conn, octets) + await _of_calls(conn, calls)


async def _chain(conn: AsyncConnection, rated: RatedCharge) -> list[ChargeId]:
    """The charges for the same, in order."""
    c = charge.c
    query = select(c.charge_id).where(
        c.subscription_id == rated.charge.subscription_id,
        c.period_first_on == rated.period.first_on,
        c.version_id == rated.charge.version_id,
        c.kind == rated.charge.kind.value,
        c.code == rated.code,
    )
    return [ChargeId(charge_id) for charge_id in await conn.scalars(query.order_by(c.attempt))]


_Pair = tuple[BookedInterval, int, ChargeId, ChargeId | None]
"""Interval, reversal, the charge it was billed by and the one that knows better."""
_CallPair = tuple[BookedCall, int, ChargeId, ChargeId | None]


async def _taken_back(conn: AsyncConnection, chain: Sequence[ChargeId], at: int) -> list[_Pair]:
    later: list[tuple[ChargeId, dict[object, int]]] | None = None
    found: list[_Pair] = []
    for day in await usage_rows.evidence_of(conn, chain[at]):
        reversals = await _reversals(conn, day)
        if not reversals:
            continue
        if later is None:
            later = [(i, await _upto(conn, i)) for i in chain[at + 1 :]]
        waiting = defaultdict(list)
        for reversal in reversed(reversals):
            waiting[evidence.content(reversal, -1)].append(reversal.interval_id)
        for booked in await evidence.intervals(conn, day):
            own = waiting[evidence.content(booked, 1)]
            if own:
                reversal_id = own.pop()
                knows = _knows(later, (day.service_id, day.day), reversal_id)
                found.append((booked, reversal_id, chain[at], knows))
    return found


async def _calls_taken_back(conn: AsyncConnection, chain: Sequence[ChargeId], at: int) -> list[_CallPair]:
    later: list[tuple[ChargeId, dict[object, int]]] | None = None
    found: list[_CallPair] = []
    for day in await calls.evidence_of(conn, chain[at]):
        reversals = await calls.reversals(conn, day)
        if not reversals:
            continue
        if later is None:
            later = [(i, await _upto_call(conn, i)) for i in chain[at + 1 :]]
        billed = {c.record_id: c for c in await calls.of_day(conn, day)}
        for reversal in reversals:
            own = billed.pop(reversal.record_id, None)
            if own is not None:
                knows = _knows(later, (day.service_id, day.day), reversal.call_id)
                found.append((own, reversal.call_id, chain[at], knows))
    return found


def _knows(later: Sequence[tuple[ChargeId, Mapping[object, int]]], key: object, reversal_id: int) -> ChargeId | None:
    """The first of these charges that knows of a reversal. A day that it does not name had nothing left by then."""
    return next((i for i, upto in later if upto.get(key, reversal_id) >= reversal_id), None)


async def _upto_call(conn: AsyncConnection, charge_id: ChargeId) -> dict[object, int]:
    return {(d.service_id, d.day): d.last_call_id for d in await calls.evidence_of(conn, charge_id)}


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


async def _of_calls(conn: AsyncConnection, pairs: Sequence[_CallPair]) -> list[Moved]:
    decisions = await moves.decisions_of(conn, CALLS, [reversal_id for _, reversal_id, _, _ in pairs])
    return [Moved(booked, n, by, knows, decisions.get(n), True) for booked, n, by, knows in pairs]


async def _judged(conn: AsyncConnection, pairs: Sequence[_Pair]) -> list[Moved]:
    if not pairs:
        return []
    decisions = await moves.decisions_of(conn, OCTETS, [reversal_id for _, reversal_id, _, _ in pairs])
    names = await _names(conn, [pair[0] for pair in pairs])
    said = {
        identifier: sorted(await identifiers.entries(conn, *identifier), key=lambda e: e.mapped_at)
        for identifier in {named for named, _ in names.values()}
    }
    found = []
    for booked, reversal_id, billed_by, knows in pairs:
        name, told = names.get((booked.source, booked.interval.record_ids[-1]), (None, None))
        decision = decisions.get(reversal_id)
        theirs = was_theirs(booked, told, said[name] if name else (), decision)
        found.append(Moved(booked, reversal_id, billed_by, knows, decision, theirs))
    return found


def was_theirs(booked: BookedInterval, told: str | None, entries: Sequence[Mapped], decision: Mapped | None) -> bool:
    """Whether an interval was its service's until `decision` moved it. Pure.

    `told` is the service that the record names, `entries` all decisions about its identifier as they were made.
    """
    own = booked.interval.service_id
    if told is None or told == own:
        return True
    before = [e for e in entries if decision is None or (e != decision and e.mapped_at <= decision.mapped_at)]
    return any(own in _owners(booked, before[:n]) for n in range(1, len(before) + 1))


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
