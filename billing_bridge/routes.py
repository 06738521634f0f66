"""Usage and charges over HTTP: per service and day, with the records behind a day, and what was charged."""

from __future__ import annotations

from datetime import date

from billing_bridge.billing.model import BookedInterval, DayUsage
from billing_bridge.reading import BilledCharge, BillingReader
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import IdText, Instant, MoneyOut, Out


class UsageQuery(PageQuery):
    """Days are local days of the legal entity, `until_on` exclusive."""

    service_id: IdText | None = None
    since_on: date | None = None
    until_on: date | None = None


class UsageOut(Out):
    """Octets of one service on one local day, as they are charged."""

    service_id: str
    day: date
    upstream_octets: int
    downstream_octets: int
    intervals: int

    @classmethod
    def of(cls, found: DayUsage) -> UsageOut:
        return cls(
            service_id=found.service_id,
            day=found.day,
            upstream_octets=found.upstream_octets,
            downstream_octets=found.downstream_octets,
            intervals=found.intervals,
        )


class IntervalQuery(PageQuery):
    service_id: IdText
    day: date


class IntervalOut(Out):
    """What one accounting record added. `record_ids` are ids of the usage log, the record itself last."""

    interval_id: int
    session_key: str
    since: Instant
    until: Instant
    upstream_octets: int
    downstream_octets: int
    record_ids: list[int]
    adjustment: bool

    @classmethod
    def of(cls, booked: BookedInterval) -> IntervalOut:
        found = booked.interval
        return cls(
            interval_id=booked.interval_id,
            session_key=found.session_key,
            since=found.since,
            until=found.until,
            upstream_octets=found.upstream_octets,
            downstream_octets=found.downstream_octets,
            record_ids=list(found.record_ids),
            adjustment=booked.adjustment,
        )


class ChargeQuery(PageQuery):
    account_id: IdText | None = None
    bill_run_id: IdText | None = None
    service_id: IdText | None = None


class ChargeOut(Out):
    """One charge; `until_on` is exclusive, `net` excludes tax. `octets` are those that it counts."""

    charge_id: str
    bill_run_id: str
    account_id: str
    subscription_id: str
    service_id: str
    version_id: str
    kind: str
    first_on: date
    until_on: date
    description: str
    quantity: str
    unit: str
    unit_price: str
    net: MoneyOut
    tax_percent: str
    adjustment: bool
    octets: int
    created_at: Instant

    @classmethod
    def of(cls, found: BilledCharge) -> ChargeOut:
        c = found.charge
        return cls(
            charge_id=c.charge_id,
            bill_run_id=c.bill_run_id,
            account_id=c.account_id,
            subscription_id=c.subscription_id,
            service_id=c.service_id,
            version_id=c.version_id,
            kind=c.kind.value,
            first_on=c.first_on,
            until_on=c.until_on,
            description=c.description,
            quantity=f"{c.quantity:f}",
            unit=c.unit,
            unit_price=f"{c.unit_price:f}",
            net=MoneyOut.of(c.net),
            tax_percent=f"{c.tax_percent:f}",
            adjustment=c.adjustment,
            octets=found.octets,
            created_at=found.created_at,
        )


def endpoints(reader: BillingReader) -> list[Endpoint]:
    async def usage(call: Call) -> Page:
        query = call.query_as(UsageQuery)
        after = query.last_key(int, str)
        found = await reader.usage(query.service_id, query.since_on, query.until_on, after, query.rows)
        return Page.of(found, query, lambda u: (u.day.toordinal(), str(u.service_id)), UsageOut.of)

    async def intervals(call: Call) -> Page:
        query = call.query_as(IntervalQuery)
        after = query.last(int) or 0
        found = await reader.intervals(query.service_id, query.day, after, query.rows)
        return Page.of(found, query, lambda i: (i.interval_id,), IntervalOut.of)

    async def charges(call: Call) -> Page:
        query = call.query_as(ChargeQuery)
        after = query.last_key(int, str)
        found = await reader.charges(query.account_id, query.bill_run_id, query.service_id, after, query.rows)
        return Page.of(found, query, lambda c: c.key, ChargeOut.of)

    return [
        Endpoint(
            "GET",
            "/usage",
            scope="usage:read",
            handler=usage,
            summary="Usage per service and local day, newest day first",
            query=UsageQuery,
            returns=UsageOut,
            paged=True,
        ),
        Endpoint(
            "GET",
            "/usage/intervals",
            scope="usage:read",
            handler=intervals,
            summary="What each accounting record added to a service on a day",
            query=IntervalQuery,
            returns=IntervalOut,
            paged=True,
        ),
        Endpoint(
            "GET",
            "/charges",
            scope="billing:read",
            handler=charges,
            summary="Charges, newest first",
            query=ChargeQuery,
            returns=ChargeOut,
            paged=True,
        ),
    ]
