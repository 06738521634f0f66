"""What settles what: payments booked, matched with invoices, taken back, returned, and invoices written off.

Nothing is edited. A match is taken back by a row of the opposite amount, money that goes back is a reversal beside its
payment, and every movement of money is an entry that balances: at every commit the open items are the receivables
account. What is given up is `write_offs`'. Each `…_in` works in the caller's transaction and takes the lock of the
books there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock, local_date
from controller.domain.events import PaymentReceived, PaymentReversed
from controller.domain.identity import AccountId, EntityId, InvoiceId, PaymentId, new_id
from controller.domain.money import Money
from controller.store import audit, outbox
from controller.store.engine import Database
from erp.crm import repository as parties
from erp.crm.model import Entity
from erp.crm.service import CrmService
from erp.finance import journal, ledger, matching, receipts, repository, reservations, telling
from erp.finance.chart import BANK, BANK_CHARGES, RECEIVABLES
from erp.finance.errors import (
    NotByHand,
    NotThatMuch,
    OtherEntity,
    PaymentMismatch,
    UnknownInvoice,
    UnknownPayment,
    WriteOffStands,
    WrongCurrency,
)
from erp.finance.journal import Entry, Posting, without_zeros
from erp.finance.model import Invoice
from erp.finance.receipts import WRITE_OFF, Allocation, Payment, Reversal
from erp.finance.reservations import Reservations

VOID = "void"
"""The kind of what was booked by mistake: it never was money of this account."""


@dataclass(frozen=True, slots=True)
class MoneyIn:
    """Money that came: `into` is the role of the account it went to, `apply` what the payer named, None the oldest.

    `entity_id` is whose account it went to, where that is known: nobody else's customer is credited with it.
    """

    account_id: AccountId
    amount: Money
    method: str
    reference: str
    received_at: datetime | None = None
    into: str = BANK
    apply: Sequence[tuple[InvoiceId, Money]] | None = None
    entity_id: EntityId | None = None


@dataclass(frozen=True, slots=True)
class MoneyBack:
    """Money of a payment that goes back: `out_of` is the role of the account it leaves, `fee` what is taken beside.

    A negative amount is money that comes again, such as that of a dispute won. The same kind and reference is the same.
    `held` is the reference under which it was reserved.
    """

    payment_id: PaymentId
    amount: Money
    kind: str
    reference: str
    out_of: str
    reason: str
    fee: Money | None = None
    held: str | None = None


class Settlement:
    """The one writer of payments and of what they settle."""

    def __init__(self, database: Database, clock: Clock, crm: CrmService) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm
        self.reservations = Reservations(clock)

    async def receive_in(self, conn: AsyncConnection, came: MoneyIn, *, actor: str) -> tuple[Payment, bool]:
        """Book a payment and settle with it; (payment, whether it is new).

        The same method and reference again is the same payment. Raises PaymentMismatch when it then names another
        amount or account, WrongCurrency when the account is not kept in this currency, OtherEntity, RuleError for no
        account.
        """
        now = self._clock.now()
        customer = await self._crm.customer_of_in(conn, came.account_id)
        if came.amount.currency != customer.account.currency:
            raise WrongCurrency(f"account {came.account_id} is kept in {customer.account.currency}")
        if came.entity_id not in (None, customer.entity_id):
            raise OtherEntity(f"account {came.account_id} is another legal entity's than the one that got the money")
        if came.amount.minor <= 0:
            raise NotThatMuch("a payment is a positive amount", code="payment-amount")
        await ledger.lock_books(conn)
        known = await receipts.find_payment(conn, came.method, came.reference)
        if known is not None:
            if (known.account_id, known.amount) != (came.account_id, came.amount):
                raise PaymentMismatch(
                    f"{came.method} {came.reference} was booked as {known.amount} of {known.account_id}"
                )
            return known, False
        entity = await self.entity_in(conn, customer.entity_id)
        made = Payment(
            PaymentId(new_id(now)),
            customer.entity_id,
            came.account_id,
            came.amount,
            came.method,
            came.reference,
            came.received_at or now,
            now,
            new_id(now),
            actor,
        )
        chart = await ledger.ensure_chart(conn, entity.entity_id)
        postings = journal.of_payment(made.amount, chart, came.into)
        await ledger.post(conn, [entry_of(made, entity, now, f"Payment {made.method} {made.reference}", postings)])
        await receipts.add_payment(conn, made)
        for invoice_id, part in came.apply or ():
            await self.match_in(conn, made.payment_id, invoice_id, part, now, entity, actor)
        if came.apply is None:
            await matching.settle_oldest(conn, came.account_id, came.amount.currency, now, entity)
        stored = await self.payment_in(conn, made.payment_id)
        await audit.record(
            conn,
            now=now,
            actor=actor,
            action="payment.receive",
            subject=f"payment:{made.payment_id}",
            after={
                "account_id": came.account_id,
                "amount": str(came.amount),
                "method": came.method,
                "reference": came.reference,
            },
        )
        event = PaymentReceived(
            event_id=new_id(now),
            at=now,
            actor=actor,
            payment_id=made.payment_id,
            account_id=came.account_id,
            amount_minor=came.amount.minor,
            currency=came.amount.currency,
            invoice_ids=tuple(invoice_id for invoice_id, _ in stored.applied),
        )
        await outbox.append(conn, event)
        return stored, True

    async def apply(self, payment_id: PaymentId, invoice_id: InvoiceId, amount: Money, *, actor: str) -> Payment:
        """Settle an invoice with what is unapplied of a payment of the same account.

        Raises UnknownPayment, UnknownInvoice, NotThatMuch.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            found = await self.payment_in(conn, payment_id)
            entity = await self.entity_in(conn, found.entity_id)
            await self.match_in(conn, payment_id, invoice_id, amount, now, entity, actor)
            await self.tell_in(conn, found, now, actor, "payment.apply", {"invoice_id": invoice_id, "of": str(amount)})
            return await self.payment_in(conn, payment_id)

    async def unapply(self, allocation_id: int, *, actor: str, reason: str) -> Payment:
        """Take a match back: the invoice is open again by it, and the money unapplied.

        Raises UnknownAllocation, also for the match of a credit note, AlreadyTakenBack, WriteOffStands.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            row = await matching.to_take_back(conn, allocation_id, of_credit_note=False)
            assert row.payment_id is not None
            made = await self.payment_in(conn, row.payment_id)
            _refuse_write_off(made)
            entity = await self.entity_in(conn, made.entity_id)
            await matching.take_back(conn, row, now, entity, actor, reason)
            what = {"allocation_id": allocation_id, "invoice_id": row.invoice_id, "minor": row.amount_minor}
            await self.tell_in(conn, made, now, actor, "payment.unapply", what, reason)
            return await self.payment_in(conn, made.payment_id)

    async def reverse_in(self, conn: AsyncConnection, back: MoneyBack, *, actor: str) -> tuple[Reversal, bool]:
        """Book that money of a payment went back; (reversal, whether it is new).

        What of it was unapplied goes first, then the latest matches are taken back: their invoices are open again, as
        far as no other credit of the account settles them at once. Raises UnknownPayment, NotThatMuch, PaymentMismatch,
        WriteOffStands.
        """
        now = self._clock.now()
        await ledger.lock_books(conn)
        _refuse_write_off(await self.payment_in(conn, back.payment_id))
        known = await receipts.find_reversal(conn, back.kind, back.reference)
        if known is not None:
            if (known.payment_id, known.amount) != (back.payment_id, back.amount):
                raise PaymentMismatch(f"{back.kind} {back.reference} was booked as {known.amount}")
            return known, False
        if back.held is not None:
            await reservations.end(conn, back.held, now, actor, back.reason)
        found = await self.payment_in(conn, back.payment_id)
        if back.amount.currency != found.amount.currency:
            raise WrongCurrency(f"payment {back.payment_id} is of {found.amount.currency}")
        if not -found.reversed_minor <= back.amount.minor <= found.kept.minor:
            raise NotThatMuch(f"{found.kept} of payment {back.payment_id} are there to go back, not {back.amount}")
        if not back.amount:
            raise NotThatMuch("nothing goes back")
        if back.kind == VOID and back.amount.minor > (found.kept - found.reserved).minor:
            raise NotThatMuch(f"{found.reserved} of it wait to be refunded: refuse the refund first")
        found = await self._give_up(conn, found, back.amount, now, actor)
        entity = await self.entity_in(conn, found.entity_id)
        opened = await matching.free(
            conn, found, back.amount.minor, now, entity, actor, f"{back.kind}: {back.reason}"[:300]
        )
        made = await self._book_reversal(conn, found, back, now, entity, actor)
        await matching.settle_oldest(conn, found.account_id, found.amount.currency, now, entity)
        await audit.record(
            conn,
            now=now,
            actor=actor,
            action="payment.reverse",
            subject=f"payment:{found.payment_id}",
            after={"kind": back.kind, "amount": str(back.amount), "reference": back.reference, "opened": opened},
            reason=back.reason,
        )
        event = PaymentReversed(
            event_id=new_id(now),
            at=now,
            actor=actor,
            payment_id=found.payment_id,
            account_id=found.account_id,
            kind=back.kind,
            amount_minor=back.amount.minor,
            currency=back.amount.currency,
            invoice_ids=tuple(opened),
        )
        await outbox.append(conn, event)
        return made, True

    async def void(self, payment_id: PaymentId, *, reason: str, actor: str) -> Payment:
        """A payment that was booked by hand never came, or was another's: what it settled is owed again; once.

        Raises UnknownPayment, WriteOffStands, NotThatMuch where some of it waits to be refunded or nothing is left,
        NotByHand for one that a bank line, a gateway or a desk told of: there it is undone.
        """
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            found = await self.payment_in(conn, payment_id)
            _refuse_write_off(found)
            booked = await ledger.find_entry(conn, entry_id=found.entry_id)
            assert booked is not None, "an entry is a foreign key of its payment"
            bank = (await ledger.ensure_chart(conn, found.entity_id)).code(BANK)
            if bank not in {p.code for p in booked.postings}:
                raise NotByHand(
                    f"this payment came by {found.method}: set its bank line free, or refund it; only what was booked "
                    "by hand is void"
                )
            if await receipts.find_reversal(conn, VOID, payment_id) is None:
                back = MoneyBack(payment_id, found.kept, VOID, payment_id, BANK, reason)
                await self.reverse_in(conn, back, actor=actor)
            return await self.payment_in(conn, payment_id)

    async def match_in(
        self,
        conn: AsyncConnection,
        payment_id: PaymentId,
        invoice_id: InvoiceId,
        amount: Money,
        now: datetime,
        entity: Entity,
        actor: str,
    ) -> None:
        found = await self.payment_in(conn, payment_id)
        owed = await self.invoice_in(conn, invoice_id)
        if owed.account_id != found.account_id or owed.total.currency != amount.currency:
            raise UnknownInvoice(f"invoice {owed.number} is not one of account {found.account_id} in {amount.currency}")
        if not 0 < amount.minor <= found.unapplied.minor:
            raise NotThatMuch(f"{found.unapplied} of the payment are unapplied, not {amount}")
        if amount.minor > owed.open_minor:
            raise NotThatMuch(
                f"{Money(owed.open_minor, amount.currency)} of invoice {owed.number} are open, not {amount}"
            )
        made = Allocation(0, invoice_id, payment_id, None, amount.minor, now, None, actor, None)
        await receipts.add_allocation(conn, made, local_date(now, entity.zone_info))

    async def _give_up(self, conn: AsyncConnection, found: Payment, gone: Money, now: datetime, actor: str) -> Payment:
        """What has gone is a fact: as far as it needs them, amounts that waited to be refunded wait no more."""
        for held in reversed(await reservations.standing(conn, found.payment_id)):
            if gone.minor <= (found.kept - found.reserved).minor:
                break
            await reservations.end(conn, held.reference, now, actor, "the money went back otherwise")
            found = await self.payment_in(conn, found.payment_id)
        return found

    async def _book_reversal(
        self, conn: AsyncConnection, found: Payment, back: MoneyBack, now: datetime, entity: Entity, actor: str
    ) -> Reversal:
        chart = await ledger.ensure_chart(conn, entity.entity_id)
        fee = back.fee or Money.zero(back.amount.currency)
        postings = without_zeros(
            (
                Posting(chart.code(RECEIVABLES), back.amount),
                Posting(chart.code(BANK_CHARGES), fee),
                Posting(chart.code(back.out_of), -back.amount - fee),
            )
        )
        today = local_date(now, entity.zone_info)
        made = Reversal(
            new_id(now), found.payment_id, back.kind, back.reference, back.amount, now, today, new_id(now),
            back.reason, actor,
        )  # fmt: skip
        what = f"{back.kind.capitalize()} of payment {found.method} {found.reference}"[:200]
        entry = Entry(made.entry_id, entity.entity_id, now, today, what, f"reversal:{made.reversal_id}", postings)
        await ledger.post(conn, [entry])
        await receipts.add_reversal(conn, made)
        return made

    async def tell_in(
        self,
        conn: AsyncConnection,
        found: Payment,
        now: datetime,
        actor: str,
        action: str,
        after: dict[str, object],
        reason: str | None = None,
    ) -> None:
        await telling.audited_and_changed(
            conn,
            f"payment:{found.payment_id}",
            found.account_id,
            found.amount.currency,
            now,
            actor,
            action,
            after,
            reason,
        )

    async def payment_in(self, conn: AsyncConnection, payment_id: PaymentId) -> Payment:
        found = await receipts.get_payment(conn, payment_id)
        if found is None:
            raise UnknownPayment(f"no payment {payment_id}")
        return found

    async def invoice_in(self, conn: AsyncConnection, invoice_id: InvoiceId) -> Invoice:
        found = await repository.get_invoice(conn, invoice_id)
        if found is None:
            raise UnknownInvoice(f"no invoice {invoice_id}")
        return found

    async def entity_in(self, conn: AsyncConnection, entity_id: EntityId) -> Entity:
        found = await parties.find_entity(conn, entity_id)
        assert found is not None, "a customer's entity is a foreign key"
        return found


def _refuse_write_off(made: Payment) -> None:
    """Its match set free would be money that nobody paid, while the loss and its tax stay booked."""
    if made.kind == WRITE_OFF:
        raise WriteOffStands(
            "this is a write-off: book what is paid after all as a payment of its own, or take the write-off back"
        )


def entry_of(made: Payment, entity: Entity, now: datetime, what: str, postings: Sequence[Posting]) -> Entry:
    booked_on: date = local_date(now, entity.zone_info)
    source = f"payment:{made.payment_id}"
    return Entry(made.entry_id, entity.entity_id, now, booked_on, what[:200], source, tuple(postings))
