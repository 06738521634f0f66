"""Claims that are given up: an invoice written off, and a write-off that was one by mistake taken back.

A write-off settles its invoice like a payment, without money: a loss, less the tax in it where the law gives that back.
Taken back, its entry is turned and its invoice owed again, on its day. Nothing is edited; who pays after all is booked
as a payment of its own, while the loss stands.
"""

from __future__ import annotations

from controller.domain.clock import Clock, local_date
from controller.domain.errors import RuleError
from controller.domain.identity import InvoiceId, PaymentId, new_id
from controller.domain.money import Money
from controller.store.engine import Database
from erp.finance import ledger, matching, receipts
from erp.finance.chart import BAD_DEBTS, OUTPUT_TAX, RECEIVABLES
from erp.finance.errors import NotThatMuch, PaymentMismatch
from erp.finance.journal import Entry, Posting, without_zeros
from erp.finance.model import tax_share
from erp.finance.receipts import WRITE_OFF, Payment, Reversal
from erp.finance.settlement import VOID, Settlement, entry_of


class WriteOffs:
    def __init__(self, database: Database, clock: Clock, settlement: Settlement) -> None:
        self._database = database
        self._clock = clock
        self._settlement = settlement

    async def write_off(
        self,
        invoice_id: InvoiceId,
        amount: Money | None,
        *,
        relieve_tax: bool,
        reason: str,
        actor: str,
        reference: str | None = None,
    ) -> Payment:
        """Give up what is open of an invoice, or a part of it: a loss, less the tax in it where the law gives it back.

        The same `reference` again is the same write-off. Raises PaymentMismatch when it then names another invoice or
        amount, UnknownInvoice, NotThatMuch beyond what is open. The invoice stays as it was issued.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            known = None if reference is None else await receipts.find_payment(conn, WRITE_OFF, reference)
            if known is not None:
                return _same_write_off(known, invoice_id, amount)
            owed = await self._settlement.invoice_in(conn, invoice_id)
            left = Money(owed.open_minor, owed.total.currency)
            given_up = left if amount is None else amount
            if given_up.currency != left.currency or not 0 < given_up.minor <= left.minor:
                raise NotThatMuch(f"{left} of invoice {owed.number} are open, not {given_up}")
            entity = await self._settlement.entity_in(conn, owed.entity_id)
            chart = await ledger.ensure_chart(conn, entity.entity_id)
            tax = tax_share(given_up, owed.tax, owed.total) if relieve_tax else Money.zero(given_up.currency)
            made = Payment(
                PaymentId(new_id(now)), owed.entity_id, owed.account_id, given_up, WRITE_OFF,
                reference or new_id(now), now, now, new_id(now), actor, kind=WRITE_OFF,
            )  # fmt: skip
            postings = without_zeros(
                (
                    Posting(chart.code(BAD_DEBTS), given_up - tax),
                    Posting(chart.code(OUTPUT_TAX), tax),
                    Posting(chart.code(RECEIVABLES), -given_up),
                )
            )
            await ledger.post(
                conn, [entry_of(made, entity, now, f"Invoice {owed.number} written off: {reason}", postings)]
            )
            await receipts.add_payment(conn, made)
            await self._settlement.match_in(conn, made.payment_id, invoice_id, given_up, now, entity, actor)
            what: dict[str, object] = {"invoice_id": invoice_id, "amount": str(given_up), "tax": str(tax)}
            await self._settlement.tell_in(conn, made, now, actor, "invoice.write-off", what, reason)
            return await self._settlement.payment_in(conn, made.payment_id)

    async def take_back(self, payment_id: PaymentId, *, reason: str, actor: str) -> Payment:
        """The invoice of a write-off is owed again, the loss and its tax are none; once. Raises UnknownPayment.

        Other credits of the account settle it at once. Raises RuleError for what is no write-off.
        """
        now, settlement = self._clock.now(), self._settlement
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            found = await settlement.payment_in(conn, payment_id)
            if found.kind != WRITE_OFF:
                raise RuleError("this is money that came: take its matches back, or refund it", code="no-write-off")
            if found.reversed_minor:
                return found
            entity = await settlement.entity_in(conn, found.entity_id)
            booked = await ledger.find_entry(conn, entry_id=found.entry_id)
            assert booked is not None, "an entry is a foreign key of its payment"
            today, entry_id, reversal_id = local_date(now, entity.zone_info), new_id(now), new_id(now)
            turned = tuple(Posting(p.code, -p.amount) for p in booked.postings)
            what = f"Taken back: {booked.description}"[:200]
            source = f"reversal:{reversal_id}"
            await ledger.post(conn, [Entry(entry_id, entity.entity_id, now, today, what, source, turned)])
            for row in await receipts.allocations(conn, payment_id=payment_id, standing=True):
                await matching.take_back(conn, row, now, entity, actor, reason)
            back = Reversal(
                reversal_id, payment_id, VOID, payment_id, found.amount, now, today, entry_id, reason, actor
            )
            await receipts.add_reversal(conn, back)
            await matching.settle_oldest(conn, found.account_id, found.amount.currency, now, entity)
            told: dict[str, object] = {"opened": [invoice_id for invoice_id, _ in found.applied]}
            told["amount"] = str(found.amount)
            await settlement.tell_in(conn, found, now, actor, "write-off.reverse", told, reason)
            return await settlement.payment_in(conn, payment_id)


def _same_write_off(known: Payment, invoice_id: InvoiceId, amount: Money | None) -> Payment:
    """A write-off stays as it was matched, so what it settles is what was asked for."""
    if known.reversed_minor:
        raise PaymentMismatch(f"{known.reference} was taken back: give up again under another reference")
    is_same = [settled for settled, _ in known.applied] == [invoice_id] and amount in (None, known.amount)
    if known.kind != WRITE_OFF or not is_same:
        raise PaymentMismatch(
            f"{known.method} {known.reference} was booked as {known.amount}, perhaps of another invoice"
        )
    return known
