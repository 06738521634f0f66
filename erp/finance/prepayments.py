"""Prepayments: money paid for service that is still to be used, and earned as it is.

    paid     bank or cash  →  customer prepayments (net), output tax     the tax is due when it is paid: a balance that
                                                                          buys one service of one supplier is a
                                                                          single-purpose voucher (Directive 2006/112/EC,
                                                                          art. 30b)
    used     customer prepayments  →  revenue of usage                   by the local day of use

Both are posted once however often they are asked for, in the transaction in which the balance moves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock, local_date
from controller.domain.identity import AccountId, EntityId, ServiceId, new_id
from controller.domain.money import Money
from erp.crm.service import CrmService
from erp.finance import journal, ledger
from erp.finance.chart import OUTPUT_TAX, PREPAYMENTS
from erp.finance.deposits import INTO
from erp.finance.errors import NotThatMuch, PaymentMismatch, WrongCurrency
from erp.finance.journal import Entry, Posting
from erp.finance.payment_tables import prepayment

_USAGE = "revenue-usage"


@dataclass(frozen=True, slots=True)
class Paid:
    """`amount` with the tax of `tax_percent` in it, received "into" bank or cash. `reference` books once."""

    service_id: ServiceId
    account_id: AccountId
    amount: Money
    tax_percent: Decimal
    into: str
    reference: str

    @property
    def net(self) -> Money:
        return Money.rounded(self.amount.amount / (1 + self.tax_percent / 100), self.amount.currency, ROUND_HALF_UP)


@dataclass(frozen=True, slots=True)
class Earned:
    """Net, by what an account used of a prepaid service on a local day; below zero takes back."""

    account_id: AccountId
    day: date
    amount: Money


class Prepayments:
    """Everything within the caller's transaction, who holds no row of a balance yet: the books are locked first."""

    def __init__(self, clock: Clock, crm: CrmService) -> None:
        self._clock = clock
        self._crm = crm

    async def lock_in(self, conn: AsyncConnection) -> None:
        """Before the caller locks anything else."""
        await ledger.lock_books(conn)

    async def take_in(self, conn: AsyncConnection, paid: Paid, *, actor: str) -> Money:
        """Book what was paid; the net of it. Again with the same reference it is the same.

        Raises NoAccount, WrongCurrency, NotThatMuch, and PaymentMismatch for a reference of another amount.
        """
        now = self._clock.now()
        customer = await self._crm.customer_of_in(conn, paid.account_id)
        if paid.amount.currency != customer.account.currency:
            raise WrongCurrency(f"account {paid.account_id} is kept in {customer.account.currency}")
        net = paid.net
        if net.minor <= 0 or paid.tax_percent < 0:
            raise NotThatMuch("a prepayment is a positive amount, its tax no negative per cent")
        p = prepayment.c
        query = select(p.paid_minor, p.currency, p.net_minor).where(
            p.service_id == paid.service_id, p.reference == paid.reference
        )
        known = (await conn.execute(query)).one_or_none()
        if known is not None:
            if (known.paid_minor, known.currency) != (paid.amount.minor, paid.amount.currency):
                raise PaymentMismatch(
                    f"prepayment {paid.reference} was booked as {Money(known.paid_minor, known.currency)}"
                )
            return Money(known.net_minor, known.currency)
        chart = await ledger.ensure_chart(conn, customer.entity_id)
        made, entry_id = new_id(now), new_id(now)
        postings = journal.without_zeros(
            (
                Posting(chart.code(INTO[paid.into]), paid.amount),
                Posting(chart.code(PREPAYMENTS), -net),
                Posting(chart.code(OUTPUT_TAX), net - paid.amount),
            )
        )
        day = local_date(now, customer.account.zone_info)
        said = f"Prepayment {paid.reference}"
        await ledger.post(conn, [Entry(entry_id, customer.entity_id, now, day, said, f"prepayment:{made}", postings)])
        await conn.execute(
            insert(prepayment).values(
                prepayment_id=made,
                entity_id=customer.entity_id,
                account_id=paid.account_id,
                service_id=paid.service_id,
                reference=paid.reference,
                paid_minor=paid.amount.minor,
                net_minor=net.minor,
                currency=paid.amount.currency,
                tax_percent=paid.tax_percent,
                into=paid.into,
                entry_id=entry_id,
                taken_at=now,
                taken_by=actor,
            )
        )
        return net

    async def earn_in(self, conn: AsyncConnection, earned: Sequence[Earned]) -> int:
        """Post as revenue what was used, one entry for each entity, day and currency; how many."""
        now = self._clock.now()
        customers = await self._crm.customers_of_in(conn, {e.account_id for e in earned})
        sums: dict[tuple[EntityId, date, str], int] = defaultdict(int)
        for each in earned:
            sums[customers[each.account_id].entity_id, each.day, each.amount.currency] += each.amount.minor
        entries = [
            await self._entry(conn, entity_id, day, Money(minor, currency), now)
            for (entity_id, day, currency), minor in sorted(sums.items())
            if minor
        ]
        await ledger.post(conn, entries)
        return len(entries)

    @staticmethod
    async def _entry(conn: AsyncConnection, entity_id: EntityId, day: date, amount: Money, now: datetime) -> Entry:
        """In a period that was closed meanwhile it counts for the first open day, and regards its own."""
        chart = await ledger.ensure_chart(conn, entity_id)
        closed = await ledger.closed_until(conn, entity_id)
        booked_on = day if closed is None or day >= closed else closed
        return Entry(
            new_id(now),
            entity_id,
            now,
            booked_on,
            f"Prepaid service used on {day}",
            f"prepaid-use:{new_id(now)}",
            journal.transfer(amount, chart, PREPAYMENTS, _USAGE),
            None if booked_on == day else day,
        )
