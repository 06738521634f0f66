"""Lists of usage and charges for the API: looks only, one page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import BigInteger, literal, select, tuple_

from billing_bridge.billing.charge_rows import to_charge
from billing_bridge.billing.model import BookedInterval, DayUsage
from billing_bridge.billing.repository import to_interval
from billing_bridge.tables import charge, usage_day, usage_interval
from controller.domain.charge import Charge
from controller.domain.identity import ServiceId
from controller.store.engine import Database
from controller.store.metadata import to_micros


@dataclass(frozen=True, slots=True)
class BilledCharge:
    """A charge, when it was made, and the octets that it counts (fewer than none where it gives some back)."""

    charge: Charge
    created_at: datetime
    octets: int

    @property
    def key(self) -> tuple[int, str]:
        """Where it stands in the list."""
        return to_micros(self.created_at), self.charge.charge_id


class BillingReader:
    """Pages of what billing holds. `after` is the key of the last row of the page before."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def usage(
        self,
        service_id: str | None,
        since_on: date | None,
        until_on: date | None,
        after: tuple[int, str] | None,
        limit: int,
    ) -> list[DayUsage]:
        """Newest day first; `after` is (ordinal of the day, service)."""
        query = select(usage_day).order_by(usage_day.c.day.desc(), usage_day.c.service_id.desc()).limit(limit)
        if service_id is not None:
            query = query.where(usage_day.c.service_id == service_id)
        if since_on is not None:
            query = query.where(usage_day.c.day >= since_on)
        if until_on is not None:
            query = query.where(usage_day.c.day < until_on)
        if after is not None:
            last = tuple_(date.fromordinal(max(1, min(after[0], date.max.toordinal()))), after[1])
            query = query.where(tuple_(usage_day.c.day, usage_day.c.service_id) < last)
        async with self._database.read() as conn:
            rows = (await conn.execute(query)).all()
        return [
            DayUsage(
                ServiceId(r.service_id),
                r.day,
                r.upstream_octets,
                r.downstream_octets,
                r.intervals,
                r.last_interval_id,
            )
            for r in rows
        ]

    async def intervals(self, service_id: str, day: date, after: int, limit: int) -> list[BookedInterval]:
        """In order of booking; `after` is an interval id."""
        query = (
            select(usage_interval)
            .where(usage_interval.c.service_id == service_id, usage_interval.c.day == day)
            .where(usage_interval.c.interval_id > after)
            .order_by(usage_interval.c.interval_id)
            .limit(limit)
        )
        async with self._database.read() as conn:
            return [to_interval(row) for row in await conn.execute(query)]

    async def charges(
        self,
        account_id: str | None,
        bill_run_id: str | None,
        service_id: str | None,
        after: tuple[int, str] | None,
        limit: int,
    ) -> list[BilledCharge]:
        """Newest first; `after` is the `key` of a charge."""
        query = select(charge).order_by(charge.c.created_at.desc(), charge.c.charge_id.desc()).limit(limit)
        for column, value in (
            (charge.c.account_id, account_id),
            (charge.c.bill_run_id, bill_run_id),
            (charge.c.service_id, service_id),
        ):
            if value is not None:
                query = query.where(column == value)
        if after is not None:
            query = query.where(
                tuple_(charge.c.created_at, charge.c.charge_id) < tuple_(literal(after[0], BigInteger), after[1])
            )
        async with self._database.read() as conn:
            return [BilledCharge(to_charge(row), row.created_at, row.octets) for row in await conn.execute(query)]
