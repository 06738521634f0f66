"""Documents and payments on both databases: gapless numbers, once-only payments, books that balance."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from facturx import get_facturx_xml_from_pdf
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from billing_bridge.billing.run_book import AsRead
from controller.domain.identity import (
    BillRunId,
    InvoiceId,
    new_id,
)
from controller.domain.money import Money
from controller.store import audit, outbox
from controller.store.engine import Database
from erp.finance import ledger
from erp.finance.document import render
from erp.finance.errors import DocumentAltered, PaymentMismatch, WrongCurrency
from erp.finance.model import Wanted
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BillingWorld, berlin
from tests.support.en16931 import faults
from tests.support.finance import NOW, Books


async def test_50_parallel_issuers_get_consecutive_numbers_and_a_rollback_leaves_no_gap(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = [await books.account(f"Customer {n}") for n in range(50)]
    refused = set(accounts[::5])
    real = audit.record_all

    async def sometimes_refuses(conn: object, changes: Sequence[audit.Change], **named: object) -> None:
        if any((change.after or {}).get("account_id") in refused for change in changes):
            raise ConnectionError("lost after the number was taken")
        await real(conn, changes, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(audit, "record_all", sometimes_refuses)
        results = await asyncio.gather(*(books.issue(a) for a in accounts), return_exceptions=True)
    assert sum(isinstance(r, ConnectionError) for r in results) == 10
    assert [r for r in results if isinstance(r, BaseException) and not isinstance(r, ConnectionError)] == []
    assert await books.numbers() == [f"INV-2026-{n:06d}" for n in range(1, 41)]
    await asyncio.gather(*(books.issue(a) for a in refused))
    assert await books.numbers() == [f"INV-2026-{n:06d}" for n in range(1, 51)]


async def test_a_credit_settles_once_however_many_issue_to_its_account_at_once(books: Books) -> None:
    account = await books.account()
    await books.pay(account, "50.00", "before")
    made = await asyncio.gather(*(books.issue(account) for _ in range(8)))
    invoices = [await books.finance.invoice(i) for i in made]
    assert sum(i.total.minor - i.open_minor for i in invoices) == 5000
    assert sorted(i.open_minor for i in invoices) == [0, 2 * 3570 - 5000, *[3570] * 6]


async def test_who_issues_waits_for_his_accounts_and_not_for_those_of_others(books: Books) -> None:
    if books.database.is_sqlite:
        pytest.skip("SQLite has one writer at a time")
    mine, other = await books.account("Mine"), await books.account("Other")
    async with books.database.begin() as conn:
        await ledger.share_books(conn)
        await books.crm.lock_accounts_in(conn, [mine])
        waiting = asyncio.create_task(books.issue(mine))
        await books.issue(other)
        while not await _waiters(books.database):
            assert not waiting.done()
    await waiting
    assert await books.numbers() == ["INV-2026-000001", "INV-2026-000002"]


async def _waiters(database: Database) -> int:
    async with database.read() as conn:
        blocked = text("SELECT count(*) FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0")
        return int((await conn.execute(blocked)).scalar_one())


async def test_an_account_gets_one_document_of_a_run_however_often_it_is_asked(books: Books) -> None:
    charges = [books.charge(await books.account()) for _ in range(3)]
    run = BillRunId(new_id(NOW))
    made = await books.finance.issue(run, charges[:2])
    again = await books.finance.issue(run, charges)
    assert (len(made), len(again)) == (2, 1)
    assert await books.finance.issue(run, charges) == []
    assert len(await books.numbers()) == 3
    async with books.database.read() as conn:
        issued = [d for d in await outbox.recent(conn, 50) if d.event.name == "invoice.issued"]
    assert len(issued) == 3


async def test_issued_documents_cannot_be_changed(books: Books) -> None:
    await books.issue(await books.account())
    for statement in (
        "UPDATE finance_invoice SET total_minor = 0, net_minor = 0, tax_minor = 0",
        "DELETE FROM finance_invoice_line",
        "UPDATE finance_invoice_line SET net_minor = 0",
    ):
        with pytest.raises(DBAPIError, match="never changed or deleted"):
            async with books.database.begin() as conn:
                await conn.execute(text(statement))


async def test_payment_settles_the_oldest_first_and_the_rest_waits_for_the_next_invoice(books: Books) -> None:
    account = await books.account()
    first, second = await books.issue(account), await books.issue(account)
    payment_id, unapplied = await books.pay(account, "80.00", "a")
    assert str(unapplied) == "8.60 EUR"
    assert [(await books.finance.invoice(i)).open_minor for i in (first, second)] == [0, 0]
    third = await books.issue(account)
    assert (await books.finance.invoice(third)).open_minor == 3570 - 860
    assert not (await books.finance.payment(payment_id)).unapplied  # type: ignore[arg-type]
    assert sum(b.balance.minor for b in await books.books.trial_balance()) == 0


async def test_invoices_are_found_by_state_number_and_account_and_summed_up(books: Books) -> None:
    payer, debtor = await books.account(), await books.account()
    paid, open_one = await books.issue(payer), await books.issue(debtor)
    await books.pay(payer, "35.70", "all of it")
    number = (await books.finance.invoice(paid)).number

    async def found(**wanted: Any) -> list[InvoiceId]:
        return [i.invoice_id for i in await books.finance.invoices(Wanted(**wanted), limit=10)]

    assert await found(state="paid") == [paid]
    assert await found(state="open") == [open_one]
    assert await found(state="overdue") == []
    assert await found(number=number[-6:].lower()) == [paid]
    assert await found(account_ids=[debtor]) == [open_one]
    (total,) = await books.finance.totals(Wanted())
    assert (total.count, str(total.total), str(total.open)) == (2, "71.40 EUR", "35.70 EUR")
    (settled,) = await books.finance.totals(Wanted(state="paid"))
    assert (settled.count, str(settled.open)) == (1, "0.00 EUR")


async def test_the_same_reference_at_the_same_time_is_one_payment(books: Books) -> None:
    account = await books.account()
    await books.issue(account)
    results = await asyncio.gather(*(books.pay(account, "35.70", "webhook-1") for _ in range(5)))
    assert len({payment_id for payment_id, _ in results}) == 1
    assert {b.code: b.balance.minor for b in await books.books.trial_balance()}["1200"] == 0


async def test_the_same_reference_with_another_amount_is_refused(books: Books) -> None:
    account = await books.account()
    await books.pay(account, "10.00", "a")
    with pytest.raises(PaymentMismatch):
        await books.pay(account, "11.00", "a")
    with pytest.raises(WrongCurrency):
        await books.finance.receive(
            account_id=account,
            amount=Money(1000, "USD"),
            method="bank-transfer",
            reference="b",
            received_at=None,
            actor="user:test",
        )


async def test_credit_note_settles_what_is_open(books: Books) -> None:
    account = await books.account()
    first = await books.issue(account)
    note = await books.issue(account, "-10.00")
    assert (await books.finance.invoice(note)).number == "CN-2026-000001"
    assert (await books.finance.invoice(first)).open_minor == 3570 - 1190


async def test_pdf_is_the_same_every_time_and_keeps_its_digest(books: Books) -> None:
    account = await books.account("Łukasz Ångström <script>")
    made = await books.issue(account, *(["1.23"] * 60))
    pdf, digest = await books.finance.pdf(made)
    assert pdf.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type /Page\b", pdf)) == 5
    assert render(await books.finance.content(made)) == pdf
    assert b"/FontFile2" in pdf
    books.clock.move_to(datetime(2027, 1, 1, tzinfo=UTC))
    assert await books.finance.pdf(made) == (pdf, digest)


async def test_an_issued_invoice_is_an_e_invoice(books: Books) -> None:
    account = await books.account("Łukasz & Söhne")
    made = await books.issue(account, "30.00", "-1.00")
    number, xml = await books.finance.ubl(made)
    assert (number, faults("ubl-invoice", xml)) == ("INV-2026-000001", [])
    _, pdf = await books.finance.factur_x(made)
    assert faults("cii", get_facturx_xml_from_pdf(pdf, check_xsd=False)[1]) == []


async def test_sites_stand_on_a_consolidated_bill_in_the_order_of_their_names_however_they_were_charged(
    books: Books,
) -> None:
    account = await books.account()
    groups = ["Site 10", "site 9", "", "Site 10", "Werk 2b", "Werk 2"]
    charges = [books.charge(account, f"{n}.00", group=group) for n, group in enumerate(groups, 1)]
    (invoice_id,) = await books.finance.issue(BillRunId("run"), charges)
    lines = await books.finance.lines(invoice_id)
    assert [str(line.net.amount) for line in lines] == ["3.00", "2.00", "1.00", "4.00", "6.00", "5.00"]
    _, xml = await books.finance.ubl(invoice_id)
    told = re.findall(rb"<cac:InvoiceLine>.*?ID>(\d)<.*?LineExtensionAmount[^>]*>(\d)\.00<", xml, re.S)
    assert told == [(b"1", b"3"), (b"2", b"2"), (b"3", b"1"), (b"4", b"4"), (b"5", b"6"), (b"6", b"5")]
    content = await books.finance.content(invoice_id)
    assert [line["group"] for line in content["lines"]] == ["", "site 9", "Site 10", "Site 10", "Werk 2", "Werk 2b"]


async def test_an_altered_document_is_not_handed_out(books: Books) -> None:
    made = await books.issue(await books.account())
    async with books.database.begin() as conn:
        if books.database.is_sqlite:
            await conn.execute(text("DROP TRIGGER finance_invoice_no_update"))
        else:
            await conn.execute(text("ALTER TABLE finance_invoice DISABLE TRIGGER finance_invoice_frozen"))
        await conn.execute(text("UPDATE finance_invoice SET content = replace(content, '3000', '1000')"))
    with pytest.raises(DocumentAltered):
        await books.finance.pdf(made)


async def test_bill_run_over_many_accounts_resumes_without_doubles(database: Database, tmp_path: Path) -> None:
    """The steps of a run, repeated as after a crash between any two of them."""
    world = BillingWorld(database, tmp_path, [tariff("a" * 32, "30.00")], berlin(2026, 11, 1, 6), accounts_per_batch=3)
    await world.entity()
    for n in range(7):
        await world.activate("a" * 32, await world.customer(f"Customer {n}"))
    run = await world.billing.open_run(
        as_of=None, account_id=None, usage_watermark=0, event_watermark=0, actor="user:test"
    )
    for _ in range(2):
        assert await world.billing.plan_run(run.bill_run_id) == 3
        for batch in range(3):
            for _ in range(2):
                await world.billing.rate_batch(run.bill_run_id, batch)
            charges = await world.billing.charges(run.bill_run_id, batch)
            for _ in range(2):
                await world.finance.issue(run.bill_run_id, charges)
            await world.book.set_invoiced(run.bill_run_id, batch, {}, {}, AsRead({}, {}))
    found = await world.finance.invoices(Wanted(bill_run_id=run.bill_run_id), limit=100)
    assert len(found) == 7
    assert {i.total.minor for i in found} == {3570}
    await world.close()
