"""Gathers what the checks of one batch look at: a `Case` for each account, in few statements for all of them."""

from __future__ import annotations

import calendar
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import extract, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing import corrections, hours, payers
from billing_bridge.billing.model import Subscription
from billing_bridge.billing.payers import Payer
from billing_bridge.billing.repository import read_subscriptions
from billing_bridge.billing.tariff_rows import tariffs
from billing_bridge.checks.case import Case, Cohort, Holding, Key, Limits, Month, Record, Sold
from billing_bridge.checks.history import cohort_of
from billing_bridge.checks.tables import reconciliation
from billing_bridge.rating.line import Octets
from billing_bridge.suspense.dispositions import live, parts_of
from billing_bridge.tables import charge, entitlement, subscription, tariff, usage_day
from billing_bridge.zones import today_of, zones_of
from controller.domain.charge import Charge, ChargeKind
from controller.domain.clock import local_date
from controller.domain.errors import NotFound
from controller.domain.identity import AccountId, OfferingId, OfferingVersionId
from controller.domain.ports import RatedBatch, SalesBook, TariffSource
from controller.domain.tariff import TariffVersion
from controller.domain.units import human_octets
from controller.store.many import one_of

_YEAR = timedelta(days=400)
_TWO_MONTHS = timedelta(days=62)
"""The running month and the closed one before it."""
_A_MONTH = timedelta(days=31)
"""So long before a charge's first day its period may have begun."""
_COHORT = 300
"""Services that stand for all of an offering: the median of so many lies within a few per cent of that of all."""


@dataclass(slots=True)
class Facts:
    """Reads cases; keeps what does not change from batch to batch of one run."""

    zone: ZoneInfo
    """Of accounts that have none of their own."""
    catalog: TariffSource[AsyncConnection]
    sales: SalesBook[AsyncConnection]
    _run_id: str = ""
    _latest: date = date.min
    """The day that it is for whoever is furthest ahead: months that are over for them have a level, though for others
    a day of it is still to come."""
    _cohorts: dict[OfferingId, Cohort] = field(default_factory=dict)
    _originals: dict[OfferingVersionId, TariffVersion | None] = field(default_factory=dict)

    async def cases(self, conn: AsyncConnection, batch: RatedBatch, limits: Callable[[str], Limits]) -> list[Case]:
        """The accounts of the batch that are charged something or may have to be, in order of their charges."""
        today = local_date(batch.as_of, self.zone)
        by_account: dict[AccountId, list[Charge]] = defaultdict(list)
        for made in batch.charges:
            by_account[made.account_id].append(made)
        accounts = await _accounts(conn, batch)
        # A day earlier, for who is in another zone.
        since = min([today - _TWO_MONTHS, *(c.first_on - _A_MONTH for c in batch.charges)]) - timedelta(days=1)
        subscriptions = await read_subscriptions(conn, accounts, self.zone, since, charged=False)
        if any(c != "month" for s in subscriptions for c in s.cycles):
            # A closed year lies up to two years back.
            since -= timedelta(days=731)
            subscriptions = await read_subscriptions(conn, accounts, self.zone, since, charged=False)
        versions = {c.version_id for s in subscriptions for c in s.changes if c.version_id}
        versions |= {c.version_id for c in batch.charges if c.version_id}
        copies = await tariffs(conn, versions)
        # What begins after the instant of the run has not been rated at all.
        begun = [s for s in subscriptions if any(change.on <= s.day(batch.as_of) for change in s.changes)]
        if self._run_id != batch.bill_run_id:
            self._run_id, self._cohorts, self._originals = batch.bill_run_id, {}, {}
            days = await today_of(conn, batch.as_of, self.zone)
            self._latest = max(days.usual, *days.own.values()) if days.own else days.usual
        holdings = await self._holdings(conn, batch, begun, copies, since)
        originals = await self._catalogue(conn, versions)
        await self._know_cohorts(conn, copies.values())
        sold = await self.sales.sold_in(conn, accounts)
        for holding in holdings:
            book = sold.get(holding.account_id)
            product = book.products.get(holding.subscription_id) if book else None
            if product is not None and product.since <= batch.as_of:
                holding.sold = Sold(product.version_id, product.quantity)
        corrected = await corrections.of_versions(conn, versions)
        found = []
        zones = await zones_of(conn, accounts, self.zone)
        rated = set(batch.account_ids)
        to_pay: dict[AccountId, list[_Open]] = defaultdict(list)
        for holding in holdings:
            if holding.account_id in rated:
                for payer in holding.payers_of:
                    to_pay[payer].append(holding)
        by_subscription = {h.subscription_id: h for h in holdings}
        for account_id in [*by_account, *(i for i in to_pay if i not in by_account)]:
            charges, sales = by_account.get(account_id, []), sold.get(account_id)
            own = {h.subscription_id: h for h in to_pay[account_id]}
            own |= {i: by_subscription[i] for c in charges if (i := c.subscription_id) in by_subscription}
            currency = sales.currency if sales else _currency(charges, own.values(), copies)
            if currency is None:
                continue  # no charge, and no plan ever
            found.append(
                Case(
                    account_id,
                    currency,
                    local_date(batch.as_of, zones.of(account_id)),
                    charges,
                    [h.frozen(batch.as_of) for h in own.values()],
                    copies,
                    originals,
                    self._cohorts,
                    limits(currency),
                    corrected,
                )
            )
        return found

    async def _catalogue(
        self, conn: AsyncConnection, versions: Iterable[OfferingVersionId]
    ) -> dict[OfferingVersionId, TariffVersion]:
        """Versions as the catalogue has them; without those that it does not know, of which it has nothing to say."""
        for version_id in sorted(set(versions) - self._originals.keys()):
            try:
                self._originals[version_id] = await self.catalog.tariff_in(conn, version_id)
            except NotFound:
                self._originals[version_id] = None
        return {v: t for v in versions if (t := self._originals[v]) is not None}

    async def _holdings(
        self,
        conn: AsyncConnection,
        batch: RatedBatch,
        subscriptions: Sequence[Subscription],
        copies: Mapping[OfferingVersionId, TariffVersion],
        since: date,
    ) -> list[_Open]:
        metered = [
            s for s in subscriptions if any(c.version_id and copies[c.version_id].plan.metered for c in s.changes)
        ]
        hourly = [s for s in metered if any(c.version_id and copies[c.version_id].plan.hourly for c in s.changes)]
        services = [s.service_id for s in metered]
        charged = await _charged(conn, [s.subscription_id for s in subscriptions], batch.bill_run_id, since)
        months = await _months(conn, services, self._latest)
        measured = await _measured(conn, services, since)
        paying = await payers.of_accounts(conn, sorted({s.account_id for s in subscriptions}))
        quarters = await hours.quarters_of(conn, hourly)
        found = []
        for s in subscriptions:
            running = s.calendar.period(s.day(batch.as_of))
            closed = s.calendar.period(running.first_on - timedelta(days=1))
            found.append(
                _Open(
                    s,
                    charged.get(s.subscription_id, {}),
                    {m: n for m, n in months.get(s.service_id, {}).items() if date(*m, 28) < closed.first_on},
                    measured.get(s.service_id, {}),
                    {u.day: quarters[u.service_id, u.day] for u in s.usage if (u.service_id, u.day) in quarters},
                    paying.get(s.account_id, ()),
                )
            )
        return found

    async def _know_cohorts(
        self,
        conn: AsyncConnection,
        copies: Iterable[TariffVersion],
    ) -> None:
        for offering_id in {t.offering_id for t in copies if t.plan.metered} - self._cohorts.keys():
            query = (
                select(subscription.c.service_id)
                .join(entitlement, entitlement.c.subscription_id == subscription.c.subscription_id)
                .join(tariff, tariff.c.version_id == entitlement.c.version_id)
                .where(tariff.c.offering_id == offering_id)
                .distinct()
                .order_by(subscription.c.service_id)
                .limit(_COHORT)
            )
            services = [str(i) for i in await conn.scalars(query)]
            self._cohorts[offering_id] = cohort_of(list((await _months(conn, services, self._latest)).values()))


@dataclass(slots=True)
class _Open:
    """A holding that is still being put together."""

    subscription: Subscription
    charged: Mapping[Key, int]
    months: Mapping[Month, int]
    measured: Mapping[date, int]
    quarters: Mapping[date, Mapping[int, Octets]]
    payers: Sequence[Payer]
    sold: Sold | None = None

    @property
    def payers_of(self) -> set[AccountId]:
        """Everybody who ever pays for it."""
        return {self.account_id, *(entry.account_id for entry in self.payers)}

    @property
    def account_id(self) -> AccountId:
        return self.subscription.account_id

    @property
    def subscription_id(self) -> str:
        return self.subscription.subscription_id

    def frozen(self, as_of: datetime) -> Holding:
        s = self.subscription
        return Holding(
            s.subscription_id,
            s.service_id,
            s.account_id,
            s.calendar,
            s.changes,
            s.usage,
            self.charged,
            self.months,
            self.measured,
            self.quarters,
            self.sold,
            s.pauses,
            [(entry.since, entry.account_id) for entry in self.payers],
            s.day(as_of),
        )


async def _accounts(conn: AsyncConnection, batch: RatedBatch) -> list[AccountId]:
    """Who was rated, and whose subscriptions they are billed for."""
    ids = sorted({c.subscription_id for c in batch.charges if c.subscription_id})
    query = select(subscription.c.account_id).where(one_of(conn, subscription.c.subscription_id, ids)).distinct()
    own = [AccountId(i) for i in await conn.scalars(query)]
    return list(dict.fromkeys([*batch.account_ids, *(c.account_id for c in batch.charges), *own]))


def _currency(
    charges: Sequence[Charge], holdings: Iterable[_Open], copies: Mapping[OfferingVersionId, TariffVersion]
) -> str | None:
    """Of the first charge, else of the first plan; None where there is neither."""
    if charges:
        return charges[0].net.currency
    held = (c.version_id for h in holdings for c in h.subscription.changes if c.version_id)
    return next((copies[version_id].currency for version_id in held), None)


async def _charged(
    conn: AsyncConnection, subscription_ids: Sequence[str], but_run: str, since: date
) -> dict[str, dict[Key, int]]:
    """What runs before charged, by subscription and key, of periods that begin on `since` or later."""
    c = charge.c
    query = (
        select(c.subscription_id, c.period_first_on, c.version_id, c.kind, func.sum(c.net_minor).label("minor"))
        .where(one_of(conn, c.subscription_id, subscription_ids), c.period_first_on >= since, c.bill_run_id != but_run)
        .group_by(c.subscription_id, c.period_first_on, c.version_id, c.kind)
    )
    found: dict[str, dict[Key, int]] = defaultdict(dict)
    for row in await conn.execute(query):
        key = Key(row.period_first_on, OfferingVersionId(row.version_id), ChargeKind(row.kind))
        found[row.subscription_id][key] = int(row.minor)
    return found


async def _months(conn: AsyncConnection, services: Sequence[str], today: date) -> dict[str, dict[Month, int]]:
    """Octets per day by calendar month, the first month of each service left out: it was not all of one."""
    if not services:
        return {}
    day = usage_day.c.day
    year, month = extract("year", day), extract("month", day)
    octets = func.sum(usage_day.c.upstream_octets + usage_day.c.downstream_octets).label("octets")
    query = (
        select(usage_day.c.service_id, year.label("y"), month.label("m"), octets)
        .where(one_of(conn, usage_day.c.service_id, services), day >= today - _YEAR, day < today.replace(day=1))
        .group_by(usage_day.c.service_id, year, month)
    )
    sums: dict[str, dict[Month, int]] = defaultdict(dict)
    for row in await conn.execute(query):
        sums[row.service_id][int(row.y), int(row.m)] = int(row.octets)
    return {
        service_id: {m: n // calendar.monthrange(*m)[1] for m, n in of.items() if m != min(of)}
        for service_id, of in sums.items()
    }


async def _measured(conn: AsyncConnection, services: Sequence[str], since: date) -> dict[str, dict[date, int]]:
    """Octets by the counters of devices, less what they count more than RADIUS by nature."""
    if not services:
        return {}
    r = reconciliation.c
    query = select(r.service_id, r.day, r.counter_octets, r.overhead_ppm).where(
        one_of(conn, r.service_id, services),
        r.day >= since,
        r.counter_octets.is_not(None),
        r.overhead_ppm.is_not(None),
    )
    found: dict[str, dict[date, int]] = defaultdict(dict)
    for row in await conn.execute(query):
        found[row.service_id][row.day] = row.counter_octets * 1_000_000 // (1_000_000 + row.overhead_ppm)
    return found


async def largest_intervals(conn: AsyncConnection, service_id: str, day: date, most: int = 3) -> list[Record]:
    """The intervals with the most octets of a day, with the records behind them; none that was given to another."""
    found = sorted(live(await parts_of(conn, [(service_id, day)])), key=lambda part: (-part.octets, part.interval_id))
    return [
        Record(
            "interval",
            str(part.interval_id),
            f"{part.since:%Y-%m-%d %H:%M} to {part.until:%H:%M} UTC: {human_octets(part.octets)},"
            f" log records {','.join(map(str, part.record_ids))}",
        )
        for part in found[:most]
    ]
