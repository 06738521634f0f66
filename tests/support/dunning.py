"""Dunning as wiring puts it together: a ledger, lines with logins in a started RADIUS room, mail that is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from controller.app.bus import Bus
from controller.domain.events import (
    DunningChanged,
    InvoiceIssued,
    ItemHeld,
    PaymentReceived,
    PaymentReversed,
    ReceivablesChanged,
    ServiceTerminated,
)
from controller.domain.identity import (
    AccountId,
    BillRunId,
    InvoiceId,
    ItemId,
    OfferingVersionId,
    ServiceId,
    SubscriptionId,
    new_id,
)
from controller.domain.money import Money
from controller.domain.ports import Secret
from controller.domain.price import ProductKind
from controller.provisioning.service import ProvisioningService
from controller.store.engine import Database
from controller.store.jobs import Jobs
from controller.workflows.device_measures import DeviceMeasures, Reach
from controller.workflows.dunning import DunningWork, Look
from erp.catalog.model import Product
from erp.catalog.service import CatalogService
from erp.crm.model import Contact
from erp.dunning.disputes import DisputeService
from erp.dunning.mail import Mail
from erp.dunning.notices import NoticeService
from erp.dunning.service import DunningService
from erp.dunning.standing import Standing
from erp.inventory.service import InventoryService
from erp.orders import repository as orders
from erp.orders.items import ItemRequest, ItemService
from erp.orders.model import Subscription, SubscriptionState
from erp.orders.pauses import PauseService
from erp.orders.selling import Offer
from erp.orders.served import served
from erp.orders.service import OrderService
from erp.orders.suspensions import Suspensions
from radius.vendors.mark import read_class
from tests.support.finance import Books, made_entity
from tests.support.isp import TERMS
from tests.support.plans import plan_of
from tests.support.radius import GOLD, RecordingRoom, recording_room, secret_box

BERLIN = ZoneInfo("Europe/Berlin")
ANNA = "user:anna"


class KeptMail:
    """A Mailer that keeps what it is given; `refuse` is raised instead, once, where it is set."""

    def __init__(self) -> None:
        self.sent: list[Mail] = []
        self.refuse: BaseException | None = None

    async def send(self, mail: Mail) -> None:
        if self.refuse is not None:
            error, self.refuse = self.refuse, None
            raise error
        self.sent.append(mail)


class DunningWorld:
    """Days are told as "today at ten in Berlin"; `night` is what the job does, `deliver` what the bus does."""

    def __init__(
        self,
        database: Database,
        running: RecordingRoom,
        directory: Path,
        provisioning: ProvisioningService | None = None,
        reach: Reach = Reach.UNSEEN,
    ) -> None:
        self.books = Books(database)
        self.database, self.clock = database, self.books.clock
        self.room = running.room
        self.mail = KeptMail()
        self.dunning = DunningService(database, self.clock, self.books.crm)
        self.notices = self.sender()
        self.disputes = DisputeService(database, self.clock, self.dunning, self.books.finance, self.books.corrections)
        box = secret_box(directory)
        self.catalog, stock = CatalogService(database, self.clock), InventoryService(database, self.clock)
        self._sold: OfferingVersionId | None = None
        self._offered: dict[ProductKind, Offer] = {}
        self.orders = OrderService(database, self.clock, box, catalog=self.catalog, inventory=stock)
        self.pauses = PauseService(database, self.clock, crm=self.books.crm)
        self.items = ItemService(database, self.clock, crm=self.books.crm, catalog=self.catalog)
        self.suspensions = Suspensions(self.clock)
        self.jobs = Jobs(database.url, directory)
        self.measures = (
            None if provisioning is None
            else DeviceMeasures(self.clock, provisioning, self.room.restricting, reach)
        )  # fmt: skip
        self.work = DunningWork(
            database,
            self.clock,
            self.jobs,
            dunning=self.dunning,
            restricting=self.room.restricting,
            orders=self.orders,
            pauses=self.pauses,
            suspensions=self.suspensions,
            zone=BERLIN,
            devices=self.measures,
        )
        changes = (PaymentReceived, PaymentReversed, ReceivablesChanged, DunningChanged)
        heard = dict.fromkeys(changes, self.work.on_account_changed) | {InvoiceIssued: self.work.on_invoice_issued}
        self._bus = Bus(
            database,
            self.clock,
            {
                "dunning": heard,
                "dunning-items": {ItemHeld: self.work.on_item_held},
                "items": {ServiceTerminated: self.items.on_service_terminated},
            },
        )

    def sender(self, process: str = "headend-1") -> NoticeService:
        return NoticeService(
            self.database,
            self.clock,
            self.books.crm,
            self.dunning,
            mailer=self.mail,
            sender="billing@testnetz.example",
            iban="DE02120300000000202051",
            process=process,
        )

    async def customer(self, name: str = "Erika Beispiel", email: str = "erika@example.net", **known: Any) -> AccountId:
        contact = Contact(name, email=email, address="Hauptstraße 5\n20095 Hamburg", **known)
        return (await self.books.crm.create_customer(contact, actor=ANNA)).account.account_id

    async def line(self, account_id: AccountId, username: str) -> ServiceId:
        """An active line with a login."""
        now = self.clock.now()
        made = Subscription(
            SubscriptionId(new_id(now)), account_id, ServiceId(new_id(now)), await self._version(),
            SubscriptionState.ACTIVE, username, None, (), now, activated_at=now,
        )  # fmt: skip
        async with self.database.begin() as conn:
            await orders.add_subscription(conn, made)
            await orders.change_subscription(conn, made)
        await self.room.subscribers.put_subscriber(
            service_id=made.service_id, username=username, password=Secret("hunter2"), profile=GOLD, framed_ipv4=None,
            enabled=True, actor=ANNA,
        )  # fmt: skip
        return made.service_id

    async def _version(self) -> OfferingVersionId:
        """Of an offering, made with the first line."""
        if self._sold is None:
            made = await self.catalog.create_offering(Product("Fibre 100"), TERMS, actor=ANNA)
            self._sold = made.versions[0].tariff.version_id
        return self._sold

    async def item(
        self, account_id: AccountId, kind: ProductKind, *, line: ServiceId | None = None, fee: str = "10.00"
    ) -> ItemId:
        """One of an offering that is called like its kind, made with the first of them."""
        if kind not in self._offered:
            terms = replace(TERMS, speed=None, plan=plan_of(fee), effective_on=date(2026, 1, 1))
            made = await self.catalog.create_offering(Product(kind.value, kind=kind), terms, actor=ANNA)
            self._offered[kind] = Offer(offering_id=made.offering_id)
        subscription_id = None
        if line is not None:
            known = await self.orders.subscriptions(account_id=account_id, service_id=line, after=None, limit=1)
            subscription_id = known[0].subscription_id
        reference = f"{kind.value}-{new_id(self.clock.now())[-6:]}"
        request = ItemRequest(account_id, reference, self._offered[kind], subscription_id=subscription_id)
        return (await self.items.add(request, actor=ANNA)).item_id

    async def item_measures(self, account_id: AccountId) -> dict[str, str]:
        """Of each item by its kind, as it is, "none" or "suspend"."""
        async with self.database.read() as conn:
            found = await served(conn, [account_id], self.clock.now())
        return {s.kind.value: "suspend" if s.suspension else "none" for s in found if s.item_id and not s.ended}

    async def invoice(self, account_id: AccountId, net: str = "50.00") -> InvoiceId:
        """Of 1.19 × net, due in two weeks."""
        run = BillRunId(new_id(self.clock.now()))
        (made,) = await self.books.finance.issue(run, [self.books.charge(account_id, net)])
        return made

    async def pay(self, account_id: AccountId, amount: str, reference: str) -> None:
        await self.books.finance.receive(
            account_id=account_id, amount=Money.exact(amount, "EUR"), method="bank-transfer", reference=reference,
            received_at=None, actor=ANNA,
        )  # fmt: skip

    def move_to(self, day: date, hour: int = 10) -> None:
        self.clock.move_to(datetime.combine(day, time(hour), tzinfo=BERLIN).astimezone(UTC))

    @property
    def today(self) -> date:
        return self.clock.now().astimezone(BERLIN).date()

    async def look(self, account_id: AccountId, *, advance: bool = True) -> Look:
        async with self.database.begin() as conn:
            look = await self.work.look(conn, account_id, advance=advance)
        await self.room.follower.refresh_subscribers()
        return look

    async def deliver(self) -> None:
        """Dunning hears of what has happened, as wiring subscribes it, and logins follow."""
        await self._bus.drain()
        await self.room.follower.refresh_subscribers()

    async def nights(self, account_id: AccountId, until: date) -> None:
        """The nights until that day on which a step can be taken, and the last one, with their mail.

        That nothing happens in the others is shown of the model.
        """
        while self.today < until:
            next_on = (await self.standing(account_id)).state.next_on
            self.move_to(next_on if next_on is not None and self.today < next_on < until else until)
            await self.look(account_id)
            while await self.notices.work():
                pass

    async def standing(self, account_id: AccountId) -> Standing:
        return await self.dunning.standing(account_id)

    async def steps(self, account_id: AccountId) -> list[tuple[date, str]]:
        """Those taken, the first one first."""
        return [(row.taken_on, row.name) for row in reversed(await self.dunning.steps(account_id))]

    def login_gets(self, username: str) -> str:
        """What the next login gets: the name of its speed, or "rejected"."""
        found = self.room.directory.find(username.encode())
        assert found is not None
        if found.plan.guard is not None and found.plan.guard.barred:
            return "rejected"
        mark = read_class(found.attributes[2:])
        assert mark is not None
        return mark.profile_name


@asynccontextmanager
async def dunning_world(
    database: Database,
    directory: Path,
    provisioning: ProvisioningService | None = None,
    reach: Reach = Reach.UNSEEN,
) -> AsyncIterator[DunningWorld]:
    async with recording_room(database, directory) as running:
        made = DunningWorld(database, running, directory, provisioning, reach)
        await made_entity(made.books)
        yield made
