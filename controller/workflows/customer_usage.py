"""What a customer sees of the usage of an account: its days, and what invoices count of them, to the octet.

    days of a month     as they are booked, which is what is charged
    lines of invoices   of the periods that touch the month: what they count beside what is booked of their days now

It is read where staff reads it, so both are told the same numbers (TMF677). Opened by a link, without a user.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from billing_bridge.billing.accounts import AccountBilling, AccountTimeline
from billing_bridge.billing.model import DayUsage
from billing_bridge.rating.proration import DaySpan
from billing_bridge.reading import BilledCharge, BillingReader
from controller.domain.charge import ChargeKind
from controller.domain.clock import add_months
from controller.domain.identity import AccountId, BillRunId, ServiceId
from erp.crm.service import CrmService
from erp.crm.usage_links import UsageLinks
from erp.finance.service import FinanceService

_LONGEST_PERIOD_DAYS = 400
_CHARGES = 500
"""Of a service, the newest: more than ten years of months with several prices each."""


@dataclass(frozen=True, slots=True)
class Billed:
    """A line for usage. `number` is None of one that another account pays for, or that stands on no document yet.

    `octets` are those that it counts, `booked` those of its days; of the lines of one price the sums agree.
    """

    number: str | None
    description: str
    first_on: date
    until_on: date
    octets: int
    booked: int
    quantity: str
    unit: str


@dataclass(frozen=True, slots=True)
class Used:
    """A service in a month: `days` in order, without those on which nothing was used."""

    service_id: ServiceId
    name: str
    days: Sequence[DayUsage]
    billed: Sequence[Billed]

    @property
    def octets(self) -> int:
        return sum(day.octets for day in self.days)


@dataclass(frozen=True, slots=True)
class CustomerMonth:
    customer: str
    month: date
    today: date
    services: Sequence[Used]


class CustomerUsage:
    def __init__(
        self,
        links: UsageLinks,
        crm: CrmService,
        accounts: AccountBilling,
        reader: BillingReader,
        finance: FinanceService,
    ) -> None:
        self._links = links
        self._crm = crm
        self._accounts = accounts
        self._reader = reader
        self._finance = finance

    async def opened(self, secret: str, month: date | None) -> CustomerMonth:
        """Of the account that the link is for, in the month of a day, or (None) in the running one.

        Raises NoUsageLink.
        """
        account_id = await self._links.account_of(secret)
        customer = await self._crm.customer_of(account_id)
        first_on = (month or await self._accounts.today(account_id)).replace(day=1)
        span = DaySpan(first_on, add_months(first_on, 1))
        known = await self._accounts.timeline(account_id, _around(span))
        services = [await self._used(account_id, service_id, name, span) for service_id, name in _named(known).items()]
        return CustomerMonth(customer.contact.name, first_on, known.today, [s for s in services if s.days or s.billed])

    async def _used(self, account_id: AccountId, service_id: ServiceId, name: str, span: DaySpan) -> Used:
        charges = await self._reader.charges(None, None, service_id, None, _CHARGES)
        lines = [found for found in charges if _touches(found, span)]
        lines.sort(key=lambda found: (found.charge.first_on, found.key))
        first_on = min([span.first_on, *(found.charge.first_on for found in lines)])
        until_on = max([span.until_on, *(found.charge.until_on for found in lines)])
        days = await self._reader.usage(service_id, first_on, until_on, None, (until_on - first_on).days)
        billed = [await self._billed(account_id, found, days) for found in lines]
        return Used(service_id, name, sorted(day for day in days if day.day in span), billed)

    async def _billed(self, account_id: AccountId, found: BilledCharge, days: Sequence[DayUsage]) -> Billed:
        line = found.charge
        own = DaySpan(line.first_on, line.until_on)
        return Billed(
            await self._number(account_id, found),
            line.description,
            line.first_on,
            line.until_on,
            found.octets,
            sum(day.octets for day in days if day.day in own),
            f"{line.quantity:f}",
            line.unit,
        )

    async def _number(self, account_id: AccountId, found: BilledCharge) -> str | None:
        line = found.charge
        if line.account_id != account_id:
            return None
        documents = await self._finance.documents_of(BillRunId(line.bill_run_id), [account_id])
        return next((d.number for d in documents if d.net.currency == line.net.currency), None)


def _named(known: AccountTimeline) -> dict[ServiceId, str]:
    """The services of an account by the last plan that each had."""
    return {each.service_id: known.tariffs[each.stretches[-1].version_id].offering_name for each in known.subscriptions}


def _around(span: DaySpan) -> DaySpan:
    """Who had a plan shortly before is told of what was used then, and billed late."""
    return DaySpan(span.first_on - timedelta(days=_LONGEST_PERIOD_DAYS), span.until_on)


def _touches(found: BilledCharge, span: DaySpan) -> bool:
    line = found.charge
    is_usage = line.kind is ChargeKind.USAGE and found.octets != 0
    return is_usage and line.first_on < span.until_on and line.until_on > span.first_on
