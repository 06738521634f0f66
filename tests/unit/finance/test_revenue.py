"""Revenue over time on both databases: deferred lines, contracts and their position, recognition, late changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from controller.domain.identity import AccountId, BillRunId, SubscriptionId, new_id
from controller.domain.money import Money
from erp.finance.contracts import Contract
from erp.finance.errors import ContractMismatch, EntryRefused
from erp.finance.recognition import Promise
from tests.support.finance import NOW, Books

DECEMBER, JANUARY = datetime(2026, 12, 2, 9, tzinfo=UTC), datetime(2027, 1, 2, 9, tzinfo=UTC)


async def balance(books: Books, *codes: str) -> list[int]:
    """In minor units, credits positive."""
    found = {b.code: -b.balance.minor for b in await books.books.trial_balance()}
    return [found.get(code, 0) for code in codes]


async def test_a_line_that_reaches_into_later_months_is_earned_in_them(books: Books) -> None:
    account = await books.account()
    line = books.charge(account, "31.00", days=(date(2026, 11, 15), date(2026, 12, 16)))
    await books.finance.issue(BillRunId(new_id(NOW)), [line, books.charge(account, "-1.00")])
    assert await balance(books, "4400", "3900") == [1600 - 100, 1500]
    assert [(m.month, str(m.planned), str(m.posted)) for m in await books.revenue.months()] == [
        (date(2026, 12, 1), "15.00 EUR", "0.00 EUR")
    ]
    with pytest.raises(EntryRefused, match="not over"):
        await books.revenue.recognise(date(2026, 12, 1), actor="user:anna")
    books.clock.move_to(JANUARY)
    (entry,) = await books.revenue.recognise(date(2026, 12, 1), actor="user:anna")
    assert (entry.booked_on, entry.regards_on) == (date(2026, 12, 31), None)
    assert await books.revenue.recognise(date(2026, 12, 1), actor="user:anna") == []
    assert await balance(books, "4400", "3900") == [3000, 0]
    assert [str(m.posted) for m in await books.revenue.months()] == ["15.00 EUR"]


async def test_a_credit_takes_back_what_it_deferred(books: Books) -> None:
    account = await books.account()
    days = (date(2026, 11, 15), date(2026, 12, 15))
    await books.finance.issue(BillRunId(new_id(NOW)), [books.charge(account, "30.00", days=days)])
    await books.finance.issue(BillRunId(new_id(NOW)), [books.charge(account, "-30.00", days=days)])
    assert await balance(books, "4400", "3900", "3806") == [0, 0, 0]
    assert [m.planned.minor for m in await books.revenue.months()] == [0]


async def test_closing_a_month_posts_what_it_earned_first(books: Books) -> None:
    account = await books.account()
    days = (date(2026, 11, 30), date(2027, 1, 30))
    await books.finance.issue(BillRunId(new_id(NOW)), [books.charge(account, "61.00", days=days)])
    books.clock.move_to(JANUARY)
    await books.books.close(date(2027, 1, 1), actor="user:anna")
    assert await balance(books, "4400", "3900") == [100 + 3100, 2900]


async def signed(books: Books, account: AccountId, subscription_id: str | None = None) -> Contract:
    """360.00 for a router of 120.00 and a service of 360.00, both from December on."""
    start = date(2026, 12, 1)
    return await books.revenue.sign(
        account_id=account,
        reference="C-1",
        price=Money(36_000, "EUR"),
        signed_on=start,
        promises=[
            Promise("Router", "revenue-equipment", 12_000, start),
            Promise("Fibre 100", "revenue-recurring", 36_000, start, date(2027, 12, 1)),
        ],
        subscription_id=subscription_id,
        actor="user:anna",
    )


async def test_a_contract_is_an_asset_until_more_is_billed_than_earned(books: Books) -> None:
    account, subscription = await books.account(), SubscriptionId(new_id(NOW))
    made = await signed(books, account, subscription)
    assert await signed(books, account, subscription) == made, "the same reference is the same contract"
    books.clock.move_to(DECEMBER)
    month = books.charge(account, "30.00", days=(date(2026, 12, 1), date(2027, 1, 1)))
    await books.finance.issue(BillRunId(new_id(NOW)), [replace(month, subscription_id=subscription)])
    assert await balance(books, "4400", "3900", "1260") == [0, 3000, 0]
    books.clock.move_to(JANUARY)
    await books.revenue.recognise(date(2026, 12, 1), actor="user:anna")
    earned = 9000 + 2293
    assert await balance(books, "4430", "4400", "3900", "1260") == [9000, 2293, 0, -(earned - 3000)]
    found, _, _ = await books.revenue.contract(made.contract_id)
    assert (found.price_minor, found.billed_minor, found.earned_minor) == (36_000, 3000, earned)
    rest = books.charge(account, "330.00", days=(date(2027, 1, 1), date(2027, 12, 1)))
    await books.finance.issue(BillRunId(new_id(NOW)), [replace(rest, subscription_id=subscription)])
    assert await balance(books, "3900", "1260") == [36_000 - earned, 0]
    books.clock.move_to(datetime(2028, 1, 1, 9, tzinfo=UTC))
    await books.revenue.recognise(date(2027, 12, 1), actor="user:anna")
    assert await balance(books, "4430", "4400", "3900", "1260") == [9000, 27_000, 0, 0]


async def test_a_change_found_late_is_booked_on_the_first_open_day_and_names_its_month(books: Books) -> None:
    account = await books.account()
    made = await signed(books, account)
    books.clock.move_to(JANUARY)
    await books.books.close(date(2027, 1, 1), actor="user:anna")
    before = await balance(books, "4430", "4400")
    changed = await books.revenue.modify(
        made.contract_id,
        at=date(2026, 12, 17),
        added=Money(-5_000, "EUR"),
        promises=[Promise("Fibre 50", "revenue-recurring", 20_000, date(2026, 12, 17), date(2027, 12, 1))],
        reason="downgrade",
        actor="user:anna",
    )
    assert changed.price_minor == 31_000
    (entry,) = await books.revenue.recognise(date(2026, 12, 1), actor="user:anna")
    assert (entry.booked_on, entry.regards_on) == (date(2027, 1, 1), date(2026, 12, 1))
    _, changes, planned = await books.revenue.contract(made.contract_id)
    assert [(c.version, c.added_minor) for c in changes] == [(1, 36_000), (2, -5_000)]
    assert [p.promise.name for p in planned] == ["Router", "Fibre 100", "Fibre 50"]
    assert sum(p.minor for p in planned) == 31_000
    assert sum(m.planned.minor for m in await books.revenue.months()) == 31_000, "the rows add up to the plan"
    december = sum(s.minor for p in planned for s in p.slices if s.month == date(2026, 12, 1))
    assert sum(await balance(books, "4430", "4400")) == december != sum(before)


async def test_what_came_for_a_later_month_is_posted_when_an_earlier_one_is_asked_for(books: Books) -> None:
    account = await books.account()
    made = await signed(books, account)
    books.clock.move_to(datetime(2027, 3, 1, 9, tzinfo=UTC))
    await books.revenue.recognise(date(2027, 2, 1), actor="user:anna")
    end = date(2027, 12, 1)
    rest = [Promise("Fibre 100", "revenue-recurring", 1, date(2027, 2, 1), end)]
    await books.revenue.modify(
        made.contract_id, at=date(2027, 2, 1), added=Money(3_030, "EUR"), promises=rest, reason="more", actor="user:a"
    )
    (entry,) = await books.revenue.recognise(date(2026, 12, 1), actor="user:anna")
    assert (entry.booked_on, entry.description) == (date(2027, 2, 28), "Revenue earned in 2027-02")
    assert await books.revenue.recognise(date(2027, 2, 1), actor="user:anna") == []
    assert all(m.posted == m.planned for m in await books.revenue.months() if m.month <= date(2027, 2, 1))


async def test_what_would_be_no_contract_is_refused(books: Books) -> None:
    account, subscription = await books.account(), new_id(NOW)
    made = await signed(books, account, subscription)
    with pytest.raises(ContractMismatch, match="another account"):
        await signed(books, await books.account("Somebody else"), subscription)
    router = [Promise("Router", "revenue-equipment", 0, date(2026, 12, 1))]
    with pytest.raises(EntryRefused):
        await books.revenue.modify(
            made.contract_id, at=date(2026, 12, 1), added=Money(0, "EUR"), promises=router, reason="x", actor="user:a"
        )
    with pytest.raises(ContractMismatch, match="EUR"):
        await books.revenue.modify(
            made.contract_id, at=date(2026, 12, 1), added=Money(0, "USD"), promises=router, reason="x", actor="user:a"
        )
    for table in ("contract", "contract_change", "promise", "earning"):
        with pytest.raises(DBAPIError, match="never changed or deleted"):
            async with books.database.begin() as conn:
                await conn.execute(text(f"DELETE FROM finance_{table}"))
