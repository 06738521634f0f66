"""Every night the subledger is added up beside its control account; each legal entity has books of its own."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError

from controller.domain.identity import BillRunId, EntityId, new_id
from controller.domain.money import Money
from controller.store.engine import Database
from erp.crm import repository as parties
from erp.crm.model import Contact, Entity
from erp.finance import ledger
from erp.finance.control import ControlAccounts
from erp.finance.errors import PeriodClosed
from erp.finance.journal import Entry, Posting
from erp.finance.journal_tables import posting
from erp.finance.ledger import Span
from erp.finance.tax import Rate
from tests.support.finance import NOW, Books


def told() -> float | None:
    return REGISTRY.get_sample_value("headend_finance_control_accounts_apart")


async def past_the_triggers(database: Database, statement: str) -> None:
    """What somebody does who owns the database and means it."""
    async with database.begin() as conn:
        if database.is_sqlite:
            for name in list(await conn.scalars(text("SELECT name FROM sqlite_master WHERE type = 'trigger'"))):
                await conn.execute(text(f"DROP TRIGGER {name}"))
        else:
            await conn.execute(text("SET session_replication_role = replica"))
        await conn.execute(text(statement))
        if not database.is_sqlite:
            await conn.execute(text("SET session_replication_role = origin"))


async def test_the_subledger_is_the_control_account_every_night_and_what_was_written_past_it_is_told(
    books: Books,
) -> None:
    control = ControlAccounts(books.clock, books.crm, books.books)
    account = await books.account()
    for day in range(1, 6):
        await books.issue(account, f"{day}.99")
        await books.pay(account, f"{day}.00", f"p{day}")
        books.clock.advance(timedelta(days=1))
        assert await control.look() == []
        assert told() == 0
    taxed_more = "UPDATE finance_invoice SET tax_minor = tax_minor + 7, total_minor = total_minor + 7"
    await past_the_triggers(books.database, taxed_more)
    (apart,) = await control.look()
    assert (apart.as_of, apart.subledger - apart.ledger) == (date(2026, 11, 5), Money(5 * 7, "EUR"))
    assert told() == 1


async def test_two_legal_entities_have_charts_numbers_and_books_of_their_own(books: Books) -> None:
    """The second one is Swiss: francs, a zone of its own, and a tax of its own on the same plan."""
    german = (await books.crm.entity()).entity_id
    swiss = EntityId("f" * 32)
    async with books.database.begin() as conn:
        made = Entity(swiss, "Testnetz AG", "Europe/Zurich", "CHF", "de_CH", "Gasse 1\n8001 Zürich", "CHE123456788")
        await parties.add_entity(conn, made, NOW)
    await books.tax.add_rate(Rate(Decimal(19), date(2026, 1, 1), Decimal("8.1"), "CH"), actor="user:anna")
    here = await books.account()
    contact = Contact("Urs Muster", address="Gasse 2\n8001 Zürich", language="de-CH")
    there = (await books.crm.create_customer(contact, actor="user:anna", entity_id=swiss)).account.account_id
    francs = replace(books.charge(there), net=Money.exact("30.00", "CHF"), tax_percent=Decimal("8.1"))
    run = BillRunId(new_id(NOW))
    made_of = [await books.finance.invoice(i) for i in await books.finance.issue(run, [books.charge(here), francs])]
    assert {(i.entity_id, i.number, str(i.total)) for i in made_of} == {
        (german, "INV-2026-000001", "35.70 EUR"),
        (swiss, "INV-2026-000001", "32.43 CHF"),
    }, "each numbers its own documents"
    for entity_id, balances in (
        (german, {("EUR", "1200"): 3570, ("EUR", "4400"): -3000, ("EUR", "3806"): -570}),
        (swiss, {("CHF", "1200"): 3243, ("CHF", "4400"): -3000, ("CHF", "3806"): -243}),
    ):
        rows = await books.books.trial_balance(Span(entity_id))
        assert {(b.balance.currency, b.code): b.balance.minor for b in rows} == balances
        assert [a.account_id for a in await books.books.ageing(date(2026, 11, 1), limit=9, entity_id=entity_id)] == [
            here if entity_id == german else there
        ]
    books.clock.move_to(datetime(2026, 12, 1, 9, tzinfo=UTC))
    assert await ControlAccounts(books.clock, books.crm, books.books).look() == []
    await books.books.close(date(2026, 12, 1), actor="user:anna", entity_id=german)
    for entity_id, currency, refused in ((german, "EUR", True), (swiss, "CHF", False)):
        one = Money(100, currency)
        with pytest.raises(PeriodClosed) if refused else nullcontext():
            await books.books.post(
                reference=f"capital {currency}", description="Capital", booked_on=date(2026, 11, 20),
                postings=[Posting("1800", one), Posting("2900", -one)], actor="user:anna", entity_id=entity_id,
            )  # fmt: skip


async def test_the_database_refuses_an_entry_between_two_legal_entities(books: Books) -> None:
    german, swiss = (await books.crm.entity()).entity_id, EntityId("f" * 32)
    euro = Money(100, "EUR")
    ours = (Posting("1800", euro), Posting("2900", -euro))
    entry = Entry("1" * 32, german, NOW, NOW.date(), "between us", "test:1", ours)
    with pytest.raises(IntegrityError):
        async with books.database.begin() as conn:
            await ledger.ensure_chart(conn, swiss)
            await ledger.post(conn, [replace(entry, postings=ours[:1])])
            other = {"entry_id": entry.entry_id, "line": 2, "entity_id": swiss, "booked_on": NOW.date()}
            await conn.execute(insert(posting).values(**other, code="2900", currency="EUR", amount_minor=-100))
    assert await books.books.trial_balance() == []
