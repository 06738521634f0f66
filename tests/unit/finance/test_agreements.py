"""A bundle under contract is one contract on the ledger, split by stand-alone price; who leaves early pays the fee."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from controller.app.bus import Bus
from controller.domain.events import ItemHeld, ServiceTerminated
from controller.domain.identity import AccountId, BillRunId, OfferingId, SubscriptionId, new_id
from controller.domain.money import Money
from controller.domain.price import ProductKind
from controller.domain.price_text import plan_from_data
from controller.store.engine import Database
from erp.catalog.model import Offering, Product, VersionTerms
from erp.catalog.service import CatalogService
from erp.finance.agreements import Agreements
from erp.finance.bundles import term_price
from erp.finance.model import Wanted
from erp.orders.contracts import ContractService
from erp.orders.items import Item, ItemRequest, ItemService
from erp.orders.selling import Offer
from tests.support.finance import Books, made_entity

TERM: dict[str, Any] = {
    "term_months": 24,
    "early_termination": {"amount": "120.00", "percent_of_fees": "50", "declining": True},
    "escalator": {"percent": "10", "every_months": 12},
}


class Shop(Books):
    BEGINS = datetime(2026, 1, 10, 9, tzinfo=UTC)

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.catalog = CatalogService(database, self.clock)
        self.items = ItemService(database, self.clock, crm=self.crm, catalog=self.catalog)
        contracts = ContractService(database, self.clock, crm=self.crm, catalog=self.catalog, items=self.items)
        self.agreements = Agreements(
            crm=self.crm,
            catalog=self.catalog,
            contracts=contracts,
            corrections=self.corrections,
            revenue=self.revenue,
        )
        heard = {
            ItemHeld: self.agreements.on_item_held,
            ServiceTerminated: self.agreements.on_service_terminated,
        }
        self.bus = Bus(database, self.clock, {"agreements": heard})

    async def offer(self, name: str, kind: ProductKind, fee: str, **more: Any) -> Offering:
        prices = [{"model": "one-off" if kind is ProductKind.ONE_OFF else "flat", "code": "fee", "amount": fee}]
        plan = plan_from_data({"prices": more.pop("prices", prices)} | more)
        terms = VersionTerms(date(2026, 1, 1), "EUR", Decimal(19), plan, None)
        return await self.catalog.create_offering(Product(name, kind=kind), terms, actor="user:anna")

    async def sell(self, account_id: AccountId, offering: Offering) -> Item:
        request = ItemRequest(account_id, new_id(self.clock.now()), Offer(OfferingId(offering.offering_id)))
        made = await self.items.add(request, actor="user:anna")
        await self.bus.drain()
        return made

    async def end(self, item: Item, on: date) -> None:
        self.clock.move_to(datetime(on.year, on.month, on.day, 12, tzinfo=UTC))
        await self.items.end(item.item_id, on, actor="user:anna")
        await self.bus.drain()

    async def invoices(self, account_id: AccountId) -> list[tuple[Money, str]]:
        found = await self.finance.invoices(Wanted(account_ids=[account_id]), limit=10)
        return [(i.net, (await self.finance.lines(i.invoice_id))[0].item) for i in found]


@pytest.fixture
async def shop(database: Database) -> Shop:
    made = Shop(database)
    await made_entity(made)
    return made


@pytest.mark.parametrize(
    ("on", "fee"),
    [
        # 14 of 24 months begun: 120.00 × 10 ÷ 24 + 50 % of 10 × 22.00, as the escalator has it from the 13th on
        (date(2027, 3, 10), "160.00"),
        (date(2027, 3, 11), "144.00"),
        # 120.00 × 23 ÷ 24 + 50 % of 11 × 20.00 and 12 × 22.00
        (date(2026, 1, 11), "357.00"),
        (date(2028, 1, 10), None),
    ],
)
async def test_who_leaves_in_the_fourteenth_month_of_24_pays_what_the_contract_says(
    shop: Shop, on: date, fee: str | None
) -> None:
    account = await shop.account()
    item = await shop.sell(account, await shop.offer("Hosting", ProductKind.HOSTING, "20.00", contract=TERM))
    await shop.end(item, on)
    expected = [(Money.exact(fee, "EUR"), "Hosting: early termination")] if fee else []
    assert await shop.invoices(account) == expected
    for made in await shop.finance.invoices(Wanted(account_ids=[account]), limit=10):
        (line,) = (await shop.finance.content(made.invoice_id))["lines"]
        assert line["item"] == "Hosting: vorzeitige Kündigung"  # the papers of the entity are German
    await shop.bus.drain()
    event = ItemHeld(
        event_id=new_id(shop.clock.now()), at=shop.clock.now(), actor="a", item_id=item.item_id, account_id=account,
        version_id=None, quantity=1,
    )  # fmt: skip
    async with shop.database.begin() as conn:
        await shop.agreements.on_item_held(conn, event)
    assert await shop.invoices(account) == expected


async def test_what_binds_nobody_ends_for_nothing(shop: Shop) -> None:
    account = await shop.account()
    item = await shop.sell(account, await shop.offer("TV", ProductKind.TV, "20.00"))
    await shop.end(item, date(2026, 3, 1))
    assert await shop.invoices(account) == []


async def bundle(shop: Shop) -> Offering:
    """A router and two years of television for 25.00 a month, half of it in the first three months, and 10.00 once."""
    router = await shop.offer("Router", ProductKind.ONE_OFF, "240.00")
    tv = await shop.offer("TV", ProductKind.TV, "20.00")
    return await shop.offer(
        "Bundle", ProductKind.BUNDLE, "",
        prices=[
            {"model": "flat", "code": "fee", "amount": "25.00"},
            {"model": "discount", "code": "half", "percent": "50", "window": {"months": 3}},
            {"model": "one-off", "code": "setup", "amount": "10.00"},
        ],
        parts=[
            {"offering_id": router.offering_id, "stand_alone": "240.00"},
            {"offering_id": tv.offering_id, "stand_alone": "20.00"},
        ],
        contract=TERM,
    )  # fmt: skip


async def test_a_bundle_is_signed_once_and_its_price_allocated_by_stand_alone_prices(shop: Shop) -> None:
    account, offering = await shop.account(), await bundle(shop)
    # 3 × 12.50 + 9 × 25.00 + 12 × 27.50 + 10.00 = 602.50, of 240.00 to 480.00
    assert term_price(offering.versions[0].tariff, 1) == Money.exact("602.50", "EUR")
    item = await shop.sell(account, offering)
    await shop.bus.drain()
    (signed,) = await shop.revenue.contracts(account_id=account, after=None, limit=10)
    assert (signed.subscription_id, signed.price_minor) == (item.item_id, 60250)
    _, _, planned = await shop.revenue.contract(signed.contract_id)
    assert [(p.promise.name, p.promise.role, p.minor, len(p.slices)) for p in planned] == [
        ("Router", "revenue-equipment", 20083, 1),
        ("TV", "revenue-recurring", 40167, 25),
    ]
    assert sum(p.minor for p in planned) == 60250


async def test_what_is_billed_for_a_bundle_is_earned_as_its_parts_are_delivered(shop: Shop) -> None:
    account = await shop.account()
    item = await shop.sell(account, await bundle(shop))
    month = shop.charge(
        account, "12.50", days=(date(2026, 1, 10), date(2026, 2, 10)), subscription_id=SubscriptionId(item.item_id)
    )
    await shop.finance.issue(BillRunId("r"), [month])
    shop.clock.move_to(datetime(2026, 2, 1, 9, tzinfo=UTC))
    await shop.revenue.recognise(date(2026, 1, 1), actor="user:anna")
    balances = {b.code: b.balance.minor for b in await shop.books.trial_balance() if b.balance}
    # 22 days of 730 of television, and the router; more than was billed is an asset
    earned = 20083 + 1210
    assert balances == {"1200": 1488, "3806": -238, "4430": -20083, "4400": -1210, "1260": earned - 1250}


async def test_the_plan_of_a_bundle_ends_with_it(shop: Shop) -> None:
    account = await shop.account()
    item = await shop.sell(account, await bundle(shop))
    await shop.end(item, date(2026, 7, 10))
    (signed,) = await shop.revenue.contracts(account_id=account, after=None, limit=10)
    _, changes, planned = await shop.revenue.contract(signed.contract_id)
    assert [c.reason for c in changes] == ["signed", "ended"]
    assert all(s.minor == 0 for p in planned for s in p.slices if s.first_on >= date(2026, 7, 10))
    assert sum(p.minor for p in planned) == signed.price_minor
    months = {m.month: m.planned.minor for m in await shop.revenue.months()}
    assert max(months) <= date(2028, 1, 1)
    assert sum(v for k, v in months.items() if k > date(2026, 7, 1)) == 0
    (fee,) = await shop.invoices(account)
    assert fee[0] == Money.exact("330.00", "EUR")  # 120.00 × 18 ÷ 24 + 50 % of 6 × 25.00 and 12 × 27.50
