"""Matches of credits with invoices, made and taken back by rows. Who calls holds the lock of the books."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import local_date
from controller.domain.identity import AccountId, InvoiceId
from erp.crm.model import Entity
from erp.finance import receipts, repository
from erp.finance.model import settle
from erp.finance.receipts import Allocation, Payment


async def take_back(
    conn: AsyncConnection, row: Allocation, now: datetime, entity: Entity, actor: str, reason: str
) -> None:
    """By a row of the opposite amount: the invoice is open by it, and the credit free."""
    turned = Allocation(
        0, row.invoice_id, row.payment_id, row.credit_note_id, -row.amount_minor, now, row.allocation_id, actor, reason
    )
    await receipts.add_allocation(conn, turned, local_date(now, entity.zone_info))


async def free(
    conn: AsyncConnection, found: Payment, minor: int, now: datetime, entity: Entity, actor: str, reason: str
) -> list[InvoiceId]:
    """Take back the latest matches of a payment until `minor` of it is unapplied; the invoices that this opens."""
    missing = minor - found.unapplied.minor
    opened: list[InvoiceId] = []
    standing = await receipts.allocations(conn, payment_id=found.payment_id, standing=True)
    for row in reversed(standing):
        if missing <= 0:
            break
        await take_back(conn, row, now, entity, actor, reason)
        opened.append(row.invoice_id)
        stays = max(0, row.amount_minor - missing)
        missing -= row.amount_minor
        if stays:
            kept = Allocation(0, row.invoice_id, found.payment_id, None, stays, now, None, actor, reason)
            await receipts.add_allocation(conn, kept, local_date(now, entity.zone_info))
    return list(dict.fromkeys(opened))


async def settle_oldest(
    conn: AsyncConnection,
    account_id: AccountId,
    currency: str,
    now: datetime,
    entity: Entity,
    only: Collection[InvoiceId] | None = None,
) -> None:
    """The oldest credits settle the oldest invoices, or `only` these."""
    invoices, credits = (await repository.open_items(conn, [account_id], currency))[account_id]
    if only is not None:
        wanted = {f"invoice:{invoice_id}" for invoice_id in only}
        invoices = [i for i in invoices if i.key in wanted]
    await repository.add_allocations(conn, settle(invoices, credits), now, local_date(now, entity.zone_info))
