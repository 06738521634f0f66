"""What a customer sees of the usage of an account: its days, and what invoices count of them, to the octet.

    days of a month     as they are booked, which is what is charged
    lines of invoices   of the periods that touch the month: what they count beside what is booked of their days now

It is read where staff reads it, so both are told the same numbers (TMF677). Opened by a link, without a user.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from billing_bridge.billing.accounts import AccountBilling
from billing_bridge.billing.model import DayUsage
from billing_bridge.rating.proration import DaySpan
from billing_bridge.reading import BilledCharge, BillingReader
from controller.domain.charge import ChargeKind
from controller.domain.clock import add_months
from controller.domain.identity import AccountId, BillRunId, OfferingVersionId, ServiceId
from erp.crm.model import Customer
from erp.crm.service import CrmService
from erp.crm.usage_links import UsageLinks
from erp.finance.service import FinanceService

_LONGEST_PERIOD_DAYS = 400
_CHARGES = 500
"""Of a service, the newest: more than ten years of months with several prices each."""

_Numbers = Mapping[tuple[AccountId, str, str], str]
"""Of documents, by account, bill run and currency."""


@dataclass(frozen=True, slots=True)
class Billed:
    """A line for usage. `number` is None of one that another account pays for, or that stands on no document yet.
    `item` is what documents call it in the customer's language.

    `octets` are those that it counts, `booked` those of its days; of the lines of one price the sums agree.
    """

    number: str | None
    description: str
    item: str
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
    """`locale` is that of the account's documents; names are in its language."""

    customer: str
    locale: str
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
        locale = await self._locale(customer)
        plans = {version_id: plan.name_in(locale.replace("_", "-")) for version_id, plan in known.tariffs.items()}
        names = {each.service_id: plans[each.stretches[-1].version_id] for each in known.subscriptions}
        lines = {service_id: await self._lines(service_id, span) for service_id in names}
        numbers = await self._numbers(account_id, (found for each in lines.values() for found in each))
        services = []
        for service_id, found in lines.items():
            days = await self._days(service_id, found, span)
            billed = [_billed(line, days, numbers, plans) for line in found]
            services.append(Used(service_id, names[service_id], sorted(day for day in days if day.day in span), billed))
        used = [service for service in services if service.days or service.billed]
        return CustomerMonth(customer.contact.name, locale, first_on, known.today, used)

    async def _locale(self, customer: Customer) -> str:
        """The account's language, else that of its entity."""
        own = customer.contact.language.replace("-", "_")
        return own or (await self._crm.entity(customer.entity_id)).locale

    async def _lines(self, service_id: ServiceId, span: DaySpan) -> list[BilledCharge]:
        charges = await self._reader.charges(None, None, service_id, None, _CHARGES)
        lines = [found for found in charges if _touches(found, span)]
        return sorted(lines, key=lambda found: (found.charge.first_on, found.key))

    async def _days(self, service_id: ServiceId, lines: Sequence[BilledCharge], span: DaySpan) -> Sequence[DayUsage]:
        """Those of the month, and of the periods of these lines."""
        first_on = min([span.first_on, *(found.charge.first_on for found in lines)])
        until_on = max([span.until_on, *(found.charge.until_on for found in lines)])
        return await self._reader.usage(service_id, first_on, until_on, None, (until_on - first_on).days)

    async def _numbers(self, account_id: AccountId, lines: Iterable[BilledCharge]) -> _Numbers:
        """Of the invoices on which these lines stand, where the account pays for them; each run is asked for once."""
        runs = dict.fromkeys(found.charge.bill_run_id for found in lines if found.charge.account_id == account_id)
        numbers: dict[tuple[AccountId, str, str], str] = {}
        for run in runs:
            for issued in await self._finance.documents_of(BillRunId(run), [account_id]):
                numbers.setdefault((account_id, run, issued.net.currency), issued.number)
        return numbers


def _billed(
    found: BilledCharge, days: Sequence[DayUsage], numbers: _Numbers, plans: Mapping[OfferingVersionId, str]
) -> Billed:
    line = found.charge
    own = DaySpan(line.first_on, line.until_on)
    return Billed(
        numbers.get((line.account_id, line.bill_run_id, line.net.currency)),
        line.description,
        plans.get(line.version_id) or line.item or line.description,
        line.first_on,
        line.until_on,
        found.octets,
        sum(day.octets for day in days if day.day in own),
        f"{line.quantity:f}",
        line.unit,
    )


def _around(span: DaySpan) -> DaySpan:
    """Who had a plan shortly before is told of what was used then, and billed late."""
    return DaySpan(span.first_on - timedelta(days=_LONGEST_PERIOD_DAYS), span.until_on)


def _touches(found: BilledCharge, span: DaySpan) -> bool:
    line = found.charge
    is_usage = line.kind is ChargeKind.USAGE and found.octets != 0
    return is_usage and line.first_on < span.until_on and line.until_on > span.first_on
