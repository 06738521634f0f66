"""Rows of the sources: the registry, deliveries and their records, and what waits of them in suspense."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.sources.model import Fact, Report, Source, Told, Unreadable, record_digest
from billing_bridge.sources.tables import delivery, record, source
from billing_bridge.suspense.model import WAITING
from billing_bridge.tables import position, suspense
from controller.store.many import insert_rows, one_of

_POSITION = "sources"
_RECORD = (
    "record_id", "source", "record_key", "delivery", "line", "accepted_at", "state", "identifier_kind", "identifier",
    "since", "until", "upstream_octets", "downstream_octets", "duration_s", "number", "content", "content_sha256",
    "record_sha256",
)  # fmt: skip
_SUSPENSE = (
    "reason", "state", "username", "since", "until", "upstream_octets", "downstream_octets", "entered_at", "detail",
    "service_id", "accepted_at", "grown_since", "source", "source_record_id", "record_ids", "version_id",
    "duration_s",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ids:
    """The last ids given to records and to calls."""

    record_id: int
    call_id: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as it is stored, and what became of it. `fact` is None for a line that could not be read."""

    record_id: int
    source: str
    delivery: int
    line: int
    accepted_at: datetime
    state: str
    identifier_kind: str
    identifier: str
    content: str
    content_sha256: bytes
    record_sha256: bytes
    key: str
    fact: Fact | None

    @property
    def intact(self) -> bool:
        """Whether its digests still cover what is stored."""
        told = self.fact or Unreadable(self.line, "", self.content)
        proof = record_digest(self.source, self.record_id, told, self.content_sha256)
        return proof == self.record_sha256 and told.digest == self.content_sha256


@dataclass(frozen=True, slots=True)
class Waiting:
    """A part of a record that goes into suspense."""

    record_id: int
    accepted_at: datetime
    reason: str
    detail: str
    identifier: str
    since: datetime
    until: datetime
    upstream_octets: int = 0
    downstream_octets: int = 0
    service_id: str | None = None
    grown_since: datetime | None = None
    version_id: str | None = None
    duration_s: int | None = None


async def lock_ids(conn: AsyncConnection) -> Ids:
    """The ids, held against every other delivery until the transaction ends."""
    fresh = upsert(conn)(position).values(name=_POSITION, record_id=0, last_interval_id=0)
    await conn.execute(fresh.on_conflict_do_nothing())
    row = (await conn.execute(select(position).where(position.c.name == _POSITION).with_for_update())).one()
    return Ids(row.record_id, row.last_interval_id)


async def move_ids(conn: AsyncConnection, to: Ids) -> None:
    values = {"record_id": to.record_id, "last_interval_id": to.call_id}
    await conn.execute(update(position).where(position.c.name == _POSITION).values(values))


async def register(conn: AsyncConnection, made: Source) -> bool:
    """False when there is one of that name."""
    values = {name: getattr(made, name) for name in source.c.keys()}  # noqa: SIM118
    await conn.execute(upsert(conn)(source).values(values).on_conflict_do_nothing())
    found = await get(conn, made.name)
    return found == made


async def get(conn: AsyncConnection, name: str, *, lock: bool = False) -> Source | None:
    query = select(source).where(source.c.name == name)
    row = (await conn.execute(query.with_for_update() if lock else query)).one_or_none()
    return None if row is None else _source(row)


async def all_sources(conn: AsyncConnection) -> list[Source]:
    return [_source(row) for row in await conn.execute(select(source).order_by(source.c.name))]


async def change(conn: AsyncConnection, name: str, **values: Any) -> None:
    await conn.execute(update(source).where(source.c.name == name).values(**values))


async def digests(conn: AsyncConnection, name: str, keys: Iterable[str]) -> dict[str, bytes]:
    """Which of these keys the source has told before, with the digest of what it said then."""
    query = select(record.c.record_key, record.c.content_sha256).where(
        record.c.source == name, one_of(conn, record.c.record_key, keys)
    )
    return {row.record_key: bytes.fromhex(row.content_sha256) for row in await conn.execute(query)}


async def add_records(conn: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> None:
    await insert_rows(conn, record, _RECORD, rows)


def record_row(
    stored_id: int, of: Source, told: Told, key: str, at: datetime, state: str, content: bytes, digest: bytes
) -> tuple[Any, ...]:
    """A row of `add_records`."""
    fact = told if isinstance(told, Fact) else None
    said: tuple[Any, ...] = (None,) * 6
    if fact is not None:
        said = (
            fact.since, fact.until, fact.upstream_octets, fact.downstream_octets, fact.duration_s, fact.number or None,
        )  # fmt: skip
    return (
        stored_id, of.name, key, of.deliveries + 1, told.line, at, state, of.identifier_kind,
        fact.identifier if fact else "", *said, told.content, content.hex(), digest.hex(),
    )  # fmt: skip


async def set_states(conn: AsyncConnection, states: Iterable[tuple[int, str]]) -> None:
    """What has become of records."""
    by_state: dict[str, list[int]] = {}
    for record_id, state in states:
        by_state.setdefault(state, []).append(record_id)
    for state, ids in by_state.items():
        for start in range(0, len(ids), 500):
            some = record.c.record_id.in_(ids[start : start + 500])
            await conn.execute(update(record).where(some).values(state=state))


async def suspend(conn: AsyncConnection, of: str, parts: Sequence[Waiting], now: datetime) -> None:
    rows = [
        (
            p.reason, WAITING, p.identifier, p.since, p.until, p.upstream_octets, p.downstream_octets, now,
            p.detail[:200], p.service_id, p.accepted_at, p.grown_since, of, p.record_id, str(p.record_id), p.version_id,
            p.duration_s,
        )
        for p in parts
    ]  # fmt: skip
    await insert_rows(conn, suspense, _SUSPENSE, rows)


async def records(conn: AsyncConnection, ids: Iterable[int]) -> list[Stored]:
    """Those of these ids that exist, ascending."""
    wanted, found = sorted(set(ids)), []
    for start in range(0, len(wanted), 500):
        query = select(record).where(record.c.record_id.in_(wanted[start : start + 500]))
        found += [stored(row) for row in await conn.execute(query.order_by(record.c.record_id))]
    return found


async def records_page(
    conn: AsyncConnection, name: str | None, number: int | None, state: str | None, after: int, limit: int
) -> list[Stored]:
    """In order of id; `number` is that of a delivery of the source."""
    query = select(record).where(record.c.record_id > after).order_by(record.c.record_id).limit(limit)
    for column, value in ((record.c.source, name), (record.c.delivery, number), (record.c.state, state)):
        if value is not None:
            query = query.where(column == value)
    return [stored(row) for row in await conn.execute(query)]


async def still_waiting(conn: AsyncConnection, record_ids: Iterable[int]) -> set[int]:
    """Which of these records have a part in suspense."""
    wanted, found = sorted(set(record_ids)), set()
    for start in range(0, len(wanted), 500):
        query = select(suspense.c.source_record_id).where(
            suspense.c.source_record_id.in_(wanted[start : start + 500]), suspense.c.state == WAITING
        )
        found |= set(await conn.scalars(query))
    return found


async def add_delivery(conn: AsyncConnection, report: Report, first_record_id: int, previous: bytes) -> int:
    """Returns its id."""
    values = {
        "source": report.source, "number": report.number, "name": report.name, "content_sha256": report.content_sha256,
        "received_at": report.received_at, "received_by": report.received_by, "first_record_id": first_record_id,
        "accepted": report.accepted, "rated": report.rated, "unrated": report.unrated, "suspense": report.suspense,
        "duplicate": report.duplicate, "complete_until": report.complete_until, "previous": previous,
        "link": report.link,
    }  # fmt: skip
    return int((await conn.execute(insert(delivery).values(values).returning(delivery.c.delivery_id))).scalar_one())


async def deliveries(conn: AsyncConnection, name: str | None, after: int | None, limit: int) -> list[Report]:
    """Newest first; `after` is a delivery id."""
    query = select(delivery).order_by(delivery.c.delivery_id.desc()).limit(limit)
    if name is not None:
        query = query.where(delivery.c.source == name)
    if after is not None:
        query = query.where(delivery.c.delivery_id < after)
    return [report(row) for row in await conn.execute(query)]


async def delivery_of(conn: AsyncConnection, delivery_id: int) -> Report | None:
    row = (await conn.execute(select(delivery).where(delivery.c.delivery_id == delivery_id))).one_or_none()
    return None if row is None else report(row)


async def chain(conn: AsyncConnection, name: str, first: int, last: int) -> list[Row[Any]]:
    """Deliveries of a source by number, as they are stored."""
    query = select(delivery).where(delivery.c.source == name, delivery.c.number >= first, delivery.c.number <= last)
    return list(await conn.execute(query.order_by(delivery.c.number)))


async def records_of(conn: AsyncConnection, name: str, number: int) -> list[Stored]:
    query = select(record).where(record.c.source == name, record.c.delivery == number)
    return [stored(row) for row in await conn.execute(query.order_by(record.c.record_id))]


def report(row: Row[Any]) -> Report:
    return Report(
        row.delivery_id, row.source, row.number, row.name, row.content_sha256, row.received_at, row.received_by,
        row.accepted, row.rated, row.unrated, row.suspense, row.duplicate, row.complete_until, row.link,
    )  # fmt: skip


def stored(row: Row[Any]) -> Stored:
    fact = None
    if row.since is not None:
        fact = Fact(
            row.record_key, row.line, row.identifier, row.since, row.until, row.content, row.upstream_octets,
            row.downstream_octets, row.duration_s, row.number or "",
        )  # fmt: skip
    return Stored(
        row.record_id, row.source, row.delivery, row.line, row.accepted_at, row.state, row.identifier_kind,
        row.identifier, row.content, bytes.fromhex(row.content_sha256), bytes.fromhex(row.record_sha256),
        row.record_key, fact,
    )  # fmt: skip


def upsert(conn: AsyncConnection) -> Any:
    return pg_insert if conn.dialect.name == "postgresql" else sqlite_insert


def _source(row: Row[Any]) -> Source:
    return Source(
        row.name, row.title, row.measure, row.identifier_kind, row.bills, row.awaited, row.lateness_s, row.mapping,
        row.complete_until, row.deliveries, row.link, row.registered_at, row.registered_by, row.retired_at,
    )  # fmt: skip
