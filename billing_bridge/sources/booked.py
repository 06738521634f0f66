"""Rows of booked calls: by service and day, for rating and as evidence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.rating.line import Call
from billing_bridge.sources.tables import call, charge_calls
from controller.store.many import insert_rows, one_of

_COLUMNS = ("call_id", "service_id", "day", "at", "duration_s", "number", "source", "record_id", "adjustment")


@dataclass(frozen=True, slots=True)
class BookedCall:
    """`adjustment`: its day had been billed before it came."""

    call_id: int
    service_id: str
    day: date
    at: datetime
    duration_s: int
    number: str
    source: str
    record_id: int
    adjustment: bool

    @property
    def for_rating(self) -> Call:
        return Call(f"{self.call_id:012d}", self.at, self.duration_s, self.number)


@dataclass(frozen=True, slots=True)
class CallDay:
    """Evidence: the calls of a service and day up to `last_call_id`."""

    service_id: str
    day: date
    calls: int
    duration_s: int
    last_call_id: int


async def add(conn: AsyncConnection, calls: Sequence[BookedCall]) -> None:
    rows = [
        (c.call_id, c.service_id, c.day, c.at, c.duration_s, c.number, c.source, c.record_id, c.adjustment)
        for c in calls
    ]
    await insert_rows(conn, call, _COLUMNS, rows)


async def of_services(conn: AsyncConnection, service_ids: Iterable[str], since: date) -> dict[str, list[BookedCall]]:
    """Calls on `since` or later, in order of booking."""
    query = (
        select(call)
        .where(one_of(conn, call.c.service_id, sorted(set(service_ids))), call.c.day >= since)
        .order_by(call.c.call_id)
    )
    found: dict[str, list[BookedCall]] = {}
    for row in await conn.execute(query):
        found.setdefault(row.service_id, []).append(to_booked(row))
    return found


async def of_day(conn: AsyncConnection, day: CallDay) -> list[BookedCall]:
    """The calls that a row of evidence names."""
    query = select(call).where(
        call.c.service_id == day.service_id, call.c.day == day.day, call.c.call_id <= day.last_call_id
    )
    return [to_booked(row) for row in await conn.execute(query.order_by(call.c.call_id))]


def days(calls: Iterable[BookedCall]) -> list[CallDay]:
    """Calls of one service by day, as evidence."""
    found: dict[tuple[str, date], list[BookedCall]] = {}
    for booked in calls:
        found.setdefault((booked.service_id, booked.day), []).append(booked)
    return [
        CallDay(service_id, day, len(own), sum(c.duration_s for c in own), max(c.call_id for c in own))
        for (service_id, day), own in sorted(found.items())
    ]


async def page(conn: AsyncConnection, service_id: str, day: date | None, after: int, limit: int) -> list[BookedCall]:
    """In order of booking; `after` is a call id."""
    query = select(call).where(call.c.service_id == service_id, call.c.call_id > after).order_by(call.c.call_id)
    if day is not None:
        query = query.where(call.c.day == day)
    return [to_booked(row) for row in await conn.execute(query.limit(limit))]


async def seconds(conn: AsyncConnection, service_id: str, since_on: date, until_on: date) -> tuple[int, int]:
    """Calls and seconds of a service on these days."""
    query = select(func.count(), func.sum(call.c.duration_s)).where(
        call.c.service_id == service_id, call.c.day >= since_on, call.c.day < until_on
    )
    row = (await conn.execute(query)).one()
    return int(row[0]), int(row[1] or 0)


async def all_of(conn: AsyncConnection, service_ids: Iterable[str]) -> list[BookedCall]:
    """Every call that these services ever had, in order of booking."""
    query = select(call).where(one_of(conn, call.c.service_id, service_ids)).order_by(call.c.call_id)
    return [to_booked(row) for row in await conn.execute(query)]


async def add_evidence(conn: AsyncConnection, evidence: Sequence[tuple[str, CallDay]]) -> None:
    """What charges for calls name: (charge, day)."""
    rows = [
        {
            "charge_id": charge_id, "day": d.day, "service_id": d.service_id, "calls": d.calls,
            "duration_s": d.duration_s, "last_call_id": d.last_call_id,
        }
        for charge_id, d in evidence
    ]  # fmt: skip
    if rows:
        await conn.execute(insert(charge_calls), rows)


async def evidence_of(conn: AsyncConnection, charge_id: str) -> list[CallDay]:
    query = select(charge_calls).where(charge_calls.c.charge_id == charge_id).order_by(charge_calls.c.day)
    return [
        CallDay(row.service_id, row.day, row.calls, row.duration_s, row.last_call_id)
        for row in await conn.execute(query)
    ]


def to_booked(row: Row[Any]) -> BookedCall:
    return BookedCall(
        row.call_id, row.service_id, row.day, row.at, row.duration_s, row.number, row.source, row.record_id,
        row.adjustment,
    )  # fmt: skip
