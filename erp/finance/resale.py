"""Resellers: who brought which customer, what was sold to those in a month, and the share that is owed for it.

    statement    Σ (net of the lines of offerings issued in the month) × share, per customer's document
    settlement   sales commissions  →  trade payables, once per reseller, month and currency

A customer is a reseller's from a day on, by the day on which a document is issued; credit notes take their share back.
The total of each share is rounded once and divided over its documents by largest remainder, so the lines of a statement
always add up. A month is settled when it is over, and its statement never changes after: documents are never edited,
and who belongs to whom is not changed for days that were settled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Column, Row, ScalarSelect, and_, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock, add_months, local_date
from controller.domain.identity import AccountId, InvoiceId, new_id
from controller.domain.money import Money
from controller.store import audit
from controller.store.engine import Database
from erp.crm.model import Customer
from erp.crm.service import CrmService
from erp.finance import journal, ledger
from erp.finance.chart import COMMISSIONS, PAYABLES
from erp.finance.errors import NotOverYet, OtherEntity, OwnReseller, Settled
from erp.finance.issuing import entity_of
from erp.finance.journal import Entry
from erp.finance.model import tax_by_line
from erp.finance.resale_tables import commission, resale
from erp.finance.settings import FinanceSettings
from erp.finance.tables import invoice, invoice_line

_FARTHEST_DAYS = 366


@dataclass(frozen=True, slots=True)
class Resale:
    """From `since` on the account is the customer of `reseller_id` (None: of nobody), who gets `percent` of its net."""

    account_id: AccountId
    since: date
    reseller_id: AccountId | None
    percent: Decimal
    changed_at: datetime
    changed_by: str


@dataclass(frozen=True, slots=True)
class Sale:
    """One document of a customer, and the reseller's part of it."""

    invoice_id: InvoiceId
    number: str
    issued_on: date
    account_id: AccountId
    net: Money
    percent: Decimal
    share: Money


@dataclass(frozen=True, slots=True)
class Statement:
    """Of one month and currency. `settled_at` is None until it was posted."""

    reseller_id: AccountId
    month: date
    net: Money
    share: Money
    sales: Sequence[Sale]
    settled_at: datetime | None
    entry_id: str | None


@dataclass(frozen=True, slots=True)
class Reseller:
    """Somebody who brought customers; `customers` are how many are theirs today."""

    account_id: AccountId
    customers: int


class ResaleService:
    def __init__(self, database: Database, clock: Clock, crm: CrmService, settings: FinanceSettings) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm
        self._rounding = settings.tax_rounding

    async def assign(
        self,
        account_id: AccountId,
        reseller_id: AccountId | None,
        percent: Decimal,
        *,
        since: date | None = None,
        actor: str,
    ) -> Resale:
        """From the local day `since` (None: today) on.

        Raises NoAccount, Settled, also for a day said before, and OwnReseller for an account that would get a share of
        what it is sold itself, or of what is sold to whom it is a customer of.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            customer = await self._crm.customer_of_in(conn, account_id)
            reseller = None if reseller_id is None else await self._crm.customer_of_in(conn, reseller_id)
            if reseller is not None and reseller.entity_id != customer.entity_id:
                raise OtherEntity(f"account {reseller_id} is a customer of another legal entity")
            today = local_date(now, customer.account.zone_info)
            made = Resale(account_id, since or today, reseller_id, percent, now, actor)
            if reseller_id is not None:
                await _refuse_cycle(conn, account_id, reseller_id, made.since)
            await self._refuse(conn, made, today)
            await conn.execute(insert(resale).values({name: getattr(made, name) for name in Resale.__slots__}))
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="account.set-reseller",
                subject=f"account:{account_id}",
                after={"since": made.since.isoformat(), "reseller_id": reseller_id, "percent": str(percent)},
            )
        return made

    async def assignments(self, account_id: AccountId) -> list[Resale]:
        """All of a customer, oldest first."""
        query = select(resale).where(resale.c.account_id == account_id).order_by(resale.c.since)
        async with self._database.read() as conn:
            return [_resale(row) for row in await conn.execute(query)]

    async def resellers(self) -> list[Reseller]:
        """Everybody whose customer an account ever was or will be, in the order of their accounts."""
        today = await self._today()
        theirs = func.count().filter(resale.c.since == _in_force(resale.c.account_id, today))
        query = (
            select(resale.c.reseller_id, theirs.label("customers"))
            .where(resale.c.reseller_id.is_not(None))
            .group_by(resale.c.reseller_id)
            .order_by(resale.c.reseller_id)
        )
        async with self._database.read() as conn:
            return [Reseller(AccountId(row.reseller_id), row.customers) for row in await conn.execute(query)]

    async def customers(self, reseller_id: AccountId, *, after: str | None = None, limit: int) -> list[Resale]:
        """Whose accounts are the reseller's today, in the order of their ids."""
        query = (
            select(resale)
            .where(resale.c.reseller_id == reseller_id, resale.c.account_id > (after or ""))
            .where(resale.c.since == _in_force(resale.c.account_id, await self._today()))
            .order_by(resale.c.account_id)
            .limit(limit)
        )
        async with self._database.read() as conn:
            return [_resale(row) for row in await conn.execute(query)]

    async def _today(self) -> date:
        """The day in the zone of the first legal entity: a list of resellers may be of several, and has one day."""
        return local_date(self._clock.now(), (await self._crm.entity()).zone_info)

    async def statements(self, reseller_id: AccountId, month: date) -> list[Statement]:
        """One for each currency. Raises NoAccount."""
        async with self._database.read() as conn:
            await self._crm.customer_of_in(conn, reseller_id)
            return await self._statements(conn, reseller_id, month)

    async def settle(self, reseller_id: AccountId, month: date, *, actor: str) -> list[Statement]:
        """Post what is owed for a month that is over; what was posted stays as it is. Raises NoAccount, NotOverYet."""
        now = self._clock.now()
        first_on = month.replace(day=1)
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            reseller = await self._crm.customer_of_in(conn, reseller_id)
            today = local_date(now, (await entity_of(conn, reseller.entity_id)).zone_info)
            if today < add_months(first_on, 1):
                raise NotOverYet(f"{first_on:%Y-%m} is not over: it can be settled from {add_months(first_on, 1)} on")
            for found in await self._statements(conn, reseller_id, first_on):
                if found.settled_at is None:
                    await self._post(conn, reseller, found, today, now, actor)
            return await self._statements(conn, reseller_id, first_on)

    async def _post(
        self, conn: AsyncConnection, reseller: Customer, found: Statement, today: date, now: datetime, actor: str
    ) -> None:
        entry_id = new_id(now) if found.share else None
        if entry_id is not None:
            chart = await ledger.ensure_chart(conn, reseller.entity_id)
            entry = Entry(
                entry_id,
                reseller.entity_id,
                now,
                today,
                f"Commission {reseller.contact.name[:120]} {found.month:%Y-%m}",
                f"commission:{found.reseller_id}:{found.month:%Y-%m}:{found.share.currency}",
                journal.transfer(found.share, chart, COMMISSIONS, PAYABLES),
                regards_on=found.month,
            )
            await ledger.post(conn, [entry])
        await conn.execute(
            insert(commission).values(
                reseller_id=found.reseller_id,
                month=found.month,
                currency=found.share.currency,
                net_minor=found.net.minor,
                share_minor=found.share.minor,
                entry_id=entry_id,
                settled_at=now,
                settled_by=actor,
            )
        )
        await audit.record(
            conn,
            now=now,
            actor=actor,
            action="commission.settle",
            subject=f"account:{found.reseller_id}",
            after={"month": f"{found.month:%Y-%m}", "net": str(found.net), "share": str(found.share)},
        )

    async def _statements(self, conn: AsyncConnection, reseller_id: AccountId, month: date) -> list[Statement]:
        first_on = month.replace(day=1)
        rows = await _documents(conn, reseller_id, first_on, add_months(first_on, 1))
        settled = {
            row.currency: row
            for row in await conn.execute(
                select(commission).where(commission.c.reseller_id == reseller_id, commission.c.month == first_on)
            )
        }
        found = []
        for currency in sorted({row.currency for row in rows} | settled.keys()):
            sales = self._sales([row for row in rows if row.currency == currency])
            zero = Money.zero(currency)
            net, share = sum((s.net for s in sales), zero), sum((s.share for s in sales), zero)
            posted = settled.get(currency)
            found.append(
                Statement(
                    reseller_id,
                    first_on,
                    net,
                    share,
                    sales,
                    posted.settled_at if posted else None,
                    posted.entry_id if posted else None,
                )
            )
        return found

    def _sales(self, rows: Sequence[Row[Any]]) -> list[Sale]:
        sales = []
        for percent in sorted({row.percent for row in rows}):
            own = [row for row in rows if row.percent == percent]
            nets = [Money(int(row.net), row.currency) for row in own]
            _, parts = tax_by_line(nets, percent, self._rounding)
            sales += [
                Sale(
                    InvoiceId(row.invoice_id),
                    row.number,
                    row.issued_on,
                    AccountId(row.account_id),
                    net,
                    percent,
                    part,
                )
                for row, net, part in zip(own, nets, parts, strict=True)
            ]
        return sorted(sales, key=lambda sale: (sale.issued_on, sale.number))

    async def _refuse(self, conn: AsyncConnection, made: Resale, today: date) -> None:
        if abs((made.since - today).days) > _FARTHEST_DAYS:
            raise Settled(f"{made.since} is more than a year from today")
        same = select(resale.c.since).where(resale.c.account_id == made.account_id, resale.c.since == made.since)
        if await conn.scalar(same) is not None:
            raise Settled(f"it was said already whose customer the account is from {made.since} on")
        concerned = [made.reseller_id]
        concerned += [
            AccountId(i)
            for i in await conn.scalars(
                select(resale.c.reseller_id).where(
                    resale.c.account_id == made.account_id, resale.c.reseller_id.is_not(None)
                )
            )
        ]
        last = await conn.scalar(
            select(func.max(commission.c.month)).where(commission.c.reseller_id.in_([i for i in concerned if i]))
        )
        if last is not None and made.since < add_months(last, 1):
            raise Settled(
                f"{last:%Y-%m} is settled: whose customer the account is can change from {add_months(last, 1)}"
            )


async def _refuse_cycle(conn: AsyncConnection, account_id: AccountId, reseller_id: AccountId, since: date) -> None:
    """Follow who is whose customer on the days for which this would be said."""
    later = select(func.min(resale.c.since)).where(resale.c.account_id == account_id, resale.c.since > since)
    waiting = [(reseller_id, since, await conn.scalar(later) or date.max)]
    seen = set(waiting)
    while waiting:
        found, first_on, until_on = waiting.pop()
        if found == account_id:
            way = "it is the account itself" if found == reseller_id else f"it is a customer of account {account_id}"
            raise OwnReseller(f"account {reseller_id} cannot be the reseller of account {account_id}: {way}")
        rows = list(await conn.execute(select(resale).where(resale.c.account_id == found).order_by(resale.c.since)))
        ends = [row.since for row in rows[1:]] + [date.max]
        above = {
            (AccountId(row.reseller_id), max(first_on, row.since), min(until_on, end))
            for row, end in zip(rows, ends, strict=False)
            if row.reseller_id is not None and max(first_on, row.since) < min(until_on, end)
        }
        waiting += above - seen
        seen |= above


async def _documents(
    conn: AsyncConnection, reseller_id: AccountId, first_on: date, until_on: date
) -> Sequence[Row[Any]]:
    """Documents issued in the month to customers that were the reseller's on that day, and what they sold."""
    held = (
        select(func.max(resale.c.since))
        .where(resale.c.account_id == invoice.c.account_id, resale.c.since <= invoice.c.issued_on)
        .correlate(invoice)
        .scalar_subquery()
    )
    net = func.sum(invoice_line.c.net_minor).label("net")
    columns = (
        invoice.c.invoice_id,
        invoice.c.number,
        invoice.c.issued_on,
        invoice.c.account_id,
        invoice.c.currency,
        resale.c.percent,
    )
    query = (
        select(*columns, net)
        .join(resale, and_(resale.c.account_id == invoice.c.account_id, resale.c.since == held))
        .join(invoice_line, invoice_line.c.invoice_id == invoice.c.invoice_id)
        .where(resale.c.reseller_id == reseller_id, invoice_line.c.version_id != "")
        .where(invoice.c.issued_on >= first_on, invoice.c.issued_on < until_on)
        .group_by(*columns)
        .order_by(invoice.c.issued_on, invoice.c.number)
    )
    found: Sequence[Row[Any]] = list(await conn.execute(query))
    return found


def _in_force(account_id: Column[Any], day: date) -> ScalarSelect[Any]:
    """The first day of what holds on `day` for the account."""
    said = resale.alias()
    return select(func.max(said.c.since)).where(said.c.account_id == account_id, said.c.since <= day).scalar_subquery()


def _resale(row: Row[Any]) -> Resale:
    return Resale(**{name: getattr(row, name) for name in Resale.__slots__})
