"""Prepaid balances on a database, a usage log to write to, and an access network that remembers what it was told."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

from billing_bridge.prepaid.closing import PrepaidClosing
from billing_bridge.prepaid.counter import PrepaidCounter
from billing_bridge.prepaid.model import OCTETS, Wallet
from billing_bridge.prepaid.service import NewTerms, PrepaidService
from billing_bridge.settings import BillingSettings
from controller.domain.clock import MovableClock
from controller.domain.credit import FinalAction, Prolonged, Standing
from controller.domain.identity import AccountId, OfferingVersionId, ServiceId
from controller.domain.usage import RecordKind, UsageRecord
from controller.store.engine import Database
from controller.store.metadata import to_micros
from controller.store.usage_log import UsageLog, row_of
from controller.store.usage_reader import UsageLogReader
from tests.support.billing_fakes import PriceList, tariff

NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
SERVICE, ACCOUNT, NAS = ServiceId("5" * 32), AccountId("a" * 32), "b" * 32
MB = 1_000_000
CHEAP, DEAR = "1" * 32, "2" * 32
"""Versions at 1.00 and 2.00 EUR per MB."""
ACTOR = "user:test"


@dataclass
class FakeAccess:
    """controller.domain.ports.CreditAccess."""

    standing: dict[str, Standing | None] = field(default_factory=dict)
    ended: list[tuple[str, FinalAction]] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)
    prolonged: dict[str, Prolonged] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)
    """Stations of sessions, as accounting knows them."""

    async def take_turn(self, conn: Any) -> None: ...

    async def put(self, conn: Any, service_id: ServiceId, standing: Standing | None) -> None:
        self.standing[service_id] = standing

    async def end(self, conn: Any, service_id: ServiceId, session_keys: Collection[str], action: FinalAction) -> None:
        self.ended += [(key, action) for key in session_keys]

    async def go_on(self, conn: Any, service_id: ServiceId, session_keys: Collection[str]) -> None:
        self.resumed += session_keys

    async def prolong(self, conn: Any, service_id: ServiceId, sessions: Mapping[str, Prolonged]) -> None:
        self.prolonged |= sessions

    async def stations(self, conn: Any, session_keys: Collection[str]) -> dict[str, str]:
        return {key: found for key, found in self.known.items() if key in session_keys}

    async def follow(self) -> None: ...


class PrepaidWorld:
    """The clock stands where the test puts it."""

    def __init__(self, database: Database, access: Any = None, clock: Any = None) -> None:
        self.database, self.clock = database, clock or MovableClock(NOW)
        self.log = UsageLog(database, "radius-1")
        self.access = access or FakeAccess()
        versions = [
            tariff(version, "0", included=0, overage=price, unit="MB", tax="0")
            for version, price in ((CHEAP, "1.00"), (DEAR, "2.00"))
        ]
        reader = UsageLogReader(database)
        settings = BillingSettings(zone=ZoneInfo("Europe/Berlin"))
        self.prepaid = PrepaidService(database, self.clock, reader, PriceList(versions), self.access, settings)
        self.closing = PrepaidClosing(database, self.clock, self.prepaid)
        self.counter = PrepaidCounter(database, self.clock, reader, self.prepaid, self.closing)

    async def open(
        self,
        unit: str = OCTETS,
        *,
        version: str | None = None,
        slice_: int = MB,
        validity_s: int = 900,
        action: FinalAction = FinalAction.DISCONNECT,
        service: ServiceId = SERVICE,
        account: AccountId = ACCOUNT,
        low: int | None = None,
    ) -> None:
        prices = None if version is None else OfferingVersionId(version)
        wanted = NewTerms(prices, slice_, validity_s, action, low_below=low)
        await self.prepaid.open(service, account, unit, "EUR", wanted, actor=ACTOR)

    async def top_up(self, units: int, worth_minor: int = 0, reference: str = "1") -> None:
        async with self.database.begin() as conn:
            await self.prepaid.top_up_in(conn, SERVICE, units, worth_minor, reference, actor=ACTOR)

    async def close(self, *, pay_out: bool = False, reason: str = "moved to a contract") -> bool:
        """Whether it was closed at once."""
        async with self.database.begin() as conn:
            return await self.closing.begin_in(conn, SERVICE, pay_out=pay_out, actor=ACTOR, reason=reason)

    async def report(
        self,
        kind: str,
        down: int | None = 0,
        *,
        session: str = "1",
        seconds: int | None = None,
        count: bool = True,
        received_at: datetime | None = None,
        event_at: datetime | None = None,
    ) -> None:
        """A record of a session of this service, and what the balance makes of it."""
        now = self.clock.now()
        at = event_at or now
        made = UsageRecord(
            kind=RecordKind(kind),
            session_key=key(session),
            nas_id=NAS,
            acct_session_id=session.encode(),
            username="anna",
            service_id=SERVICE,
            event_at=at,
            received_at=received_at or now,
            session_time_s=seconds,
            upstream_octets=None if down is None else 0,
            downstream_octets=down,
            packet_sha256=sha256(f"{kind}{down}{at}{session}".encode()).digest(),
        )
        await self.log.append([row_of(made)], to_micros(now))
        if count:
            await self.counter.catch_up()

    async def wallet(self) -> Wallet:
        return (await self.prepaid.show(SERVICE)).wallet

    async def amounts(self) -> tuple[int, int, int]:
        """Balance, reserved, overshoot."""
        found = await self.wallet()
        return found.balance, found.reserved, found.overshoot

    async def later(self, **by: float) -> None:
        self.clock.advance(timedelta(**by))


def key(session: str) -> str:
    """A session key for a short name."""
    return f"{session:0>32}"
