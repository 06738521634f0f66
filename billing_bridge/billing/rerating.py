"""Rating a month again: what a correction of its prices or data changes, line by line, before anything is written.

The very function that bills is asked what is due for the periods that began in the month; what comes out are the
differences to what was charged. To apply it is to write the correction down and let the next bill run find the same
differences, which it issues as documents of their own: what was issued is never touched, and once it is issued there is
nothing left to find.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from sqlalchemy import insert, select

from billing_bridge.billing import assessment, corrections, repository, tariff_rows
from billing_bridge.billing.corrections import Correction
from billing_bridge.rating.due import Corrected
from billing_bridge.rating.proration import DaySpan
from billing_bridge.settings import BillingSettings
from billing_bridge.tables import rerating
from controller.domain.clock import Clock, add_months
from controller.domain.identity import AccountId, BillRunId, OfferingId, OfferingVersionId, SubscriptionId
from controller.domain.money import Money
from controller.domain.tariff import TariffVersion
from controller.store import audit
from controller.store.engine import Database
from controller.store.many import by_keys

_LONGEST_PERIOD = timedelta(days=400)
MOST_SHOWN = 1000
_ACTION = "billing.rerate"


@dataclass(frozen=True, slots=True)
class Delta:
    """One line that would be charged, or credited when `net` is negative."""

    account_id: AccountId
    subscription_id: SubscriptionId
    description: str
    first_on: date
    until_on: date
    net: Money


@dataclass(slots=True)
class Rerating:
    """`deltas` are the first MOST_SHOWN of `count`; the sums are of all of them, by currency."""

    first_on: date
    until_on: date
    subscriptions: int = 0
    count: int = 0
    charged: dict[str, int] = field(default_factory=dict)
    credited: dict[str, int] = field(default_factory=dict)
    deltas: list[Delta] = field(default_factory=list)

    def add(self, found: Delta) -> None:
        self.count += 1
        side = self.charged if found.net.minor > 0 else self.credited
        side[found.net.currency] = side.get(found.net.currency, 0) + found.net.minor
        if len(self.deltas) < MOST_SHOWN:
            self.deltas.append(found)


@dataclass(frozen=True, slots=True)
class Applied:
    """What was rated again, by whom and why.

    `subscriptions` are those that no earlier correction had marked to be rated again already.
    """

    sequence: int
    offering_id: OfferingId
    first_on: date
    until_on: date
    version_id: OfferingVersionId | None
    priced_as: OfferingVersionId | None
    subscriptions: int
    reason: str
    actor: str
    at: datetime


class Reratings:
    def __init__(self, database: Database, clock: Clock, settings: BillingSettings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings

    async def preview(
        self,
        offering_id: OfferingId,
        month: date,
        prices: tuple[TariffVersion, TariffVersion] | None = None,
    ) -> Rerating:
        """What the next run would charge for periods that began in the month of `month`. Writes nothing.

        `prices` are a version, and the one that it should have been. Raises NotTheSamePlan.
        """
        found = _of_month(month)
        if prices is not None:
            corrections.require_same_plan(*prices)
        async with self._database.read() as conn:
            accounts = await repository.accounts_with(conn, offering_id)
        size = self._settings.batch_on(sqlite=self._database.is_sqlite)
        for n in range(0, len(accounts), size):
            await self._preview(found, accounts[n : n + size], offering_id, prices)
        return found

    async def apply(
        self,
        offering_id: OfferingId,
        month: date,
        prices: tuple[TariffVersion, TariffVersion] | None,
        *,
        reason: str,
        actor: str,
    ) -> None:
        """Write the correction down, and let the next bill run look at the month again. Raises NotTheSamePlan."""
        if prices is not None:
            corrections.require_same_plan(*prices)
        span, now = _of_month(month), self._clock.now()
        async with self._database.begin() as conn:
            if prices is not None:
                wrong, right = prices
                await tariff_rows.put_tariff(conn, right)
                known = (await corrections.of_versions(conn, [wrong.version_id])).get(wrong.version_id, [])
                days = DaySpan(span.first_on, span.until_on)
                if not known or known[-1] != Corrected(days, right):
                    made = Correction(wrong.version_id, right.version_id, days, reason)
                    await corrections.add(conn, made, actor=actor, now=now)
            again = await corrections.rate_again(conn, offering_id, span.first_on)
            values = {
                "first_on": span.first_on,
                "until_on": span.until_on,
                "version_id": prices[0].version_id if prices else None,
                "priced_as": prices[1].version_id if prices else None,
                "subscriptions": again,
            }
            done = {"offering_id": offering_id, "reason": reason, "actor": actor, "at": now}
            await conn.execute(insert(rerating).values(values | done))
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action=_ACTION,
                subject=f"offering:{offering_id}",
                after=values,
                reason=reason,
            )

    async def applied(self, *, before: int | None, limit: int) -> list[Applied]:
        """What was rated again, newest first; `before` is the sequence to go on from."""
        query = select(rerating).order_by(rerating.c.sequence.desc()).limit(limit)
        if before is not None:
            query = query.where(rerating.c.sequence < before)
        async with self._database.read() as conn:
            return [Applied(**row._mapping) for row in await conn.execute(query)]

    async def _preview(
        self,
        found: Rerating,
        accounts: Sequence[AccountId],
        offering_id: OfferingId,
        prices: tuple[TariffVersion, TariffVersion] | None,
    ) -> None:
        within = DaySpan(found.first_on, found.until_on)
        tried: Mapping[OfferingVersionId, list[Corrected]] = {}
        if prices is not None:
            tried = {prices[0].version_id: [Corrected(within, prices[1])]}
        async with self._database.read() as conn:
            await by_keys(conn)
            known = await repository.read_subscriptions(
                conn, accounts, self._settings.zone, found.first_on - _LONGEST_PERIOD
            )
            rated = await assessment.assess(
                conn, known, BillRunId(""), self._clock.now(), self._settings, within=within, tried=tried
            )
            tariffs = await tariff_rows.tariffs(conn, {r.charge.version_id for r in rated})
        shown = [r for r in rated if tariffs[r.charge.version_id].offering_id == offering_id]
        found.subscriptions += len({r.charge.subscription_id for r in shown})
        for r in shown:
            c = r.charge
            found.add(Delta(c.account_id, c.subscription_id, c.description, c.first_on, c.until_on, c.net))


def _of_month(month: date) -> Rerating:
    first_on = month.replace(day=1)
    return Rerating(first_on, add_months(first_on, 1))
