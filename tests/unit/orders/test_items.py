"""Items: sold beside a line, held by the day, charged like one, and never twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update

from billing_bridge.billing.service import BillingService
from billing_bridge.settings import BillingSettings
from controller.app.bus import Bus
from controller.domain.charge import Charge
from controller.domain.clock import MovableClock
from controller.domain.events import ItemHeld, ServiceTerminated
from controller.domain.identity import AccountId, ItemId, OfferingId, OrderId, ServiceId, SubscriptionId, new_id
from controller.domain.price import Contract, ProductKind
from controller.domain.price_text import plan_from_data
from controller.domain.service import SpeedProfile
from controller.store import outbox
from controller.store.engine import Database
from erp.catalog.model import Product, VersionTerms
from erp.catalog.service import CatalogService
from erp.crm.model import Contact
from erp.crm.service import CrmService
from erp.orders import contract_routes, repository, tables
from erp.orders.contracts import ContractService
from erp.orders.errors import (
    BadTime,
    KeyReused,
    NoItem,
    NoSubscription,
    NotAllowed,
    NotAnItem,
    NothingToChange,
)
from erp.orders.items import Item, ItemRequest, ItemService
from erp.orders.model import Subscription, SubscriptionState
from erp.orders.selling import Offer
from tests.support.api import api_client

BERLIN = ZoneInfo("Europe/Berlin")
ACTOR = "user:test"


class World:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = MovableClock(datetime(2026, 3, 12, 9, tzinfo=UTC))
        self.crm = CrmService(database, self.clock)
        self.catalog = CatalogService(database, self.clock)
        self.items = ItemService(database, self.clock, crm=self.crm, catalog=self.catalog)
        self.billing = BillingService(database, self.clock, self.catalog, BillingSettings(zone=BERLIN))
        self.bus = Bus(
            database,
            self.clock,
            {
                "billing": {ItemHeld: self.billing.on_item_held},
                "items": {ServiceTerminated: self.items.on_service_terminated},
            },
        )

    async def account(self) -> AccountId:
        await self.crm.ensure_entity(
            name="Testnetz", zone="Europe/Berlin", currency="EUR", locale="de_DE", address="Weg 1", tax_id="DE1"
        )
        return (await self.crm.create_customer(Contact("Erika", address="Weg 2"), actor=ACTOR)).account.account_id

    async def offering(
        self, name: str, kind: ProductKind, *prices: dict[str, Any], tax: str = "19", **more: Any
    ) -> Offer:
        terms = VersionTerms(date(2026, 1, 1), "EUR", Decimal(tax), plan_from_data({"prices": list(prices)}), None)
        made = await self.catalog.create_offering(Product(name, kind=kind), replace(terms, **more), actor=ACTOR)
        return Offer(offering_id=made.offering_id)

    async def add(self, account: AccountId, reference: str, offer: Offer, **more: Any) -> Item:
        return await self.items.add(ItemRequest(account, reference, offer, **more), actor=ACTOR)

    async def bill(self, *at: int) -> list[Charge]:
        await self.bus.drain()
        self.clock.move_to(datetime(*at, 12, tzinfo=UTC))  # type: ignore[misc, arg-type]
        run = await self.billing.open_run(
            as_of=None, account_id=None, usage_watermark=0, event_watermark=0, actor=ACTOR
        )
        found: list[Charge] = []
        for batch in range(await self.billing.plan_run(run.bill_run_id)):
            await self.billing.rate_batch(run.bill_run_id, batch)
            found += await self.billing.charges(run.bill_run_id, batch)
        return found


def flat(amount: str, **more: Any) -> dict[str, Any]:
    return {"model": "flat", "code": "fee", "amount": amount, **more}


def told(charges: list[Charge]) -> list[tuple[str, str, str]]:
    return sorted((c.item, str(c.net.amount), str(c.tax_percent)) for c in charges)


async def test_several_products_stand_on_one_account_each_with_its_tax(database: Database) -> None:
    world = World(database)
    account = await world.account()
    tv = await world.offering("TV", ProductKind.TV, flat("12.40"), tax="7")
    box = await world.offering("Box", ProductKind.RENTAL, flat("3.10", each=True))
    install = await world.offering(
        "Installation", ProductKind.INSTALLATION, {"model": "one-off", "code": "once", "amount": "49.00"}
    )
    await world.add(account, "tv", tv, on=date(2026, 3, 1))
    await world.add(account, "boxes", box, quantity=2, on=date(2026, 3, 22))
    first = await world.add(account, "visit", install)
    again = await world.add(account, "visit", install)
    assert again == first
    # 22 to 31 March are ten of 31 days of two boxes.
    march = await world.bill(2026, 3, 31)
    assert told(march) == [("Box", "2.00", "19"), ("Installation", "49.00", "19"), ("TV", "12.40", "7")]
    await world.add(account, "visit", install)
    assert await world.bill(2026, 3, 31) == []
    assert told(await world.bill(2026, 4, 1)) == [("Box", "6.20", "19"), ("TV", "12.40", "7")]


async def test_a_discount_of_six_months_ends_in_the_middle_of_a_period_to_the_day(database: Database) -> None:
    world = World(database)
    account = await world.account()
    off = await world.offering("Welcome", ProductKind.DISCOUNT, flat("-6.00", window={"months": 6}))
    await world.add(account, "welcome", off)
    nets = []
    for month in (3, 4, 5, 6, 7, 8, 9, 10):
        charges = await world.bill(2026, month, 28)
        nets += [(c.first_on.month, str(c.net.amount), str(c.until_on)) for c in charges]
        assert all(c.ends_on == date(2026, 9, 12) for c in charges)  # as the document says
    # 12 March to 12 September: 20 of 31 days, five months, 11 of 30 days, and no more.
    assert nets[0] == (3, "-3.87", "2026-04-01")
    assert nets[1:-1] == [(m, "-6.00", f"2026-{m + 1:02d}-01") for m in (4, 5, 6, 7, 8)]
    assert nets[-1] == (9, "-2.20", "2026-09-12")


async def test_another_quantity_and_the_end_are_prorated_by_the_day(database: Database) -> None:
    world = World(database)
    account = await world.account()
    ips = await world.offering("Static IPv4", ProductKind.ADD_ON, flat("3.00", each=True))
    item = await world.add(account, "ips", ips, quantity=1, on=date(2026, 4, 1))
    await world.bill(2026, 4, 1)
    await world.items.change(item.item_id, None, 4, date(2026, 4, 11), actor=ACTOR)
    with pytest.raises(BadTime, match="nothing can change before"):
        await world.items.end(item.item_id, date(2026, 4, 5), actor=ACTOR)
    with pytest.raises(NothingToChange):
        await world.items.change(item.item_id, ips, 4, None, actor=ACTOR)
    assert [str(c.net.amount) for c in await world.bill(2026, 4, 12)] == ["6.00"]
    await world.items.end(item.item_id, date(2026, 4, 21), actor=ACTOR)
    # 10 days of one and 10 of four are 5.00; 9.00 were charged.
    assert [str(c.net.amount) for c in await world.bill(2026, 5, 2)] == ["-4.00"]
    with pytest.raises(NotAllowed, match="ended"):
        await world.items.end(item.item_id, None, actor=ACTOR)


async def test_what_is_no_item_or_not_theirs_is_refused(database: Database) -> None:
    world = World(database)
    account = await world.account()
    line = await world.offering("Fibre", ProductKind.INTERNET, flat("30.00"), speed=SpeedProfile("f", 10, 10))
    tv = await world.offering("TV", ProductKind.TV, flat("12.00"))
    music = await world.offering("Music", ProductKind.TV, flat("9.00"))
    with pytest.raises(NotAnItem, match="order it"):
        await world.add(account, "line", line)
    with pytest.raises(NoSubscription):
        await world.add(account, "tv", tv, subscription_id=SubscriptionId("f" * 32))
    with pytest.raises(BadTime, match="a year"):
        await world.add(account, "tv", tv, on=date(2062, 1, 1))
    await world.add(account, "tv", tv)
    with pytest.raises(KeyReused):
        await world.add(account, "tv", music)
    with pytest.raises(KeyReused, match="of which 1 are held"):
        await world.add(account, "tv", tv, quantity=5)
    with pytest.raises(NoItem):
        await world.items.item(ItemId("f" * 32))
    assert [i.reference for i in await world.items.items(account, None, 10)] == ["tv"]


async def test_who_has_a_version_keeps_it_while_new_ones_get_the_new_price(database: Database) -> None:
    world = World(database)
    account = await world.account()
    tv = await world.offering("TV", ProductKind.TV, flat("10.00"))
    await world.add(account, "first", tv, on=date(2026, 3, 1))
    assert tv.offering_id is not None
    dearer = VersionTerms(date(2026, 4, 1), "EUR", Decimal(19), plan_from_data({"prices": [flat("15.00")]}), None)
    await world.catalog.add_version(OfferingId(tv.offering_id), dearer, actor=ACTOR)
    await world.bill(2026, 4, 1)
    await world.add(account, "second", tv)
    assert sorted(str(c.net.amount) for c in await world.bill(2026, 5, 1)) == ["10.00", "15.00", "15.00"]


async def test_items_of_a_line_end_with_it(database: Database) -> None:
    world = World(database)
    account = await world.account()
    tv = await world.offering("TV", ProductKind.TV, flat("30.00"))
    item = await world.add(account, "tv", tv, on=date(2026, 4, 1))
    async with database.begin() as conn:
        await conn.exec_driver_sql(
            "INSERT INTO orders_subscription (subscription_id, account_id, service_id, version_id, state, username,"
            f" ordered_at) VALUES ('line', '{account}', 'svc', '{item.version_id}', 'active', 'u', 0)"
        )
        await conn.exec_driver_sql("UPDATE orders_item SET subscription_id = 'line'")
    await world.bill(2026, 4, 16)
    now = world.clock.now()
    ended = ServiceTerminated(
        event_id=new_id(now),
        at=now,
        actor=ACTOR,
        order_id=OrderId("o"),
        subscription_id=SubscriptionId("line"),
        service_id=ServiceId("svc"),
        account_id=account,
    )
    async with database.begin() as conn:
        await outbox.append(conn, ended)
    await world.bus.drain()
    assert (await world.items.item(item.item_id)).ended_at == now
    assert [str(c.net.amount) for c in await world.bill(2026, 4, 17)] == ["-15.00"]


async def test_what_binds_an_account_is_told_at_once_as_one_by_one(database: Database) -> None:
    world = World(database)
    account = await world.account()
    contracts = ContractService(database, world.clock, crm=world.crm, catalog=world.catalog, items=world.items)
    plan = replace(plan_from_data({"prices": [flat("10.00")]}), contract=Contract(term_months=24))
    bound = await world.offering("Router", ProductKind.RENTAL, flat("10.00"), plan=plan)
    free = await world.offering("TV", ProductKind.TV, flat("30.00"))
    router = await world.add(account, "r", bound, on=date(2026, 3, 1))
    await world.add(account, "t", free)
    ended = await world.add(account, "e", bound)
    await world.items.end(ended.item_id, date(2026, 3, 13), actor=ACTOR)
    line, reserved = [
        Subscription(
            SubscriptionId(number * 32), account, ServiceId(number * 32), router.version_id,
            SubscriptionState.RESERVED, f"line-{number}", None, (), world.clock.now(),
        )
        for number in "12"
    ]  # fmt: skip
    async with database.begin() as conn:
        for made in (line, reserved):
            await repository.add_subscription(conn, made)
        begun = {"state": "active", "activated_at": world.clock.now()}
        await conn.execute(
            update(tables.subscription)
            .where(tables.subscription.c.subscription_id == line.subscription_id)
            .values(begun)
        )
    one_by_one = {
        router.item_id: await contracts.of_item(router.item_id, None),
        line.subscription_id: await contracts.of_subscription(line.subscription_id, None),
    }
    assert await contracts.of_account(account, 100) == one_by_one
    assert await contracts.of_account(await world.account(), 100) == {}
    async with api_client(contract_routes.endpoints(contracts)) as client:
        shown = (await client.get(f"/accounts/{account}/contracts")).json()["contracts"]
        single = (await client.get(f"/items/{router.item_id}/contract")).json()
    assert {row["held_id"] for row in shown} == set(one_by_one)
    assert single | {"held_id": router.item_id} in shown
