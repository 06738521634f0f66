"""Documents and money: invoices issued exactly once, payments booked exactly once, books that balance.

Everything about a batch of invoices happens in one transaction: numbers, documents, postings, settlement by credits
that were waiting, audit and events. What was issued is never edited; a correction is a new document.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.charge import Charge
from controller.domain.clock import Clock, local_date
from controller.domain.identity import AccountId, BillRunId, EntityId, InvoiceId, InvoiceLineId, PaymentId, new_id
from controller.domain.money import Money
from controller.store import audit, outbox
from controller.store.engine import Database
from erp.crm import repository as parties
from erp.crm.model import Customer, Entity
from erp.crm.service import CrmService
from erp.finance import contracts, deferral, ledger, receipts, repository, taxes
from erp.finance.chart import Chart
from erp.finance.content import digest
from erp.finance.deferral import deferred
from erp.finance.document import render
from erp.finance.einvoice import facturx, ubl
from erp.finance.einvoice.model import of_content
from erp.finance.errors import (
    DocumentAltered,
    UnknownInvoice,
    UnknownInvoiceLine,
    UnknownPayment,
)
from erp.finance.issue import Issue, earning_rows, entry_of, invoice_row, issued, line_rows
from erp.finance.model import CREDIT_NOTE, Draft, Invoice, InvoiceLine, Total, Wanted, draft, settle, split_by_account
from erp.finance.receipts import Allocation, Payment, Reversal
from erp.finance.settings import FinanceSettings
from erp.finance.settlement import MoneyIn, Settlement
from erp.finance.tax import Rate, TaxTable

_ACTOR = "system:finance"


class FinanceService:
    """The one writer of documents and of the journal."""

    def __init__(self, database: Database, clock: Clock, crm: CrmService, settings: FinanceSettings) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm
        self._settings = settings
        self.settlement = Settlement(database, clock, crm)

    async def issue(self, bill_run_id: BillRunId, charges: Sequence[Charge], *, actor: str = _ACTOR) -> list[InvoiceId]:
        """Issue one document per account and currency for the charges of a bill run; returns the new ones.

        Accounts that already have their document of this run are left alone, so the call may be repeated.
        """
        if not charges:
            return []
        now = self._clock.now()
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            done = await repository.invoiced_accounts(conn, bill_run_id)
            todo = {key: found for key, found in split_by_account(charges).items() if key not in done}
            issues = await self._number(conn, [(account_id, c) for (account_id, _), c in todo.items()], now)
            await self._write(conn, bill_run_id, issues, now)
            await self._settle(conn, issues, now)
            for issue in issues:
                await _audit_issue(conn, issue, now, actor)
            await outbox.append(conn, *(issued(issue, now, actor) for issue in issues))
        return [issue.invoice_id for issue in issues]

    async def invoice(self, invoice_id: InvoiceId) -> Invoice:
        """Raises UnknownInvoice."""
        async with self._database.read() as conn:
            found = await repository.get_invoice(conn, invoice_id)
        if found is None:
            raise UnknownInvoice(f"no invoice {invoice_id}")
        return found

    async def lines(self, invoice_id: InvoiceId) -> list[InvoiceLine]:
        async with self._database.read() as conn:
            return await repository.lines(conn, invoice_id)

    async def line(self, line_id: InvoiceLineId) -> InvoiceLine:
        """Raises UnknownInvoiceLine."""
        async with self._database.read() as conn:
            found = await repository.get_line(conn, line_id)
        if found is None:
            raise UnknownInvoiceLine(f"no invoice line {line_id}")
        return found

    async def invoices(
        self, wanted: Wanted | None = None, *, after: tuple[int, str] | None = None, limit: int
    ) -> list[Invoice]:
        """Newest first."""
        today = await self._today()
        async with self._database.read() as conn:
            return await repository.page(conn, wanted or Wanted(), today, after, limit)

    async def totals(self, wanted: Wanted) -> list[Total]:
        """What these invoices come to, by currency."""
        today = await self._today()
        async with self._database.read() as conn:
            return await repository.totals(conn, wanted, today)

    async def _today(self) -> date:
        """The day in the legal entity's zone: what is overdue is a matter of its calendar."""
        return local_date(self._clock.now(), ZoneInfo((await self._crm.entity()).zone))

    async def content(self, invoice_id: InvoiceId) -> dict[str, Any]:
        """What the document says. Raises UnknownInvoice, or DocumentAltered when it is not what was issued."""
        async with self._database.read() as conn:
            found = await repository.content(conn, invoice_id)
        if found is None:
            raise UnknownInvoice(f"no invoice {invoice_id}")
        if digest(found[0]) != found[1]:
            raise DocumentAltered(f"the content of invoice {invoice_id} is not what was issued")
        return repository.parse_content(found[0])

    async def pdf(self, invoice_id: InvoiceId) -> tuple[bytes, bytes]:
        """(PDF, SHA-256), drawn at the first request and kept. Raises UnknownInvoice or DocumentAltered."""
        content = await self.content(invoice_id)
        async with self._database.read() as conn:
            kept = await repository.get_document(conn, invoice_id)
        if kept is None:
            # Drawing takes tens of milliseconds: beside the event loop, which answers RADIUS meanwhile.
            kept = await self._keep(invoice_id, await asyncio.to_thread(render, content))
        pdf, sha256 = kept
        if hashlib.sha256(pdf).digest() != sha256:
            raise DocumentAltered(f"the PDF of invoice {invoice_id} is not what was handed out")
        return pdf, sha256

    async def ubl(self, invoice_id: InvoiceId) -> tuple[str, bytes]:
        """(number, XML) of the e-invoice. Raises UnknownInvoice, DocumentAltered or NotAnEInvoice."""
        found = of_content(await self.content(invoice_id))
        return found.number, ubl.render(found)

    async def factur_x(self, invoice_id: InvoiceId) -> tuple[str, bytes]:
        """(number, PDF with the e-invoice inside). Raises what `ubl` and `pdf` do."""
        content = await self.content(invoice_id)
        found = of_content(content)
        pdf, _ = await self.pdf(invoice_id)
        language = content["locale"].replace("_", "-")
        # Some hundred milliseconds beside the event loop, which answers RADIUS meanwhile.
        return found.number, await asyncio.to_thread(facturx.render, found, pdf, language=language)

    async def receive(
        self,
        *,
        account_id: AccountId,
        amount: Money,
        method: str,
        reference: str,
        received_at: datetime | None,
        actor: str,
    ) -> tuple[Payment, bool]:
        """Book a payment and settle the oldest open invoices; (payment, whether it is new).

        The same method and reference again is the same payment. Raises PaymentMismatch when it then names another
        amount or account, WrongCurrency when the account is not kept in this currency, RuleError for no account.
        """
        came = MoneyIn(account_id, amount, method, reference, received_at)
        async with self._database.begin() as conn:
            return await self.settlement.receive_in(conn, came, actor=actor)

    async def require_account(self, account_id: AccountId) -> None:
        """Raises NotFound for an account that no customer has."""
        await self._crm.customer_of(account_id)

    async def payment(self, payment_id: PaymentId) -> Payment:
        """Raises UnknownPayment."""
        async with self._database.read() as conn:
            found = await receipts.get_payment(conn, payment_id)
        if found is None:
            raise UnknownPayment(f"no payment {payment_id}")
        return found

    async def payments(
        self, *, account_id: str | None, after: tuple[int, str] | None, limit: int, unapplied: bool = False
    ) -> list[Payment]:
        """Newest first; with `unapplied`, those of which something settles nothing yet."""
        async with self._database.read() as conn:
            return await receipts.payments(conn, account_id, after, limit, unapplied=unapplied)

    async def matches(self, payment_id: PaymentId) -> tuple[list[Allocation], list[Reversal]]:
        """What a payment settled, with what was taken back, and what of it went back. Raises UnknownPayment."""
        await self.payment(payment_id)
        async with self._database.read() as conn:
            found = await receipts.allocations(conn, payment_id=payment_id)
            return found, await receipts.reversals(conn, payment_id)

    async def _number(
        self, conn: AsyncConnection, todo: Sequence[tuple[AccountId, Sequence[Charge]]], now: datetime
    ) -> list[Issue]:
        """Give each document its parties, the tax of its lines, and the next number of its series."""
        entities: dict[EntityId, Entity] = {}
        charts: dict[EntityId, Chart] = {}
        addressed = []
        exempt = await taxes.exemptions(conn, {account_id for account_id, _ in todo})
        rates: dict[EntityId, Sequence[Rate]] = {}
        for account_id, charges in todo:
            buyer = await self._crm.customer_of_in(conn, account_id)
            seller = entities.get(buyer.entity_id) or await _entity_of(conn, buyer)
            entities[buyer.entity_id] = seller
            if seller.entity_id not in charts:
                charts[seller.entity_id] = await ledger.ensure_chart(conn, seller.entity_id)
                rates[seller.entity_id] = await taxes.rates(conn, seller.entity_id)
            taxed = TaxTable(rates[seller.entity_id], exempt).apply(charges)
            document = draft(taxed, self._settings.tax_rounding)
            addressed.append((document, seller, buyer, self._series(document, seller, now)))
        contract_of = await contracts.of_subscriptions(conn, [c for _, charges in todo for c in charges])
        positions = await contracts.positions(conn, set(contract_of.values()))
        issues = []
        for entity_id, series in sorted({(seller.entity_id, series) for _, seller, _, series in addressed}):
            members = [a for a in addressed if (a[1].entity_id, a[3]) == (entity_id, series)]
            first = await repository.take_numbers(conn, entity_id, series, len(members))
            for sequence, (document, seller, buyer, _) in enumerate(members, first):
                later = deferred(document.charges, local_date(now, seller.zone_info), contract_of)
                postings = deferral.postings(document, charts[entity_id], later, positions)
                entry_id = new_id(now) if postings else None
                number = f"{series}-{sequence:06d}"
                issues.append(
                    Issue(
                        InvoiceId(new_id(now)),
                        entry_id,
                        postings,
                        later,
                        number,
                        series,
                        sequence,
                        document,
                        seller,
                        buyer,
                        charts[entity_id],
                    )
                )
        return issues

    def _series(self, document: Draft, seller: Entity, now: datetime) -> str:
        settings = self._settings
        prefix = settings.credit_note_series if document.kind == CREDIT_NOTE else settings.invoice_series
        return f"{prefix}-{local_date(now, seller.zone_info).year}"

    async def _write(
        self, conn: AsyncConnection, bill_run_id: BillRunId, issues: Sequence[Issue], now: datetime
    ) -> None:
        await ledger.post(conn, [entry_of(i, now) for i in issues if i.entry_id is not None])
        due_in = timedelta(days=self._settings.due_days)
        rows = [
            invoice_row(i, bill_run_id, now, due_on=i.issued_on(now) + due_in, iban=self._settings.iban) for i in issues
        ]
        lines = [(i, line_rows(i, now)) for i in issues]
        await repository.add_invoices(conn, rows, [row for _, found in lines for row in found])
        await contracts.add_earnings(conn, [row for i, found in lines for row in earning_rows(i, found)])
        for issue in issues:
            if issue.entry_id is not None:
                await contracts.add_movements(conn, issue.entry_id, billed=issue.deferred.billed)

    async def _settle(self, conn: AsyncConnection, issues: Sequence[Issue], now: datetime) -> None:
        """Credits that waited (payments, credit notes) settle the new invoices at once."""
        for currency, applied_on in sorted({(i.document.total.currency, i.issued_on(now)) for i in issues}):
            accounts = [
                i.buyer.account.account_id
                for i in issues
                if (i.document.total.currency, i.issued_on(now)) == (currency, applied_on)
            ]
            items = await repository.open_items(conn, accounts, currency)
            matched = [m for invoices, credits in items.values() for m in settle(invoices, credits)]
            await repository.add_allocations(conn, matched, now, applied_on)

    async def _keep(self, invoice_id: InvoiceId, pdf: bytes) -> tuple[bytes, bytes]:
        """Store the first rendering; who comes second gets what is stored."""
        sha256 = hashlib.sha256(pdf).digest()
        async with self._database.begin() as conn:
            if conn.dialect.name == "postgresql":
                await conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": int(invoice_id[-15:], 16)})
            kept = await repository.get_document(conn, invoice_id)
            if kept is not None:
                return kept
            await repository.add_document(conn, invoice_id, sha256, pdf, self._clock.now())
        return pdf, sha256


async def _entity_of(conn: AsyncConnection, customer: Customer) -> Entity:
    """The legal entity, read in the caller's transaction."""
    found = await parties.find_entity(conn, customer.entity_id)
    assert found is not None, "a customer's entity is a foreign key"
    return found


async def _audit_issue(conn: AsyncConnection, issue: Issue, now: datetime, actor: str) -> None:
    await audit.record(
        conn,
        now=now,
        actor=actor,
        action=f"{issue.document.kind}.issue",
        subject=f"invoice:{issue.invoice_id}",
        after={
            "number": issue.number,
            "account_id": issue.buyer.account.account_id,
            "total": str(issue.document.total),
        },
    )
