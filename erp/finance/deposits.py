"""Deposits: money held for a customer as security, given back when the last line of the account has ended.

    taken      bank or cash  →  customer deposits     a liability: it settles no invoice
    released   customer deposits  →  receivables      as a payment of the account: it settles what is open, oldest
                                                       first, and what is left can be paid out like any payment

Both are posted once however often they are asked for, and neither is ever edited.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock, local_date
from controller.domain.events import ItemHeld, ServiceTerminated
from controller.domain.identity import AccountId, PaymentId, new_id
from controller.domain.money import Money
from controller.store import audit
from controller.store.engine import Database
from erp.crm.service import CrmService
from erp.finance import journal, ledger
from erp.finance.chart import BANK, CASH, DEPOSITS
from erp.finance.errors import NotThatMuch, PaymentMismatch, UnknownDeposit, WrongCurrency
from erp.finance.issuing import entity_of
from erp.finance.journal import Entry
from erp.finance.payment_tables import deposit, deposit_release
from erp.finance.settlement import MoneyIn, Settlement
from erp.orders.model import SubscriptionState
from erp.orders.tables import item, subscription

METHOD = "deposit"
INTO = {"bank": BANK, "cash": CASH}


@dataclass(frozen=True, slots=True)
class Deposit:
    """`payment_id` is the payment that it became when it was released, None while it is held."""

    deposit_id: str
    account_id: AccountId
    amount: Money
    reference: str
    taken_at: datetime
    taken_by: str
    payment_id: PaymentId | None
    released_at: datetime | None
    reason: str | None


class DepositService:
    def __init__(self, database: Database, clock: Clock, crm: CrmService, settlement: Settlement) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm
        self._settlement = settlement

    async def take(self, account_id: AccountId, amount: Money, into: str, reference: str, *, actor: str) -> Deposit:
        """Money was received into "bank" or "cash" to be held; the same reference again is the same deposit.

        Raises NoAccount, WrongCurrency, NotThatMuch, PaymentMismatch.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            customer = await self._crm.customer_of_in(conn, account_id)
            if amount.currency != customer.account.currency:
                raise WrongCurrency(f"account {account_id} is kept in {customer.account.currency}")
            if amount.minor <= 0:
                raise NotThatMuch("a deposit is a positive amount")
            await ledger.lock_books(conn)
            query = _deposits().where(deposit.c.account_id == account_id, deposit.c.reference == reference)
            row = (await conn.execute(query)).one_or_none()
            if row is not None:
                known = _deposit(row)
                if known.amount != amount:
                    raise PaymentMismatch(f"deposit {reference} was booked as {known.amount}")
                return known
            deposit_id, entry_id = new_id(now), new_id(now)
            chart = await ledger.ensure_chart(conn, customer.entity_id)
            entry = Entry(
                entry_id,
                customer.entity_id,
                now,
                local_date(now, (await entity_of(conn, customer.entity_id)).zone_info),
                f"Deposit {reference}",
                f"deposit:{deposit_id}",
                journal.transfer(amount, chart, INTO[into], DEPOSITS),
            )
            await ledger.post(conn, [entry])
            await conn.execute(
                insert(deposit).values(
                    deposit_id=deposit_id,
                    entity_id=customer.entity_id,
                    account_id=account_id,
                    amount_minor=amount.minor,
                    currency=amount.currency,
                    reference=reference,
                    entry_id=entry_id,
                    taken_at=now,
                    taken_by=actor,
                )
            )
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="deposit.take",
                subject=f"account:{account_id}",
                after={"deposit_id": deposit_id, "amount": str(amount), "reference": reference},
            )
            return await self._get(conn, deposit_id)

    async def release(self, deposit_id: str, *, reason: str, actor: str) -> Deposit:
        """Give it back: it settles what is open, and what is left is the customer's. Again it changes nothing.

        Raises UnknownDeposit.
        """
        async with self._database.begin() as conn:
            return await self._release(conn, deposit_id, reason, actor)

    async def deposits(self, account_id: str | None, after: str | None, limit: int) -> Sequence[Deposit]:
        """In the order in which they were taken."""
        query = _deposits().order_by(deposit.c.deposit_id).limit(limit)
        if account_id is not None:
            query = query.where(deposit.c.account_id == account_id)
        if after is not None:
            query = query.where(deposit.c.deposit_id > after)
        async with self._database.read() as conn:
            return [_deposit(row) for row in await conn.execute(query)]

    async def on_service_terminated(self, conn: AsyncConnection, event: ServiceTerminated) -> None:
        await self._on_exit(conn, event.account_id, event.actor)

    async def on_item_held(self, conn: AsyncConnection, event: ItemHeld) -> None:
        if event.version_id is None:
            await self._on_exit(conn, event.account_id, event.actor)

    async def _on_exit(self, conn: AsyncConnection, account_id: AccountId, actor: str) -> None:
        """With the last line and item of an account its deposits are given back."""
        living = [SubscriptionState.RESERVED.value, SubscriptionState.ACTIVE.value]
        lines = select(func.count()).select_from(subscription)
        lines = lines.where(subscription.c.account_id == account_id, subscription.c.state.in_(living))
        items = select(func.count()).select_from(item)
        items = items.where(item.c.account_id == account_id, item.c.ended_at.is_(None))
        if await conn.scalar(lines) or await conn.scalar(items):
            return
        query = _deposits().where(deposit.c.account_id == account_id, deposit_release.c.deposit_id.is_(None))
        for row in (await conn.execute(query.order_by(deposit.c.deposit_id))).all():
            await self._release(conn, row.deposit_id, "the last line of the account has ended", actor)

    async def _release(self, conn: AsyncConnection, deposit_id: str, reason: str, actor: str) -> Deposit:
        await ledger.lock_books(conn)
        held = await self._get(conn, deposit_id)
        if held.payment_id is not None:
            return held
        came = MoneyIn(held.account_id, held.amount, METHOD, deposit_id, into=DEPOSITS)
        payment, _ = await self._settlement.receive_in(conn, came, actor=actor)
        now = self._clock.now()
        await conn.execute(
            insert(deposit_release).values(
                deposit_id=deposit_id,
                payment_id=payment.payment_id,
                released_at=now,
                released_by=actor,
                reason=reason,
            )
        )
        await audit.record(
            conn,
            now=now,
            actor=actor,
            action="deposit.release",
            subject=f"account:{held.account_id}",
            after={"deposit_id": deposit_id, "amount": str(held.amount), "payment_id": payment.payment_id},
            reason=reason,
        )
        return await self._get(conn, deposit_id)

    async def _get(self, conn: AsyncConnection, deposit_id: str) -> Deposit:
        row = (await conn.execute(_deposits().where(deposit.c.deposit_id == deposit_id))).one_or_none()
        if row is None:
            raise UnknownDeposit(f"no deposit {deposit_id}")
        return _deposit(row)


def _deposits() -> Select[Any]:
    columns = (deposit_release.c.payment_id, deposit_release.c.released_at, deposit_release.c.reason)
    return select(deposit, *columns).outerjoin(deposit_release, deposit_release.c.deposit_id == deposit.c.deposit_id)


def _deposit(row: Row[Any]) -> Deposit:
    return Deposit(
        row.deposit_id,
        AccountId(row.account_id),
        Money(row.amount_minor, row.currency),
        row.reference,
        row.taken_at,
        row.taken_by,
        None if row.payment_id is None else PaymentId(row.payment_id),
        row.released_at,
        row.reason,
    )
