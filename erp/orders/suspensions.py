"""Items that are kept from their customers for a while, because of what is owed: TV, voice, hosting, an add-on.

No device of ours carries an item, so this is its state, told in the transaction of the fact it follows from:

    orders_suspension   since when, why, and whether it is billed meanwhile; one at a time for an item
    item.restricted     to whoever serves it, as an event; an item that ended is not told of again
    service.paused      to billing, where these days cost nothing
    audit log           who, and why

`put` says how things shall be and may be repeated.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime

from sqlalchemy import exists, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.events import ItemRestricted, ServicePaused
from controller.domain.identity import AccountId, ItemId, PauseId, SubscriptionId, new_id
from controller.domain.restriction import Measure
from controller.store import audit, outbox
from controller.store.many import one_of
from erp.orders.pause_model import PauseKind
from erp.orders.served import Served, Suspension
from erp.orders.tables import item, suspension

_IN_FORCE = suspension.c.ended_at.is_(None)
IN_FORCE = select(suspension.c.item_id).where(_IN_FORCE)
"""The items that are suspended."""


class Suspensions:
    """Every method joins the caller's transaction."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def take_turn(self, conn: AsyncConnection, account_ids: Collection[AccountId]) -> None:
        """Before anything is written to the audit log: whoever changes an item of these accounts takes turns."""
        query = select(item.c.item_id).where(one_of(conn, item.c.account_id, account_ids)).order_by(item.c.item_id)
        await conn.execute(query.with_for_update(key_share=True))

    async def put(
        self, conn: AsyncConnection, found: Served, wanted: Measure, *, billed: bool, day: date, actor: str, reason: str
    ) -> bool:
        """Whether anything changed for the customer. Of an item that has ended nothing is taken any more.

        `day` is the local day from which it is not billed, or is billed again, where it is not `billed`.
        """
        assert found.item_id is not None, "lines are restricted by RADIUS and on their devices"
        off, before = wanted is Measure.SUSPEND and not found.ended, found.suspension
        if (before is None) is not off and (before is None or before.billed == billed):
            return False
        if before is not None:
            await self._end(conn, found, before, day, actor)
        if off:
            await self._begin(conn, found, billed, day, actor, reason)
        measure = Measure.SUSPEND if off else Measure.NONE
        await self._record(conn, found, before, measure, billed, actor, reason)
        if off is (before is not None) or found.ended:
            return False
        await self._tell(conn, found, measure, actor, reason)
        return True

    async def any_in(self, conn: AsyncConnection, account_ids: Collection[AccountId]) -> bool:
        """Whether an item of these accounts is suspended."""
        query = select(exists().where(one_of(conn, suspension.c.account_id, account_ids), _IN_FORCE))
        return bool(await conn.scalar(query))

    async def accounts_in(self, conn: AsyncConnection) -> set[AccountId]:
        """All accounts of which an item is suspended."""
        return set(await conn.scalars(select(suspension.c.account_id).where(_IN_FORCE).distinct()))

    async def barred_in(self, conn: AsyncConnection, service_id: str) -> str | None:
        """Why the service is not to be used now; None where nothing is in its way, or it is no item."""
        query = select(suspension.c.reason).where(suspension.c.item_id == service_id, _IN_FORCE)
        reason: str | None = await conn.scalar(query)
        return reason

    async def _begin(
        self, conn: AsyncConnection, found: Served, billed: bool, day: date, actor: str, reason: str
    ) -> None:
        now = self._clock.now()
        made = Suspension(PauseId(new_id(now)), now, day, billed, reason)
        await conn.execute(
            insert(suspension).values(
                suspension_id=made.suspension_id,
                item_id=found.item_id,
                account_id=found.account_id,
                since=made.since,
                first_on=made.first_on,
                billed=made.billed,
                reason=made.reason,
            )
        )
        if not billed:
            await self._pause(conn, found, made, None, actor)

    async def _end(self, conn: AsyncConnection, found: Served, before: Suspension, day: date, actor: str) -> None:
        until_on = max(day, before.first_on)
        values = {"ended_at": self._clock.now(), "until_on": until_on}
        mine = suspension.c.suspension_id == before.suspension_id
        await conn.execute(update(suspension).where(mine).values(values))
        if not before.billed:
            await self._pause(conn, found, before, until_on, actor)

    async def _pause(
        self, conn: AsyncConnection, found: Served, made: Suspension, until_on: date | None, actor: str
    ) -> None:
        now = self._clock.now()
        event = ServicePaused(
            event_id=new_id(now),
            at=now,
            actor=actor,
            pause_id=made.suspension_id,
            subscription_id=SubscriptionId(found.service_id),
            service_id=found.service_id,
            account_id=found.account_id,
            kind=PauseKind.SUSPENSION.value,
            first_on=made.first_on,
            until_on=until_on,
            percent=0,
        )
        await outbox.append(conn, event)

    async def _record(
        self,
        conn: AsyncConnection,
        found: Served,
        before: Suspension | None,
        measure: Measure,
        billed: bool,
        actor: str,
        reason: str,
    ) -> None:
        was: dict[str, object] = {"measure": Measure.NONE.value}
        if before is not None:
            was = {"measure": Measure.SUSPEND.value, "billed": before.billed}
        await audit.record(
            conn,
            now=self._clock.now(),
            actor=actor,
            action="item.suspend" if measure is Measure.SUSPEND else "item.restore",
            subject=f"item:{found.item_id}",
            before=was,
            after={"measure": measure.value} | ({"billed": billed} if measure is Measure.SUSPEND else {}),
            reason="the item has ended" if found.ended else reason,
        )

    async def _tell(self, conn: AsyncConnection, found: Served, measure: Measure, actor: str, reason: str) -> None:
        now = self._clock.now()
        event = ItemRestricted(
            event_id=new_id(now),
            at=now,
            actor=actor,
            item_id=ItemId(found.service_id),
            account_id=found.account_id,
            kind=found.kind.value,
            reference=found.reference,
            measure=measure.value,
            reason=reason,
        )
        await outbox.append(conn, event)


async def since(conn: AsyncConnection, item_ids: Collection[str]) -> dict[str, datetime]:
    """Of those of these items that are suspended."""
    query = select(suspension.c.item_id, suspension.c.since).where(one_of(conn, suspension.c.item_id, item_ids))
    return {row.item_id: row.since for row in await conn.execute(query.where(_IN_FORCE))}
