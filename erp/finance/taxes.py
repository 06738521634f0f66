"""Tax rates and exemptions as they are kept: entered once, never edited, each audited."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.identity import AccountId, EntityId, new_id
from controller.store import audit
from controller.store.engine import Database
from erp.crm.service import CrmService
from erp.finance.errors import RateKnown
from erp.finance.tables import tax_exemption, tax_rate
from erp.finance.tax import Exemption, Rate


class TaxService:
    def __init__(self, database: Database, clock: Clock, crm: CrmService) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm

    async def rates(self, entity_id: EntityId | None = None) -> list[Rate]:
        entity = await self._crm.entity(entity_id)
        async with self._database.read() as conn:
            return await rates(conn, entity.entity_id)

    async def add_rate(self, made: Rate, *, actor: str, entity_id: EntityId | None = None) -> Rate:
        """Raises RateKnown where the same class changes on the same day already."""
        entity, now = await self._crm.entity(entity_id), self._clock.now()
        async with self._database.begin() as conn:
            if any((r.agreed, r.since) == (made.agreed, made.since) for r in await rates(conn, entity.entity_id)):
                raise RateKnown(f"what is agreed at {made.agreed} % changes on {made.since} already")
            row = {"agreed": _class(made.agreed), "since": made.since, "percent": made.percent}
            await conn.execute(
                insert(tax_rate).values(row | {"entity_id": entity.entity_id, "created_at": now, "actor": actor})
            )
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="tax-rate.add",
                subject=f"entity:{entity.entity_id}",
                after=row,
            )
        return made

    async def exemptions(self, account_id: AccountId) -> list[Exemption]:
        async with self._database.read() as conn:
            return await exemptions(conn, [account_id])

    async def add_exemption(self, made: Exemption, *, actor: str) -> Exemption:
        """Raises NoAccount."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            await self._crm.customer_of_in(conn, AccountId(made.account_id))
            row = {
                "exemption_id": new_id(now),
                "account_id": made.account_id,
                "first_on": made.first_on,
                "until_on": made.until_on,
                "reason": made.reason,
            }
            await conn.execute(insert(tax_exemption).values(row | {"created_at": now, "actor": actor}))
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="tax-exemption.add",
                subject=f"account:{made.account_id}",
                after=row,
            )
        return made


async def rates(conn: AsyncConnection, entity_id: EntityId) -> list[Rate]:
    query = select(tax_rate).where(tax_rate.c.entity_id == entity_id).order_by(tax_rate.c.agreed, tax_rate.c.since)
    return [Rate(Decimal(row.agreed), row.since, row.percent) for row in await conn.execute(query)]


async def exemptions(conn: AsyncConnection, account_ids: Collection[str]) -> list[Exemption]:
    query = select(tax_exemption).where(tax_exemption.c.account_id.in_(sorted(account_ids)))
    rows = await conn.execute(query.order_by(tax_exemption.c.first_on, tax_exemption.c.exemption_id))
    return [Exemption(row.account_id, row.first_on, row.until_on, row.reason) for row in rows]


def _class(percent: Decimal) -> str:
    """19 and 19.00 are one class."""
    return f"{percent.normalize():f}"
