"""Three-way reconciliation by service and day: RADIUS, the counters of devices, and what was billed.

    night ─▶ mediation stands at n ─▶ recount the log up to n ─▶ counters from the time series ─▶ compare ─▶ rows

Of the last days, because late records and late charges change them. Writes nothing but its own rows; a difference that
no reason explains is in the log, the metrics and the list, and stays there until a later look explains it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import structlog
from prometheus_client import Gauge

from billing_bridge.checks import compared
from billing_bridge.checks.compared import Compared, DayTotal, Wanted
from billing_bridge.checks.reconcile import DIFFERS, Counted, Reconciled, overhead_of, reconcile
from billing_bridge.checks.recount import Recount
from billing_bridge.mediation.service import MediationService
from billing_bridge.zones import zones_of
from collectors.netconf.samples import MEASUREMENT
from collectors.track import OCTETS, QUARANTINED, RESETS
from controller.domain.clock import Clock, local_date, start_of_day
from controller.domain.errors import RuleError
from controller.domain.ports import AccessMap, TimeSeries, UsageReader
from controller.domain.usage import Bucket
from controller.store.courtesy import Courtesy
from controller.store.engine import Database

log = structlog.get_logger()

_DIFFERING = Gauge("headend_reconciliation_differing", "Services whose counts differ unexplained, of the newest day")
_UNEXPLAINED = Gauge("headend_reconciliation_unexplained_octets", "Octets that no reason explains, of the newest day")

LOOKED_BACK = 4
"""Days that are looked at each night: the last one, and those that late records may still change."""
_HOUR_S = 3600
_AT_ONCE = 8
_BREATH = 500
"""Services compared before others of the process have their turn."""
_WRITTEN = 1_000
"""Rows of a day in one transaction."""
_SHARE = 0.02
"""What writing them may take of a processor that answers all the time."""


class NotOver(RuleError):
    code = "day-not-over"


class _Day(NamedTuple):
    since: datetime
    until: datetime
    hours: int

    @classmethod
    def of(cls, day: date, zone: ZoneInfo) -> _Day:
        since, until = start_of_day(day, zone), start_of_day(day + timedelta(days=1), zone)
        return cls(since, until, int((until - since).total_seconds()) // _HOUR_S)


class Reconciliation:
    """`zone` is that of the legal entity, and of every service whose account has none of its own.

    A night looks at the days that are over in `zone`; where one is not over yet for a service, it waits for the next
    night, which looks back at it.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        zone: ZoneInfo,
        *,
        recount: Recount,
        mediation: MediationService,
        usage: UsageReader,
        series: TimeSeries,
        access: AccessMap,
    ) -> None:
        self._database = database
        self._clock = clock
        self._zone = zone
        self._recount = recount
        self._mediation = mediation
        self._usage = usage
        self._series = series
        self._access = access

    async def run(self, last: date | None = None, days: int = LOOKED_BACK) -> list[DayTotal]:
        """Look at `days` days up to and with `last` (by default yesterday). Raises NotOver for a day that is not."""
        begun = self._clock.now()
        today = local_date(begun, self._zone)
        last = last or today - timedelta(days=1)
        if last >= today:
            raise NotOver(f"{last} is not over: it is {today}")
        await self._mediation.catch_up(await self._usage.watermark())
        await self._recount.catch_up()
        since, until = last - timedelta(days=days - 1), last + timedelta(days=1)
        async with self._database.read() as conn:
            known = await compared.known_of(conn, since, until, self._zone)
        for day in (since + timedelta(days=n) for n in range(days)):
            await self._compare(day, known.get(day, {}), begun)
        if last == today - timedelta(days=1):
            async with self._database.begin() as conn:
                await compared.set_looked_at(conn, begun)  # it may end after midnight
        await self._recount.prune(self._clock.now())
        async with self._database.read() as conn:
            found = await compared.totals(conn, since)
        if found:
            _DIFFERING.set(found[-1].differing)
            _UNEXPLAINED.set(found[-1].unexplained)
        return found

    async def looked_at(self) -> datetime | None:
        """When the last look at yesterday began that came to its end; None when it was not today."""
        async with self._database.read() as conn:
            found = await compared.looked_at(conn)
        today = local_date(self._clock.now(), self._zone)
        return found if found is not None and local_date(found, self._zone) == today else None

    async def page(self, wanted: Wanted, after: tuple[int, str] | None, limit: int) -> list[Compared]:
        async with self._database.read() as conn:
            return await compared.page(conn, wanted, after, limit)

    async def days(self, days: int) -> list[DayTotal]:
        since = local_date(self._clock.now(), self._zone) - timedelta(days=days)
        async with self._database.read() as conn:
            return await compared.totals(conn, since)

    async def _compare(self, day: date, known: dict[str, Counted], begun: datetime) -> None:
        counted = await self._with_counters(day, known, begun)
        async with self._database.read() as conn:
            own = await compared.shares(conn, day)
        others = compared.other_shares(counted)
        results = []
        for c in counted.values():
            results.append(reconcile(c, overhead_of(own.get(c.service_id, ()), others)))
            if not len(results) % _BREATH:
                await asyncio.sleep(0)
        courtesy = Courtesy(_SHARE)
        for first in range(0, len(results), _WRITTEN):
            async with courtesy, self._database.begin() as conn:
                await compared.put(conn, day, results[first : first + _WRITTEN], self._clock.now())
        self._tell(day, results)

    async def _with_counters(self, day: date, known: dict[str, Counted], begun: datetime) -> dict[str, Counted]:
        """Of the services for which the day is over."""
        counted_by = {str(service_id) for service_id in (await self._access.services_by_onu()).values()}
        async with self._database.read() as conn:
            zones = await zones_of(conn, {*known, *counted_by}, self._zone)
            days = {z: _Day.of(day, z) for z in {self._zone, *zones.own.values()}}
            opened = {z: await compared.open_sessions(conn, d.until) for z, d in days.items()}
        over = {s for s in {*known, *counted_by} if days[zones.of(s)].until <= begun}
        known = {s: c for s, c in known.items() if s in over}
        places = asyncio.Semaphore(_AT_ONCE)

        async def one(service_id: str) -> tuple[str, Counted]:
            async with places:
                zone = zones.of(service_id)
                since, until, hours = days[zone]
                octets = await self._read(service_id, OCTETS, since, until)
                seen = [bucket.value for bucket in octets if bucket.value is not None]
                before = replace(
                    known.get(service_id) or Counted(service_id, 0, 0, 0),
                    hours=hours,
                    open_s=opened[zone].get(service_id, 0),
                )
                if not seen:
                    return service_id, before
                held = [b.value for b in await self._read(service_id, QUARANTINED, since, until) if b.value]
                resets = [b.value for b in await self._read(service_id, RESETS, since, until) if b.value]
                return service_id, replace(
                    before,
                    counter=int(sum(seen)),
                    missing_hours=len(octets) - len(seen),
                    held=int(sum(held)),
                    resets=int(sum(resets)),
                )

        found = dict(await asyncio.gather(*(one(service_id) for service_id in sorted(counted_by & over))))
        return {**known, **{s: c for s, c in found.items() if s in known or c.counter is not None}}

    async def _read(self, service_id: str, field: str, since: datetime, until: datetime) -> Sequence[Bucket]:
        return await self._series.read(
            MEASUREMENT, field, since=since, until=until, step_s=_HOUR_S, tags=(("service", service_id),)
        )

    def _tell(self, day: date, results: Sequence[Reconciled]) -> None:
        differing = [r for r in results if r.verdict == DIFFERS]
        log.info("reconciliation.done", day=day.isoformat(), services=len(results), differing=len(differing))
        for result in sorted(differing, key=lambda r: -abs(r.unexplained))[:20]:
            log.warning(
                "reconciliation.differs",
                day=day.isoformat(),
                service_id=result.counted.service_id,
                unexplained_octets=result.unexplained,
            )
