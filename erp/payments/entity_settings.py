"""What a legal entity decides about its payments. What it has not decided is as the program is set up."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.identity import EntityId
from controller.store import audit
from controller.store.engine import Database
from erp.crm.service import CrmService
from erp.finance.ledger import upsert
from erp.payments.settings import PaymentsSettings
from erp.payments.tables import entity_settings as rows


@dataclass(frozen=True, slots=True)
class Decided:
    """`claim_return_fee`: what a bank takes for a returned direct debit is claimed from who was to pay it."""

    entity_id: EntityId
    claim_return_fee: bool


class EntitySettings:
    def __init__(self, database: Database, clock: Clock, crm: CrmService, settings: PaymentsSettings) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm
        self._settings = settings

    async def of(self, entity_id: EntityId | None = None) -> Decided:
        """None is the first entity. Raises NoEntity."""
        entity = await self._crm.entity(entity_id)
        async with self._database.read() as conn:
            return await self.of_in(conn, entity.entity_id)

    async def of_in(self, conn: AsyncConnection, entity_id: EntityId) -> Decided:
        """The same in the caller's transaction."""
        told = await conn.scalar(select(rows.c.claim_return_fee).where(rows.c.entity_id == entity_id))
        return Decided(entity_id, self._settings.claim_return_fee if told is None else bool(told))

    async def put(self, entity_id: EntityId | None, *, claim_return_fee: bool, actor: str) -> Decided:
        """Decide from now on. Raises NoEntity."""
        entity, now = await self._crm.entity(entity_id), self._clock.now()
        async with self._database.begin() as conn:
            before = await self.of_in(conn, entity.entity_id)
            values = {"claim_return_fee": claim_return_fee, "updated_at": now, "actor": actor}
            fresh = upsert(conn)(rows).values(entity_id=entity.entity_id, **values)
            await conn.execute(fresh.on_conflict_do_update(index_elements=["entity_id"], set_=values))
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="payment-settings.put",
                subject=f"entity:{entity.entity_id}",
                before={"claim_return_fee": before.claim_return_fee},
                after={"claim_return_fee": claim_return_fee},
            )
            return await self.of_in(conn, entity.entity_id)
