"""Follows the usage log and books what each record added, by service and local day. Each record counts once.

Position, session totals, intervals and day sums move in one transaction, so a crash repeats a batch from the start and
adds nothing twice. What cannot be charged to anybody is kept in suspense; nothing is dropped.

                     ┌ service known ─→ usage_interval, usage_day   (adjustment, when that day was billed already)
    record → growth ─┤                       └ no plan on that day → suspense beside it
                     └ else ──────────→ suspense                    (reason, since when, octets)
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.mediation import repository
from billing_bridge.mediation.booking import Booked, book
from billing_bridge.mediation.growth import Growth, SessionState, follow
from billing_bridge.mediation.handover import pieces
from billing_bridge.mediation.repository import Held, Position
from billing_bridge.settings import BillingSettings
from billing_bridge.sources import assignments, identifiers
from billing_bridge.sources.assignments import OCTETS
from billing_bridge.sources.comparing import compare
from billing_bridge.sources.ledger import RADIUS, RATED, SUSPENSE, UNRATED, Tally, fate
from billing_bridge.suspense.model import ALTERED, FORGOTTEN, NO_SERVICE
from billing_bridge.zones import zones_of
from controller.domain.clock import Clock
from controller.domain.identity import first_id
from controller.domain.ports import UsageReader
from controller.domain.usage import LoggedRecord
from controller.store.courtesy import Courtesy
from controller.store.engine import USAGE, Database
from controller.store.waking import woken

log = structlog.get_logger()

_records = Counter(
    "headend_billing_bridge_usage_records_total", "Usage records mediated, by what became of them", ["result"]
)
_lag = Gauge("headend_billing_bridge_usage_lag_records", "Record ids between the usage log's watermark and mediation")


class MediationService:
    """One mediator per database does the work; others wait behind its lock and then find nothing left."""

    def __init__(self, database: Database, clock: Clock, usage: UsageReader, settings: BillingSettings) -> None:
        self._database = database
        self._clock = clock
        self._usage = usage
        self._settings = settings
        self._memory = timedelta(days=settings.session_memory_days)
        self._heard_at: datetime | None = None
        self._prune_at_s = 0.0
        self._wakeup = asyncio.Event()
        database.on_commit(USAGE, self._wakeup.set)

    async def run(self) -> None:
        """Keep up with the log for ever. A batch that the database did not take is tried again at the next look."""
        courtesy = Courtesy(self._settings.share)
        while True:
            self._wakeup.clear()
            try:
                more = True
                while more:
                    async with courtesy:
                        more = await self.step()
                await self._prune()
            except (DBAPIError, PoolTimeout) as error:
                cause = error.orig if isinstance(error, DBAPIError) else error
                log.error("mediation.batch_failed", error=f"{type(error).__name__}: {cause}")
            if not await self._woken():
                continue
            # Accounting commits many times a second; one batch of ours for a bunch of them leaves it the disk.
            await asyncio.sleep(self._settings.gather_s)

    async def position(self) -> int:
        """Every record up to this id is booked or in suspense."""
        async with self._database.read() as conn:
            return (await repository.read_position(conn)).record_id

    async def catch_up(self, record_id: int) -> None:
        """Mediate until the position has reached `record_id`, which was the log's watermark once.

        The log may tell followers an older one while it is busy (or after a restart); that is waited for.
        """
        while await self.position() < record_id:
            self._wakeup.clear()
            if not await self.step():
                await self._woken()

    async def _woken(self) -> bool:
        """Wait for a commit of this process, or for the time to look anyway; whether there was a commit."""
        return await woken(self._wakeup, self._settings.poll_s)

    async def step(self) -> bool:
        """Book one batch; False when there was nothing new."""
        start = await self.position()
        watermark = await self._usage.watermark()
        _lag.set(max(0, watermark - start))
        if watermark <= start:
            return False
        limit = self._settings.records_per_batch
        records = [r async for r in self._usage.records_after(start, watermark, limit)]
        reached = records[-1].record_id if len(records) >= limit else watermark
        async with self._database.begin() as conn:
            at = await repository.lock_position(conn)
            if at.record_id != start:
                return True  # another mediator booked this batch while we read it
            last_interval_id = await self._book(conn, records, at)
            await repository.move_position(conn, Position(reached, last_interval_id))
        if records:
            self._heard_at = records[-1].received_at
        return True

    async def forget(self) -> None:
        """Delete the sessions that nothing was heard of for so long that a record changes nothing about them.

        Counted from the last record mediated, not from now: records that still wait in the log are not late. A day
        more than `follow` asks for, because records of several writers do not arrive in exact order.
        """
        if self._heard_at is None:
            return
        heard_before = self._heard_at - self._memory - timedelta(days=1)
        after: str | None = ""
        while after is not None:
            async with self._database.begin() as conn:
                after = await repository.forget_sessions(conn, after, first_id(heard_before), heard_before)

    async def _prune(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._prune_at_s:
            await self.forget()
            self._prune_at_s = now_s + self._settings.prune_every_s

    async def _book(self, conn: AsyncConnection, records: Sequence[LoggedRecord], at: Position) -> int:
        """Book the growth of `records`; returns the id of the last interval written."""
        states: dict[str, SessionState] = await repository.sessions(conn, (r.session_key for r in records))
        grown: list[tuple[Growth, LoggedRecord]] = []
        tally = Tally()
        for record in records:
            state, growth = follow(states.get(record.session_key), record, self._memory)
            if state is not None:
                states[record.session_key] = state
            if growth is not None:
                grown.append((growth, record))
            else:
                tally.accept(RADIUS, record.received_at, UNRATED, 0)
        held_records = 0
        known: list[Growth] = []
        known_of: list[tuple[LoggedRecord, list[str]]] = []
        compared: list[Growth] = []
        held: list[Held] = []
        owned = await self._owned(conn, grown)
        bills = await assignments.of_services(conn, OCTETS, (g.service_id for parts in owned for g in parts))
        undecided = not bills
        for (_, record), parts in zip(grown, owned, strict=True):
            dispositions: list[str] = []
            for part in parts:
                reason = _held_for(part, record)
                if reason is not None:
                    held.append(Held(part, reason, record.username, record.nas_id, record.received_at))
                    dispositions.append(SUSPENSE)
                elif undecided or bills.source(str(part.service_id), part.since) in (None, RADIUS):
                    known.append(part)
                    known_of.append((record, dispositions))
                    dispositions.append(RATED)
                else:
                    compared.append(part)
                    dispositions.append(UNRATED)
            told = fate(dispositions)
            held_records += told == SUSPENSE
            whole = len(parts) == 1
            for part, disposition in zip(parts, dispositions, strict=True):
                octets = part.upstream_octets + part.downstream_octets
                tally.accept(RADIUS, record.received_at, disposition, octets, records=whole)
            if not whole:
                tally.accept(RADIUS, record.received_at, told, 0)
        now, zone = self._clock.now(), self._settings.zone
        await repository.store_sessions(conn, list(states.values()))
        booked = await book(conn, known, at.last_interval_id, zone=zone, now=now)
        held_records += _without_plan(booked, known_of, tally)
        await compare(conn, RADIUS, compared, zone)
        await repository.suspend(conn, held, now)
        await tally.write(conn)
        _records.labels("booked").inc(len(grown) - held_records)
        _records.labels("suspense").inc(held_records)
        _records.labels("nothing-new").inc(len(records) - len(grown))
        if held_records:
            log.warning("mediation.suspense", records=held_records)
        return booked.last_interval_id

    async def _owned(self, conn: AsyncConnection, grown: Sequence[tuple[Growth, LoggedRecord]]) -> list[list[Growth]]:
        """Each growth in pieces by whose it is: by what people decided about its username, then by what RADIUS said."""
        timelines = await identifiers.usernames(conn, {r.username for _, r in grown})
        handed = {g.service_id for g, _ in grown if g.former_id is not None and g.service_id is not None}
        began = await repository.beginnings(conn, handed) if handed else {}
        if not timelines and not handed:
            return [[g] for g, _ in grown]
        nothing = ((), ())
        decided = {service_id for every, _ in timelines.values() for _, service_id in every}
        known = {service_id for g, _ in grown for service_id in (g.service_id, g.former_id)}
        zones = await zones_of(conn, decided | known, self._settings.zone)
        return [
            pieces(
                g, timelines.get(r.username, nothing)[g.service_id is not None], began.get(g.service_id or ""), zones
            )
            for g, r in grown
        ]


def _without_plan(booked: Booked, of: Sequence[tuple[LoggedRecord, list[str]]], tally: Tally) -> int:
    """What was counted as rated and has no plan counts as what it is; returns how many records came to wait."""
    records: dict[int, tuple[LoggedRecord, list[str], str]] = {}
    for place, shares in booked.unrated.items():
        record, dispositions = of[place]
        records.setdefault(record.record_id, (record, dispositions, fate(dispositions)))
        for disposition, octets in shares.items():
            tally.move(RADIUS, record.received_at, RATED, disposition, octets, 0)
        dispositions.remove(RATED)
        dispositions += shares
    for record, dispositions, before in records.values():
        tally.move(RADIUS, record.received_at, before, fate(dispositions), 0)
    return sum(before != SUSPENSE and fate(now) == SUSPENSE for _, now, before in records.values())


def _held_for(growth: Growth, record: LoggedRecord) -> str | None:
    """Why nobody can be charged for it; None when somebody can."""
    if not record.intact:
        return ALTERED
    if growth.forgotten:
        return FORGOTTEN
    return NO_SERVICE if growth.service_id is None else None
