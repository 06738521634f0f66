"""Leakage and reconciliation over HTTP."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from billing_bridge.checks.compared import Compared, DayTotal, Wanted
from billing_bridge.checks.leak_rows import LeakDay, Ranked
from billing_bridge.checks.leakage import Sight
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import IdText, In, Instant, MoneyOut, Out
from controller.workflows.leakage import Leakage
from controller.workflows.reconciliation import Reconciliation

Side = Literal["live-not-billed", "billed-not-live"]
Days = Annotated[int, Field(ge=1, le=400)]


class LeakQuery(PageQuery):
    side: Side = "live-not-billed"


class SightOut(Out):
    """What was seen: a login, sessions of a user name, an ONU, a device of the stock at a customer's."""

    what: str
    ref: str
    since: Instant
    last: Instant
    detail: str

    @classmethod
    def of(cls, found: Sight) -> SightOut:
        return cls(what=found.what, ref=found.ref, since=found.since, last=found.last, detail=found.detail)


class LeakOut(Out):
    """`monthly` is an estimate where nothing was ever billed; `price_from` says what of. `lost` is since `since_on`.

    Of the look at `looked_at`: the one of the night, or the last that somebody asked for.
    """

    side: str
    key: str
    title: str
    service_id: str | None
    account_id: str | None
    subscription_id: str | None
    monthly: MoneyOut
    per_day: MoneyOut
    since_on: date
    days: int
    lost: MoneyOut
    price_from: str
    evidence: list[SightOut]
    looked_at: Instant

    @classmethod
    def of(cls, ranked: Ranked) -> LeakOut:
        found = ranked.leak
        return cls(
            side=found.side,
            key=found.key,
            title=found.title,
            service_id=found.service_id,
            account_id=found.account_id,
            subscription_id=found.subscription_id,
            monthly=MoneyOut.of(found.monthly),
            per_day=MoneyOut.of(found.per_day),
            since_on=found.since_on,
            days=found.days,
            lost=MoneyOut.of(found.lost),
            price_from=found.price_from,
            evidence=[SightOut.of(sight) for sight in found.evidence],
            looked_at=ranked.looked_at,
        )


class DaysQuery(In):
    days: Days = 60


class LeakDayOut(Out):
    day: date
    side: str
    items: int
    per_day: MoneyOut

    @classmethod
    def of(cls, found: LeakDay) -> LeakDayOut:
        return cls(day=found.day, side=found.side, items=found.items, per_day=MoneyOut.of(found.per_day))


class LeakDays(Out):
    days: list[LeakDayOut]


class ReconciliationQuery(PageQuery):
    day: date | None = None
    service_id: IdText | None = None
    verdict: Literal["differs", "explained", "agrees", "no-counter"] | None = None


class ReasonOut(Out):
    """`octets` of the difference between two counts that it explains; 0 where it is only good to know."""

    between: str
    text: str
    octets: int


class ComparedOut(Out):
    """Octets of both directions. `counter_octets` is null where no device counts the service."""

    service_id: str
    day: date
    radius_octets: int
    counter_octets: int | None
    billed_octets: int
    charged_octets: int
    reasons: list[ReasonOut]
    unexplained_octets: int
    verdict: str
    looked_at: Instant

    @classmethod
    def of(cls, found: Compared) -> ComparedOut:
        return cls(
            service_id=found.service_id,
            day=found.day,
            radius_octets=found.radius,
            counter_octets=found.counter,
            billed_octets=found.billed,
            charged_octets=found.charged,
            reasons=[ReasonOut(between=r.between, text=r.text, octets=r.octets) for r in found.reasons],
            unexplained_octets=found.unexplained,
            verdict=found.verdict,
            looked_at=found.looked_at,
        )


class DayTotalOut(Out):
    """Everything of a day. `counted_radius_octets` is RADIUS of the services that a device counts too."""

    day: date
    services: int
    differing: int
    radius_octets: int
    counted_radius_octets: int
    counter_octets: int
    billed_octets: int
    charged_octets: int
    unexplained_octets: int

    @classmethod
    def of(cls, found: DayTotal) -> DayTotalOut:
        return cls(
            day=found.day,
            services=found.services,
            differing=found.differing,
            radius_octets=found.radius,
            counted_radius_octets=found.counted_radius,
            counter_octets=found.counter,
            billed_octets=found.billed,
            charged_octets=found.charged,
            unexplained_octets=found.unexplained,
        )


class DayTotals(Out):
    days: list[DayTotalOut]


class ReconcileIn(In):
    """`day` is the last day to look at (by default yesterday), `days` how many up to it."""

    day: date | None = None
    days: Annotated[int, Field(ge=1, le=62)] = 4


def endpoints(leakage: Leakage, reconciliation: Reconciliation) -> list[Endpoint]:
    async def leaks(call: Call) -> Page:
        query = call.query_as(LeakQuery)
        found = await leakage.page(query.side, query.last(int) or 0, query.rows)
        return Page.of(found, query, lambda ranked: (ranked.rank,), LeakOut.of)

    async def look(_call: Call) -> LeakDays:
        await leakage.note()
        return LeakDays(days=[LeakDayOut.of(day) for day in await leakage.days(0)])

    async def leak_days(call: Call) -> LeakDays:
        found = await leakage.days(call.query_as(DaysQuery).days)
        return LeakDays(days=[LeakDayOut.of(day) for day in found])

    async def rows(call: Call) -> Page:
        query = call.query_as(ReconciliationQuery)
        wanted = Wanted(query.day, query.service_id, query.verdict)
        found = await reconciliation.page(wanted, query.last_key(int, str), query.rows)
        return Page.of(found, query, lambda c: (c.day.toordinal(), c.service_id), ComparedOut.of)

    async def days(call: Call) -> DayTotals:
        found = await reconciliation.days(call.query_as(DaysQuery).days)
        return DayTotals(days=[DayTotalOut.of(day) for day in found])

    async def run(call: Call) -> DayTotals:
        body = call.body_as(ReconcileIn)
        return DayTotals(days=[DayTotalOut.of(day) for day in await reconciliation.run(body.day, body.days)])

    return [
        Endpoint(
            "GET", "/leakage", scope="billing:read", handler=leaks,
            summary="What is live and not billed, or billed and not live, with its price a day", query=LeakQuery,
            returns=LeakOut, paged=True,
        ),
        Endpoint(
            "POST", "/leakage", scope="billing:write", handler=look,
            summary="Look now at what is live and not billed, or billed and not live; what it comes to",
            returns=LeakDays,
        ),
        Endpoint(
            "GET", "/leakage/days", scope="billing:read", handler=leak_days,
            summary="What leakage came to on each day", query=DaysQuery, returns=LeakDays,
        ),
        Endpoint(
            "GET", "/reconciliation", scope="billing:read", handler=rows,
            summary="RADIUS, counters and billed quantity by service and day, the difference explained",
            query=ReconciliationQuery, returns=ComparedOut, paged=True,
        ),
        Endpoint(
            "GET", "/reconciliation/days", scope="billing:read", handler=days,
            summary="The three counts of everything, by day", query=DaysQuery, returns=DayTotals,
        ),
        Endpoint(
            "POST", "/reconciliation", scope="billing:write", handler=run,
            summary="Compare the counts of the last days now", body=ReconcileIn, returns=DayTotals,
        ),
    ]  # fmt: skip
