"""The books on both databases: closed periods, entries by hand, statements and ageing of any day."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy.exc import DBAPIError

from controller.domain.identity import AccountId
from controller.domain.money import Money
from controller.store import audit
from erp.finance import ledger
from erp.finance.chart import Account
from erp.finance.errors import AccountExists, AlreadyReversed, ControlAccount, EntryRefused, NoSuchAccount, PeriodClosed
from erp.finance.journal import Entry, Posting
from erp.finance.ledger import Span
from tests.support.finance import NOW, Books, manual

JANUARY, MARCH = datetime(2027, 1, 5, 9, tzinfo=UTC), datetime(2027, 3, 1, 9, tzinfo=UTC)


def euro(amount: str) -> Money:
    return Money.exact(amount, "EUR")


async def test_the_database_refuses_an_entry_into_a_closed_period(books: Books) -> None:
    entity_id = (await books.crm.entity()).entity_id
    await manual(books, "october", "6300", "1800", "10.00", date(2026, 10, 31))
    await books.books.close(date(2026, 11, 1), actor="user:anna")
    for day, refused in ((date(2026, 10, 31), True), (date(2026, 11, 1), False)):
        postings = (Posting("6300", euro("1.00")), Posting("1800", euro("-1.00")))
        made = Entry(f"{day:%d}" * 16, entity_id, NOW, day, "past our own rules", f"test:{day}", postings)
        if not refused:
            async with books.database.begin() as conn:
                await ledger.post(conn, [made])
            continue
        with pytest.raises(DBAPIError, match="the period is closed"):
            async with books.database.begin() as conn:
                await ledger.post(conn, [made])


async def test_closing_is_for_what_is_over_and_reopening_is_audited(books: Books) -> None:
    with pytest.raises(EntryRefused, match="over"):
        await books.books.close(date(2026, 12, 1), actor="user:anna")
    with pytest.raises(EntryRefused, match="nothing"):
        await books.books.reopen(date(2026, 10, 1), actor="user:anna", reason="because")
    await books.books.close(date(2026, 11, 1), actor="user:anna")
    with pytest.raises(PeriodClosed):
        await books.books.close(date(2026, 10, 1), actor="user:anna")
    with pytest.raises(PeriodClosed, match="2026-11-01"):
        await manual(books, "late", "6300", "1800", "10.00", date(2026, 10, 20))
    await books.books.reopen(date(2026, 10, 1), actor="user:bert", reason="a bill was forgotten")
    assert (await manual(books, "late", "6300", "1800", "10.00", date(2026, 10, 20))).booked_on == date(2026, 10, 20)
    with pytest.raises(PeriodClosed):
        await manual(books, "too late", "6300", "1800", "10.00", date(2026, 9, 30))
    changes = await books.books.period_changes()
    assert [(c.closed_until, c.actor) for c in changes] == [
        (date(2026, 10, 1), "user:bert"),
        (date(2026, 11, 1), "user:anna"),
    ]
    async with books.database.read() as conn:
        told = [(e["action"], e["reason"]) for e in await audit.entries(conn, before=None, limit=3)]
    assert ("period.reopen", "a bill was forgotten") in told


async def test_an_entry_by_hand_is_booked_once_and_reversed_once(books: Books) -> None:
    made = await manual(books, "rent", "6300", "1800", "500.00")
    assert await manual(books, "rent", "6300", "1800", "500.00") == made
    with pytest.raises(EntryRefused, match="says something else"):
        await manual(books, "rent", "6300", "1800", "501.00")
    back = await books.books.reverse(made.entry_id, reason="paid twice", booked_on=None, actor="user:anna")
    assert [(p.code, p.amount) for p in back.postings] == [("6300", euro("-500.00")), ("1800", euro("500.00"))]
    with pytest.raises(AlreadyReversed):
        await books.books.reverse(made.entry_id, reason="again", booked_on=None, actor="user:anna")
    assert {b.balance.minor for b in await books.books.trial_balance()} == {0}


async def test_what_would_be_no_entry_is_refused(books: Books) -> None:
    invoice_id = await books.issue(await books.account())
    (posted,) = [e for e in await books.books.entries(limit=5) if e.source == f"invoice:{invoice_id}"]
    with pytest.raises(EntryRefused, match="credit note"):
        await books.books.reverse(posted.entry_id, reason="no", booked_on=None, actor="user:anna")
    with pytest.raises(ControlAccount):
        await manual(books, "a", "1200", "1800", "1.00")
    with pytest.raises(NoSuchAccount, match="heading"):
        await manual(books, "b", "6", "1800", "1.00")
    with pytest.raises(NoSuchAccount):
        await manual(books, "c", "6999", "1800", "1.00")
    with pytest.raises(EntryRefused, match="not come yet"):
        await manual(books, "d", "6300", "1800", "1.00", date(2026, 11, 2))
    with pytest.raises(EntryRefused, match="100 minor units of EUR"):
        await books.books.post(
            reference="e",
            description="e",
            postings=[Posting("6300", euro("2.00")), Posting("1800", euro("-1.00"))],
            booked_on=None,
            actor="user:anna",
        )


async def test_an_account_has_its_place_below_a_heading_of_its_kind(books: Books) -> None:
    made = await books.books.add_account(Account("6310", "Rent", "expense", "6"), actor="user:anna")
    assert (await books.books.chart()).account("6310") == made
    await manual(books, "rent", "6310", "1800", "500.00")
    with pytest.raises(AccountExists):
        await books.books.add_account(made, actor="user:anna")
    with pytest.raises(EntryRefused, match="expense"):
        await books.books.add_account(Account("6311", "x", "asset", "6"), actor="user:anna")
    with pytest.raises(EntryRefused, match="heading"):
        await books.books.add_account(Account("63101", "x", "expense", "6310"), actor="user:anna")
    with pytest.raises(NoSuchAccount):
        await books.books.add_account(Account("6312", "x", "expense", "66"), actor="user:anna")


async def test_statements_of_any_day_come_from_postings_and_closing_changes_none(books: Books) -> None:
    await manual(books, "capital", "1800", "2900", "1000.00", date(2025, 12, 30))
    await manual(books, "interest", "7300", "1800", "40.00", date(2025, 12, 31))
    account = await books.account()
    await books.issue(account)
    await manual(books, "salary", "6020", "1800", "200.00")
    books.clock.move_to(JANUARY)
    await books.pay(account, "35.70", "all")
    await manual(books, "fee", "6855", "1800", "5.00")

    async def year(last: date) -> tuple[str, str]:
        (found,) = await books.books.income(last.replace(month=1, day=1), last)
        return str(found.revenue.total), str(found.result)

    assert await year(date(2026, 12, 31)) == ("30.00 EUR", "-170.00 EUR")
    assert await year(date(2027, 1, 5)) == ("0.00 EUR", "-5.00 EUR")
    await books.books.close(date(2027, 1, 1), actor="user:anna")
    assert await year(date(2026, 12, 31)) == ("30.00 EUR", "-170.00 EUR")
    (sheet,) = await books.books.balance_sheet(date(2027, 1, 5))
    assert not sheet.difference
    assert [str(m) for m in (sheet.assets.total, sheet.liabilities.total, sheet.equity.total)] == [
        "790.70 EUR",
        "5.70 EUR",
        "1000.00 EUR",
    ]
    assert [str(m) for m in (sheet.earlier, sheet.current)] == ["-210.00 EUR", "-5.00 EUR"]
    assert [(r.code, r.depth, r.heading, str(r.amount)) for r in sheet.assets.rows] == [
        ("1", 0, True, "790.70 EUR"),
        ("1200", 1, False, "0.00 EUR"),
        ("1800", 1, False, "790.70 EUR"),
    ]
    (before,) = await books.books.balance_sheet(date(2026, 12, 31))
    assert {r.code: str(r.amount) for r in before.assets.rows} == {
        "1": "795.70 EUR",
        "1200": "35.70 EUR",
        "1800": "760.00 EUR",
    }
    entity_id = (await books.crm.entity()).entity_id
    bank = await books.books.postings("1800", Span(entity_id, date(2027, 1, 1)), limit=10)
    assert {(str(p.amount), p.source.partition(":")[0]) for p in bank} == {
        ("35.70 EUR", "payment"),
        ("-5.00 EUR", "manual"),
    }


async def aged(books: Books, day: date) -> list[tuple[str, ...]]:
    rows = await books.books.ageing(day, limit=100)
    found = [(a.account_id, *(str(m) for m in (*a.buckets, a.unapplied, a.total))) for a in rows]
    for total, posted in await books.books.aged_totals(day):
        assert total.total == posted.balance, "the subledger is the control account"
        assert sum((a.total for a in rows), euro("0.00")) == total.total
    return found


async def test_an_invoice_ages_by_its_due_day(books: Books) -> None:
    account = await books.account()
    await books.issue(account)
    due = (NOW + timedelta(days=14)).date()
    books.clock.move_to(MARCH)
    for days, bucket in ((0, 0), (1, 1), (30, 1), (31, 2), (60, 2), (61, 3), (90, 3), (91, 4)):
        ((_, *sums, _),) = await aged(books, due + timedelta(days=days))
        assert [s != "0.00 EUR" for s in sums[:5]] == [n == bucket for n in range(5)], days
    assert await aged(books, date(2026, 10, 31)) == []


async def test_the_ageing_of_a_past_day_is_what_it_was_when_that_day_ended(books: Books) -> None:
    chance = random.Random(7)
    accounts = [await books.account(f"Customer {n}") for n in range(3)]
    printed: dict[date, list[tuple[str, ...]]] = {}
    for day in range(16):
        books.clock.move_to(NOW + timedelta(days=9 * day, hours=chance.randrange(17)))
        for _ in range(chance.randrange(3)):
            await _something(books, chance, chance.choice(accounts), day)
        today = await books.books.today()
        printed[today] = await aged(books, today)
    assert any(printed.values())
    for day, rows in printed.items():
        assert await aged(books, day) == rows, day


async def _something(books: Books, chance: random.Random, account: AccountId, day: int) -> None:
    """An invoice, a credit note, or a payment of too much or too little."""
    match chance.randrange(4):
        case 0 | 1:
            await books.issue(account, f"{chance.randrange(1, 90)}.{chance.randrange(100):02}")
        case 2:
            await books.issue(account, f"-{chance.randrange(1, 30)}.00")
        case _:
            await books.pay(account, f"{chance.randrange(1, 120)}.00", f"{day}-{chance.random()}")


async def test_open_items_say_what_an_ageing_is_made_of(books: Books) -> None:
    account = await books.account()
    await books.issue(account)
    books.clock.move_to(JANUARY)
    await books.pay(account, "10.00", "some")
    today = await books.books.today()
    (item,) = await books.books.open_items(account, today)
    assert (item.kind, str(item.amount), str(item.open), item.days_over(today)) == (
        "invoice",
        "35.70 EUR",
        "25.70 EUR",
        51,
    )
    (before,) = await books.books.open_items(account, date(2026, 11, 30))
    assert str(before.open) == "35.70 EUR"
