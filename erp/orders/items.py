"""Items: what an account has beside its lines. TV, a rented router, hosting, an add-on, a discount, a one-off.

An item needs no device, so there is no order to fulfil: it is held from the day it says, and billing is told in the
same transaction. The orderer's reference makes it safe to repeat: the same reference is the same item, and what is
charged once is charged once. An item that belongs to a line ends with it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock, start_of_day
from controller.domain.events import ItemHeld, ServiceTerminated
from controller.domain.identity import AccountId, ItemId, OfferingVersionId, SubscriptionId, new_id
from controller.domain.price import ProductKind
from controller.domain.tariff import TariffVersion
from controller.store import audit, outbox
from controller.store.engine import Database
from erp.catalog.service import CatalogService
from erp.crm.model import Customer
from erp.crm.service import CrmService
from erp.orders import repository, suspensions
from erp.orders.errors import BadTime, KeyReused, NoItem, NoSubscription, NotAllowed, NotAnItem, NothingToChange
from erp.orders.selling import Offer, sold
from erp.orders.tables import item

_FARTHEST = timedelta(days=366)
"""How far from today an item may begin or end: a slip in the year is no order."""


@dataclass(frozen=True, slots=True)
class Item:
    """`quantity` pieces of a version since `changed_at` (and others before it since `held_since`), until `ended_at`."""

    item_id: ItemId
    account_id: AccountId
    reference: str
    subscription_id: SubscriptionId | None
    version_id: OfferingVersionId
    quantity: int
    ordered_at: datetime
    held_since: datetime
    changed_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class ItemRequest:
    """`on` is the local day it is held from; None is today. With `subscription_id` it ends with that line."""

    account_id: AccountId
    reference: str
    offer: Offer
    quantity: int = 1
    on: date | None = None
    subscription_id: SubscriptionId | None = None


class ItemService:
    def __init__(self, database: Database, clock: Clock, *, crm: CrmService, catalog: CatalogService) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm
        self._catalog = catalog

    async def add(self, request: ItemRequest, *, actor: str) -> Item:
        """The item, or the one that has the reference already.

        Raises NotAnItem, NoSubscription, NotAllowed, BadTime, KeyReused, and what `sold` raises.
        """
        try:
            async with self._database.begin() as conn:
                return await self._add(conn, request, actor)
        except IntegrityError:  # somebody took the reference between our look and our write
            async with self._database.begin() as conn:
                return await self._add(conn, request, actor)

    async def change(
        self, item_id: ItemId, offer: Offer | None, quantity: int | None, on: date | None, *, actor: str
    ) -> Item:
        """Another price or quantity from the local day `on`. Raises NoItem, NotAllowed, BadTime, NothingToChange."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            before = await self._living(conn, item_id)
            customer = await self._crm.customer_of_in(conn, before.account_id)
            version_id = before.version_id
            if offer is not None:
                tariff = _item_of(await sold(conn, self._catalog, offer, customer, now))
                version_id = tariff.version_id
            changed = replace(before, version_id=version_id, quantity=quantity or before.quantity)
            if (changed.version_id, changed.quantity) == (before.version_id, before.quantity):
                raise NothingToChange("the item has that price and quantity already")
            at = _at(on, customer, now, before.changed_at)
            changed = replace(changed, changed_at=at)
            await self._catalog.mark_used_in(conn, version_id, now)
            await self._write(conn, changed)
            await self._tell(conn, changed, version_id, at, actor, "item.change")
        return changed

    async def end(self, item_id: ItemId, on: date | None, *, actor: str) -> Item:
        """Not held any more from the local day `on`. Raises NoItem, NotAllowed, BadTime."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            before = await self._living(conn, item_id)
            customer = await self._crm.customer_of_in(conn, before.account_id)
            return await self._end(conn, before, _at(on, customer, now, before.changed_at), actor)

    async def on_service_terminated(self, conn: AsyncConnection, event: ServiceTerminated) -> None:
        """The items of a line end with it."""
        query = select(item).where(item.c.subscription_id == event.subscription_id, item.c.ended_at.is_(None))
        # All before the first entry of the audit log: that is the order in which dunning takes them.
        for row in (await conn.execute(query.order_by(item.c.item_id).with_for_update())).all():
            found = _item(row)
            await self._end(conn, found, max(event.at, found.changed_at), event.actor)

    async def item(self, item_id: ItemId) -> Item:
        """Raises NoItem."""
        async with self._database.read() as conn:
            return await self._get(conn, item_id)

    async def suspended(self, item_ids: Collection[ItemId]) -> dict[str, datetime]:
        """Since when those of these items are suspended that are."""
        async with self._database.read() as conn:
            return await suspensions.since(conn, item_ids)

    async def items(
        self, account_id: str | None, after: str | None, limit: int, *, suspended: bool = False
    ) -> Sequence[Item]:
        query = select(item).order_by(item.c.item_id).limit(limit)
        if suspended:
            query = query.where(item.c.item_id.in_(suspensions.IN_FORCE))
        if account_id is not None:
            query = query.where(item.c.account_id == account_id)
        if after is not None:
            query = query.where(item.c.item_id > after)
        async with self._database.read() as conn:
            return [_item(row) for row in await conn.execute(query)]

    async def _add(self, conn: AsyncConnection, request: ItemRequest, actor: str) -> Item:
        now = self._clock.now()
        query = select(item).where(item.c.account_id == request.account_id, item.c.reference == request.reference)
        row = (await conn.execute(query)).one_or_none()
        customer = await self._crm.customer_of_in(conn, request.account_id)
        if row is not None:
            return await self._repeated(conn, _item(row), request)
        tariff = _item_of(await sold(conn, self._catalog, request.offer, customer, now))
        if request.subscription_id is not None:
            line = await repository.find_subscription(conn, request.subscription_id)
            if line is None or line.account_id != request.account_id:
                raise NoSubscription(f"the account has no subscription {request.subscription_id}")
            if line.ended_at is not None:
                raise NotAllowed(f"subscription {request.subscription_id} has ended")
        at = _at(request.on, customer, now, None)
        made = Item(
            item_id=ItemId(new_id(now)),
            account_id=request.account_id,
            reference=request.reference,
            subscription_id=request.subscription_id,
            version_id=tariff.version_id,
            quantity=request.quantity,
            ordered_at=now,
            held_since=at,
            changed_at=at,
            ended_at=None,
        )
        await conn.execute(insert(item).values({name: getattr(made, name) for name in Item.__slots__}))
        await self._catalog.mark_used_in(conn, tariff.version_id, now)
        await self._tell(conn, made, made.version_id, at, actor, "item.add")
        return made

    async def _repeated(self, conn: AsyncConnection, known: Item, request: ItemRequest) -> Item:
        """The item of an earlier request. Raises KeyReused when that was for something else."""
        wanted, has = request.offer, await self._catalog.tariff_in(conn, known.version_id)
        same = wanted.version_id == has.version_id if wanted.version_id else wanted.offering_id == has.offering_id
        if not same or known.subscription_id != request.subscription_id:
            raise KeyReused(f"reference {request.reference} belongs to item {known.item_id}, which is another product")
        if known.changed_at == known.held_since and known.quantity != request.quantity:
            raise KeyReused(
                f"reference {request.reference} belongs to item {known.item_id}, of which {known.quantity} are held: "
                "change the item"
            )
        return known

    async def _end(self, conn: AsyncConnection, before: Item, at: datetime, actor: str) -> Item:
        ended = replace(before, ended_at=at, changed_at=at)
        await self._write(conn, ended)
        await self._tell(conn, ended, None, at, actor, "item.end")
        return ended

    async def _get(self, conn: AsyncConnection, item_id: ItemId, *, lock: bool = False) -> Item:
        query = select(item).where(item.c.item_id == item_id)
        row = (await conn.execute(query.with_for_update() if lock else query)).one_or_none()
        if row is None:
            raise NoItem(f"no item {item_id}")
        return _item(row)

    async def _living(self, conn: AsyncConnection, item_id: ItemId) -> Item:
        found = await self._get(conn, item_id, lock=True)
        if found.ended_at is not None:
            raise NotAllowed(f"item {item_id} ended at {found.ended_at.isoformat()}")
        return found

    async def _write(self, conn: AsyncConnection, changed: Item) -> None:
        values = {name: getattr(changed, name) for name in ("version_id", "quantity", "changed_at", "ended_at")}
        await conn.execute(update(item).where(item.c.item_id == changed.item_id).values(**values))

    async def _tell(
        self,
        conn: AsyncConnection,
        found: Item,
        version_id: OfferingVersionId | None,
        at: datetime,
        actor: str,
        action: str,
    ) -> None:
        now = self._clock.now()
        after = {"account_id": found.account_id, "version_id": version_id, "quantity": found.quantity, "at": at}
        await audit.record(conn, now=now, actor=actor, action=action, subject=f"item:{found.item_id}", after=after)
        event = ItemHeld(
            event_id=new_id(now),
            at=at,
            actor=actor,
            item_id=found.item_id,
            account_id=found.account_id,
            version_id=version_id,
            quantity=found.quantity,
        )
        await outbox.append(conn, event)


def _item_of(tariff: TariffVersion) -> TariffVersion:
    if tariff.kind is ProductKind.INTERNET:
        raise NotAnItem(f"{tariff.offering_name} is a line: order it, so that devices are set up for it")
    return tariff


def _at(on: date | None, customer: Customer, now: datetime, since: datetime | None) -> datetime:
    """The begin of a local day, or now. Not before the last change of the item, and within a year of today."""
    at = now if on is None else start_of_day(on, customer.account.zone_info)
    if abs(at - now) > _FARTHEST:
        raise BadTime(f"{on} is more than a year from today")
    if since is not None and at < since:
        raise BadTime(f"the item is as it is since {since.isoformat()}: nothing can change before that")
    return at


def _item(row: Row[Any]) -> Item:
    return Item(**{name: getattr(row, name) for name in Item.__slots__})
