"""Corrections of what was issued: credit notes line by line, voids, and adjustments. The original always stays.

A credit note takes back of lines what they said, tax and levies with it, settles the document that it takes back first,
and turns revenue and deferred revenue of the same days. A void is a credit note over all that is left. Of a credit note
it is a debit note: what the credit settled is owed again, and its lines may be credited anew. An adjustment is a
document of its own: something charged or given that no line says. Each has a reason, and a reference that makes it safe
to repeat. No credit exceeds its line: `crediting` says so, and the database refuses it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.charge import Charge, ChargeKind
from controller.domain.clock import Clock, local_date
from controller.domain.identity import (
    BillRunId,
    ChargeId,
    InvoiceId,
    InvoiceLineId,
    OfferingVersionId,
    ServiceId,
    SubscriptionId,
)
from controller.domain.money import Money
from controller.store import audit
from controller.store.engine import Database
from erp.crm.model import Customer
from erp.crm.service import CrmService
from erp.finance import adjustments, credited, ledger, matching, repository, telling
from erp.finance.adjustments import Adjustment, Noted
from erp.finance.crediting import Creditable, Gross, Taken, credit_of, credit_run, document_of
from erp.finance.errors import (
    OverCredit,
    ReferenceTaken,
    UnknownAdjustment,
    UnknownInvoice,
    UnknownInvoiceLine,
    WrongCurrency,
)
from erp.finance.issue import Addressed
from erp.finance.issuing import Issuer, entity_of
from erp.finance.model import CREDIT_NOTE, Invoice, InvoiceLine

VOID = "void"
"""Reference of what takes back all that is left of a document. One that follows a void taken back has a number, too."""


class CorrectionService:
    def __init__(self, database: Database, clock: Clock, crm: CrmService, issuer: Issuer) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm
        self._issuer = issuer

    async def creditable(self, invoice_id: InvoiceId) -> list[Creditable]:
        """Each line, and what of it was credited. Raises UnknownInvoice."""
        async with self._database.read() as conn:
            await _invoice(conn, invoice_id)
            return await credited.creditable(conn, invoice_id)

    async def credit(
        self,
        invoice_id: InvoiceId,
        wanted: Mapping[InvoiceLineId, Money | Gross | None],
        *,
        reason: str,
        reference: str,
        actor: str,
    ) -> Invoice:
        """A credit note over some lines: of each an amount, without or with its tax, or None for all that is left.

        Over lines of a credit note it is a debit note. The same reference again is the same document. Raises
        UnknownInvoice, UnknownInvoiceLine, OverCredit,
        WrongCurrency, ReferenceTaken where the reference was used for something else.
        """
        if reference == VOID and wanted:
            raise ReferenceTaken(f"{VOID} is the reference of what takes back a whole document: choose another")
        now = self._clock.now()
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            original = await _invoice(conn, invoice_id)
            lines = {c.line.line_id: c for c in await credited.creditable(conn, invoice_id)}
            if reference == VOID:
                wanted = {line_id: None for line_id, c in lines.items() if c.left}
                run, known = await _void_run(conn, invoice_id, anew=bool(wanted))
            else:
                run = credit_run(invoice_id, reference)
                known = await repository.find_of_run(conn, run)
            if known is not None:
                await _require_same_credit(conn, known, wanted)
                return known
            _require(original, lines, wanted)
            taken = [
                credit_of(c, wanted[line_id], original.account_id, run)
                for line_id, c in lines.items()
                if line_id in wanted
            ]
            drafted = await self._taking_back(conn, original, taken, reason)
            opened = await _set_free(conn, original, drafted, now, actor)
            (made,) = await self._issuer.issue_in(conn, run, await self._issuer.prepared([drafted], now), now, actor)
            if opened:
                await self._opened(conn, original, drafted, opened, now, actor)
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="invoice.void" if reference == VOID else "invoice.credit",
                subject=f"invoice:{invoice_id}",
                after={
                    made.document.kind.replace("-", "_"): made.number,
                    "total": str(drafted.document.total),
                    **({"opened": opened} if opened else {}),
                },
                reason=reason,
            )
            return await _invoice(conn, made.invoice_id)

    async def _taking_back(
        self, conn: AsyncConnection, original: Invoice, taken: Sequence[Taken], reason: str
    ) -> Addressed:
        about: dict[str, Any] = {"regards": original.number, "reason": reason}
        if original.kind == CREDIT_NOTE:
            about["undoes"] = CREDIT_NOTE
        return Addressed(
            document_of(taken),
            await entity_of(conn, original.entity_id),
            await self._crm.customer_of_in(conn, original.account_id),
            (),
            tuple(t.line_id for t in taken),
            about,
            original.invoice_id,
        )

    async def _opened(
        self,
        conn: AsyncConnection,
        original: Invoice,
        found: Addressed,
        opened: Sequence[InvoiceId],
        now: datetime,
        actor: str,
    ) -> None:
        """What a credit note settled is owed again, as far as no other credit settles it; dunning is told."""
        await matching.settle_oldest(conn, original.account_id, original.total.currency, now, found.seller, only=opened)
        await telling.changed(conn, original.account_id, original.total.currency, now, actor, "credit-note.void")

    async def made(self, invoice_id: InvoiceId, reference: str) -> Invoice | None:
        """The credit note that was made of a document under a reference."""
        async with self._database.read() as conn:
            return await repository.find_of_run(conn, credit_run(invoice_id, reference))

    async def taken_back(
        self, conn: AsyncConnection, notes: Collection[InvoiceId]
    ) -> Mapping[InvoiceId, tuple[Money, InvoiceId]]:
        """Of credit notes what was taken back of each, and by which document last."""
        return await credited.taken_back(conn, notes)

    async def void(self, invoice_id: InvoiceId, *, reason: str, actor: str) -> Invoice:
        """The credit note over all that is left of a document, or the debit note over all of a credit note.

        Again it is the same, unless that was taken back meanwhile. Raises UnknownInvoice, OverCredit.
        """
        return await self.credit(invoice_id, {}, reason=reason, reference=VOID, actor=actor)

    async def adjust(self, wanted: Adjustment, *, actor: str) -> Invoice:
        """A document over one line that belongs to no offering; the same reference again is the same document.

        Raises NoAccount, WrongCurrency, LevyUnavailable, ReferenceTaken where the reference says something else.
        """
        drafted, run = await self._adjusting(wanted)
        async with self._database.begin() as conn:
            made = await self._adjust(conn, wanted, drafted, run, actor)
            (line,) = await repository.lines(conn, made.invoice_id)
            if (line.agreed, line.item) != (wanted.net, wanted.item):
                raise ReferenceTaken(f"{wanted.reference} is {made.number} over {line.item}, {line.agreed}")
            return made

    async def adjust_in(self, conn: AsyncConnection, wanted: Adjustment, *, actor: str) -> None:
        """The same for who acts on an event, in its transaction; where a tax service is asked, `Adjusting` issues it.

        Nobody waits for a peer while a transaction is open; what was withdrawn stays so, also once no tax service is
        asked any more. Raises NoAccount, WrongCurrency.
        """
        if self._issuer.asks_a_peer:
            _require_currency(wanted, await self._crm.customer_of_in(conn, wanted.account_id))
            await adjustments.note(conn, wanted, self._clock.now(), actor)
            return
        drafted, run = await self._adjusting(wanted)
        await ledger.lock_books(conn)
        if await adjustments.is_withdrawn(conn, wanted):
            return
        await self._adjust(conn, wanted, drafted, run, actor)

    async def issue_noted(self, found: Noted) -> Invoice | None:
        """Issue what `adjust_in` noted; None where it was withdrawn or issued meanwhile. Raises what `adjust` does."""
        drafted, run = await self._adjusting(found.wanted)
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            if await adjustments.find(conn, found.wanted.account_id, found.wanted.reference) is None:
                return None
            made = await self._adjust(conn, found.wanted, drafted, run, found.actor)
            await adjustments.issued(conn, found)
            return made

    async def withdraw_noted(self, account_id: str, reference: str, *, reason: str, actor: str) -> Noted:
        """What waits is not issued any more. Raises UnknownAdjustment, also for one that was issued meanwhile."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            found = await adjustments.find(conn, account_id, reference)
            if found is None:
                raise UnknownAdjustment(
                    f"no adjustment {reference} of account {account_id} waits: look at its invoices"
                )
            await adjustments.withdraw(conn, found, now)
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="account.withdraw-adjustment",
                subject=f"account:{account_id}",
                before={"reference": reference, "net": str(found.wanted.net), "item": found.wanted.item},
                reason=reason,
            )
        return found

    async def _adjusting(self, wanted: Adjustment) -> tuple[Addressed, BillRunId]:
        buyer = await self._crm.customer_of(wanted.account_id)
        _require_currency(wanted, buyer)
        key = hashlib.sha256(f"adjustment|{wanted.account_id}|{wanted.reference}".encode()).hexdigest()[:32]
        run = BillRunId(key)
        seller = await self._crm.entity(buyer.entity_id)
        charge = _charge(wanted, run, key, local_date(self._clock.now(), seller.zone_info))
        (drafted,) = await self._issuer.addressed([charge])
        return drafted, run

    async def _adjust(
        self, conn: AsyncConnection, wanted: Adjustment, drafted: Addressed, run: BillRunId, actor: str
    ) -> Invoice:
        now = self._clock.now()
        await ledger.lock_books(conn)
        known = await repository.find_of_run(conn, run)
        if known is not None:
            return known
        prepared = await self._issuer.prepared([_because(drafted, wanted.reason)], now)
        (made,) = await self._issuer.issue_in(conn, run, prepared, now, actor)
        await _audit(conn, wanted, made.number, now, actor)
        return await _invoice(conn, made.invoice_id)


def _because(drafted: Addressed, reason: str) -> Addressed:
    return replace(drafted, about={"reason": reason})


def _require_currency(wanted: Adjustment, buyer: Customer) -> None:
    if wanted.net.currency != buyer.account.currency:
        raise WrongCurrency(f"account {wanted.account_id} is kept in {buyer.account.currency}")


def _charge(wanted: Adjustment, run: BillRunId, key: str, today: date) -> Charge:
    first_on = wanted.first_on or today
    return Charge(
        charge_id=ChargeId(key),
        bill_run_id=run,
        account_id=wanted.account_id,
        subscription_id=SubscriptionId(wanted.subscription_id),
        service_id=ServiceId(""),
        version_id=OfferingVersionId(""),
        kind=ChargeKind.ONE_OFF,
        first_on=first_on,
        until_on=first_on,
        description=f"{wanted.item}: {wanted.reason}"[:400],
        quantity=Decimal(1).copy_sign(Decimal(wanted.net.minor)),
        unit="piece",
        unit_price=abs(wanted.net.amount),
        net=wanted.net,
        tax_percent=wanted.tax_percent,
        item=wanted.item,
        tax_included=wanted.tax_included,
        tax_category=wanted.tax_category,
        names=wanted.names,
    )


async def _invoice(conn: AsyncConnection, invoice_id: InvoiceId) -> Invoice:
    found = await repository.get_invoice(conn, invoice_id)
    if found is None:
        raise UnknownInvoice(f"no invoice {invoice_id}")
    return found


async def _void_run(conn: AsyncConnection, invoice_id: InvoiceId, *, anew: bool) -> tuple[BillRunId, Invoice | None]:
    """(the key of a void, the void that there is): a new one where something is left since the last was taken back."""
    times, last = 1, None
    while True:
        run = credit_run(invoice_id, VOID if times == 1 else f"{VOID} {times}")
        known = await repository.find_of_run(conn, run)
        if known is None:
            return run, None if anew else last
        times, last = times + 1, known


async def _set_free(
    conn: AsyncConnection, original: Invoice, found: Addressed, now: datetime, actor: str
) -> list[InvoiceId]:
    """The latest that a credit note settled is open again, as far as what takes it back needs it."""
    if original.total.minor >= 0 or found.document.total.minor <= 0:
        return []
    reason = f"{original.number} is taken back: {found.about['reason']}"[:300]
    return await matching.free_note(conn, original, found.document.total.minor, now, found.seller, actor, reason)


async def _require_same_credit(
    conn: AsyncConnection, known: Invoice, wanted: Mapping[InvoiceLineId, Money | Gross | None]
) -> None:
    """Whether an earlier credit note is what is asked for now. What "all that was left" came to then is not asked."""
    given = {line.credits_line_id: line for line in await repository.lines(conn, known.invoice_id)}
    other = any(line_id in given and not _is_of(given[line_id], amount) for line_id, amount in wanted.items())
    if wanted and (other or set(wanted) != set(given)):
        raise ReferenceTaken(f"the reference is that of {known.number}, which takes back something else")


def _is_of(credited: InvoiceLine, amount: Money | Gross | None) -> bool:
    """Whether a line of a credit note takes back what is wanted."""
    if isinstance(amount, Gross):
        return amount.amount == -(credited.net + credited.tax)
    return amount is None or amount == -credited.net


def _require(
    original: Invoice,
    lines: Mapping[InvoiceLineId, Creditable],
    wanted: Mapping[InvoiceLineId, Money | Gross | None],
) -> None:
    if not wanted:
        raise OverCredit(f"nothing is left of {original.number} to be credited")
    strange = sorted(set(wanted) - lines.keys())
    if strange:
        raise UnknownInvoiceLine(f"{original.number} has no line {strange[0]}")
    for amount in wanted.values():
        net = amount.amount if isinstance(amount, Gross) else amount
        if net is not None and net.currency != original.net.currency:
            raise WrongCurrency(f"{original.number} is in {original.net.currency}")


async def _audit(conn: AsyncConnection, wanted: Adjustment, number: str, now: datetime, actor: str) -> None:
    await audit.record(
        conn,
        now=now,
        actor=actor,
        action="account.adjust",
        subject=f"account:{wanted.account_id}",
        after={"document": number, "net": str(wanted.net), "item": wanted.item},
        reason=wanted.reason,
    )


def lines_of(parts: Sequence[tuple[str, Money | None]]) -> dict[InvoiceLineId, Money | None]:
    """What is wanted of which line. Raises OverCredit where a line is named twice."""
    found = {InvoiceLineId(line_id): net for line_id, net in parts}
    if len(found) != len(parts):
        raise OverCredit("a line is named once")
    return found
