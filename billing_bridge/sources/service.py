"""The registry of sources, what people decide about them, and what they show: watermarks, the ledger, proofs.

A source of usage is registered before it delivers. One that is `awaited` holds bill runs until it is complete up to the
end of what they bill; whoever knows that nothing more comes says so (`complete`), which is audited like every decision.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

import structlog
from prometheus_client import Gauge
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.errors import (
    Ahead,
    Decided,
    NotForThis,
    SourceExists,
    UnbilledService,
    UnknownDelivery,
    UnknownSource,
)
from billing_bridge.mediation.repository import read_position
from billing_bridge.settings import BillingSettings
from billing_bridge.sources import assignments, booked, comparing, identifiers, ledger, moved_by, repository
from billing_bridge.sources.assignments import ALL, RATES, Assignment
from billing_bridge.sources.identifiers import PORT, Mapped
from billing_bridge.sources.ledger import DUPLICATE, RADIUS, SUSPENSE, Hour
from billing_bridge.sources.model import Report, Source
from billing_bridge.sources.moved_by import MovedBooking
from billing_bridge.sources.repository import Stored
from billing_bridge.sources.tables import delivery, record
from billing_bridge.suspense.repository import is_billed
from billing_bridge.zones import every_zone
from controller.domain.clock import Clock, local_date, start_of_day
from controller.store import audit
from controller.store.engine import Database
from controller.store.metadata import to_micros
from controller.store.usage_chain import FIRST_PREVIOUS, link_digest
from controller.store.usage_log import usage_links, usage_records

log = structlog.get_logger()

_unbalanced = Gauge(
    "headend_billing_bridge_usage_unbalanced_hours", "Hours of the usage ledger that do not add up; there are none"
)
_hours = Gauge(
    "headend_billing_bridge_usage_ledger_records",
    "Records in the usage ledger, over all hours: accepted = rated + unrated + suspense + duplicate",
    ["source", "disposition"],
)


@dataclass(frozen=True, slots=True)
class Lag:
    """An awaited source that is not complete until `needed`."""

    source: str
    complete_until: datetime | None
    needed: datetime

    def __str__(self) -> str:
        if self.complete_until is None:
            return f"source {self.source} was never complete, needed is {self.needed.isoformat()}"
        reached = self.complete_until.isoformat()
        return f"source {self.source} is complete until {reached}, needed is {self.needed.isoformat()}"


class SourceService:
    def __init__(self, database: Database, clock: Clock, settings: BillingSettings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings

    async def register(self, made: Source, *, actor: str) -> Source:
        """Make a source known. Raises SourceExists, also for the name of the one that needs no registering."""
        now = self._clock.now()
        made = replace(made, registered_at=now, registered_by=actor, link=FIRST_PREVIOUS, deliveries=0)
        if made.name == RADIUS:
            raise SourceExists(f"{RADIUS} is the accounting of sessions, and needs no registering")
        async with self._database.begin() as conn:
            if not await repository.register(conn, made):
                raise SourceExists(f"there is a source {made.name} already")
            after = {"measure": made.measure, "identifier_kind": made.identifier_kind, "bills": made.bills,
                     "awaited": made.awaited, "lateness_s": made.lateness_s}  # fmt: skip
            await self._audit(conn, now, actor, "register", made.name, after, None)
        return made

    async def change(self, name: str, *, actor: str, reason: str, **values: object) -> Source:
        """Change title, `bills`, `awaited`, `lateness_s` or `mapping` from now on. Raises UnknownSource."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            before = await _get(conn, name, lock=True)
            await repository.change(conn, name, **values)
            await self._audit(conn, now, actor, "change", name, dict(values), reason)
            return replace(before, **values)  # type: ignore[arg-type]

    async def retire(self, name: str, *, actor: str, reason: str) -> Source:
        """It delivers no more, and no bill run waits for it. Raises UnknownSource."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            before = await _get(conn, name, lock=True)
            at = before.retired_at or now
            await repository.change(conn, name, retired_at=at)
            await self._audit(conn, now, actor, "retire", name, {"retired_at": at}, reason)
            return replace(before, retired_at=at)

    async def complete(self, name: str, until: datetime, *, actor: str, reason: str) -> Source:
        """Nothing more comes of before `until`. Raises UnknownSource, Ahead, and NotForThis for an earlier instant."""
        now = self._clock.now()
        if until > now:
            raise Ahead(f"usage until {until.isoformat()} cannot be complete: it is {now.isoformat()}")
        async with self._database.begin() as conn:
            before = await _get(conn, name, lock=True)
            if before.complete_until is not None and until < before.complete_until:
                raise NotForThis(f"source {name} is complete until {before.complete_until.isoformat()} already")
            await repository.change(conn, name, complete_until=until)
            await self._audit(conn, now, actor, "complete", name, {"complete_until": until}, reason)
            return replace(before, complete_until=until)

    async def source(self, name: str) -> Source:
        """Raises UnknownSource."""
        async with self._database.read() as conn:
            return await _get(conn, name)

    async def sources(self) -> list[Source]:
        async with self._database.read() as conn:
            return await repository.all_sources(conn)

    @property
    def patience_s(self) -> float:
        """How long a bill run waits for sources that lag before it gives up."""
        return self._settings.usage_wait_s

    async def needed(self, as_of: datetime) -> datetime:
        """Until when usage must be complete for a bill run of that instant: the last of all the local days that have
        begun, in every zone in which somebody is billed."""
        async with self._database.read() as conn:
            zones = await every_zone(conn, self._settings.zone)
        return max(start_of_day(local_date(as_of, zone), zone) for zone in zones)

    async def lagging(self, needed: datetime) -> list[Lag]:
        """Awaited sources that are not complete until `needed`."""
        return [
            Lag(s.name, s.complete_until, needed)
            for s in await self.sources()
            if s.awaited and s.retired_at is None and (s.complete_until is None or s.complete_until < needed)
        ]

    async def assign(
        self, service_id: str | None, measure: str, since: datetime, source: str, *, actor: str, reason: str
    ) -> Assignment:
        """From `since` on `source` bills the service (None: every one), and the others are compared with it.

        What was booked before the decision stays booked. Raises UnknownSource, UnbilledService and Decided.
        """
        now = self._clock.now()
        wanted = Assignment(service_id or ALL, measure, since, source, False, actor)
        async with self._database.begin() as conn:
            if source != RADIUS:
                found = await _get(conn, source)
                told = RATES if measure == RATES and found.identifier_kind == PORT else found.measure
                if told != measure:
                    raise NotForThis(f"source {source} tells of {found.measure}, not of {measure}")
            elif measure != "octets":
                raise NotForThis("accounting of sessions tells of octets")
            if service_id is not None and not await is_billed(conn, service_id):
                raise UnbilledService(f"billing knows no service {service_id}: activate it first")
            if await assignments.put(conn, wanted) != wanted:
                raise Decided(f"from {since.isoformat()} on that was already decided; say another instant")
            after = {"measure": measure, "since": since, "source": source}
            await self._audit(conn, now, actor, "assign", wanted.service_id, after, reason, kind="usage-of")
        return wanted

    async def assignments(
        self, service_id: str | None, after: tuple[str, str, datetime] | None, limit: int
    ) -> list[Assignment]:
        async with self._database.read() as conn:
            return await assignments.page(conn, service_id, after, limit)

    async def booked_before(self, kind: str, name: str, since: datetime) -> int:
        """Records of the identifier, of `since` or later, that are taken already, as whoever's it was then."""
        query = (
            select(func.count())
            .select_from(record)
            .where(
                record.c.identifier_kind == kind,
                record.c.identifier == name,
                record.c.until > since,
                record.c.state != SUSPENSE,
            )
        )
        async with self._database.read() as conn:
            return int(await conn.scalar(query) or 0)

    async def mapped(
        self, wanted: identifiers.Wanted, after: tuple[str, str, datetime] | None, limit: int
    ) -> list[Mapped]:
        async with self._database.read() as conn:
            return await identifiers.page(conn, wanted, after, limit)

    async def moves(self, kind: str, name: str) -> list[MovedBooking]:
        """What was moved because of what was said of an identifier."""
        async with self._database.read() as conn:
            return await moved_by.of_identifier(conn, kind, name)

    async def deliveries(self, name: str | None, after: int | None, limit: int) -> list[Report]:
        async with self._database.read() as conn:
            return await repository.deliveries(conn, name, after, limit)

    async def delivery(self, delivery_id: int) -> Report:
        """Raises UnknownDelivery."""
        async with self._database.read() as conn:
            found = await repository.delivery_of(conn, delivery_id)
        if found is None:
            raise UnknownDelivery(f"no delivery {delivery_id}")
        return found

    async def records(
        self, name: str | None, number: int | None, state: str | None, after: int, limit: int
    ) -> list[Stored]:
        async with self._database.read() as conn:
            return await repository.records_page(conn, name, number, state, after, limit)

    async def calls(self, service_id: str, day: date | None, after: int, limit: int) -> list[booked.BookedCall]:
        async with self._database.read() as conn:
            return await booked.page(conn, service_id, day, after, limit)

    async def compared(self, service_id: str, since_on: date, until_on: date) -> list[comparing.Said]:
        """What every source says of a service, day by day."""
        async with self._database.read() as conn:
            return await comparing.said(conn, service_id, since_on, until_on)

    async def hours(
        self, source: str | None, since: datetime | None, until: datetime | None,
        after: tuple[datetime, str] | None, limit: int,
    ) -> list[Hour]:  # fmt: skip
        async with self._database.read() as conn:
            return await ledger.page(conn, source, since, until, after, limit)

    async def totals(self, since: datetime | None = None) -> list[Hour]:
        async with self._database.read() as conn:
            return await ledger.sums(conn, since)

    async def faults(self) -> list[str]:
        """Counts everything again from what is stored: a sentence for each place where the ledger is wrong."""
        async with self._database.read() as conn:
            faults = [f"{h.source} {h.hour.isoformat()}: the parts do not sum to what was accepted"
                      for h in await ledger.unbalanced(conn)]  # fmt: skip
            sums = {hour.source: hour for hour in await ledger.sums(conn)}
            mediated = await _mediated(conn)
            told = sums[RADIUS].accepted[0] if RADIUS in sums else 0
            if told != mediated:
                faults.append(f"{RADIUS}: the ledger says {told} accepted, {mediated} of the usage log are mediated")
            counted = await _counted(conn)
            for name in sorted(counted.keys() | (sums.keys() - {RADIUS})):
                faults += _apart(name, sums.get(name), counted.get(name, {}))
            for source in await repository.all_sources(conn):
                faults += await _chain_faults(conn, source)
        return faults

    async def watch(self) -> None:
        """Background task: keep the ledger's gauges of `/metrics`."""
        while True:
            try:
                async with self._database.read() as conn:
                    unbalanced, sums = await ledger.unbalanced(conn), await ledger.sums(conn)
                _unbalanced.set(len(unbalanced))  # all at once: nobody scrapes half of it
                for hour in sums:
                    for name in ("accepted", *ledger.DISPOSITIONS):
                        _hours.labels(hour.source, name).set(getattr(hour, name)[0])
            except (DBAPIError, PoolTimeout) as error:
                log.warning("usage_ledger.not_counted", error=str(error))
            await asyncio.sleep(self._settings.count_every_s)

    async def _audit(
        self, conn: AsyncConnection, now: datetime, actor: str, verb: str, name: str, after: Mapping[str, object],
        reason: str | None, kind: str = "source",
    ) -> None:  # fmt: skip
        await audit.record(
            conn, now=now, actor=actor, action=f"usage-source.{verb}", subject=f"{kind}:{name}"[:160],
            after=dict(after), reason=reason,
        )  # fmt: skip


async def _get(conn: AsyncConnection, name: str, *, lock: bool = False) -> Source:
    found = await repository.get(conn, name, lock=lock)
    if found is None:
        raise UnknownSource(f"no source {name!r}; GET /usage-sources lists them")
    return found


async def _counted(conn: AsyncConnection) -> dict[str, dict[str, int]]:
    """Records by source and what became of them, from the records and deliveries themselves."""
    found: dict[str, dict[str, int]] = {}
    states = select(record.c.source, record.c.state, func.count()).group_by(record.c.source, record.c.state)
    for name, state, count in await conn.execute(states):
        found.setdefault(name, {})[state] = count
    again = select(delivery.c.source, func.sum(delivery.c.duplicate)).group_by(delivery.c.source)
    for name, count in await conn.execute(again):
        found.setdefault(name, {})[DUPLICATE] = int(count)
    return found


async def _mediated(conn: AsyncConnection) -> int:
    """Records of the usage log up to where mediation stands, by the links of its hash chain."""
    position = (await read_position(conn)).record_id
    whole = select(func.sum(usage_links.c.records), func.max(usage_links.c.last_record_id))
    records, until = (await conn.execute(whole.where(usage_links.c.last_record_id <= position))).one()
    rest = select(func.count()).select_from(usage_records)
    rest = rest.where(usage_records.c.record_id > (until or 0), usage_records.c.record_id <= position)
    return int(records or 0) + int(await conn.scalar(rest) or 0)


def _apart(name: str, told: Hour | None, counted: dict[str, int]) -> list[str]:
    faults = []
    for disposition in ledger.DISPOSITIONS:
        said = getattr(told, disposition)[0] if told is not None else 0
        if said != counted.get(disposition, 0):
            faults.append(f"{name}: the ledger says {said} {disposition}, stored are {counted.get(disposition, 0)}")
    return faults


async def _chain_faults(conn: AsyncConnection, source: Source) -> Sequence[str]:
    """Every digest and link of a source again: a sentence for each that does not hold."""
    faults, previous = [], FIRST_PREVIOUS
    for row in await repository.chain(conn, source.name, 1, source.deliveries):
        digests = []
        for stored in await repository.records_of(conn, source.name, row.number):
            if not stored.intact:
                faults.append(f"record {stored.record_id} of {source.name}: its digest does not cover what is stored")
            digests.append(stored.record_sha256)
        made = link_digest(previous, source.name, row.number, row.first_record_id, to_micros(row.received_at), digests)
        if made != row.link or row.previous != previous:
            faults.append(f"delivery {row.number} of {source.name}: its records do not add up to its link")
        previous = row.link
    if previous != source.link:
        faults.append(f"source {source.name}: its last deliveries are missing")
    return faults
