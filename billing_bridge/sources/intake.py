"""Takes deliveries: a file, or a batch of events, in one transaction, each record once.

    told ─ seen before? ┬ same key, same content      → duplicate: counted, nothing else
                        ├ same key, another content   → suspense (conflict)
                        └ new ┬ unreadable            → suspense (malformed), with its line number
                              └ fact → `placing`

A delivery is there whole or not at all, so a crash costs nothing and is repaired by delivering again. Its records are
chained: link = SHA-256(link of the delivery before ‖ header ‖ digests of its records).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.errors import Ahead, Retired, UnknownSource
from billing_bridge.mediation.repository import Position, lock_position, move_position
from billing_bridge.settings import BillingSettings
from billing_bridge.sources import repository
from billing_bridge.sources.assignments import CALLS
from billing_bridge.sources.ledger import DUPLICATE, SUSPENSE, Tally
from billing_bridge.sources.model import (
    CONFLICT,
    MALFORMED,
    Fact,
    Report,
    Source,
    Told,
    Unreadable,
    implausible,
    record_digest,
)
from billing_bridge.sources.placing import Arrived, Placing
from billing_bridge.sources.repository import Ids, Waiting
from controller.domain.clock import Clock
from controller.domain.ports import AddressHolders
from controller.store.engine import Database
from controller.store.metadata import to_micros
from controller.store.usage_chain import link_digest

log = structlog.get_logger()

_records = Counter(
    "headend_billing_bridge_source_records_total",
    "Usage records of sources, by what became of them on arrival: they sum up to result=accepted",
    ["source", "result"],
)
_complete = Gauge(
    "headend_billing_bridge_source_complete_timestamp_seconds", "Until when a source is complete", ["source"]
)


@dataclass(frozen=True, slots=True)
class _Read:
    """A delivery, record by record: rows and digests of what is new, of that what can be placed and what waits."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    arrived: list[Arrived] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    duplicates: list[Told] = field(default_factory=list)


class Intake:
    """`holders` tells whose an address was; None where nothing knows."""

    def __init__(
        self, database: Database, clock: Clock, settings: BillingSettings, holders: AddressHolders | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._placing = Placing(settings.zone, holders)

    async def deliver(
        self,
        name: str,
        told: Sequence[Told],
        *,
        title: str,
        content: bytes,
        complete_until: datetime | None,
        actor: str,
    ) -> Report:
        """Take a delivery of the source `name`; `content` is the digest of all of it.

        `complete_until`: the source says that all its usage before that instant has been told with this.
        Raises UnknownSource, Retired, and Ahead for what cannot be complete yet.
        """
        now = self._clock.now()
        if complete_until is not None and complete_until > now:
            raise Ahead(f"usage until {complete_until.isoformat()} cannot be complete: it is {now.isoformat()}")
        async with self._database.begin() as conn:
            position = await lock_position(conn)
            ids = await repository.lock_ids(conn)
            source = await repository.get(conn, name, lock=True)
            if source is None:
                raise UnknownSource(f"no source {name!r}; GET /usage-sources lists them")
            if source.retired_at is not None:
                raise Retired(f"source {name} was retired at {source.retired_at.isoformat()}")
            report, after, last_interval_id = await self._take(
                conn, source, told, ids, position, now, title=title, content=content,
                complete_until=complete_until, actor=actor,
            )  # fmt: skip
            await repository.move_ids(conn, after)
            await move_position(conn, Position(position.record_id, last_interval_id))
        self._count(report)
        return report

    async def _take(
        self,
        conn: AsyncConnection,
        source: Source,
        told: Sequence[Told],
        ids: Ids,
        position: Position,
        now: datetime,
        *,
        title: str,
        content: bytes,
        complete_until: datetime | None,
        actor: str,
    ) -> tuple[Report, Ids, int]:
        first_id, tally = ids.record_id + 1, Tally()
        read = await _read(conn, source, told, first_id, now)
        await repository.add_records(conn, read.rows)
        await repository.suspend(conn, source.name, read.waiting, now)
        ids = Ids(ids.record_id + len(read.rows), ids.call_id)
        placed, last_interval_id, ids = await self._placing.place(
            conn, source, read.arrived, last_interval_id=position.last_interval_id, ids=ids, now=now, tally=tally
        )
        states = [(one.record_id, placed.state(one.record_id)) for one in read.arrived]
        await repository.set_states(conn, (s for s in states if s[1] != SUSPENSE))
        counted = dict.fromkeys(("rated", "unrated", SUSPENSE), 0)
        for record_id, state in states:
            counted[state] += 1
            tally.accept(source.name, now, state, 0)
            for disposition, amount in placed.amounts[record_id].items():
                tally.accept(source.name, now, disposition, amount, records=0)
        counted[SUSPENSE] += len(read.waiting)
        if read.waiting:
            tally.accept(source.name, now, SUSPENSE, 0, len(read.waiting))
        for one in read.duplicates:
            tally.accept(source.name, now, DUPLICATE, _amount(one, source, now))
        await tally.write(conn)
        until = self._complete(source, [one.fact for one in read.arrived], complete_until, now)
        number = source.deliveries + 1
        link = link_digest(source.link, source.name, number, first_id, to_micros(now), read.digests)
        made = Report(
            0, source.name, number, title, content, now, actor, len(told), counted["rated"], counted["unrated"],
            counted[SUSPENSE], len(read.duplicates), until, link,
        )  # fmt: skip
        delivery_id = await repository.add_delivery(conn, made, first_id, source.link)
        await repository.change(conn, source.name, complete_until=until, deliveries=number, link=link)
        return replace(made, delivery_id=delivery_id), ids, last_interval_id

    def _complete(self, source: Source, facts: Sequence[Fact], said: datetime | None, now: datetime) -> datetime | None:
        """Until when the source is complete after this: never earlier than before."""
        found = [at for at in (source.complete_until, said) if at is not None]
        if source.lateness_s is not None:
            ends = [f.until for f in facts if implausible(f, source.measure, now) is None]
            if ends:
                found.append(min(max(ends), now) - timedelta(seconds=source.lateness_s))
        return max(found, default=None)

    def _count(self, report: Report) -> None:
        for result in ("accepted", "rated", "unrated", "suspense", "duplicate"):
            _records.labels(report.source, result).inc(getattr(report, result))
        if report.complete_until is not None:
            _complete.labels(report.source).set(report.complete_until.timestamp())
        log.info(
            "usage.delivered", source=report.source, delivery=report.number, accepted=report.accepted,
            duplicate=report.duplicate, suspense=report.suspense,
        )  # fmt: skip


def _amount(told: Told, source: Source, now: datetime) -> int:
    if isinstance(told, Unreadable) or implausible(told, source.measure, now) is not None:
        return 0
    return told.duration_s if source.measure == CALLS else told.octets


async def _read(conn: AsyncConnection, source: Source, told: Sequence[Told], first_id: int, now: datetime) -> _Read:
    """Tell what is new from what was there before; new records are numbered from `first_id` on."""
    known = await repository.digests(conn, source.name, {one.key for one in told})
    read = _Read()
    for one in told:
        digest = one.digest
        seen = known.get(one.key)
        key, reason = one.key, None
        if seen is not None and seen != digest:
            key = f"conflict:{sha256(one.key.encode() + digest).hexdigest()}"
            reason = CONFLICT, f"another content than before under the key {one.key[:120]}"
            seen = known.get(key) or (await repository.digests(conn, source.name, [key])).get(key)
        if seen == digest:
            read.duplicates.append(one)
            continue
        known[key] = digest
        record_id = first_id + len(read.rows)
        stored = replace(one, key=key) if isinstance(one, Fact) else one
        proof = record_digest(source.name, record_id, stored, digest)
        read.digests.append(proof)
        if isinstance(one, Unreadable):
            reason = MALFORMED, f"line {one.line}: {one.detail}"
        read.rows.append(repository.record_row(record_id, source, stored, key, now, SUSPENSE, digest, proof))
        if reason is not None:
            read.waiting.append(_refused(one, record_id, now, *reason))
        else:
            assert isinstance(one, Fact)
            read.arrived.append(Arrived(record_id, now, one))
    return read


def _refused(told: Told, record_id: int, now: datetime, reason: str, detail: str) -> Waiting:
    """It waits as what it is. What is in conflict, or unreadable, is not counted in octets: nobody knows how many."""
    if isinstance(told, Unreadable):
        return Waiting(record_id, now, reason, detail, "", now, now)
    return Waiting(record_id, now, reason, detail, told.identifier, told.since, told.until)
