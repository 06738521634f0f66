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
from controller.store.many import one_of
from erp.crm import repository as parties
from erp.crm.service import CrmService
from erp.finance.errors import RateKnown
from erp.finance.levies import LevyRule, in_order
from erp.finance.tax import Exemption, Place, Rate, TaxTable
from erp.finance.tax_tables import levy_rule, tax_exemption, tax_place, tax_rate


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
            known = {(r.agreed, r.since, r.area) for r in await rates(conn, entity.entity_id)}
            if (made.agreed, made.since, made.area) in known:
                raise RateKnown(f"what is agreed at {made.agreed} % changes on {made.since} already")
            row = {
                "agreed": _class(made.agreed),
                "since": made.since,
                "area": made.area,
                "percent": made.percent,
            }
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
                "category": made.category,
                "code": made.code,
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

    async def places(self, account_id: AccountId) -> list[Place]:
        async with self._database.read() as conn:
            return await places(conn, [account_id])

    async def add_place(self, made: Place, *, actor: str) -> Place:
        """Raises NoAccount, RateKnown where the account is said to move on the same day already."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            await self._crm.customer_of_in(conn, AccountId(made.account_id))
            if any(p.since == made.since for p in await places(conn, [made.account_id])):
                raise RateKnown(f"where the account is from {made.since} on was said already")
            row = {"account_id": made.account_id, "since": made.since, "area": made.area}
            await conn.execute(insert(tax_place).values(row | {"created_at": now, "actor": actor}))
            await audit.record(
                conn, now=now, actor=actor, action="tax-place.add", subject=f"account:{made.account_id}", after=row
            )
        return made

    async def levy_rules(self, entity_id: EntityId | None = None) -> list[LevyRule]:
        entity = await self._crm.entity(entity_id)
        async with self._database.read() as conn:
            return await levy_rules(conn, entity.entity_id)

    async def add_levy_rule(self, made: LevyRule, *, actor: str, entity_id: EntityId | None = None) -> LevyRule:
        """Raises RateKnown where the same levy changes on the same day already, LevyLoop for one levied on itself."""
        entity, now = await self._crm.entity(entity_id), self._clock.now()
        async with self._database.begin() as conn:
            known = await levy_rules(conn, entity.entity_id)
            if any((r.code, r.since) == (made.code, made.since) for r in known):
                raise RateKnown(f"levy {made.code} changes on {made.since} already")
            in_order([*known, made])
            row = {
                "code": made.code,
                "since": made.since,
                "until_on": made.until_on,
                "name": made.name,
                "authority": made.authority,
                "area": made.area,
                "kinds": " ".join(made.kinds),
                "percent": made.percent,
                "per_line": made.per_line,
                "upon": " ".join(made.upon),
            }
            stamped = {"entity_id": entity.entity_id, "created_at": now, "actor": actor}
            await conn.execute(insert(levy_rule).values(row | stamped))
            await audit.record(
                conn, now=now, actor=actor, action="levy-rule.add", subject=f"entity:{entity.entity_id}", after=row
            )
        return made


async def rates(conn: AsyncConnection, entity_id: EntityId) -> list[Rate]:
    query = select(tax_rate).where(tax_rate.c.entity_id == entity_id)
    query = query.order_by(tax_rate.c.agreed, tax_rate.c.since, tax_rate.c.area)
    return [Rate(Decimal(row.agreed), row.since, row.percent, row.area) for row in await conn.execute(query)]


async def exemptions(conn: AsyncConnection, account_ids: Collection[str]) -> list[Exemption]:
    query = select(tax_exemption).where(one_of(conn, tax_exemption.c.account_id, sorted(account_ids)))
    rows = await conn.execute(query.order_by(tax_exemption.c.first_on, tax_exemption.c.exemption_id))
    return [Exemption(row.account_id, row.first_on, row.until_on, row.reason, row.category, row.code) for row in rows]


async def places(conn: AsyncConnection, account_ids: Collection[str]) -> list[Place]:
    query = select(tax_place).where(one_of(conn, tax_place.c.account_id, sorted(account_ids)))
    rows = await conn.execute(query.order_by(tax_place.c.account_id, tax_place.c.since))
    return [Place(row.account_id, row.since, row.area) for row in rows]


async def table(conn: AsyncConnection, entity_id: EntityId, account_ids: Collection[str]) -> TaxTable:
    """All that decides how these accounts are taxed by an entity."""
    entity = await parties.find_entity(conn, entity_id)
    return TaxTable(
        await rates(conn, entity_id), await exemptions(conn, account_ids), await places(conn, account_ids),
        entity.country if entity else "",
    )  # fmt: skip


async def levy_rules(conn: AsyncConnection, entity_id: EntityId) -> list[LevyRule]:
    query = select(levy_rule).where(levy_rule.c.entity_id == entity_id)
    rows = await conn.execute(query.order_by(levy_rule.c.code, levy_rule.c.since))
    return [
        LevyRule(
            code=row.code,
            name=row.name,
            authority=row.authority,
            area=row.area,
            since=row.since,
            until_on=row.until_on,
            kinds=tuple(row.kinds.split()),
            percent=row.percent,
            per_line=row.per_line,
            upon=tuple(row.upon.split()),
        )
        for row in rows
    ]


def _class(percent: Decimal) -> str:
    """19 and 19.00 are one class."""
    return f"{percent.normalize():f}"
