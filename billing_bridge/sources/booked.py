"""Rows of booked calls: by service and day, for rating and as evidence.

A call that was given to another service stays, and its reversal follows it: what stands is a call without one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.rating.line import Call
from billing_bridge.sources import repository
from billing_bridge.sources.repository import Ids
from billing_bridge.sources.tables import call, charge_calls
from controller.domain.clock import local_date
from controller.store.many import insert_rows, one_of

_COLUMNS = ("call_id", "service_id", "day", "at", "duration_s", "number", "source", "record_id", "adjustment", "turn")


@dataclass(frozen=True, slots=True)
class BookedCall:
    """`adjustment`: its day had been billed before it came. `turn`: see billing_bridge_call."""

    call_id: int
    service_id: str
    day: date
    at: datetime
    duration_s: int
    number: str
    source: str
    record_id: int
    adjustment: bool
    turn: int = 0

    @property
    def takes_back(self) -> bool:
        """Whether it is the reversal of the call before it."""
        return self.turn % 2 == 1

    def reversed_as(self, call_id: int, *, late: bool) -> BookedCall:
        """What takes it back."""
        return replace(self, call_id=call_id, duration_s=-self.duration_s, adjustment=late, turn=self.turn + 1)

    @property
    def for_rating(self) -> Call:
        return Call(f"{self.call_id:012d}", self.at, self.duration_s, self.number)


@dataclass(frozen=True, slots=True)
class CallDay:
    """Evidence: the calls of a service and day up to `last_call_id`, as far as they stand by then."""

    service_id: str
    day: date
    calls: int
    duration_s: int
    last_call_id: int


async def add(conn: AsyncConnection, calls: Sequence[BookedCall]) -> None:
    rows = [
        (c.call_id, c.service_id, c.day, c.at, c.duration_s, c.number, c.source, c.record_id, c.adjustment, c.turn)
        for c in calls
    ]
    await insert_rows(conn, call, _COLUMNS, rows)


async def of_services(conn: AsyncConnection, service_ids: Iterable[str], since: date) -> dict[str, list[BookedCall]]:
    """Calls and reversals of `since` or later, in order of booking."""
    query = (
        select(call)
        .where(one_of(conn, call.c.service_id, sorted(set(service_ids))), call.c.day >= since)
        .order_by(call.c.call_id)
    )
    found: dict[str, list[BookedCall]] = {}
    for row in await conn.execute(query):
        found.setdefault(row.service_id, []).append(to_booked(row))
    return found


def standing(calls: Iterable[BookedCall]) -> list[BookedCall]:
    """Without those that were taken back, and their reversals."""
    known = list(calls)
    taken_back = {(c.record_id, c.turn - 1) for c in known if c.takes_back}
    return [c for c in known if not c.takes_back and (c.record_id, c.turn) not in taken_back]


async def reversals(conn: AsyncConnection, day: CallDay) -> list[BookedCall]:
    """Reversals on a day that came after what a row of evidence names of it, in order."""
    query = select(call).where(
        call.c.service_id == day.service_id,
        call.c.day == day.day,
        call.c.call_id > day.last_call_id,
        call.c.duration_s < 0,
    )
    return [to_booked(row) for row in await conn.execute(query.order_by(call.c.call_id))]


async def of_day(conn: AsyncConnection, day: CallDay) -> list[BookedCall]:
    """The calls that a row of evidence names."""
    query = select(call).where(
        call.c.service_id == day.service_id, call.c.day == day.day, call.c.call_id <= day.last_call_id
    )
    return standing([to_booked(row) for row in await conn.execute(query.order_by(call.c.call_id))])


def days(calls: Iterable[BookedCall]) -> list[CallDay]:
    """Calls and reversals of one service by day, as evidence."""
    found: dict[tuple[str, date], list[BookedCall]] = {}
    for booked in calls:
        found.setdefault((booked.service_id, booked.day), []).append(booked)
    return [
        CallDay(service_id, day, len(standing(own)), sum(c.duration_s for c in own), max(c.call_id for c in own))
        for (service_id, day), own in sorted(found.items())
    ]


async def page(conn: AsyncConnection, service_id: str, day: date | None, after: int, limit: int) -> list[BookedCall]:
    """In order of booking; `after` is a call id."""
    query = select(call).where(call.c.service_id == service_id, call.c.call_id > after).order_by(call.c.call_id)
    if day is not None:
        query = query.where(call.c.day == day)
    return [to_booked(row) for row in await conn.execute(query.limit(limit))]


async def all_of(conn: AsyncConnection, service_ids: Iterable[str]) -> list[BookedCall]:
    """Every call that stands of these services, in order of booking."""
    query = select(call).where(one_of(conn, call.c.service_id, service_ids)).order_by(call.c.call_id)
    return standing([to_booked(row) for row in await conn.execute(query)])


async def of_records(conn: AsyncConnection, record_ids: Sequence[int]) -> list[BookedCall]:
    """The calls that stand of these records of sources, in order of booking."""
    found: list[BookedCall] = []
    for start in range(0, len(record_ids), 500):
        query = select(call).where(call.c.record_id.in_(record_ids[start : start + 500]))
        found += [to_booked(row) for row in await conn.execute(query)]
    return standing(sorted(found, key=lambda c: c.call_id))


async def date_anew(conn: AsyncConnection, service_id: str, zone: ZoneInfo) -> None:
    """Put the calls of a service on the days of `zone`, by reversals and calls anew: its zone was not known before.

    What waits of a call, waits of its record; the caller looks at that again. He holds mediation's position.
    """
    wrong = [c for c in await all_of(conn, [service_id]) if c.day != local_date(c.at, zone)]
    if not wrong:
        return
    ids = await repository.lock_ids(conn)
    made: list[BookedCall] = []
    for call_id, one in enumerate(wrong, ids.call_id + 1):
        made.append(one.reversed_as(call_id, late=False))
    for call_id, one in enumerate(wrong, ids.call_id + len(wrong) + 1):
        made.append(replace(one, call_id=call_id, day=local_date(one.at, zone), adjustment=False, turn=one.turn + 2))
    await add(conn, made)
    await repository.move_ids(conn, Ids(ids.record_id, ids.call_id + len(made)))


async def next_turns(conn: AsyncConnection, record_ids: Sequence[int]) -> dict[int, int]:
    """The turn of the next booking of each of these records; absent are those that were never booked."""
    found: dict[int, int] = {}
    for start in range(0, len(record_ids), 500):
        query = select(call.c.record_id, func.max(call.c.turn)).where(
            call.c.record_id.in_(record_ids[start : start + 500])
        )
        for record_id, turn in await conn.execute(query.group_by(call.c.record_id)):
            found[record_id] = turn + 1
    return found


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
    return (await evidence_of_all(conn, [charge_id])).get(charge_id, [])


async def evidence_of_all(conn: AsyncConnection, charge_ids: Iterable[str]) -> dict[str, list[CallDay]]:
    """Of charges the days of calls that they name; one that names none is not in it."""
    query = select(charge_calls).where(one_of(conn, charge_calls.c.charge_id, sorted(charge_ids)))
    found: dict[str, list[CallDay]] = {}
    for row in await conn.execute(query.order_by(charge_calls.c.charge_id, charge_calls.c.day)):
        day = CallDay(row.service_id, row.day, row.calls, row.duration_s, row.last_call_id)
        found.setdefault(row.charge_id, []).append(day)
    return found


def to_booked(row: Row[Any]) -> BookedCall:
    return BookedCall(
        row.call_id, row.service_id, row.day, row.at, row.duration_s, row.number, row.source, row.record_id,
        row.adjustment, row.turn,
    )  # fmt: skip
