"""Cards that customers left with a gateway, charged by us: noted before it is asked, asked under the note's id.

What came of it is told by the gateway's events, and booked there alone; the answer is only noted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.errors import Conflict, RuleError
from controller.domain.identity import AccountId, InvoiceId, new_id
from controller.domain.money import Money
from controller.store import audit
from controller.store.engine import Database
from erp.finance import ledger
from erp.finance import repository as documents
from erp.finance.errors import OtherEntity, UnknownInvoice
from erp.finance.service import FinanceService
from erp.payments import card_rows, repository
from erp.payments.card_rows import CardAttempt, SavedCard
from erp.payments.errors import GatewayDeclined, GatewayUnsure, UnknownCardPayment
from erp.payments.gateway import ChargeCard
from erp.payments.gateways import GatewayRegistry
from erp.payments.refunds import Speaks

_IN_FLIGHT = timedelta(minutes=2)
"""Longer than all the attempts of one request together."""
_KEY_IS_SAFE = timedelta(hours=23)
"""Gateways keep keys for 24 hours: the same key later is a second charge."""
_TOO_LATE = "no answer came in time: see at the gateway's dashboard whether it was charged before you charge again"
_LESS_OPEN = "less than that is open by now: it is not asked again; see at the gateway's dashboard if it was charged"


@dataclass(frozen=True, slots=True)
class WantedCharge:
    """Charge `amount` of an invoice, or with None all that is open of it, to a card that `customer` left."""

    gateway: str
    invoice_id: InvoiceId
    customer: str
    method: str
    amount: Money | None = None
    reference: str | None = None
    """The caller's: the same again is the same charge."""


class CardCharges:
    """Asks gateways for money."""

    def __init__(
        self, database: Database, clock: Clock, finance: FinanceService, registry: GatewayRegistry, speaks: Speaks
    ) -> None:
        self._database = database
        self._clock = clock
        self._finance = finance
        self._registry = registry
        self._speaks = speaks

    async def charge(self, wanted: WantedCharge, *, actor: str) -> CardAttempt:
        """Raises UnknownInvoice, NoGateway, RuleError, Conflict. A decline and no answer are states of the charge.

        What is being charged and not decided yet counts as paid here: no invoice is charged twice by a form sent twice.
        """
        gateway = await self._registry.get(wanted.gateway)
        self._speaks(gateway)  # a gateway without a key is refused before anything is noted
        now = self._clock.now()
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            known = await card_rows.by_reference(conn, wanted.reference) if wanted.reference else None
            if known is not None:
                return _same(known, wanted)
            made, number = await self._note(conn, gateway.name, wanted, now, actor)
        return await self._ask(made, f"Invoice {number}")

    async def _note(
        self, conn: AsyncConnection, gateway: str, wanted: WantedCharge, now: datetime, actor: str
    ) -> tuple[CardAttempt, str]:
        """Keep what is about to be asked; the number of its invoice."""
        owed = await documents.get_invoice(conn, wanted.invoice_id)
        if owed is None:
            raise UnknownInvoice(f"no invoice {wanted.invoice_id}")
        (found,) = await repository.gateways(conn, gateway)
        if found.entity_id != owed.entity_id:
            raise OtherEntity(f"invoice {owed.number} is of another legal entity than gateway {gateway}")
        account_id, left = AccountId(owed.account_id), Money(owed.open_minor, owed.total.currency)
        await card_rows.free_overtaken(conn, owed.invoice_id, left, _LESS_OPEN, now, now - _IN_FLIGHT)
        asked = await card_rows.in_flight(conn, owed.invoice_id, left.currency)
        amount = wanted.amount or left - asked
        if amount.currency != left.currency or not 0 < amount.minor <= left.minor - asked.minor:
            being = f", {asked} of it are being charged: see what became of that" if asked.minor else ""
            raise RuleError(f"{left} of invoice {owed.number} are open{being}", code="not-that-much")
        whose = await repository.account_of_customer(conn, gateway, wanted.customer)
        if whose not in (None, account_id):
            raise RuleError(f"{wanted.customer} of {gateway} is account {whose}'s, the invoice is not", code="card")
        made = CardAttempt(
            new_id(now), gateway, account_id, owed.invoice_id, amount, wanted.customer, wanted.method, "asked", None,
            "", now, now, actor, wanted.reference,
        )  # fmt: skip
        await card_rows.add(conn, made)
        await audit.record(
            conn,
            now=now,
            actor=actor,
            action="card.charge",
            subject=f"card-attempt:{made.attempt_id}",
            after={"invoice_id": owed.invoice_id, "amount": str(amount), "gateway": gateway},
        )
        return made, owed.number

    async def repeat(self, attempt_id: str) -> CardAttempt:
        """Ask again for one whose answer did not come: under the same key, so that it is charged once.

        Not when the key may be forgotten by now, nor when less is open than would be charged: then it has failed, and
        what is still open can be charged anew.
        """
        found = await self.attempt(attempt_id)
        if found.state not in ("asked", "unsure") or found.invoice_id is None:
            return found
        if self._clock.now() - found.asked_at >= _KEY_IS_SAFE:
            async with self._database.begin() as conn:
                await card_rows.change(conn, attempt_id, "failed", _TOO_LATE, self._clock.now())
            return await self.attempt(attempt_id)
        owed = await self._finance.invoice(found.invoice_id)
        if owed.open_minor < found.amount.minor:
            await self._free(found.invoice_id)
            return await self.attempt(attempt_id)
        return await self._ask(found, f"Invoice {owed.number}")

    async def _free(self, invoice_id: InvoiceId) -> None:
        now = self._clock.now()
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            owed = await documents.get_invoice(conn, invoice_id)
            assert owed is not None, "invoices are never deleted"
            left = Money(owed.open_minor, owed.total.currency)
            await card_rows.free_overtaken(conn, invoice_id, left, _LESS_OPEN, now, now - _IN_FLIGHT)

    async def resume(self) -> int:
        """Ask again for everything whose answer did not come; how many are decided now."""
        async with self._database.read() as conn:
            waiting = await card_rows.attempts(conn, states=("asked", "unsure"), limit=500)
        # What was asked a moment ago may be in flight yet.
        late = [w for w in waiting if self._clock.now() - w.changed_at > _IN_FLIGHT]
        return sum([(await self.repeat(w.attempt_id)).state not in ("asked", "unsure") for w in late])

    async def attempt(self, attempt_id: str) -> CardAttempt:
        """Raises UnknownCardPayment."""
        async with self._database.read() as conn:
            found = await card_rows.attempts(conn, attempt_id=attempt_id)
        if not found:
            raise UnknownCardPayment(f"no card payment {attempt_id} was asked for")
        return found[0]

    async def attempts(
        self, *, account_id: str | None, invoice_id: str | None, state: str | None, before: str | None, limit: int
    ) -> list[CardAttempt]:
        """Newest first; `before` is the id of the last one seen."""
        states = (state,) if state else ()
        async with self._database.read() as conn:
            return await card_rows.attempts(
                conn, account_id=account_id, invoice_id=invoice_id, states=states, before=before, limit=limit
            )

    async def saved(self, account_id: str) -> list[SavedCard]:
        """Cards that an account left with gateways, as far as we have heard of them."""
        async with self._database.read() as conn:
            return await card_rows.saved(conn, account_id)

    async def _ask(self, made: CardAttempt, description: str) -> CardAttempt:
        gateway = await self._registry.get(made.gateway)
        wanted = ChargeCard(made.attempt_id, made.amount, made.customer, made.method, made.account_id, description)
        intent_id = None
        try:
            answer = await self._speaks(gateway).charge(wanted)
            intent_id = answer.provider_id
            # Paid is said by the event that books it, and by nothing else.
            state = "failed" if answer.state == "failed" else "pending"
            detail = answer.detail
        except GatewayDeclined as error:
            state, detail = "failed", error.code
        except GatewayUnsure as error:
            state, detail = "unsure", str(error)
        now = self._clock.now()
        async with self._database.begin() as conn:
            booked = intent_id and await repository.get_card_payment(conn, made.gateway, intent_id)
            await card_rows.change(
                conn, made.attempt_id, "paid" if booked else state, "" if booked else detail, now, intent_id
            )
        return await self.attempt(made.attempt_id)


def _same(known: CardAttempt, wanted: WantedCharge) -> CardAttempt:
    """The charge that was asked for under this reference before. Raises Conflict where it was another."""
    told = (wanted.gateway, wanted.invoice_id, wanted.customer, wanted.method)
    same = told == (known.gateway, known.invoice_id, known.customer, known.method)
    if not same or wanted.amount not in (None, known.amount):
        raise Conflict(f"reference {wanted.reference} was that of another charge: choose a new one")
    return known
