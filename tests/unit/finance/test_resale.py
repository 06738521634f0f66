"""A reseller's statement is what was sold to its customers times its share, and is posted once."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from controller.domain.money import Money
from erp.finance.errors import NotOverYet, OwnReseller, Settled
from erp.finance.resale import ResaleService
from erp.finance.settings import FinanceSettings
from tests.support.finance import Books

NOVEMBER = date(2026, 11, 1)
ACTOR = "user:anna"


@pytest.fixture
def resale(books: Books) -> ResaleService:
    return ResaleService(books.database, books.clock, books.crm, FinanceSettings())


async def balance(books: Books, code: str) -> int:
    return sum(row.balance.minor for row in await books.books.trial_balance() if row.code == code)


async def test_the_statement_is_the_sum_of_the_sales_times_the_share(books: Books, resale: ResaleService) -> None:
    reseller, a, b, other = [await books.account(name) for name in ("R", "A", "B", "C")]
    await resale.assign(a, reseller, Decimal("12.5"), actor=ACTOR)
    await resale.assign(b, reseller, Decimal("12.5"), actor=ACTOR)
    for account, nets in ((a, ("30.00", "5.01")), (b, ("0.01",)), (b, ("9.99",)), (other, ("99.00",))):
        await books.issue(account, *nets)
    (found,) = await resale.statements(reseller, NOVEMBER)
    assert (str(found.net), str(found.share)) == ("45.01 EUR", "5.63 EUR")
    assert sum(sale.share.minor for sale in found.sales) == 563
    assert {sale.account_id for sale in found.sales} == {a, b}
    assert await resale.statements(other, NOVEMBER) == []


async def test_a_settlement_posts_to_payables_once_and_only_when_the_month_is_over(
    books: Books, resale: ResaleService
) -> None:
    reseller, customer = await books.account("R"), await books.account("A")
    await resale.assign(customer, reseller, Decimal(10), actor=ACTOR)
    await books.issue(customer, "30.00")
    with pytest.raises(NotOverYet, match="2026-12-01"):
        await resale.settle(reseller, NOVEMBER, actor=ACTOR)
    books.clock.move_to(datetime(2026, 12, 1, 9, tzinfo=UTC))
    (posted,) = await resale.settle(reseller, NOVEMBER, actor=ACTOR)
    assert await resale.settle(reseller, NOVEMBER, actor=ACTOR) == [posted]
    assert posted.entry_id is not None
    assert (await balance(books, "3300"), await balance(books, "6770")) == (-300, 300)
    with pytest.raises(Settled, match="2026-12-01"):
        await resale.assign(customer, None, Decimal(0), since=date(2026, 11, 15), actor=ACTOR)


async def test_a_customer_changes_hands_on_a_day_and_a_credit_note_takes_the_share_back(
    books: Books, resale: ResaleService
) -> None:
    first, second, customer = [await books.account(name) for name in ("R", "S", "A")]
    await resale.assign(customer, first, Decimal(10), actor=ACTOR)
    sold = await books.issue(customer, "30.00")
    await resale.assign(customer, second, Decimal(20), since=date(2026, 11, 10), actor=ACTOR)
    books.clock.move_to(datetime(2026, 11, 10, 9, tzinfo=UTC))
    await books.issue(customer, "50.00")
    await books.corrections.void(sold, reason="never used", actor=ACTOR)
    assert [s.share for s in await resale.statements(first, NOVEMBER)] == [Money(300, "EUR")]
    # The credit note is of a day on which the customer was the other's.
    assert [s.share for s in await resale.statements(second, NOVEMBER)] == [Money(1000 - 600, "EUR")]
    with pytest.raises(Settled, match="was said already"):
        await resale.assign(customer, None, Decimal(0), since=date(2026, 11, 10), actor=ACTOR)
    assert [a.reseller_id for a in await resale.assignments(customer)] == [first, second]


async def test_resellers_are_listed_with_the_customers_that_are_theirs_today(
    books: Books, resale: ResaleService
) -> None:
    first, second, a, b, c = sorted([await books.account(name) for name in ("R", "S", "A", "B", "C")])
    for customer, reseller, since in (
        (a, first, date(2026, 10, 1)),
        (b, first, date(2026, 10, 1)),
        (b, second, date(2026, 10, 20)),
        (c, first, date(2026, 12, 1)),
    ):
        await resale.assign(customer, reseller, Decimal(10), since=since, actor=ACTOR)
    assert [(r.account_id, r.customers) for r in await resale.resellers()] == [(first, 1), (second, 1)]
    assert [r.account_id for r in await resale.customers(first, limit=50)] == [a]
    assert [r.account_id for r in await resale.customers(second, limit=50)] == [b]
    assert await resale.customers(first, after=a, limit=50) == []
    books.clock.move_to(datetime(2026, 12, 1, 9, tzinfo=UTC))
    assert [r.account_id for r in await resale.customers(first, limit=1)] == [a]
    assert [r.account_id for r in await resale.customers(first, after=a, limit=1)] == [c]
    await resale.assign(a, None, Decimal(0), since=date(2026, 12, 2), actor=ACTOR)
    books.clock.move_to(datetime(2026, 12, 3, 9, tzinfo=UTC))
    assert [(r.account_id, r.customers) for r in await resale.resellers()] == [(first, 1), (second, 1)]


async def test_nobody_is_its_own_reseller_also_not_by_way_of_others(books: Books, resale: ResaleService) -> None:
    a, b, c = [await books.account(name) for name in "ABC"]
    with pytest.raises(OwnReseller, match="the account itself"):
        await resale.assign(a, a, Decimal(10), actor=ACTOR)
    await resale.assign(a, b, Decimal(10), actor=ACTOR)
    await resale.assign(b, c, Decimal(10), actor=ACTOR)
    with pytest.raises(OwnReseller, match=f"is a customer of account {c}"):
        await resale.assign(c, a, Decimal(10), actor=ACTOR)
    assert await resale.assignments(c) == []
    await resale.assign(b, None, Decimal(0), since=date(2026, 12, 1), actor=ACTOR)
    await resale.assign(c, a, Decimal(10), since=date(2026, 12, 1), actor=ACTOR)
    with pytest.raises(OwnReseller):
        await resale.assign(b, c, Decimal(10), since=date(2026, 12, 15), actor=ACTOR)
