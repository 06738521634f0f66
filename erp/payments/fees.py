"""What a gateway keeps for itself: each fee booked once, by the balance transaction that says it, and payouts checked.

    charge told        ─► its balance transaction is asked for ─► bank charges against the gateway's balance
    payout told        ─► the transactions that it is made of are listed: a fee that no event told is booked, and their
                          net sum is the amount of the payout, or the difference is shown

A gateway is asked while no transaction is open; what it answers is booked in one with the note that it was. Fees of
disputes are booked with the dispute, as its events list them. What we do not know how to book is kept, and said to be
left to a person.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.errors import RuleError
from controller.domain.money import Money
from controller.store.engine import Database
from erp.finance import ledger
from erp.finance.chart import BANK_CHARGES, GATEWAY
from erp.payments import fee_rows, repository
from erp.payments.booking import CardBooking
from erp.payments.errors import GatewayDeclined, GatewayUnsure
from erp.payments.fee_rows import BY_HAND, KNOWN, Payout
from erp.payments.gateway import BalanceTransaction, PaymentGateway
from erp.payments.gateways import GatewayRegistry
from erp.payments.repository import Gateway

log = structlog.get_logger()

_AT_ONCE = 100
_MOST = 20_000
"""Transactions of one payout that are read; a gateway that lists more is not believed."""
_WITH_FEE = frozenset({"charge", "payment", "refund", "payment_refund", "payment_failure_refund", "refund_failure"})
ALL_FEE = frozenset({"stripe_fee", "network_cost", "tax_fee", "stripe_fx_fee"})
_OURS = frozenset({"payout", "payout_failure", "payout_cancel"})


class GatewayFees:
    def __init__(
        self,
        database: Database,
        clock: Clock,
        registry: GatewayRegistry,
        booking: CardBooking,
        speaks: Callable[[Gateway], PaymentGateway],
    ) -> None:
        self._database = database
        self._clock = clock
        self._registry = registry
        self._booking = booking
        self._speaks = speaks

    async def payouts(self, limit: int) -> list[Payout]:
        """The latest expected first."""
        async with self._database.read() as conn:
            return await fee_rows.payouts(conn, limit=limit)

    async def resume(self) -> int:
        """Ask for everything that is not known yet; how many transactions and payouts are known now."""
        async with self._database.read() as conn:
            asked = await fee_rows.asked(conn, _AT_ONCE)
            unchecked = await fee_rows.payouts(conn, checked=fee_rows.ASKED, limit=_AT_ONCE)
        done = 0
        for name, transaction_id in asked:
            done += await self._try(name, transaction_id, partial(self._one, name, transaction_id))
        for found in unchecked:
            done += await self._try(found.gateway, found.payout_id, partial(self._check, found))
        return done

    async def _try(self, name: str, what: str, ask: Callable[[], Awaitable[None]]) -> bool:
        try:
            await ask()
        except (GatewayUnsure, GatewayDeclined, RuleError) as error:
            log.warning("payments.fee_unknown", gateway=name, about=what, error=str(error))
            async with self._database.begin() as conn:
                await fee_rows.note_failure(conn, name, what, str(error))
                await fee_rows.change_payout(conn, name, what, detail=str(error)[:300])
            return False
        return True

    async def _one(self, name: str, transaction_id: str) -> None:
        gateway = self._speaks(await self._registry.get(name))
        found = await gateway.transaction(transaction_id)
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            await self._keep(conn, name, found, self._clock.now())

    async def _check(self, of: Payout) -> None:
        gateway = self._speaks(await self._registry.get(of.gateway))
        found: list[BalanceTransaction] = []
        while True:
            part, more = await gateway.transactions_of(of.payout_id, found[-1].transaction_id if found else None)
            found += part
            if not more or not part:
                break
            if len(found) > _MOST:
                raise GatewayUnsure(f"payout {of.payout_id} is said to be made of more than {_MOST} transactions")
        made_of = [t for t in found if t.kind not in _OURS]
        difference = of.amount - fee_rows.net(made_of, of.amount.currency)
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            for one in made_of:
                await self._keep(conn, of.gateway, one, self._clock.now())
            checked = fee_rows.DIFFERS if difference else fee_rows.AGREES
            detail = f"{len(made_of)} transactions" + (f" make {of.amount - difference}" if difference else "")
            await fee_rows.change_payout(
                conn, of.gateway, of.payout_id, checked=checked, difference_minor=difference.minor, detail=detail
            )

    async def _keep(self, conn: AsyncConnection, name: str, found: BalanceTransaction, now: datetime) -> None:
        """Book what it cost, once."""
        if await fee_rows.is_known(conn, name, found.transaction_id):
            return
        fee, state, detail = cost_of(found)
        if found.fee and found.category.startswith("dispute"):
            state, detail = await _with_its_dispute(conn, name, found)
        if state == BY_HAND:
            log.warning("payments.fee_by_hand", gateway=name, transaction=found.transaction_id, detail=detail)
        entry_id = None
        if fee:
            source = f"gateway-fee:{name}:{found.transaction_id}"[:80]
            what = f"Fee of {found.source or found.transaction_id}"
            entry_id = await self._booking.transfer(conn, name, fee, BANK_CHARGES, GATEWAY, source, what)
        await fee_rows.put(conn, name, found, state, entry_id, detail, now)


async def _with_its_dispute(conn: AsyncConnection, name: str, found: BalanceTransaction) -> tuple[str, str]:
    """Whether the dispute's events told its fees; where they listed no transactions, a person books what is missing."""
    dispute = await repository.get_dispute(conn, name, found.source)
    if dispute is None or dispute.fees:
        return KNOWN, "booked with its dispute"
    return BY_HAND, f"no fee is booked with dispute {found.source}: book its {found.fee} by hand"


def cost_of(found: BalanceTransaction) -> tuple[Money, str, str]:
    """(what of it is the gateway's fee and not booked by anything else, state, words). Pure."""
    nothing = Money.zero(found.fee.currency)
    if found.category.startswith("dispute"):
        return nothing, KNOWN, "booked with its dispute"
    if found.kind in _WITH_FEE:
        return found.fee, KNOWN, ""
    if found.kind in ALL_FEE:
        return found.fee - found.amount, KNOWN, ""
    if found.kind in _OURS:
        return nothing, KNOWN, ""
    return nothing, BY_HAND, f"a transaction of type {found.kind} is booked by hand: {found.amount} less {found.fee}"
