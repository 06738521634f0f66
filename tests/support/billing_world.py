"""The money side of the controller as wiring puts it together, on a movable clock and the real usage log.

Only the offering catalogue is a fake (a price list), and the jobs engine is launched by whoever needs it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from billing_bridge.billing.run_book import RunBook
from billing_bridge.billing.service import BillingService
from billing_bridge.mediation.service import MediationService
from billing_bridge.settings import BillingSettings
from billing_bridge.sources.service import SourceService
from billing_bridge.suspense.service import SuspenseService
from controller.app.bus import Bus
from controller.domain.clock import MovableClock
from controller.domain.events import (
    AccountParentSet,
    CustomerCreated,
    Event,
    ItemHeld,
    ServiceActivated,
    ServiceChanged,
    ServiceOrdered,
    ServicePaused,
    ServiceTerminated,
)
from controller.domain.identity import (
    AccountId,
    OfferingVersionId,
    OrderId,
    PauseId,
    ServiceId,
    SubscriptionId,
    new_id,
)
from controller.domain.ports import ChargeChecker
from controller.domain.tariff import TariffVersion
from controller.domain.usage import RecordKind, UsageRecord
from controller.store import outbox
from controller.store.engine import Database
from controller.store.jobs import Jobs
from controller.store.metadata import to_micros
from controller.store.secrets import SecretBox
from controller.store.usage_log import UsageLog, row_of
from controller.store.usage_reader import UsageLogReader
from controller.workflows.bill_run import BillRuns
from controller.workflows.certify import Certifier
from controller.workflows.explain import Explainer
from erp.crm.model import Contact
from erp.crm.service import CrmService
from erp.finance.books import BooksService
from erp.finance.service import FinanceService
from erp.finance.settings import FinanceSettings
from tests.support.billing_fakes import PriceList
from tests.support.checks import NoneMayWait

BERLIN = ZoneInfo("Europe/Berlin")


@dataclass(frozen=True)
class Line:
    """One subscriber's line."""

    account_id: AccountId
    subscription_id: SubscriptionId
    service_id: ServiceId
    session_key: str


class BillingWorld:
    def __init__(
        self,
        database: Database,
        data_dir: Path,
        versions: Iterable[TariffVersion],
        at: datetime,
        *,
        accounts_per_batch: int = 100,
        usage_wait_s: float = 30.0,
        executor_id: str | None = None,
        checker: ChargeChecker | None = None,
        checked: bool = False,
        zone: ZoneInfo = BERLIN,
    ) -> None:
        self.database = database
        self.clock = MovableClock(at)
        self.zone = zone
        settings = BillingSettings(zone=zone, accounts_per_batch=accounts_per_batch, usage_wait_s=usage_wait_s)
        self.crm = CrmService(database, self.clock)
        self.log = UsageLog(database, "radius-1")
        self.usage = UsageLogReader(database)
        self.mediation = MediationService(database, self.clock, self.usage, settings)
        self.suspense = SuspenseService(database, self.clock, settings)
        self.sources = SourceService(database, self.clock, settings)
        self.prices = PriceList(versions)
        if checked:
            checker = NoneMayWait(database, self.clock, settings, self.prices)
        self.billing = BillingService(database, self.clock, self.prices, settings)
        self.finance = FinanceService(database, self.clock, self.crm, FinanceSettings())
        self.books = BooksService(database, self.clock, self.crm)
        self.jobs = Jobs(database.url, data_dir, executor_id=executor_id)
        self.book = RunBook(database, self.clock)
        box = SecretBox([b"0" * 32])
        self.certifier = Certifier(database, self.clock, box, self.book, self.finance, self.usage)
        self.runs = BillRuns(
            database,
            self.clock,
            self.jobs,
            self.billing,
            self.mediation,
            self.finance,
            self.usage,
            certifier=self.certifier,
            checker=checker,
            sources=self.sources,
        )
        self.runs.register()
        self._launched = False
        self.explainer = Explainer(self.finance, self.billing, self.usage)
        handlers: dict[type[Event], Any] = {
            CustomerCreated: self.billing.on_customer_created,
            ServiceOrdered: self.billing.on_service_ordered,
            ServiceActivated: self.billing.on_service_activated,
            ServiceChanged: self.billing.on_service_changed,
            ServiceTerminated: self.billing.on_service_terminated,
            ServicePaused: self.billing.on_service_paused,
            AccountParentSet: self.billing.on_account_parent_set,
            ItemHeld: self.billing.on_item_held,
        }
        self.bus = Bus(database, self.clock, {"billing": handlers})

    async def entity(self) -> None:
        await self.crm.ensure_entity(
            name="Testnetz GmbH",
            zone=self.zone.key,
            currency="EUR",
            locale="de_DE",
            address="Kabelweg 1\n10115 Berlin",
            tax_id="DE123456788",
        )

    async def customer(self, name: str = "Erika Beispiel", zone: str | None = None) -> AccountId:
        contact = Contact(name, address="Hauptstraße 5\n20095 Hamburg")
        made = await self.crm.create_customer(contact, actor="user:test", zone=zone)
        return made.account.account_id

    async def activate(self, version_id: str, account_id: AccountId | None = None, *, deliver: bool = True) -> Line:
        """What order fulfilment does when a line was verified."""
        now = self.clock.now()
        account = account_id or await self.customer()
        line = Line(account, SubscriptionId(new_id(now)), ServiceId(new_id(now)), new_id(now))
        await self.activate_as(version_id, line, deliver=deliver)
        return line

    async def activate_as(self, version_id: str, line: Line, *, deliver: bool = True) -> None:
        """The same for a line that was used before."""
        now = self.clock.now()
        event = ServiceActivated(
            event_id=new_id(now),
            at=now,
            actor="system:workflows",
            order_id=OrderId(new_id(now)),
            subscription_id=line.subscription_id,
            service_id=line.service_id,
            account_id=line.account_id,
            version_id=OfferingVersionId(version_id),
        )
        await self.tell(event, deliver=deliver)

    async def change(self, line: Line, old: str, new: str, *, deliver: bool = True) -> None:
        now = self.clock.now()
        event = ServiceChanged(
            event_id=new_id(now),
            at=now,
            actor="system:workflows",
            order_id=OrderId(new_id(now)),
            subscription_id=line.subscription_id,
            service_id=line.service_id,
            account_id=line.account_id,
            from_version_id=OfferingVersionId(old),
            version_id=OfferingVersionId(new),
        )
        await self.tell(event, deliver=deliver)

    async def terminate(self, line: Line) -> None:
        now = self.clock.now()
        event = ServiceTerminated(
            event_id=new_id(now),
            at=now,
            actor="system:workflows",
            order_id=OrderId(new_id(now)),
            subscription_id=line.subscription_id,
            service_id=line.service_id,
            account_id=line.account_id,
        )
        await self.tell(event)

    async def pause(
        self, line: Line, first_on: date, until_on: date | None, percent: int = 0, pause_id: str | None = None
    ) -> str:
        """What the office agrees: a pause, or with its id what it is from now on."""
        now = self.clock.now()
        event = ServicePaused(
            event_id=new_id(now),
            at=now,
            actor="user:anna",
            pause_id=PauseId(pause_id or new_id(now)),
            subscription_id=line.subscription_id,
            service_id=line.service_id,
            account_id=line.account_id,
            kind="seasonal",
            first_on=first_on,
            until_on=until_on,
            percent=percent,
        )
        await self.tell(event)
        return event.pause_id

    async def account_for(
        self, line: Line, *totals: tuple[datetime, int, int], service_id: str | None = None, unmapped: bool = False
    ) -> None:
        """Accounting records with these running totals, in one group commit; `unmapped` ones name no service."""
        rows = [
            row_of(
                UsageRecord(
                    RecordKind.INTERIM,
                    line.session_key,
                    "0" * 32,
                    b"session-1",
                    "alice",
                    None if unmapped else service_id or line.service_id,
                    at,
                    at,
                    None,
                    upstream,
                    downstream,
                    hashlib.sha256(f"{line.session_key}{at}{upstream}{downstream}".encode()).digest(),
                )
            )
            for at, upstream, downstream in totals
        ]
        await self.log.append(rows, to_micros(self.clock.now()))

    async def tell(self, event: Event, *, deliver: bool = True) -> None:
        async with self.database.begin() as conn:
            await outbox.append(conn, event)
        if deliver:
            await self.bus.drain()

    async def launch(self) -> None:
        """Launch the jobs, unless they are."""
        if not self._launched:
            await self.jobs.launch()
            self._launched = True

    async def bill(self, as_of: datetime | None = None, account_id: AccountId | None = None) -> str:
        """A bill run by the durable engine; returns its id."""
        run = await self.runs.start(as_of=as_of, account_id=account_id, actor="user:test")
        await self.jobs.wait(f"bill-run.v1:{run.bill_run_id}")
        return run.bill_run_id

    async def close(self) -> None:
        await self.jobs.close()
        await self.log.close()


def berlin(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    """A wall-clock time in Berlin, as an instant."""
    return datetime(year, month, day, hour, minute, tzinfo=BERLIN).astimezone(UTC)
