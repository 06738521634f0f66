"""Calls of services: booked once, given to rating, and held in suspense where no plan has a price for them.

A call is booked as soon as its service is known; whether a plan covers its day and its number may change later, with
every entry of the timeline. So what waits is computed anew each time (`settle_calls`), like the days of octets: it does
not matter which came first, the call or the activation. A call without a price is not charged, and never forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing.tariff_rows import tariffs
from billing_bridge.rating.calls import destination_of
from billing_bridge.rating.proration import Stretch
from billing_bridge.sources import repository
from billing_bridge.sources.booked import BookedCall, all_of
from billing_bridge.sources.ledger import RATED, SUSPENSE, Tally
from billing_bridge.sources.model import NO_PRICE
from billing_bridge.sources.repository import Waiting
from billing_bridge.sources.tables import record
from billing_bridge.suspense.model import ENTITLED, NOT_ENTITLED, WAITING, WRITTEN_OFF, detail_of, nearest
from billing_bridge.suspense.settle import rate_again, read_timelines
from billing_bridge.tables import suspense
from controller.domain.identity import OfferingVersionId
from controller.domain.price import Calls
from controller.domain.tariff import TariffVersion


async def settle_calls(
    conn: AsyncConnection,
    service_ids: Sequence[str],
    *,
    zone: ZoneInfo,
    now: datetime,
    tally: Tally,
    calls: Sequence[BookedCall],
) -> set[int]:
    """Put calls of these services into or out of suspense; returns the records that wait then.

    `calls` are those that are new, or all that stand after a change of a timeline.
    """
    if not calls:
        return set()
    plans = (await read_timelines(conn, service_ids, zone)).plans
    known = await tariffs(conn, {s.version_id for stretches in plans.values() for s in stretches})
    items = await items_of(conn, calls)
    waiting: dict[int, Waiting] = {}
    released: list[Row[Any]] = []
    again: dict[str, date] = {}
    records = await _records(conn, [c.record_id for c in calls])
    accepted = {record_id: row.accepted_at for record_id, row in records.items()}
    for booked in calls:
        item = items.get(booked.record_id)
        held = _held(booked, plans.get(booked.service_id, ()), known)
        if held is None and item is not None:
            released.append(item)
            again[booked.service_id] = min(again.get(booked.service_id, booked.day), booked.day)
        elif held is not None and item is None:
            reason, detail, version_id = held
            waiting[booked.record_id] = Waiting(
                booked.record_id, accepted[booked.record_id], reason, detail, records[booked.record_id].identifier,
                booked.at, booked.at, service_id=booked.service_id, version_id=version_id, duration_s=booked.duration_s,
            )  # fmt: skip
            again[booked.service_id] = min(again.get(booked.service_id, booked.day), booked.day)
    by_source: dict[str, list[Waiting]] = {}
    by_record = {c.record_id: c for c in calls}
    for record_id, part in waiting.items():
        by_source.setdefault(by_record[record_id].source, []).append(part)
    for name, parts in by_source.items():
        await repository.suspend(conn, name, parts, now)
    await _release(conn, released, by_record, accepted, tally)
    await repository.set_states(conn, [(record_id, SUSPENSE) for record_id in waiting])
    await rate_again(conn, again)
    return set(waiting)


async def change_of_timeline(conn: AsyncConnection, service_id: str, *, zone: ZoneInfo, now: datetime) -> None:
    """After an entry of a timeline: every call of the service stands where it belongs, and the ledger says so."""
    tally = Tally()
    own = {c.record_id: c for c in await all_of(conn, [service_id])}
    if not own:
        return
    before = await _records(conn, own)
    waiting = await settle_calls(conn, [service_id], zone=zone, now=now, tally=tally, calls=list(own.values()))
    for record_id in waiting:
        row = before[record_id]
        tally.move(row.source, row.accepted_at, row.state, SUSPENSE, own[record_id].duration_s)
    await tally.write(conn)


def _held(
    booked: BookedCall, plans: Sequence[Stretch], known: Mapping[OfferingVersionId, TariffVersion]
) -> tuple[str, str, str | None] | None:
    """Why a call is not charged: reason, detail and the plan it comes nearest to; None when it is."""
    holding = [stretch.version_id for stretch in plans if booked.day in stretch.span]
    if not holding:
        near = nearest(booked.day, plans)
        return NOT_ENTITLED, detail_of(booked.day, plans), None if near is None else near.version_id
    prices = [price for version in holding for price in known[version].plan.prices if isinstance(price, Calls)]
    if any(destination_of(price, booked.number) is not None for price in prices):
        return None
    detail = f"no destination of the plan fits {booked.number}" if prices else "the plan has no price for calls"
    return NO_PRICE, detail, holding[0]


async def items_of(conn: AsyncConnection, calls: Sequence[BookedCall]) -> dict[int, Row[Any]]:
    """What waits, or was written off, of these calls for want of a plan or a price."""
    found: dict[int, Row[Any]] = {}
    ids = [c.record_id for c in calls]
    for start in range(0, len(ids), 500):
        query = select(suspense).where(
            suspense.c.source_record_id.in_(ids[start : start + 500]),
            suspense.c.reason.in_((NOT_ENTITLED, NO_PRICE)),
            suspense.c.state.in_((WAITING, WRITTEN_OFF)),
        )
        found |= {row.source_record_id: row for row in await conn.execute(query)}
    return found


async def _records(conn: AsyncConnection, record_ids: Iterable[int]) -> dict[int, Row[Any]]:
    """Whose they said to be, when they came, and what they are in the ledger."""
    found: dict[int, Row[Any]] = {}
    ids, r = sorted(record_ids), record.c
    for start in range(0, len(ids), 500):
        query = select(r.record_id, r.source, r.identifier, r.accepted_at, r.state)
        rows = await conn.execute(query.where(r.record_id.in_(ids[start : start + 500])))
        found |= {row.record_id: row for row in rows}
    return found


async def _release(
    conn: AsyncConnection,
    items: Sequence[Row[Any]],
    calls: Mapping[int, BookedCall],
    accepted: Mapping[int, datetime],
    tally: Tally,
) -> None:
    """A plan has come to cover these: they are charged, whatever was decided about them before."""
    states = []
    for item in items:
        booked = calls[item.source_record_id]
        old = SUSPENSE if item.state == WAITING else "unrated"
        tally.move(booked.source, accepted[booked.record_id], old, RATED, booked.duration_s)
        states.append((booked.record_id, RATED))
        one = suspense.c.suspense_id == item.suspense_id
        await conn.execute(update(suspense).where(one).values(state=ENTITLED))
    await repository.set_states(conn, states)
