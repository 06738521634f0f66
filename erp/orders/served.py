"""What accounts have: lines and items, each with its kind, what it is called, and whether it is suspended."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import AccountId, ItemId, PauseId, ServiceId, SubscriptionId
from controller.domain.price import ProductKind
from controller.store.many import one_of
from erp.catalog.repository import names_of
from erp.catalog.tables import offering, version
from erp.orders.model import SubscriptionState
from erp.orders.tables import item, subscription, suspension


@dataclass(frozen=True, slots=True)
class Suspension:
    """An item that is kept from its customer since an instant. Where it is not `billed`, days from `first_on` on."""

    suspension_id: PauseId
    since: datetime
    first_on: date
    billed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Served:
    """A line (`item_id` None) or an item; an item is its own service. `reference` is the username or the orderer's own.

    `ended`: an item that is over, and was not given back yet. `names` are translations of its name: (language, name).
    """

    account_id: AccountId
    service_id: ServiceId
    subscription_id: SubscriptionId | None
    item_id: ItemId | None
    kind: ProductKind
    name: str
    reference: str
    ended: bool = False
    suspension: Suspension | None = None
    names: tuple[tuple[str, str], ...] = ()

    def name_in(self, language: str) -> str:
        """What it is called in a language ("de", "de-AT"), else as it was made."""
        names = dict(self.names)
        return names.get(language) or names.get(language.partition("-")[0]) or self.name


async def served(conn: AsyncConnection, account_ids: Collection[AccountId], now: datetime) -> list[Served]:
    """Active lines of these accounts, then items: those that have not ended, and whatever is suspended of them."""
    lines = await conn.execute(_lines(one_of(conn, subscription.c.account_id, account_ids)))
    of_accounts = one_of(conn, item.c.account_id, account_ids)
    living = or_(item.c.ended_at.is_(None), item.c.ended_at > now, suspension.c.suspension_id.is_not(None))
    items = await conn.execute(_items(and_(of_accounts, living)))
    return [*map(_line, lines), *(_item(row, now) for row in items)]


def _lines(which: ColumnElement[bool]) -> Select[Any]:
    return (
        select(subscription, offering.c.kind, offering.c.name, offering.c.names)
        .join(version, version.c.version_id == subscription.c.version_id)
        .join(offering, offering.c.offering_id == version.c.offering_id)
        .where(which, subscription.c.state == SubscriptionState.ACTIVE.value)
        .order_by(subscription.c.subscription_id)
    )


def _items(which: ColumnElement[bool]) -> Select[Any]:
    in_force = and_(suspension.c.item_id == item.c.item_id, suspension.c.ended_at.is_(None))
    told = (suspension.c.suspension_id, suspension.c.since, suspension.c.first_on, suspension.c.billed)
    return (
        select(item, offering.c.kind, offering.c.name, offering.c.names, *told, suspension.c.reason)
        .join(version, version.c.version_id == item.c.version_id)
        .join(offering, offering.c.offering_id == version.c.offering_id)
        .outerjoin(suspension, in_force)
        .where(which)
        .order_by(item.c.item_id)
    )


def _line(row: Row[Any]) -> Served:
    return Served(
        row.account_id, row.service_id, row.subscription_id, None, ProductKind(row.kind), row.name, row.username,
        names=names_of(row.names),
    )  # fmt: skip


def _item(row: Row[Any], now: datetime) -> Served:
    held = None
    if row.suspension_id is not None:
        held = Suspension(row.suspension_id, row.since, row.first_on, row.billed, row.reason)
    ended = row.ended_at is not None and row.ended_at <= now
    return Served(
        row.account_id, ServiceId(row.item_id), None, ItemId(row.item_id), ProductKind(row.kind), row.name,
        row.reference, ended, held, names_of(row.names),
    )  # fmt: skip
