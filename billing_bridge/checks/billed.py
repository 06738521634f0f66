"""Subscriptions as billing has them now, for who compares them with what is seen."""

from __future__ import annotations

from datetime import date, datetime
from functools import cache, partial
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing.tariff_rows import tariffs
from billing_bridge.checks.leakage import BilledLine
from billing_bridge.tables import entitlement, pause, subscription
from billing_bridge.zones import zones_of
from controller.domain.clock import local_date
from controller.domain.identity import OfferingVersionId
from controller.domain.money import Money
from controller.store.engine import Database


class BilledLines:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def lines(self, now: datetime, zone: ZoneInfo) -> list[BilledLine]:
        """Every subscription that ever had a plan, with the last one of it, and whether it is paused at `now`.

        `zone` is that of accounts that have none of their own.
        """
        async with self._database.read() as conn:
            query = select(subscription).where(subscription.c.entitled_from_on.is_not(None))
            rows = (await conn.execute(query.order_by(subscription.c.subscription_id))).all()
            held = select(entitlement.c.subscription_id, entitlement.c.version_id)
            held = held.where(entitlement.c.version_id.is_not(None))
            last: dict[str, OfferingVersionId] = {}
            for entry in await conn.execute(held.order_by(entitlement.c.at, entitlement.c.sequence)):
                last[entry.subscription_id] = OfferingVersionId(entry.version_id)
            known = await tariffs(conn, set(last.values()))
            pauses = await _pauses(conn)
            zones = await zones_of(conn, {row.account_id for row in rows}, zone)
        today = cache(partial(local_date, now))
        found = []
        for row in rows:
            own = zones.of(row.account_id)
            tariff = known[last[row.subscription_id]]
            found.append(
                BilledLine(
                    row.subscription_id,
                    row.service_id,
                    row.account_id,
                    tariff.offering_name,
                    tariff.speed.downstream_bps if tariff.speed else None,
                    Money.exact(tariff.monthly_fee, tariff.currency),
                    row.entitled_from_on,
                    None if row.entitled_until_on == date.max else row.entitled_until_on,
                    any(p.first_on <= today(own) < p.until_on for p in pauses.get(row.subscription_id, ())),
                    own,
                )
            )
        return found


async def _pauses(conn: AsyncConnection) -> dict[str, list[Row[Any]]]:
    """By subscription: of the entries of one pause the last one holds."""
    last = {row.pause_id: row for row in await conn.execute(select(pause).order_by(pause.c.sequence))}
    found: dict[str, list[Row[Any]]] = {}
    for row in last.values():
        found.setdefault(row.subscription_id, []).append(row)
    return found
