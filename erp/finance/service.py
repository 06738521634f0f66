"""Documents and money: invoices issued exactly once, payments booked exactly once, books that balance.

Everything about a batch of invoices happens in one transaction: numbers, documents, postings, settlement by credits
that were waiting, audit and events. What was issued is never edited; a correction is a new document.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.charge import Charge
from controller.domain.clock import Clock, local_date
from controller.domain.identity import AccountId, BillRunId, ChargeId, InvoiceId, InvoiceLineId, PaymentId
from controller.domain.money import Money
from controller.store import audit
from controller.store.engine import Database
from controller.store.many import by_keys
from controller.store.turns import in_turns
from erp.crm.service import CrmService
from erp.finance import ledger, receipts, repository, run_proof
from erp.finance.content import digest
from erp.finance.corrections import CorrectionService
from erp.finance.document import render
from erp.finance.einvoice import facturx, ubl
from erp.finance.einvoice.model import of_content
from erp.finance.errors import (
    DocumentAltered,
    UnknownInvoice,
    UnknownInvoiceLine,
    UnknownPayment,
)
from erp.finance.issue import Differing, Drafted, drafted
from erp.finance.issuing import Issuer
from erp.finance.levies import LevyAdapter
from erp.finance.levy_adapters import TableLevies
from erp.finance.model import Invoice, InvoiceLine, Total, Wanted
from erp.finance.note_matches import NoteMatches
from erp.finance.receipts import Allocation, Payment, Reversal
from erp.finance.run_proof import Digest, IssuedDraft, RunProof
from erp.finance.settings import FinanceSettings
from erp.finance.settlement import MoneyIn, Settlement
from erp.finance.write_offs import WriteOffs

_ACTOR = "system:finance"
Still = Callable[[AsyncConnection], Awaitable[Collection[tuple[AccountId, str]]]]
"""Accounts and currencies whose documents may be written, asked under the lock of the books."""


class FinanceService:
    """The one writer of documents and of the journal."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        crm: CrmService,
        settings: FinanceSettings,
        levies: LevyAdapter | None = None,
    ) -> None:
        """Without `levies` the table of rules decides which communications taxes there are."""
        self._database = database
        self._clock = clock
        self._crm = crm
        self._settings = settings
        self._issuer = Issuer(database, crm, settings, levies or TableLevies(database))
        self.settlement = Settlement(database, clock, crm)
        self.write_offs = WriteOffs(database, clock, self.settlement)
        self.note_matches = NoteMatches(database, clock, self.settlement)
        self.corrections = CorrectionService(database, clock, crm, self._issuer)

    async def issue(self, bill_run_id: BillRunId, charges: Sequence[Charge], *, actor: str = _ACTOR) -> list[InvoiceId]:
        """Issue one document per account and currency for the charges of a bill run; returns the new ones.

        Accounts that already have their document of this run are left alone, so the call may be repeated.
        """
        return (await self.issue_proved(bill_run_id, charges, None, actor=actor))[0]

    async def issue_proved(
        self,
        bill_run_id: BillRunId,
        charges: Sequence[Charge],
        proved: Mapping[tuple[AccountId, str], tuple[Money, Money]] | None,
        *,
        still: Still | None = None,
        actor: str = _ACTOR,
    ) -> tuple[list[InvoiceId], list[Differing]]:
        """`issue`, but only what comes to the net and tax that were proved; the others take no number.

        `still` is asked in the transaction that writes the documents, which of them may be written.
        """
        if not charges:
            return [], []
        now = self._clock.now()
        async with self._database.read() as conn:
            known = await repository.invoiced_accounts(conn, bill_run_id, (c.account_id for c in charges))
        # Before the lock: who levies communications may be asked over the network.
        due = await self._issuer.addressed([c for c in charges if (c.account_id, c.net.currency) not in known])
        others = [] if proved is None else [a for a in due if proved.get(a.key) != (a.document.net, a.document.tax)]
        differing = {a.key: Differing(*a.key, a.document.net, a.document.tax) for a in others}
        prepared = await self._issuer.prepared([a for a in due if a.key not in differing], now)
        async with self._database.begin() as conn:
            await ledger.share_books(conn)
            await by_keys(conn)
            await self._crm.lock_accounts_in(conn, {p.buyer.account.account_id for p in prepared})
            if still is not None:
                may = await still(conn)
                prepared = [p for p in prepared if p.addressed.key in may]
            done = await repository.invoiced_accounts(conn, bill_run_id, (c.account_id for c in charges))
            left = [p for p in prepared if p.addressed.key not in done]
            issues = await self._issuer.issue_in(conn, bill_run_id, left, now, actor)
        return [issue.invoice_id for issue in issues], list(differing.values())

    async def documented(
        self, conn: AsyncConnection, bill_run_id: BillRunId, accounts: Sequence[AccountId]
    ) -> set[tuple[AccountId, str]]:
        """In which currencies these accounts have a document of a bill run, read in the caller's transaction."""
        found = await repository.invoiced_accounts(conn, bill_run_id, accounts)
        return {(AccountId(account_id), currency) for account_id, currency in found}

    async def proof(self, bill_run_id: BillRunId) -> RunProof:
        """What was written of a bill run, added up by the database."""
        async with self._database.read() as conn:
            return await run_proof.of_run(conn, bill_run_id)

    async def digests(self, bill_run_id: BillRunId, at_a_time: int) -> AsyncGenerator[Sequence[Digest]]:
        """Of what the documents of a bill run said before they had a number, so many at a time, in order of account and
        currency."""
        async with self._database.read() as conn:
            async for found in run_proof.digests(conn, bill_run_id, at_a_time):
                yield found

    async def documents_of(self, bill_run_id: BillRunId, accounts: Sequence[str] | None = None) -> list[IssuedDraft]:
        """What the documents of some accounts, or of a whole bill run, were before they had a number."""
        async with self._database.read() as conn:
            return await run_proof.documents_of(conn, bill_run_id, accounts)

    async def drafts(self, charges: Sequence[Charge]) -> list[Drafted]:
        """The documents that `issue` would make of these charges now. Nothing is written and no number taken."""
        now = self._clock.now()
        found = await self._issuer.addressed(charges)
        of = self._settings.iban_of
        return [drafted(a, local_date(now, a.seller.zone_info), iban=of(a.seller)) async for a in in_turns(found)]

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

    async def of_charge(self, charge_id: ChargeId) -> Invoice | None:
        """The document that a charge stands on; None before it was issued."""
        async with self._database.read() as conn:
            return await repository.of_charge(conn, charge_id)

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
        """The day in the zone of the first legal entity: a list of documents may be of several, and has one day."""
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

    async def issued_by(self, invoice_id: InvoiceId) -> tuple[str, datetime] | None:
        """Who had it issued and when, by the audit log. Raises UnknownInvoice."""
        invoice = await self.invoice(invoice_id)
        async with self._database.read() as conn:
            found = await audit.about(conn, f"invoice:{invoice_id}", f"{invoice.kind}.issue", limit=1)
        return (found[0]["actor"], found[0]["at"]) if found else None

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
