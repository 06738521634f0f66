"""What an account was and will be entitled to, day by day, as charges are made from it, and the day it is billed from.

Looks and says; nothing here changes a charge. `anchor_day` is for subscriptions that begin later. Those that there are
follow where that is asked for, from the end of their periods: what was charged stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing import repository, tariff_rows
from billing_bridge.billing.cycle import Calendar
from billing_bridge.errors import NoAnchor
from billing_bridge.rating.proration import DaySpan, Stretch, stretches
from billing_bridge.settings import BillingSettings
from billing_bridge.tables import account_terms
from billing_bridge.zones import zones_of
from controller.domain.clock import Clock, local_date
from controller.domain.identity import AccountId, OfferingVersionId, ServiceId, SubscriptionId
from controller.domain.ports import AccountDirectory
from controller.domain.tariff import TariffVersion
from controller.store import audit
from controller.store.engine import Database

FROM_ITS_FIRST_DAY = 0


@dataclass(frozen=True, slots=True)
class Entitled:
    """One subscription on the days asked for: stretches in order of time, with gaps where nothing held."""

    subscription_id: SubscriptionId
    service_id: ServiceId
    calendar: Calendar
    stretches: Sequence[Stretch]


@dataclass(frozen=True, slots=True)
class AccountTimeline:
    days: DaySpan
    today: date
    anchor_day: int
    subscriptions: Sequence[Entitled]
    tariffs: Mapping[OfferingVersionId, TariffVersion]


class AccountBilling:
    def __init__(
        self,
        database: Database,
        clock: Clock,
        accounts: AccountDirectory[AsyncConnection],
        settings: BillingSettings,
    ) -> None:
        self._database = database
        self._clock = clock
        self._accounts = accounts
        self._settings = settings

    async def timeline(self, account_id: AccountId, days: DaySpan) -> AccountTimeline:
        """Raises NotFound for an account that nobody has."""
        async with self._database.read() as conn:
            await self._accounts.require_in(conn, account_id)
            known = await repository.read_subscriptions(conn, [account_id], self._settings.zone, date.max)
            found = [
                Entitled(s.subscription_id, s.service_id, s.calendar, stretches(s.changes, days, s.pauses))
                for s in known
            ]
            tariffs = await tariff_rows.tariffs(conn, {each.version_id for f in found for each in f.stretches})
            anchor = await self._anchor(conn, account_id)
            today = await self._today(conn, account_id)
        shown = [f for f in found if f.stretches]
        return AccountTimeline(days, today, anchor, shown, tariffs)

    async def today(self, account_id: AccountId) -> date:
        """What day it is for an account."""
        async with self._database.read() as conn:
            return await self._today(conn, account_id)

    async def set_anchor(
        self, account_id: AccountId, anchor_day: int, *, actor: str, existing: bool = False
    ) -> dict[SubscriptionId, date]:
        """The day of the month from which later subscriptions are billed: 1 … 31, FROM_ITS_FIRST_DAY for their own.

        With `existing` those that there are too, from the end of their present periods: returns those that change, each
        with the first day of which that is true. Raises NotFound, ValueError, and NoAnchor for `existing` ones that
        would each go back to their own day.
        """
        if anchor_day:
            Calendar(anchor_day)
        elif existing:
            raise NoAnchor("subscriptions that there are need a day of the month: 1 to 31")
        changed: dict[SubscriptionId, date] = {}
        now = self._clock.now()
        async with self._database.begin() as conn:
            await self._accounts.require_in(conn, account_id)
            before = await self._anchor(conn, account_id)
            values = {"anchor_day": anchor_day, "changed_at": now}
            await conn.execute(
                repository.upsert(conn)(account_terms)
                .values(account_id=account_id, **values)
                .on_conflict_do_update(index_elements=[account_terms.c.account_id], set_=values)
            )
            if existing:
                held = await repository.lock_subscriptions(conn, [account_id], self._settings.zone)
                today = await self._today(conn, account_id)
                changed = await repository.change_anchor(conn, held, anchor_day, today, actor=actor, now=now)
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="account.set-anchor",
                subject=f"account:{account_id}",
                before={"anchor_day": before},
                after={
                    "anchor_day": anchor_day,
                    "subscriptions": {i: day.isoformat() for i, day in sorted(changed.items())},
                },
            )
        return changed

    async def _anchor(self, conn: AsyncConnection, account_id: AccountId) -> int:
        query = select(account_terms.c.anchor_day).where(account_terms.c.account_id == account_id)
        own = await conn.scalar(query)
        return self._settings.anchor_day if own is None else int(own)

    async def _today(self, conn: AsyncConnection, account_id: AccountId) -> date:
        zones = await zones_of(conn, [account_id], self._settings.zone)
        return local_date(self._clock.now(), zones.of(account_id))
