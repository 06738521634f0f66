"""What each account was sold, as orders and items have it: SalesBook of controller.domain.ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import AccountId, OfferingVersionId
from controller.domain.ports import AccountSales, SoldProduct
from controller.store.many import one_of
from controller.store.metadata import from_micros
from erp.crm.tables import account
from erp.orders.model import OrderState, SubscriptionState
from erp.orders.tables import item, line, order, subscription


class OrderedSales:
    """Reads; holds nothing."""

    async def sold_in(
        self, conn: AsyncConnection, account_ids: Sequence[AccountId]
    ) -> Mapping[AccountId, AccountSales]:
        accounts = select(account.c.account_id, account.c.currency).where(
            one_of(conn, account.c.account_id, account_ids)
        )
        products: dict[str, dict[str, SoldProduct]] = {}
        for row in await conn.execute(_lines().where(one_of(conn, subscription.c.account_id, account_ids))):
            products.setdefault(row.account_id, {})[row.subscription_id] = SoldProduct(
                OfferingVersionId(row.version_id) if row.state == SubscriptionState.ACTIVE else None,
                1,
                _latest(row.ordered_at, row.activated_at, row.ended_at, row.changed_at),
            )
        for row in await conn.execute(select(item).where(one_of(conn, item.c.account_id, account_ids))):
            version_id = None if row.ended_at is not None else OfferingVersionId(row.version_id)
            since = _latest(row.changed_at, row.ended_at)
            products.setdefault(row.account_id, {})[row.item_id] = SoldProduct(version_id, row.quantity, since)
        return {
            AccountId(row.account_id): AccountSales(row.currency, products.get(row.account_id, {}))
            for row in await conn.execute(accounts)
        }


def _lines() -> Select[Any]:
    """Subscriptions, with when the last of their orders was completed."""
    changed = (
        select(func.max(order.c.changed_at))
        .join(line, line.c.order_id == order.c.order_id)
        .where(line.c.subscription_id == subscription.c.subscription_id, order.c.state == OrderState.COMPLETED)
        .scalar_subquery()
    )
    return select(subscription, changed.label("changed_at"))


def _latest(*instants: datetime | int | None) -> datetime:
    known = [from_micros(at) if isinstance(at, int) else at for at in instants if at is not None]
    return max(known)


async def being_built(conn: AsyncConnection) -> set[str]:
    """Services that are ordered and not active yet: seen on the network, and rightly not billed."""
    query = select(subscription.c.service_id).where(subscription.c.state == SubscriptionState.RESERVED)
    return {str(service_id) for service_id in await conn.scalars(query)}
