"""Money that goes back: asked for, approved, sent, and booked when it is certain.

Who asks for more than a limit does not approve it. A refund is never more than what of its payment is left, and never
opens an invoice again: what it gives back must be unapplied, or covered by a credit that waits (a credit note). It is
reserved from the moment in which it is asked for until it is refused or done: nothing else spends it meanwhile. The
gateway is asked under the refund's own id, which is kept before: asked again after a crash, it gives back once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection
from stdnum import iban as iban_numbers

from controller.domain.clock import Clock
from controller.domain.errors import RuleError
from controller.domain.identity import PaymentId, new_id
from controller.domain.money import Money
from controller.store import audit
from controller.store.engine import Database
from erp.finance import ledger, receipts
from erp.finance.errors import NotThatMuch, UnknownPayment
from erp.finance.receipts import PAYMENT
from erp.finance.settlement import Settlement
from erp.payments import refund_rows, repository
from erp.payments.booking import CardBooking
from erp.payments.errors import GatewayDeclined, GatewayUnsure, NeedsAnother, UnknownRefund, WrongState
from erp.payments.gateway import Answer, PaymentGateway, RefundPayment
from erp.payments.gateways import GatewayRegistry
from erp.payments.refund_rows import APPROVED, DONE, REFUSED, REQUESTED, SENT, Refund
from erp.payments.repository import Gateway
from erp.payments.settings import PaymentsSettings

WAYS = ("gateway", "bank", "cash")
Speaks = Callable[[Gateway], PaymentGateway]


@dataclass(frozen=True, slots=True)
class WantedRefund:
    """`creditor` and `iban` are needed by bank only."""

    payment_id: PaymentId
    amount: Money
    way: str
    reason: str
    creditor: str = ""
    iban: str = ""


class RefundService:
    """The one writer of refunds."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settlement: Settlement,
        booking: CardBooking,
        registry: GatewayRegistry,
        speaks: Speaks,
        settings: PaymentsSettings,
    ) -> None:
        self._database = database
        self._clock = clock
        self._settlement = settlement
        self._booking = booking
        self._registry = registry
        self._speaks = speaks
        self._settings = settings

    async def request(self, wanted: WantedRefund, *, actor: str) -> Refund:
        """Ask for a refund. Raises UnknownPayment, NotThatMuch, RuleError for a wrong IBAN or way."""
        now = self._clock.now()
        made = await self._checked(wanted, now, actor)
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            await self._reserve(conn, made, actor)
            await refund_rows.add(conn, made)
            await self._audit(conn, made, actor, "refund.request", made.reason)
        return made

    async def approve(self, refund_id: str, *, actor: str) -> Refund:
        """Approve it; by gateway it is sent at once. Raises UnknownRefund, WrongState, NeedsAnother, GatewayDeclined.

        GatewayUnsure leaves it sent: `resume` asks again under the same key.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            found = await self._get(conn, refund_id)
            if found.state != REQUESTED:
                raise WrongState(f"refund {refund_id} is {found.state}")
            if found.requested_by == actor and found.amount.minor > self._settings.alone_up_to_minor:
                limit = Money(self._settings.alone_up_to_minor, found.amount.currency)
                raise NeedsAnother(f"above {limit} somebody else than {actor} approves what {actor} asked for")
            await self._reserve(conn, found, actor)  # again, where a chargeback has taken it meanwhile
            state = SENT if found.way == "gateway" else APPROVED
            await refund_rows.change(conn, refund_id, state, now, approved_by=actor)
            await self._audit(conn, found, actor, "refund.approve", None)
        if found.way == "gateway":
            await self._send(replace(found, state=SENT), actor)
        return await self.get(refund_id)

    async def refuse(self, refund_id: str, *, actor: str, reason: str) -> Refund:
        """Refuse one that was not sent. Raises UnknownRefund, WrongState."""
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            found = await self._get(conn, refund_id)
            if found.state not in (REQUESTED, APPROVED):
                raise WrongState(f"refund {refund_id} is {found.state}")
            await self._end(conn, found, actor, reason)
            await self._audit(conn, found, actor, "refund.refuse", reason)
        return await self.get(refund_id)

    async def resume(self, *, actor: str = "system:payments") -> int:
        """Ask the gateway again for what was sent and is not known to be done; how many are done or declined now."""
        async with self._database.read() as conn:
            waiting = await refund_rows.refunds(conn, way="gateway", states=(SENT,), limit=500)
        count = 0
        for found in reversed(waiting):
            try:
                await self._send(found, actor)
            except GatewayUnsure:
                continue
            except GatewayDeclined:
                pass
            count += 1
        return count

    async def expire(self, *, actor: str = "system:payments") -> int:
        """Refuse what nobody decided about in time, so that no credit is held for ever; how many."""
        since = self._clock.now() - timedelta(days=self._settings.refund_request_days)
        async with self._database.read() as conn:
            late = await refund_rows.refunds(conn, states=(REQUESTED,), asked_before=since, limit=500)
        why = f"not approved within {self._settings.refund_request_days} days: ask again"
        for found in late:
            try:
                await self.refuse(found.refund_id, actor=actor, reason=why)
            except WrongState:
                continue  # somebody decided in this moment
        return len(late)

    async def get(self, refund_id: str) -> Refund:
        """Raises UnknownRefund."""
        async with self._database.read() as conn:
            return await self._get(conn, refund_id)

    async def refunds(self, *, state: str | None, before: str | None, limit: int) -> list[Refund]:
        """Newest first."""
        async with self._database.read() as conn:
            states = (state,) if state else ()
            return await refund_rows.refunds(conn, states=states, before=before, limit=limit)

    async def _send(self, found: Refund, actor: str) -> None:
        async with self._database.read() as conn:
            card = await repository.get_card_payment(conn, "", "", found.payment_id)
        assert card is not None, "checked when the refund was asked for"
        gateway = await self._registry.get(card.gateway)
        try:
            answer = await self._speaks(gateway).refund(RefundPayment(found.refund_id, card.intent_id, found.amount))
        except GatewayDeclined as error:
            await self._declined(found, actor, f"{error.code}: {error}")
            raise
        await self._book(found, answer, gateway.name, actor)

    async def _book(self, found: Refund, answer: Answer, name: str, actor: str) -> None:
        if answer.state == "failed":
            await self._declined(found, actor, answer.detail)
            raise GatewayDeclined(f"the gateway could not refund: {answer.detail}", code=answer.detail)
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            current = await self._get(conn, found.refund_id)
            if current.state == DONE:
                return  # its event was faster than the answer
            await self._booking.refund_done(conn, current, name, actor, answer.provider_id)

    async def _declined(self, found: Refund, actor: str, why: str) -> None:
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            if (await self._get(conn, found.refund_id)).state == SENT:
                await self._end(conn, found, actor, why)

    async def _checked(self, wanted: WantedRefund, now: datetime, actor: str) -> Refund:
        if wanted.way not in WAYS:
            raise RuleError(f"a refund goes by one of {', '.join(WAYS)}", code="refund-way")
        if wanted.amount.minor <= 0:
            raise NotThatMuch("a refund is a positive amount")
        iban = ""
        if wanted.way == "bank":
            if not iban_numbers.is_valid(wanted.iban) or not wanted.creditor.strip():
                raise RuleError("a refund by bank needs the customer's name and a valid IBAN", code="iban")
            iban = iban_numbers.compact(wanted.iban)
        async with self._database.read() as conn:
            paid = await receipts.get_payment(conn, wanted.payment_id)
            card = await repository.get_card_payment(conn, "", "", wanted.payment_id)
        if paid is None or paid.kind != PAYMENT:
            raise UnknownPayment(f"no payment {wanted.payment_id}")
        if wanted.amount.currency != paid.amount.currency:
            raise NotThatMuch(f"payment {wanted.payment_id} is of {paid.amount.currency}")
        if wanted.way == "gateway" and card is None:
            raise RuleError("the payment did not come by a gateway: refund it by bank or in cash", code="refund-way")
        return Refund(
            new_id(now), wanted.payment_id, paid.account_id, wanted.amount, wanted.way, REQUESTED, wanted.reason,
            wanted.creditor.strip()[:70], iban, actor, now, None, now, None, None, "",
        )  # fmt: skip

    async def _reserve(self, conn: AsyncConnection, made: Refund, actor: str) -> None:
        """Nothing else spends it from now on. Raises NotThatMuch."""
        await self._settlement.reservations.reserve_in(
            conn, made.payment_id, made.amount, made.refund_id, actor=actor, reason=made.reason
        )

    async def _end(self, conn: AsyncConnection, found: Refund, actor: str, reason: str) -> None:
        """It does not go back: what was reserved is the customer's to be spent again."""
        await self._settlement.reservations.release_in(conn, found.refund_id, actor=actor, reason=reason)
        await refund_rows.change(conn, found.refund_id, REFUSED, self._clock.now(), detail=reason[:300])

    async def _get(self, conn: AsyncConnection, refund_id: str) -> Refund:
        found = await refund_rows.refunds(conn, refund_id=refund_id)
        if not found:
            raise UnknownRefund(f"no refund {refund_id}")
        return found[0]

    async def _audit(self, conn: AsyncConnection, made: Refund, actor: str, action: str, reason: str | None) -> None:
        await audit.record(
            conn,
            now=self._clock.now(),
            actor=actor,
            action=action,
            subject=f"refund:{made.refund_id}",
            after={"payment_id": made.payment_id, "amount": str(made.amount), "way": made.way},
            reason=reason,
        )
