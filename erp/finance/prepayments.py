"""Prepayments: money paid for service that is still to be used, and earned as it is.

    paid     bank or cash  →  customer prepayments (net), output tax     the tax is due when it is paid: a balance that
                                                                          buys one service of one supplier is a
                                                                          single-purpose voucher (Directive 2006/112/EC,
                                                                          art. 30b); a receipt is issued with it
    used     customer prepayments  →  revenue of usage                   by the local day of use
    expired  customer prepayments  →  breakage                           by the local day; its tax stays paid
    back     customer prepayments, output tax  →  receivables            as a payment of the account: it settles what is
                                                                          open, and the rest can be paid out like any

Each is posted once however often it is asked for, in the transaction in which the balance moves.
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
from erp.finance import journal, ledger, vouchers
from erp.finance.chart import BREAKAGE, OUTPUT_TAX, PREPAYMENTS
from erp.finance.deposits import INTO
from erp.finance.errors import NotThatMuch, PaymentMismatch, WrongCurrency
from erp.finance.issuing import entity_of
from erp.finance.journal import Entry, Posting
from erp.finance.payment_tables import prepayment
from erp.finance.receipts import Payment
from erp.finance.settlement import MoneyIn, Settlement
from erp.finance.vouchers import RECEIPT, REFUND, Part, Voucher

METHOD = "prepaid"
"""Of a payment that is what was left of prepaid credit."""
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
    tax_category: str = "S"
    what: str = ""
    """How much credit it bought, in words, where that is no money."""

    @property
    def net(self) -> Money:
        return Money.rounded(self.amount.amount / (1 + self.tax_percent / 100), self.amount.currency, ROUND_HALF_UP)


@dataclass(frozen=True, slots=True)
class Earned:
    """Net, by what an account used of a prepaid service on a local day; below zero takes back. `expired`: by what it
    never used, and cannot any more."""

    account_id: AccountId
    day: date
    amount: Money
    expired: bool = False


class Prepayments:
    """Everything within the caller's transaction, who holds no row of a balance yet: the books are locked first."""

    def __init__(self, clock: Clock, crm: CrmService, settlement: Settlement, *, series: str = "RC") -> None:
        self._clock = clock
        self._crm = crm
        self._settlement = settlement
        self._series = series

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
        day = local_date(now, (await entity_of(conn, customer.entity_id)).zone_info)
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
                tax_category=paid.tax_category,
                into=paid.into,
                entry_id=entry_id,
                taken_at=now,
                taken_by=actor,
            )
        )
        part = Part(net, paid.amount - net, paid.tax_percent, paid.tax_category)
        voucher = Voucher(RECEIPT, paid.service_id, paid.reference, entry_id, (part,), paid.what)
        await vouchers.issue(conn, voucher, customer, self._series, now)
        return net

    async def give_back_in(
        self, conn: AsyncConnection, service_id: ServiceId, account_id: AccountId, left: Money, *, actor: str
    ) -> Payment | None:
        """What is `left` of prepayments, net, becomes a payment of the account, with the tax that was paid on it: of
        the newest prepayments, for the oldest are used first. None where nothing is left."""
        if left.minor <= 0:
            return None
        now = self._clock.now()
        customer = await self._crm.customer_of_in(conn, account_id)
        chart = await ledger.ensure_chart(conn, customer.entity_id)
        parts = await _parts_of(conn, service_id, left)
        tax = Money.sum((part.tax for part in parts), left.currency)
        made = entry_id = new_id(now)
        day = local_date(now, (await entity_of(conn, customer.entity_id)).zone_info)
        # The tax joins what it was paid with, so that the payment is of all that the customer gets.
        postings = journal.without_zeros((Posting(chart.code(OUTPUT_TAX), tax), Posting(chart.code(PREPAYMENTS), -tax)))
        came = MoneyIn(account_id, left + tax, METHOD, made, into=PREPAYMENTS)
        payment, _ = await self._settlement.receive_in(conn, came, actor=actor)
        if postings:
            said = "Tax of prepaid credit given back"
            entry = Entry(entry_id, customer.entity_id, now, day, said, f"prepaid-back:{made}", postings)
            await ledger.post(conn, [entry])
        back = tuple(Part(-part.net, -part.tax, part.percent, part.category) for part in parts)
        voucher = Voucher(REFUND, service_id, made, entry_id if postings else payment.entry_id, back)
        await vouchers.issue(conn, voucher, customer, self._series, now)
        return payment

    async def earn_in(self, conn: AsyncConnection, earned: Sequence[Earned]) -> int:
        """Post as revenue what was used or has expired, one entry for each entity, day and currency; how many."""
        now = self._clock.now()
        customers = await self._crm.customers_of_in(conn, {e.account_id for e in earned})
        sums: dict[tuple[EntityId, date, str, bool], int] = defaultdict(int)
        for each in earned:
            entity_id = customers[each.account_id].entity_id
            sums[entity_id, each.day, each.amount.currency, each.expired] += each.amount.minor
        entries = [
            await self._entry(conn, entity_id, day, Money(minor, currency), now, expired)
            for (entity_id, day, currency, expired), minor in sorted(sums.items())
            if minor
        ]
        await ledger.post(conn, entries)
        return len(entries)

    @staticmethod
    async def _entry(
        conn: AsyncConnection, entity_id: EntityId, day: date, amount: Money, now: datetime, expired: bool
    ) -> Entry:
        """In a period that was closed meanwhile it counts for the first open day, and regards its own. Where a
        customer's day has begun before the books', it is booked on theirs."""
        counted_on = min(day, local_date(now, (await entity_of(conn, entity_id)).zone_info))
        chart = await ledger.ensure_chart(conn, entity_id)
        closed = await ledger.closed_until(conn, entity_id)
        booked_on = counted_on if closed is None or counted_on >= closed else closed
        return Entry(
            new_id(now),
            entity_id,
            now,
            booked_on,
            f"Prepaid credit expired on {day}" if expired else f"Prepaid service used on {day}",
            f"prepaid-{'expiry' if expired else 'use'}:{new_id(now)}",
            (
                Posting(chart.code(PREPAYMENTS), amount),
                Posting(chart.code_or(BREAKAGE, _USAGE) if expired else chart.code(_USAGE), -amount),
            ),
            None if booked_on == counted_on else day,
        )


async def _parts_of(conn: AsyncConnection, service_id: ServiceId, left: Money) -> list[Part]:
    """What is left, net, by the taxes that were paid on it: of the newest prepayments of the service."""
    p = prepayment.c
    columns = (p.net_minor, p.paid_minor, p.tax_percent, p.tax_category)
    query = select(*columns).where(p.service_id == service_id, p.currency == left.currency)
    taxed: dict[tuple[Decimal, str], list[int]] = {}
    missing = left.minor
    for row in await conn.execute(query.order_by(p.taken_at.desc(), p.prepayment_id.desc())):
        net = min(missing, row.net_minor)
        tax = (row.paid_minor - row.net_minor) * net // row.net_minor
        sums = taxed.setdefault((row.tax_percent, row.tax_category), [0, 0])
        sums[0], sums[1], missing = sums[0] + net, sums[1] + tax, missing - net
        if not missing:
            break
    if missing:  # credit that nobody paid for has no tax in it
        taxed.setdefault((Decimal(0), "O"), [0, 0])[0] += missing
    return [
        Part(Money(net, left.currency), Money(tax, left.currency), percent, category)
        for (percent, category), (net, tax) in taxed.items()
    ]
