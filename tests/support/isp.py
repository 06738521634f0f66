"""A small ERP over one database: customer, offerings and stock, with order fulfilment on a fake network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

from controller.app.schema import metadata
from controller.domain.clock import MovableClock
from controller.domain.events import Event
from controller.domain.identity import DeviceId, OfferingId, OrderId
from controller.domain.service import OnuAttachment, SpeedProfile
from controller.store import outbox
from controller.store.engine import Database
from controller.store.jobs import Jobs
from controller.store.secrets import load_or_create
from controller.workflows.order_fulfilment import OrderFulfilment
from controller.workflows.order_steps import FulfilmentSettings
from erp.catalog.model import Product, VersionTerms
from erp.catalog.service import CatalogService
from erp.crm.model import Contact, Customer
from erp.crm.service import CrmService
from erp.inventory.service import InventoryService
from erp.orders.model import OrderState
from erp.orders.pauses import PauseService
from erp.orders.placement import AddRequest, Offer, OrderPlacement
from erp.orders.service import OrderService, Story
from tests.support.network import FakeNetwork, nothing
from tests.support.plans import plan_of

NOW = datetime(2026, 9, 1, 8, tzinfo=UTC)
ACTOR = "user:anna"
FAST = FulfilmentSettings(
    first_wait_s=0.02,
    longest_wait_s=0.05,
    evidence_wait_s=0.3,
    evidence_poll_s=0.02,
    session_end_wait_s=0.4,
    disconnect_again_s=0.1,
    sweep_s=0.1,
)
TERMS = VersionTerms(
    effective_on=date(2026, 9, 1),
    currency="EUR",
    tax_percent=Decimal(19),
    plan=plan_of("39.90"),
    speed=SpeedProfile("100m-20m", 100_000_000, 20_000_000),
)


class Isp:
    """Everything an order touches, wired as controller.app wires it. `jobs` is launched by `open_isp`."""

    def __init__(self, database: Database, directory: Path, at: Callable[[str], Awaitable[None]] = nothing) -> None:
        self.database = database
        self.clock = MovableClock(NOW)
        box = load_or_create(directory / "headend.key")
        self.crm = CrmService(database, self.clock)
        self.catalog = CatalogService(database, self.clock)
        self.inventory = InventoryService(database, self.clock)
        self.placement = OrderPlacement(
            database, self.clock, box, crm=self.crm, catalog=self.catalog, inventory=self.inventory
        )
        self.orders = OrderService(database, self.clock, box, catalog=self.catalog, inventory=self.inventory)
        self.network = FakeNetwork(directory / "network.db", self.clock, at)
        self.jobs = Jobs(database.url, directory)
        self.fulfilment = OrderFulfilment(
            self.clock,
            self.jobs,
            placement=self.placement,
            orders=self.orders,
            provisioning=self.network,
            directory=self.network,
            sessions=self.network,
            is_off=PauseService(database, self.clock, crm=self.crm).is_off,
            settings=FAST,
        )

    async def customer(self, contact: Contact | None = None) -> Customer:
        await self.crm.ensure_entity(
            name="Net GmbH", zone="Europe/Berlin", currency="EUR", locale="de_DE", address="Weg 1", tax_id="DE1"
        )
        return await self.crm.create_customer(contact or Contact("Anna Muster"), actor=ACTOR)

    async def offering(self, name: str = "Fibre 100", mbps: int = 100, fee: str = "39.90") -> OfferingId:
        profile = SpeedProfile(f"{mbps}m-20m", mbps * 1_000_000, 20_000_000)
        terms = replace(TERMS, speed=profile, plan=plan_of(fee))
        return (await self.catalog.create_offering(Product(name), terms, actor=ACTOR)).offering_id

    async def onu(self, serial: str = "NOKI1234ABCD") -> str:
        item = await self.inventory.receive(kind="onu", model="G", serial=serial, why="delivery", actor=ACTOR)
        return item.item_id

    async def add_request(self, serial: str = "NOKI1234ABCD", username: str | None = None) -> AddRequest:
        """A new customer, offering and ONU, and the order that joins them."""
        customer = await self.customer()
        await self.onu(serial)
        attachment = OnuAttachment(DeviceId("f" * 32), "pon-1", serial)
        offering_id = await self.offering("Fibre " + serial)
        return AddRequest(customer.account.account_id, Offer(offering_id), (attachment,), username)

    async def until(self, order_id: OrderId, reached: Callable[[Story], bool]) -> Story:
        """The order's story as soon as `reached` holds for it; fails after ten seconds."""
        async with asyncio.timeout(10):
            while True:
                story = await self.orders.story(order_id)
                if reached(story):
                    return story
                await asyncio.sleep(0.01)

    async def until_state(self, order_id: OrderId, state: OrderState) -> Story:
        return await self.until(order_id, lambda story: story.order.state is state)

    async def events(self, *names: str) -> list[Event]:
        async with self.database.read() as conn:
            return [delivery.event for delivery in await outbox.pending(conn, "test", names, 100)]


async def sqlite_database(directory: Path) -> Database:
    """An empty SQLite database with every table, for tests that need no second kind."""
    opened = Database(f"sqlite+aiosqlite:///{directory}/headend.db")
    async with opened.begin() as connection:
        await connection.run_sync(metadata.create_all)
    return opened


@asynccontextmanager
async def open_isp(
    database: Database, directory: Path, at: Callable[[str], Awaitable[None]] = nothing
) -> AsyncIterator[Isp]:
    isp = Isp(database, directory, at)
    await isp.jobs.launch()
    try:
        yield isp
    finally:
        await isp.jobs.close()
