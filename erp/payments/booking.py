"""What an event of a gateway means for the books. Each call is part of the transaction that takes the event.

Money at the gateway is an asset of its own until it is paid out to the bank. A payment of nobody we know stands under
unknown payers until a later event or a person says whose it is.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock, local_date
from controller.domain.errors import NotFound
from controller.domain.identity import AccountId, EntityId, InvoiceId, PaymentId, new_id
from controller.domain.money import Money
from controller.store import audit
from controller.store.engine import Database
from erp.crm import repository as parties
from erp.crm.model import Entity
from erp.crm.service import CrmService
from erp.finance import journal, ledger, receipts
from erp.finance import repository as documents
from erp.finance.chart import BANK_CHARGES, GATEWAY, IN_TRANSIT, UNKNOWN_PAYERS
from erp.finance.journal import Entry
from erp.finance.settlement import MoneyBack, MoneyIn, Settlement
from erp.payments import card_rows, fee_rows, refund_rows, repository
from erp.payments.bank import repository as bank
from erp.payments.errors import NoGateway, UnknownCardPayment, WrongState
from erp.payments.repository import BOOKED, STALE, UNKNOWN, WAITING, CardPayment, Dispute, Told
from erp.payments.stripe.events import Disputed, Fact, Failed, Named, Paid, PaidOut, Refunded, RefundFailed, Settled

GATEWAY_REFUND = "gw:"
"""How references begin of refunds that a gateway made: its sums are told without those made by bank or in cash."""


class CardBooking:
    """The one who books what gateways tell."""

    def __init__(self, database: Database, clock: Clock, crm: CrmService, settlement: Settlement) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm
        self._settlement = settlement

    async def book(self, conn: AsyncConnection, told: Told, fact: Fact | None) -> tuple[str, str]:
        """Book it; (the state of the event, words for people)."""
        actor = f"system:{told.gateway}"
        match fact:
            case None:
                return UNKNOWN, "nothing is booked for events of this type"
            case Paid():
                return await self._paid(conn, told.gateway, fact, actor)
            case Failed():
                changed = await card_rows.set_told(
                    conn, told.gateway, fact.attempt_id, fact.intent_id, "failed", fact.why, self._clock.now()
                )
                return BOOKED, f"not paid: {fact.why}" + ("" if changed else ", asked for by somebody else")
            case Named():
                return await self._named(conn, told.gateway, fact, actor)
            case Refunded():
                return await self._refunded(conn, told.gateway, fact, actor)
            case RefundFailed():
                return await self._refund_failed(conn, told.gateway, fact, actor)
            case Disputed():
                return await self._disputed(conn, told, fact, actor)
            case PaidOut():
                return await self._paid_out(conn, told.gateway, fact)
            case Settled():
                if fact.transaction_id is None:
                    return BOOKED, "what it cost is told later"
                await fee_rows.ask(conn, told.gateway, fact.transaction_id, fact.charge_id, self._clock.now())
                return BOOKED, f"what it cost is asked for: {fact.transaction_id}"

    async def assign(self, name: str, intent_id: str, account_id: AccountId, *, actor: str) -> CardPayment:
        """Say whose payment it was: it is booked to the account, and so are later ones of the same gateway customer.

        Raises UnknownCardPayment, WrongState when it is somebody's, NotFound for no account, WrongCurrency.
        """
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            found = await repository.get_card_payment(conn, name, intent_id)
            if found is None:
                raise UnknownCardPayment(f"no payment {intent_id} of gateway {name}")
            if found.account_id is not None:
                raise WrongState(f"payment {intent_id} is of account {found.account_id}")
            await self._assign(conn, found, account_id, actor)
            subject = f"card-payment:{name}/{intent_id}"
            what = {"account_id": account_id, "amount": str(found.amount)}
            await audit.record(
                conn, now=self._clock.now(), actor=actor, action="card-payment.assign", subject=subject, after=what
            )
            stored = await repository.get_card_payment(conn, name, intent_id)
        assert stored is not None
        return stored

    async def unknown_payers(self, limit: int, after: tuple[int, str, str] | None = None) -> list[CardPayment]:
        """Payments that nobody is known to have made, oldest first; `after` as the repository has it."""
        async with self._database.read() as conn:
            return await repository.unknown_payers(conn, limit, after)

    async def disputes(self, limit: int, after: tuple[int, int, str, str] | None = None) -> list[Dispute]:
        """Open ones first; `after` as the repository has it."""
        async with self._database.read() as conn:
            return await repository.disputes(conn, limit, after)

    async def _paid(self, conn: AsyncConnection, name: str, fact: Paid, actor: str) -> tuple[str, str]:
        await ledger.lock_books(conn)
        if await repository.get_card_payment(conn, name, fact.intent_id) is not None:
            return BOOKED, "was booked before"
        now = self._clock.now()
        await card_rows.set_told(conn, name, fact.attempt_id, fact.intent_id, "paid", "", now)
        account_id = await self._whose(conn, name, fact.account_id, fact.customer, fact.amount.currency)
        made = CardPayment(
            name, fact.intent_id, fact.charge_id, fact.customer, fact.payer, fact.amount, fact.at, account_id, None
        )
        detail = "booked to its account"
        if account_id is None:
            entry_id = await self._to_suspense(conn, made, now)
            await repository.add_card_payment(conn, made, entry_id)
            detail = "nobody is known to have paid this: it stands under unknown payers"
        else:
            settles = await self._settles(conn, name, fact, account_id)
            came = MoneyIn(account_id, fact.amount, name, fact.intent_id, fact.at, GATEWAY, settles)
            payment, _ = await self._settlement.receive_in(conn, came, actor=actor)
            made = CardPayment(
                name, fact.intent_id, fact.charge_id, fact.customer, fact.payer, fact.amount, fact.at, account_id,
                payment.payment_id,
            )  # fmt: skip
            await repository.add_card_payment(conn, made, None)
            if fact.customer is not None:
                await repository.note_customer(conn, name, fact.customer, account_id, now, actor)
        await repository.wake(conn, name, intent_id=fact.intent_id)
        return BOOKED, detail

    async def _settles(
        self, conn: AsyncConnection, name: str, fact: Paid, account_id: AccountId
    ) -> list[tuple[InvoiceId, Money]] | None:
        """The invoice that a card was charged for by us, where all of it is still open; None: the oldest."""
        made = await card_rows.told(conn, name, fact.attempt_id, fact.intent_id)
        if made is None or made.invoice_id is None or made.account_id != account_id:
            return None
        owed = await documents.get_invoice(conn, made.invoice_id)
        if owed is None or owed.total.currency != fact.amount.currency or owed.open_minor < fact.amount.minor:
            return None
        return [(made.invoice_id, fact.amount)]

    async def _named(self, conn: AsyncConnection, name: str, fact: Named, actor: str) -> tuple[str, str]:
        await ledger.lock_books(conn)
        found = await repository.get_card_payment(conn, name, fact.intent_id)
        if found is None:
            return WAITING, f"for payment {fact.intent_id}"
        if found.account_id is not None:
            return BOOKED, "its payment was booked before"
        account_id = await self._whose(conn, name, fact.account_id, fact.customer, found.amount.currency)
        if account_id is None:
            return BOOKED, "it does not say whose the payment is, either"
        await self._assign(conn, found, account_id, actor)
        return BOOKED, "it says whose the payment is"

    async def _refunded(self, conn: AsyncConnection, name: str, fact: Refunded, actor: str) -> tuple[str, str]:
        await ledger.lock_books(conn)
        payment_id = await self._payment_of(conn, name, fact.intent_id)
        if payment_id is None:
            return WAITING, f"for payment {fact.intent_id} and whose it is"
        booked = [
            r.amount.minor
            for r in await receipts.reversals(conn, payment_id)
            if r.kind == "refund" and r.reference.startswith(GATEWAY_REFUND)
        ]
        missing = fact.so_far.minor - sum(booked)
        # What could not be delivered is not counted as refunded any more: so much is reached a second time.
        again = sum(minor < 0 for minor in booked)
        if missing <= 0:
            return STALE, "so much was booked as refunded before"
        for ours in await refund_rows.at_the_gateway(conn, payment_id):
            if ours.amount.minor <= missing:
                await self.refund_done(conn, ours, name, actor)
                missing -= ours.amount.minor
        if missing:
            back = MoneyBack(
                payment_id,
                Money(missing, fact.so_far.currency),
                "refund",
                f"{GATEWAY_REFUND}{fact.charge_id}:{fact.so_far.minor}" + (f"/{again}" if again else ""),
                GATEWAY,
                f"refunded at {name}",
            )
            await self._settlement.reverse_in(conn, back, actor=actor)
        await repository.wake(conn, name, intent_id=fact.intent_id)
        return BOOKED, f"{fact.so_far} refunded so far"

    async def refund_done(
        self, conn: AsyncConnection, ours: refund_rows.Refund, name: str, actor: str, provider_id: str | None = None
    ) -> None:
        """A refund that we asked for has happened; told by the gateway's answer or by its event, whichever is first."""
        reference = f"{GATEWAY_REFUND}{ours.refund_id}"
        back = MoneyBack(ours.payment_id, ours.amount, "refund", reference, GATEWAY, ours.reason, held=ours.refund_id)
        await self._settlement.reverse_in(conn, back, actor=actor)
        await refund_rows.change(conn, ours.refund_id, "done", self._clock.now(), provider_id=provider_id)

    async def _refund_failed(self, conn: AsyncConnection, name: str, fact: RefundFailed, actor: str) -> tuple[str, str]:
        """The money is at the gateway again, and the customer's: as if it had never been given back."""
        await ledger.lock_books(conn)
        payment_id = await self._payment_of(conn, name, fact.intent_id)
        if payment_id is None:
            return WAITING, f"for payment {fact.intent_id} and whose it is"
        given = [
            r for r in await receipts.reversals(conn, payment_id)
            if r.kind == "refund" and r.reference.startswith(GATEWAY_REFUND)
        ]  # fmt: skip
        reference = f"{GATEWAY_REFUND}{fact.refund_id}:failed"
        if sum(r.amount.minor for r in given) < fact.amount.minor and all(r.reference != reference for r in given):
            return WAITING, "for the refund that it is about"
        reason = f"refund {fact.refund_id} could not be delivered"
        back = MoneyBack(payment_id, -fact.amount, "refund", reference, GATEWAY, reason)
        await self._settlement.reverse_in(conn, back, actor=actor)
        for ours in await refund_rows.refunds(conn, payment_id=payment_id, way="gateway", states=("done",), limit=500):
            if ours.provider_id == fact.refund_id:
                await refund_rows.change(conn, ours.refund_id, "refused", self._clock.now(), detail="not delivered")
        return BOOKED, f"{fact.amount} could not be delivered"

    async def _disputed(self, conn: AsyncConnection, told: Told, fact: Disputed, actor: str) -> tuple[str, str]:
        await ledger.lock_books(conn)
        payment_id = await self._payment_of(conn, told.gateway, fact.intent_id)
        if payment_id is None:
            return WAITING, f"for payment {fact.intent_id} and whose it is"
        known = await repository.get_dispute(conn, told.gateway, fact.dispute_id)
        if known is not None and (known.final, known.told_at) > (fact.final, told.created_at):
            return STALE, "a later picture of the dispute was booked before"
        zero = Money.zero(fact.withdrawn.currency)
        step = known.steps + 1 if known else 1
        taken = fact.withdrawn - (known.withdrawn if known else zero)
        fees = fact.fees - (known.fees if known else zero)
        if taken:
            back = MoneyBack(
                payment_id, taken, "chargeback", f"{fact.dispute_id}#{step}", GATEWAY,
                f"dispute {fact.status}: {fact.reason}", fees,
            )  # fmt: skip
            await self._settlement.reverse_in(conn, back, actor=actor)
        elif fees:
            source = f"dispute-fee:{fact.dispute_id}#{step}"
            await self.transfer(conn, told.gateway, fees, BANK_CHARGES, GATEWAY, source, f"Fee of {fact.dispute_id}")
        made = Dispute(
            told.gateway, fact.dispute_id, fact.intent_id, fact.withdrawn, fact.fees, fact.status, fact.reason,
            told.created_at, fact.final, step,
        )  # fmt: skip
        await repository.put_dispute(conn, made)
        return BOOKED, f"{fact.status}: {fact.withdrawn} withdrawn, {fact.fees} fees"

    async def _paid_out(self, conn: AsyncConnection, name: str, fact: PaidOut) -> tuple[str, str]:
        await ledger.lock_books(conn)
        source = f"payout:{fact.payout_id}"
        booked = await ledger.find_entry(conn, source=source)
        if not fact.failed:
            if booked is None:
                await self.transfer(conn, name, fact.amount, IN_TRANSIT, GATEWAY, source, f"Payout {fact.payout_id}")
                await self._note_payout(conn, name, fact)
                await repository.wake(conn, name, object_id=fact.payout_id)
            return BOOKED, "on its way to the bank"
        if booked is None:
            return WAITING, f"payout {fact.payout_id} was not booked: there is nothing to take back"
        back = f"payout-failed:{fact.payout_id}"
        if await ledger.find_entry(conn, source=back) is None:
            await self.transfer(conn, name, -fact.amount, IN_TRANSIT, GATEWAY, back, f"Payout {fact.payout_id} failed")
            await fee_rows.change_payout(conn, name, fact.payout_id, state=fee_rows.FAILED)
        return BOOKED, "back at the gateway"

    async def _note_payout(self, conn: AsyncConnection, name: str, fact: PaidOut) -> None:
        """Its transactions are asked for, and lines of the bank that nobody knew may be it."""
        now, nothing = self._clock.now(), Money.zero(fact.amount.currency)
        made = fee_rows.Payout(
            name, fact.payout_id, fact.amount, fact.arrival_on, fact.trace, fee_rows.SENT, None, fee_rows.ASKED,
            nothing, "", now,
        )  # fmt: skip
        await fee_rows.add_payout(conn, made)
        await bank.look_again(conn, fact.amount)

    async def _assign(self, conn: AsyncConnection, found: CardPayment, account_id: AccountId, actor: str) -> None:
        ours = await self._entity(conn, found.gateway)
        came = MoneyIn(
            account_id, found.amount, found.gateway, found.intent_id, found.paid_at, UNKNOWN_PAYERS,
            entity_id=ours.entity_id,
        )  # fmt: skip
        payment, _ = await self._settlement.receive_in(conn, came, actor=actor)
        await repository.set_whose(conn, found.gateway, found.intent_id, account_id, payment.payment_id)
        if found.customer is not None:
            await repository.note_customer(conn, found.gateway, found.customer, account_id, self._clock.now(), actor)
        await repository.wake(conn, found.gateway, intent_id=found.intent_id)

    async def _whose(
        self, conn: AsyncConnection, name: str, noted: str | None, customer: str | None, currency: str
    ) -> AccountId | None:
        """The account that was noted with the payment, or that of the gateway's customer; None for none of ours."""
        ours = await self._entity(conn, name)
        candidates: list[str | None] = [noted]
        if customer is not None:
            candidates.append(await repository.account_of_customer(conn, name, customer))
        for account_id in candidates:
            if account_id is None:
                continue
            try:
                owner = await self._crm.customer_of_in(conn, AccountId(account_id))
            except NotFound:
                continue
            if owner.account.currency == currency and owner.entity_id == ours.entity_id:
                return AccountId(account_id)
        return None

    async def _payment_of(self, conn: AsyncConnection, name: str, intent_id: str) -> PaymentId | None:
        found = await repository.get_card_payment(conn, name, intent_id)
        return None if found is None else found.payment_id

    async def _to_suspense(self, conn: AsyncConnection, made: CardPayment, now: datetime) -> str:
        source = f"card:{made.gateway}:{made.intent_id}"[:80]
        what = f"Payment {made.intent_id} of an unknown payer"
        return await self.transfer(conn, made.gateway, made.amount, GATEWAY, UNKNOWN_PAYERS, source, what)

    async def transfer(
        self, conn: AsyncConnection, name: str, amount: Money, debit: str, credit: str, source: str, what: str
    ) -> str:
        """From one account of the gateway's books to another, both by their roles; the entry. Raises NoGateway."""
        now, entity = self._clock.now(), await self._entity(conn, name)
        chart = await ledger.ensure_chart(conn, entity.entity_id)
        postings = journal.transfer(amount, chart, debit, credit)
        day = local_date(now, entity.zone_info)
        entry = Entry(new_id(now), entity.entity_id, now, day, what[:200], source, postings)
        await ledger.post(conn, [entry])
        return entry.entry_id

    async def _entity(self, conn: AsyncConnection, name: str) -> Entity:
        """Whose gateway it is. Raises NoGateway."""
        found = await repository.gateways(conn, name)
        if not found:
            raise NoGateway(f"no payment gateway {name}")
        entity = await parties.find_entity(conn, EntityId(found[0].entity_id))
        assert entity is not None, "a gateway's entity is kept with it"
        return entity
