"""Fakes of the ports that billing reads: a usage log in memory and a price list."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

from sqlalchemy import insert

from controller.domain.errors import NotFound
from controller.domain.identity import OfferingId, OfferingVersionId
from controller.domain.price import Unit
from controller.domain.service import SpeedProfile
from controller.domain.tariff import TariffVersion
from controller.domain.units import GB
from controller.domain.usage import LoggedRecord
from controller.store.engine import Database
from controller.store.metadata import to_micros
from controller.store.usage_log import usage_links, usage_records
from tests.support.plans import plan_of

_COMMITTED = datetime(2100, 1, 1, tzinfo=UTC)


def tariff(
    version_id: str,
    fee: str,
    *,
    included: int | None = None,
    overage: str = "0.50",
    name: str = "Fibre 100",
    currency: str = "EUR",
    tax: str = "19",
    unit: Unit = "GB",
) -> TariffVersion:
    return TariffVersion(
        version_id=OfferingVersionId(version_id),
        offering_id=OfferingId(f"offering-{version_id[:8]}"),
        offering_name=name,
        number=1,
        effective_on=date(2026, 1, 1),
        currency=currency,
        tax_percent=Decimal(tax),
        plan=plan_of(fee, included=included, overage=overage, unit=unit),
        speed=SpeedProfile("p100", 100_000_000, 50_000_000),
    )


class PriceList:
    """A TariffSource of fixed versions."""

    def __init__(self, versions: Iterable[TariffVersion]) -> None:
        self._versions: dict[str, TariffVersion] = {v.version_id: v for v in versions}

    def add(self, version: TariffVersion) -> None:
        self._versions[version.version_id] = version

    async def tariff_in(self, conn: object, version_id: OfferingVersionId) -> TariffVersion:
        try:
            return self._versions[version_id]
        except KeyError:
            raise NotFound(f"no offering version {version_id}") from None


def record(
    session: str,
    at: datetime,
    upstream: int | None,
    downstream: int | None,
    *,
    service: str | None = "svc-1",
    kind: str = "interim",
    session_time_s: int | None = None,
    arrived: datetime | None = None,
) -> LoggedRecord:
    digest = hashlib.sha256(f"{session} {at} {upstream} {downstream} {kind}".encode()).digest()
    return LoggedRecord(
        record_id=0,
        kind=kind,
        session_key=session,
        nas_id="nas-1",
        acct_session_id=session.encode(),
        username=f"user-of-{session}",
        service_id=service,
        event_at=at,
        received_at=arrived or at,
        session_time_s=session_time_s,
        upstream_octets=upstream,
        downstream_octets=downstream,
        packet_sha256=digest,
        record_sha256=digest,
        intact=True,
    )


def _stored(row: LoggedRecord) -> dict[str, object]:
    same = (
        "record_id", "kind", "session_key", "nas_id", "acct_session_id", "username", "service_id", "session_time_s",
        "upstream_octets", "downstream_octets", "packet_sha256", "record_sha256",
    )  # fmt: skip
    instants = {"event_us": to_micros(row.event_at), "received_us": to_micros(row.received_at)}
    return {name: getattr(row, name) for name in same} | instants


def _link(first: int, last: int) -> dict[str, object]:
    """It proves nothing, and says where its records are."""
    proof = bytes(32)
    return {
        "writer": "memory", "number": first, "first_record_id": first, "last_record_id": last,
        "records": last - first + 1, "previous": proof, "link": proof, "committed_us": to_micros(_COMMITTED),
    }  # fmt: skip


class UsageLogInMemory:
    """A UsageReader over a list; ids are 1, 2, 3 … in order of arrival."""

    def __init__(self) -> None:
        self.rows: list[LoggedRecord] = []
        self.faults: list[str] = []
        self._stored = 0

    async def store(self, database: Database) -> None:
        """Put what was appended meanwhile into the log of the database too, where the ledger of usage looks it up."""
        rows = self.rows[self._stored :]
        if rows:
            async with database.begin() as conn:
                await conn.execute(insert(usage_records), [_stored(row) for row in rows])
                await conn.execute(insert(usage_links), [_link(self._stored + 1, len(self.rows))])
            self._stored = len(self.rows)

    def append(self, *records: LoggedRecord) -> None:
        for r in records:
            self.rows.append(replace(r, record_id=len(self.rows) + 1))

    def alter(self, record_id: int, **changes: object) -> None:
        """What somebody with SQL would do to a stored record."""
        self.rows[record_id - 1] = replace(self.rows[record_id - 1], intact=False, **changes)  # type: ignore[arg-type]

    async def watermark(self) -> int:
        return len(self.rows)

    async def records_after(self, record_id: int, until: int, limit: int) -> AsyncIterator[LoggedRecord]:
        for row in self.rows[record_id : min(until, record_id + limit)]:
            yield row

    async def records(self, record_ids: Sequence[int]) -> Sequence[LoggedRecord]:
        return [self.rows[i - 1] for i in sorted(record_ids)]

    async def verify_chain(self, record_ids: Sequence[int]) -> Sequence[str]:
        return list(self.faults)


GB_100 = 100 * GB
