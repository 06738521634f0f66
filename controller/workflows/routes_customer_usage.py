"""A customer's own look at usage, over HTTP: whoever has the link, and nobody else's account."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import BaseModel, Field

from controller.http.endpoint import PUBLIC, Call, Endpoint
from controller.http.models import Out
from controller.workflows.customer_usage import Billed, CustomerMonth, CustomerUsage, Used

MONTH = r"^(19[7-9]\d|20\d\d)-(0[1-9]|1[0-2])$"


class MonthQuery(BaseModel):
    """`month` is YYYY-MM, the running one if absent."""

    month: Annotated[str, Field(pattern=MONTH)] | None = None

    model_config = {"extra": "forbid"}


class DayOut(Out):
    day: date
    upstream_octets: int
    downstream_octets: int


class BilledOut(Out):
    """A line for usage: `octets` are those that it counts, `booked_octets` those of its days [first_on, until_on).
    `item` is what documents call it, in the customer's language."""

    number: str | None
    description: str
    item: str
    first_on: date
    until_on: date
    octets: int
    booked_octets: int
    quantity: str
    unit: str

    @classmethod
    def of(cls, found: Billed) -> BilledOut:
        return cls(
            number=found.number, description=found.description, item=found.item, first_on=found.first_on,
            until_on=found.until_on, octets=found.octets, booked_octets=found.booked, quantity=found.quantity,
            unit=found.unit,
        )  # fmt: skip


class ServiceUsageOut(Out):
    service_id: str
    name: str
    octets: int
    days: list[DayOut]
    billed: list[BilledOut]

    @classmethod
    def of(cls, found: Used) -> ServiceUsageOut:
        days = [
            DayOut(day=day.day, upstream_octets=day.upstream_octets, downstream_octets=day.downstream_octets)
            for day in found.days
        ]
        billed = [BilledOut.of(line) for line in found.billed]
        return cls(service_id=found.service_id, name=found.name, octets=found.octets, days=days, billed=billed)


class CustomerUsageOut(Out):
    """`month` is its first day; days are those of the account's zone, and so is `today`. `locale` is that of the
    account's documents, such as de_DE; names are in its language."""

    customer: str
    locale: str
    month: date
    today: date
    services: list[ServiceUsageOut]

    @classmethod
    def of(cls, found: CustomerMonth) -> CustomerUsageOut:
        services = [ServiceUsageOut.of(used) for used in found.services]
        return cls(
            customer=found.customer, locale=found.locale, month=found.month, today=found.today, services=services
        )


def endpoints(usage: CustomerUsage) -> list[Endpoint]:
    async def show(call: Call) -> CustomerUsageOut:
        asked = call.query_as(MonthQuery).month
        month = None if asked is None else date.fromisoformat(f"{asked}-01")
        return CustomerUsageOut.of(await usage.opened(call.path["secret"], month))

    return [
        Endpoint(
            "GET", "/customer-usage/{secret}", scope=PUBLIC, handler=show,
            summary="Usage of an account in a month, for the customer who was given the link",
            query=MonthQuery, returns=CustomerUsageOut,
        ),
    ]  # fmt: skip
