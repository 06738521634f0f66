"""Monthly recurring revenue over HTTP."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel

from billing_bridge.mrr.model import DEFINITION, KINDS, Kind
from billing_bridge.mrr.service import DayOfRevenue, Holder, Named, RecurringRevenue
from controller.domain.money import Money
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import Currency, IdText, MoneyOut, Out


class DaysQuery(BaseModel):
    """Without days: this month until today."""

    since: date | None = None
    until: date | None = None

    model_config = {"extra": "forbid"}


class MovementsQuery(PageQuery):
    since: date | None = None
    until: date | None = None
    kind: Kind | None = None
    currency: Currency | None = None
    account_id: IdText | None = None


class HoldersQuery(PageQuery):
    on: date | None = None
    currency: Currency | None = None


class DayOut(Out):
    """opening + new + expansion + contraction + churn + reactivation = closing."""

    on: date
    opening: MoneyOut
    new: MoneyOut
    expansion: MoneyOut
    contraction: MoneyOut
    churn: MoneyOut
    reactivation: MoneyOut
    closing: MoneyOut

    @classmethod
    def of(cls, found: DayOfRevenue, currency: str) -> DayOut:
        def money(minor: int) -> MoneyOut:
            return MoneyOut.of(Money(minor, currency))

        moved = {kind: money(found.moved.get(kind, 0)) for kind in KINDS}
        return cls(on=found.on, opening=money(found.opening), closing=money(found.closing), **moved)


class CurrencyOut(Out):
    """`total` is the same of all days together."""

    currency: str
    total: DayOut
    days: list[DayOut]

    @classmethod
    def of(cls, currency: str, days: list[DayOfRevenue]) -> CurrencyOut:
        moved = {kind: sum(day.moved.get(kind, 0) for day in days) for kind in KINDS}
        total = DayOfRevenue(days[-1].on, days[0].opening, moved, days[-1].closing)
        return cls(currency=currency, total=DayOut.of(total, currency), days=[DayOut.of(d, currency) for d in days])


class RevenueOut(Out):
    definition: str
    since: date
    until: date
    currencies: list[CurrencyOut]


class MovementOut(Out):
    """`before` and `after` are what was held, empty for nothing; what a movement is for may be a price alone."""

    on: date
    kind: str
    amount: MoneyOut
    subscription_id: str
    account_id: str
    before: str
    after: str
    quantity: int

    @classmethod
    def of(cls, found: Named) -> MovementOut:
        m = found.movement
        return cls(
            on=m.on,
            kind=m.kind,
            amount=MoneyOut.of(m.amount),
            subscription_id=m.subscription_id,
            account_id=m.account_id,
            before=found.before,
            after=found.after,
            quantity=m.quantity,
        )


class HolderOut(Out):
    subscription_id: str
    account_id: str
    offering: str
    quantity: int
    value: MoneyOut

    @classmethod
    def of(cls, found: Holder) -> HolderOut:
        return cls(
            subscription_id=found.subscription_id,
            account_id=found.account_id,
            offering=found.offering,
            quantity=found.quantity,
            value=MoneyOut.of(found.value),
        )


def endpoints(revenue: RecurringRevenue) -> list[Endpoint]:
    def days(query: DaysQuery | MovementsQuery) -> tuple[date, date]:
        until = query.until or revenue.today()
        return query.since or until.replace(day=1), until

    async def report(call: Call) -> RevenueOut:
        since, until = days(call.query_as(DaysQuery))
        found = await revenue.report(since, until)
        currencies = [CurrencyOut.of(currency, by_day) for currency, by_day in found.items()]
        return RevenueOut(definition=DEFINITION, since=since, until=until, currencies=currencies)

    async def moved(call: Call) -> Page:
        query = call.query_as(MovementsQuery)
        since, until = days(query)
        found = await revenue.movements(
            since,
            until,
            kind=query.kind,
            currency=query.currency,
            account_id=query.account_id,
            after=query.last_key(str, str, str, str),
            rows=query.rows,
        )
        return Page.of(found, query, lambda row: row.key, MovementOut.of)

    async def held(call: Call) -> Page:
        query = call.query_as(HoldersQuery)
        after = query.last_key(str, str, str)
        found = await revenue.holders(
            query.on or revenue.today(), currency=query.currency, after=after, rows=query.rows
        )
        return Page.of(found, query, lambda row: row.key, HolderOut.of)

    return [
        Endpoint(
            "GET",
            "/recurring-revenue",
            scope="billing:read",
            handler=report,
            summary="Monthly recurring revenue by the day: opening, what moved, closing, and its definition",
            returns=RevenueOut,
            query=DaysQuery,
        ),
        Endpoint(
            "GET",
            "/recurring-revenue/movements",
            scope="billing:read",
            handler=moved,
            summary="What moved recurring revenue, line by line",
            returns=MovementOut,
            query=MovementsQuery,
            paged=True,
        ),
        Endpoint(
            "GET",
            "/recurring-revenue/lines",
            scope="billing:read",
            handler=held,
            summary="Whose fees are the recurring revenue of a day, line by line",
            returns=HolderOut,
            query=HoldersQuery,
            paged=True,
        ),
    ]
