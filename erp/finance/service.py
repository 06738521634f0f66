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
from controller.domain.events import PaymentReceived
from controller.domain.identity import AccountId, BillRunId, EntityId, InvoiceId, InvoiceLineId, PaymentId, new_id
from controller.domain.money import Money
from controller.store import audit, outbox
from controller.store.engine import Database
from erp.crm import repository as parties
from erp.crm.model import Entity
from erp.crm.service import CrmService
from erp.finance import contracts, deferral, journal, ledger, receipts, repository, taxes
from erp.finance.content import digest
from erp.finance.deferral import deferred
from erp.finance.document import render
from erp.finance.einvoice import facturx, ubl
from erp.finance.einvoice.model import of_content
from erp.finance.errors import (
    DocumentAltered,
    PaymentMismatch,
    UnknownInvoice,
    UnknownInvoiceLine,
    UnknownPayment,
    WrongCurrency,
)
from erp.finance.issue import Addressed, Drafted, Issue, drafted, earning_rows, entry_of, invoice_row, issued, line_rows
from erp.finance.journal import Entry
from erp.finance.model import CREDIT_NOTE, Draft, Invoice, InvoiceLine, Total, Wanted, draft, settle, split_by_account
from erp.finance.receipts import Payment
from erp.finance.settings import FinanceSettings
from erp.finance.tax import TaxTable

_ACTOR = "system:finance"


class FinanceService:
    """The one writer of documents and of the journal."""

    def __init__(self, database: Database, clock: Clock, crm: CrmService, settings: FinanceSettings) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm
        self._settings = settings

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
            open_charges = [c for c in charges if (c.account_id, c.net.currency) not in done]
            issues = await self._number(conn, await self._address(conn, open_charges), now)
            await self._write(conn, bill_run_id, issues, now)
            await self._settle(conn, issues, now)
            for issue in issues:
                await _audit_issue(conn, issue, now, actor)
            await outbox.append(conn, *(issued(issue, now, actor) for issue in issues))
        return [issue.invoice_id for issue in issues]

    async def drafts(self, charges: Sequence[Charge]) -> list[Drafted]:
        """The documents that `issue` would make of these charges now. Nothing is written and no number taken."""
        now = self._clock.now()
        async with self._database.read() as conn:
            found = await self._address(conn, charges)
        return [drafted(a, local_date(now, a.seller.zone_info), iban=self._settings.iban) for a in found]

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
        now = self._clock.now()
        async with self._database.begin() as conn:
            customer = await self._crm.customer_of_in(conn, account_id)
            if amount.currency != customer.account.currency:
                raise WrongCurrency(f"account {account_id} is kept in {customer.account.currency}")
            await ledger.lock_books(conn)
            known = await receipts.find_payment(conn, method, reference)
            if known is not None:
                if (known.account_id, known.amount) != (account_id, amount):
                    raise PaymentMismatch(f"{method} {reference} was booked as {known.amount} of {known.account_id}")
                return known, False
            made = Payment(
                PaymentId(new_id(now)),
                customer.entity_id,
                account_id,
                amount,
                method,
                reference,
                received_at or now,
                now,
                new_id(now),
                actor,
            )
            entity = await _entity_of(conn, customer.entity_id)
            await self._book(conn, made, entity, now)
            today = local_date(now, entity.zone_info)
            invoice_ids = await self._settle_account(conn, account_id, amount.currency, now, today)
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="payment.receive",
                subject=f"payment:{made.payment_id}",
                after={"account_id": account_id, "amount": str(amount), "method": method, "reference": reference},
            )
            event = PaymentReceived(
                event_id=new_id(now),
                at=now,
                actor=actor,
                payment_id=made.payment_id,
                account_id=account_id,
                amount_minor=amount.minor,
                currency=amount.currency,
                invoice_ids=tuple(invoice_ids),
            )
            await outbox.append(conn, event)
            stored = await receipts.get_payment(conn, made.payment_id)
        assert stored is not None
        return stored, True

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

    async def payments(self, *, account_id: str | None, after: tuple[int, str] | None, limit: int) -> list[Payment]:
        async with self._database.read() as conn:
            return await receipts.payments(conn, account_id, after, limit)

    async def _address(self, conn: AsyncConnection, charges: Sequence[Charge]) -> list[Addressed]:
        """Give each document its parties and the tax of its lines."""
        split = split_by_account(charges)
        buyers = await self._crm.customers_of_in(conn, {account_id for account_id, _ in split})
        entities = {i: await _entity_of(conn, i) for i in sorted({b.entity_id for b in buyers.values()})}
        exempt = await taxes.exemptions(conn, buyers)
        tables = {i: TaxTable(await taxes.rates(conn, i), exempt) for i in entities}
        found = []
        for (account_id, _), own in split.items():
            buyer = buyers[account_id]
            taxed = tables[buyer.entity_id].apply(own)
            document = draft(taxed, self._settings.tax_rounding)
            found.append(Addressed(document, entities[buyer.entity_id], buyer))
        return found

    async def _number(self, conn: AsyncConnection, todo: Sequence[Addressed], now: datetime) -> list[Issue]:
        """Give each document its postings and the next number of its series."""
        entity_ids = sorted({a.seller.entity_id for a in todo})
        charts = {entity_id: await ledger.ensure_chart(conn, entity_id) for entity_id in entity_ids}
        contract_of = await contracts.of_subscriptions(conn, [c for a in todo for c in a.document.charges])
        positions = await contracts.positions(conn, set(contract_of.values()))
        by_series: dict[tuple[EntityId, str], list[Addressed]] = {}
        for a in todo:
            by_series.setdefault((a.seller.entity_id, self._series(a.document, a.seller, now)), []).append(a)
        issues = []
        for (entity_id, series), members in sorted(by_series.items()):
            first = await repository.take_numbers(conn, entity_id, series, len(members))
            for sequence, a in enumerate(members, first):
                later = deferred(a.document.charges, local_date(now, a.seller.zone_info), contract_of)
                postings = deferral.postings(a.document, charts[entity_id], later, positions)
                issues.append(
                    Issue(
                        InvoiceId(new_id(now)),
                        new_id(now) if postings else None,
                        postings,
                        later,
                        f"{series}-{sequence:06d}",
                        series,
                        sequence,
                        a.document,
                        a.seller,
                        a.buyer,
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

    async def _settle_account(
        self, conn: AsyncConnection, account_id: AccountId, currency: str, now: datetime, applied_on: date
    ) -> list[str]:
        """Returns the invoices that were settled, wholly or in part."""
        invoices, credits = (await repository.open_items(conn, [account_id], currency))[account_id]
        matched = settle(invoices, credits)
        await repository.add_allocations(conn, matched, now, applied_on)
        return list(dict.fromkeys(key.partition(":")[2] for key, _, _ in matched))

    async def _book(self, conn: AsyncConnection, made: Payment, entity: Entity, now: datetime) -> None:
        chart = await ledger.ensure_chart(conn, entity.entity_id)
        entry = Entry(
            made.entry_id,
            entity.entity_id,
            now,
            local_date(now, entity.zone_info),
            f"Payment {made.method} {made.reference}"[:200],
            f"payment:{made.payment_id}",
            journal.of_payment(made.amount, chart),
        )
        await ledger.post(conn, [entry])
        await receipts.add_payment(conn, made)

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


async def _entity_of(conn: AsyncConnection, entity_id: EntityId) -> Entity:
    """The legal entity, read in the caller's transaction."""
    found = await parties.find_entity(conn, entity_id)
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
