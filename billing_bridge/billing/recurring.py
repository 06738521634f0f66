"""Rows of recurring fees: what each subscription's came to when it was last billed, the opening of the next run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing.tally import Recurring
from billing_bridge.tables import recurring
from controller.domain.identity import BillRunId, OfferingVersionId, SubscriptionId
from controller.store.many import insert_rows, one_of, replacing

_COLUMNS = ("subscription_id", "currency", "version_id", "quantity", "minor", "bill_run_id")


async def of_subscriptions(conn: AsyncConnection, ids: Iterable[str]) -> dict[SubscriptionId, Recurring]:
    rows = await conn.execute(select(recurring).where(one_of(conn, recurring.c.subscription_id, ids)))
    return {
        SubscriptionId(row.subscription_id): Recurring(
            SubscriptionId(row.subscription_id),
            row.currency,
            OfferingVersionId(row.version_id),
            row.quantity,
            row.minor,
        )
        for row in rows
    }


async def billed_since(conn: AsyncConnection, bill_run_id: BillRunId, ids: Iterable[str]) -> set[str]:
    """Subscriptions that another run has billed after this one."""
    query = select(recurring.c.subscription_id).where(
        one_of(conn, recurring.c.subscription_id, ids), recurring.c.bill_run_id != bill_run_id
    )
    return set(await conn.scalars(query))


async def put(conn: AsyncConnection, bill_run_id: BillRunId, found: Sequence[Recurring]) -> None:
    """What they are now."""
    rows = [(r.subscription_id, r.currency, r.version_id, r.quantity, r.minor, bill_run_id) for r in found]
    await insert_rows(conn, recurring, _COLUMNS, rows, replacing(recurring, _COLUMNS))
