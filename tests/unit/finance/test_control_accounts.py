"""Every night the subledger is added up beside its control account; each legal entity has books of its own."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from controller.domain.identity import AccountId, BillRunId, EntityId, SubscriptionId, new_id
from controller.domain.money import Money
from erp.crm import repository as parties
from erp.crm.model import Contact, Entity
from erp.finance import control_routes, ledger, settlement_routes
from erp.finance.deposits import DepositService
from erp.finance.errors import PeriodClosed
from erp.finance.journal import Entry, Posting
from erp.finance.journal_tables import posting
from erp.finance.ledger import Span
from erp.finance.recognition import Promise
from erp.finance.resale import ResaleService
from erp.finance.settings import FinanceSettings
from erp.finance.tax import Rate
from tests.support.api import api_client
from tests.support.finance import NOW, Books, manual, past_the_triggers


def told() -> float | None:
    return REGISTRY.get_sample_value("headend_finance_control_accounts_apart")


async def test_the_subledger_is_the_control_account_every_night_and_what_was_written_past_it_is_told(
    books: Books,
) -> None:
    account = await books.account()
    for day in range(1, 6):
        await books.issue(account, f"{day}.99")
        await books.pay(account, f"{day}.00", f"p{day}")
        books.clock.advance(timedelta(days=1))
        assert await books.control.look() == []
        assert told() == 0
    books.is_sound = False
    taxed_more = "UPDATE finance_invoice SET tax_minor = tax_minor + 7, total_minor = total_minor + 7"
    await past_the_triggers(books.database, taxed_more)
    owed, tax = sorted(await books.control.look(), key=lambda c: c.code)
    assert (owed.name, owed.as_of, owed.difference) == ("receivables", date(2026, 11, 5), Money(-5 * 7, "EUR"))
    assert (tax.name, tax.as_of, tax.difference) == ("output-tax", None, Money(5 * 7, "EUR"))
    assert told() == 2


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
    assert await books.control.look() == []
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


def contract(books: Books, account: AccountId, reference: str) -> dict[str, Any]:
    promises = [
        Promise("Router", "revenue-equipment", 12_000, date(2026, 11, 1)),
        Promise("Fibre 100", "revenue-recurring", 36_000, date(2026, 11, 1), date(2027, 11, 1)),
    ]
    return {
        "account_id": account, "reference": reference, "price": Money.exact("360.00", "EUR"),
        "signed_on": date(2026, 11, 1), "promises": promises, "actor": "user:anna",
    }  # fmt: skip


async def some_of_everything(books: Books) -> None:
    """Of each subledger of finance some rows, half of which were undone again."""
    account, reseller = await books.account(), await books.account("Reseller")
    deposits = DepositService(books.database, books.clock, books.crm, books.finance.settlement)
    resale = ResaleService(books.database, books.clock, books.crm, FinanceSettings())
    await resale.assign(account, reseller, Decimal(10), actor="user:anna")
    for n, into in enumerate(("bank", "cash", "bank")):
        held = await deposits.take(account, Money.exact("50.00", "EUR"), into, f"d{n}", actor="user:anna")
    await deposits.release(held.deposit_id, reason="paid in time", actor="user:anna")
    # One contract is billed ahead of what it earns, the other not at all.
    ahead, behind = SubscriptionId("1" * 32), SubscriptionId("2" * 32)
    await books.revenue.sign(**contract(books, account, "ahead"), subscription_id=ahead)
    await books.revenue.sign(**contract(books, account, "behind"), subscription_id=behind)
    year = (date(2026, 11, 1), date(2027, 11, 1))
    await books.finance.issue(BillRunId("ahead"), [books.charge(account, "360.00", days=year, subscription_id=ahead)])
    wrong = await books.issue(account, "99.00")
    await books.corrections.void(wrong, reason="not ordered", actor="user:anna")
    later = books.charge(account, "61.00", days=(date(2026, 11, 15), date(2027, 1, 15)))
    (owed,) = await books.finance.issue(BillRunId("later"), [later])
    books.clock.move_to(datetime(2026, 12, 3, 9, tzinfo=UTC))
    await books.revenue.recognise(date(2026, 11, 1), actor="user:anna")
    lost = {"amount": {"amount": "11.90", "currency": "EUR"}, "relieve_tax": True, "reason": "insolvent"}
    async with api_client(settlement_routes.endpoints(books.finance), clock=books.clock) as api:
        assert (await api.post(f"/invoices/{owed}/write-off", json=lost)).status_code < 300
    await resale.settle(reseller, date(2026, 11, 1), actor="user:anna")
    made = await manual(books, "commission paid", "3300", "1800", "12.00")
    await manual(books, "tax paid", "3806", "1800", "5.00")
    await manual(books, "tax paid twice", "3806", "1800", "5.00")
    await books.books.reverse(made.entry_id, reason="not yet", booked_on=None, actor="user:anna")


async def test_every_subledger_of_finance_is_its_account_and_what_people_booked_there_is_told_apart(
    books: Books,
) -> None:
    await some_of_everything(books)
    assert await books.control.look() == []
    found = {c.name: (c.subledger.minor, c.by_hand.minor, c.ledger.minor) for c in await books.control.last()}
    assert {name for name, (rows, _, _) in found.items() if rows} == {
        "deferred-revenue", "contract-assets", "deposits", "output-tax", "commissions", "receivables",
    }  # fmt: skip
    assert found["output-tax"][1] == 1000
    assert found["commissions"][1] == 0, "what was taken back counts nothing"
    assert found["deposits"] == (-10_000, 0, -10_000)
    assert all(c.agreed_at == c.looked_at for c in await books.control.last())


LEVY = "INSERT INTO finance_line_levy SELECT MIN(line_id), 'x', 'x', 'x', 'x', 1, 7 FROM finance_invoice_line"
RELEASED = "DELETE FROM finance_deposit_release"
DAMAGES = {
    "deferred-revenue": ("finance_earning", "amount_minor", " WHERE line_id IS NOT NULL"),
    "contract-assets": ("finance_contract_movement", "earned_minor", " WHERE billed_minor = 0"),
    "output-tax": ("finance_invoice", "tax_minor", ""),
    "commissions": ("finance_commission", "share_minor", ""),
}
"""A table, a column of it and which rows: seven more is written there, and taken back."""


async def test_a_row_that_was_written_past_the_program_is_found_with_the_day_since_when(books: Books) -> None:
    await some_of_everything(books)
    told = [(name, *_more(*where)) for name, where in DAMAGES.items()]
    told += [("levies", LEVY, "DELETE FROM finance_line_levy"), ("deposits", RELEASED, "")]
    for name, damage, undo in told:
        books.clock.advance(timedelta(days=1))
        assert await books.control.look() == []
        good = (await books.control.last())[0].looked_at
        books.clock.advance(timedelta(days=1))
        await past_the_triggers(books.database, damage)
        apart = {c.name: c for c in await books.control.look()}
        assert apart[name].difference.minor != 0, name
        assert apart[name].agreed_at == good
        assert apart[name].code in books.control.hint(apart[name])
        assert f"{good:%Y-%m-%d} 09:00 UTC" in books.control.hint(apart[name])
        if undo:
            await past_the_triggers(books.database, undo)
    books.is_sound = False


def _more(table: str, column: str, rows: str) -> tuple[str, str]:
    if table == "finance_invoice":  # the total is checked by the table itself
        return (
            "UPDATE finance_invoice SET tax_minor = tax_minor + 7, total_minor = total_minor + 7",
            "UPDATE finance_invoice SET tax_minor = tax_minor - 7, total_minor = total_minor - 7",
        )
    statement = f"UPDATE {table} SET {column} = {column}"
    return f"{statement} + 7{rows}", f"{statement} - 7{rows}"


async def test_the_comparison_is_asked_for_over_http_and_says_where_to_look(books: Books) -> None:
    await some_of_everything(books)
    async with api_client(control_routes.endpoints(books.control), clock=books.clock) as api:
        nothing = (await api.get("/control-accounts")).json()
        assert nothing == {"looked_at": None, "apart": 0, "accounts": []}
        found = (await api.post("/control-accounts", json={})).json()
        assert (found["apart"], {a["hint"] for a in found["accounts"]}) == (0, {""})
        books.is_sound = False
        await past_the_triggers(books.database, RELEASED)
        found = (await api.post("/control-accounts", json={})).json()
        assert found == (await api.get("/control-accounts")).json()
    (apart,) = [a for a in found["accounts"] if a["hint"]]
    assert (apart["name"], apart["difference"]) == ("deposits", {"amount": "50.00", "currency": "EUR"}) or (
        apart["difference"]["amount"] == "-50.00"
    )
    assert "deposits that are held" in apart["rows"]
    assert "agreed last at 2026-12-03" in apart["hint"]


async def test_a_night_that_was_looked_at_is_not_looked_at_again_by_another_process(books: Books) -> None:
    await some_of_everything(books)
    assert await books.control.nightly() == []
    first = (await books.control.last())[0].looked_at
    books.clock.advance(timedelta(hours=5))
    assert await books.control.nightly() == []
    assert {c.looked_at for c in await books.control.last()} == {first}
    books.clock.advance(timedelta(hours=19))
    await books.control.nightly()
    assert {c.looked_at for c in await books.control.last()} == {books.clock.now()}
