"""Monthly recurring revenue, read from what billing knows: sums by the day, the movements behind them, who holds what.

Nothing is kept: timelines are gone through, some accounts at a time, so that any number of them fits.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from heapq import nsmallest
from itertools import chain

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing import pauses, tariff_rows
from billing_bridge.mrr.model import Kind, Movement, Timeline, Valuer, in_days, movements
from billing_bridge.rating.proration import Change
from billing_bridge.settings import BillingSettings
from billing_bridge.tables import entitlement, subscription
from billing_bridge.zones import zones_of
from controller.domain.clock import Clock, local_date
from controller.domain.errors import RuleError
from controller.domain.identity import AccountId, OfferingVersionId, SubscriptionId
from controller.domain.money import Money
from controller.domain.tariff import TariffVersion
from controller.store.engine import Database
from controller.store.many import one_of
from controller.store.turns import in_turns

_AT_A_TIME = 500
_MOST_DAYS = 400


class BadDays(RuleError):
    """Days that have not come yet, that end before they begin, or too many of them."""

    code = "days"


@dataclass(frozen=True, slots=True)
class DayOfRevenue:
    """`moved` is by kind; opening + moved = closing, in minor units."""

    on: date
    opening: int
    moved: dict[Kind, int]
    closing: int


@dataclass(frozen=True, slots=True)
class Named:
    """A movement, and how what was held before and after is called."""

    movement: Movement
    before: str
    after: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What they are sorted by; no two have the same."""
        m = self.movement
        return m.on.isoformat(), m.amount.currency, m.subscription_id, m.kind


@dataclass(frozen=True, slots=True)
class Holder:
    """What a line or an item is worth a month on a day."""

    subscription_id: SubscriptionId
    account_id: AccountId
    offering: str
    quantity: int
    value: Money

    @property
    def key(self) -> tuple[str, str, str]:
        """What they are sorted by; no two have the same."""
        return self.value.currency, self.account_id, self.subscription_id


class RecurringRevenue:
    def __init__(self, database: Database, clock: Clock, settings: BillingSettings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings

    def today(self) -> date:
        """In the usual zone: the last day that can be asked for. Movements are of the days of their accounts."""
        return local_date(self._clock.now(), self._settings.zone)

    async def report(self, since_on: date, last_on: date) -> dict[str, list[DayOfRevenue]]:
        """By currency, each day from `since_on` to `last_on`. Raises BadDays."""
        self._require(since_on, last_on)
        opening: dict[str, int] = {}
        moved: dict[str, dict[date, dict[Kind, int]]] = {}
        async for found, _ in self._walk(last_on):
            openings, days = in_days(found, since_on)
            for currency, minor in openings.items():
                opening[currency] = opening.get(currency, 0) + minor
            for currency, by_day in days.items():
                for day, kinds in by_day.items():
                    own = moved.setdefault(currency, {}).setdefault(day, {})
                    for kind, minor in kinds.items():
                        own[kind] = own.get(kind, 0) + minor
        return {c: _days(since_on, last_on, opening[c], moved.get(c, {})) for c in sorted(opening)}

    async def movements(
        self,
        since_on: date,
        last_on: date,
        *,
        kind: Kind | None,
        currency: str | None,
        account_id: str | None,
        after: tuple[str, ...] | None,
        rows: int,
    ) -> list[Named]:
        """Line by line, in order of days: the first `rows` behind the key `after`. Raises BadDays."""
        self._require(since_on, last_on)
        found: list[Named] = []
        async for moved, tariffs in self._walk(last_on, account_id):
            some = [
                Named(m, _name(tariffs, m.before), _name(tariffs, m.after))
                for m in moved
                if m.on >= since_on and kind in (None, m.kind) and currency in (None, m.amount.currency)
            ]
            behind = (named for named in some if after is None or named.key > after)
            found = nsmallest(rows, chain(found, behind), key=lambda named: named.key)
        return found

    async def holders(
        self, on: date, *, currency: str | None, after: tuple[str, ...] | None, rows: int
    ) -> list[Holder]:
        """Whose fees are the closing of a day, line by line: the first `rows` behind `after`, a key. Raises BadDays."""
        self._require(on, on)
        found: list[Holder] = []
        async for moved, tariffs in self._walk(on):
            last: dict[tuple[SubscriptionId, str], Holder] = {}
            for m in moved:
                key = m.subscription_id, m.amount.currency
                before = last[key].value if key in last else Money.zero(m.amount.currency)
                held = before + m.amount
                last[key] = Holder(m.subscription_id, m.account_id, _name(tariffs, m.after), m.quantity, held)
            some = [h for h in last.values() if h.value and currency in (None, h.value.currency)]
            behind = (holder for holder in some if after is None or holder.key > after)
            found = nsmallest(rows, chain(found, behind), key=lambda holder: holder.key)
        return found

    def _require(self, since_on: date, last_on: date) -> None:
        today = self.today()
        if last_on > today:
            raise BadDays(f"{last_on} has not come yet: today is {today}")
        if not 0 <= (last_on - since_on).days < _MOST_DAYS:
            raise BadDays(f"ask for 1 to {_MOST_DAYS} days, the first of them first")

    async def _walk(
        self, last_on: date, account_id: str | None = None
    ) -> AsyncIterator[tuple[list[Movement], dict[OfferingVersionId, TariffVersion]]]:
        """Everything that moved until the end of a day, some accounts at a time."""
        tariffs: dict[OfferingVersionId, TariffVersion] = {}
        valuer = Valuer(tariffs, self._settings.zone)
        after = ""
        while True:
            async with self._database.read() as conn:
                accounts = await self._accounts(conn, after, account_id)
                timelines = await self._timelines(conn, accounts)
                versions = {c.version_id for own in timelines for t in own for c in t.changes if c.version_id}
                if missing := versions - tariffs.keys():
                    tariffs |= await tariff_rows.tariffs(conn, missing)
            if not accounts:
                return
            found: list[Movement] = []
            async for own in in_turns(timelines):
                found += movements(own, valuer, last_on + timedelta(days=1))
            yield found, tariffs
            after = accounts[-1]

    async def _accounts(self, conn: AsyncConnection, after: str, only: str | None) -> list[str]:
        query = select(subscription.c.account_id).distinct().where(subscription.c.account_id > after)
        if only is not None:
            query = query.where(subscription.c.account_id == only)
        return list(await conn.scalars(query.order_by(subscription.c.account_id).limit(_AT_A_TIME)))

    async def _timelines(self, conn: AsyncConnection, accounts: Sequence[str]) -> list[list[Timeline]]:
        """Of each account, its lines and items."""
        query = select(subscription.c.subscription_id, subscription.c.account_id)
        rows = (await conn.execute(query.where(one_of(conn, subscription.c.account_id, accounts)))).all()
        ids = [row.subscription_id for row in rows]
        zones = await zones_of(conn, accounts, self._settings.zone)
        zone_of = {row.subscription_id: zones.of(row.account_id) for row in rows}
        changes: dict[str, list[Change]] = {}
        timeline = select(entitlement).where(one_of(conn, entitlement.c.subscription_id, ids))
        for row in await conn.execute(timeline.order_by(entitlement.c.at, entitlement.c.sequence)):
            change = Change(local_date(row.at, zone_of[row.subscription_id]), row.version_id, row.quantity)
            changes.setdefault(row.subscription_id, []).append(change)
        said = await pauses.entries(conn, ids)
        found: dict[str, list[Timeline]] = {}
        for row in rows:
            own = changes.get(row.subscription_id, [])
            paused = pauses.in_force(said.get(row.subscription_id, []))
            made = Timeline(SubscriptionId(row.subscription_id), AccountId(row.account_id), own, paused)
            found.setdefault(row.account_id, []).append(made)
        return list(found.values())


def _days(since_on: date, last_on: date, opening: int, moved: dict[date, dict[Kind, int]]) -> list[DayOfRevenue]:
    found = []
    for n in range((last_on - since_on).days + 1):
        day = since_on + timedelta(days=n)
        kinds = moved.get(day, {})
        closing = opening + sum(kinds.values())
        found.append(DayOfRevenue(day, opening, kinds, closing))
        opening = closing
    return found


def _name(tariffs: dict[OfferingVersionId, TariffVersion], version_id: OfferingVersionId | None) -> str:
    return "" if version_id is None else f"{tariffs[version_id].offering_name} (version {tariffs[version_id].number})"
