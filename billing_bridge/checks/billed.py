"""Subscriptions as billing has them now, for who compares them with what is seen."""

from __future__ import annotations

from datetime import date

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing.tariff_rows import tariffs
from billing_bridge.checks.leakage import BilledLine
from billing_bridge.tables import entitlement, pause, subscription
from controller.domain.identity import OfferingVersionId
from controller.domain.money import Money
from controller.store.engine import Database


class BilledLines:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def lines(self, today: date) -> list[BilledLine]:
        """Every subscription that ever had a plan, with the last one of it."""
        async with self._database.read() as conn:
            query = select(subscription).where(subscription.c.entitled_from_on.is_not(None))
            rows = (await conn.execute(query.order_by(subscription.c.subscription_id))).all()
            held = select(entitlement.c.subscription_id, entitlement.c.version_id)
            held = held.where(entitlement.c.version_id.is_not(None))
            last: dict[str, OfferingVersionId] = {}
            for entry in await conn.execute(held.order_by(entitlement.c.at, entitlement.c.sequence)):
                last[entry.subscription_id] = OfferingVersionId(entry.version_id)
            known = await tariffs(conn, set(last.values()))
            paused = await _paused(conn, today)
        found = []
        for row in rows:
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
                    row.subscription_id in paused,
                )
            )
        return found


async def _paused(conn: AsyncConnection, today: date) -> set[str]:
    """Subscriptions with a pause today: of the entries of one pause the last one holds."""
    last = {row.pause_id: row for row in await conn.execute(select(pause).order_by(pause.c.sequence))}
    return {row.subscription_id for row in last.values() if row.first_on <= today < row.until_on}
