"""Matches of credits with invoices, made and taken back by rows. Who calls holds the lock of the books."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import local_date
from controller.domain.identity import AccountId, InvoiceId
from erp.crm.model import Entity
from erp.finance import credited, receipts, repository
from erp.finance.errors import AlreadyTakenBack, UnknownAllocation
from erp.finance.model import Invoice, settle
from erp.finance.receipts import Allocation, Payment


async def to_take_back(conn: AsyncConnection, allocation_id: int, *, of_credit_note: bool) -> Allocation:
    """A match that stands. Raises UnknownAllocation, also for one of the other kind of credit, AlreadyTakenBack."""
    found = await receipts.get_allocation(conn, allocation_id)
    if found is None or (found[0].credit_note_id is not None) is not of_credit_note:
        kind = "credit note" if of_credit_note else "payment"
        raise UnknownAllocation(f"no allocation {allocation_id} of a {kind}")
    row, stands = found
    if not stands:
        raise AlreadyTakenBack(f"allocation {allocation_id} was taken back")
    return row


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
    standing = await receipts.allocations(conn, payment_id=found.payment_id, standing=True)
    return await _free(conn, standing, minor - found.unapplied.minor, now, entity, actor, reason)


async def free_note(
    conn: AsyncConnection, found: Invoice, minor: int, now: datetime, entity: Entity, actor: str, reason: str
) -> list[InvoiceId]:
    """The same with what a credit note settled: as far as it goes, but for what takes it back, which stays settled."""
    standing = await receipts.allocations(conn, credit_note_id=found.invoice_id, standing=True)
    undoing = await credited.taking_back(conn, found.invoice_id)
    standing = [row for row in standing if row.invoice_id not in undoing]
    return await _free(conn, standing, minor + found.left.minor, now, entity, actor, reason)


async def _free(
    conn: AsyncConnection,
    standing: Sequence[Allocation],
    missing: int,
    now: datetime,
    entity: Entity,
    actor: str,
    reason: str,
) -> list[InvoiceId]:
    opened: list[InvoiceId] = []
    for row in reversed(standing):
        if missing <= 0:
            break
        await take_back(conn, row, now, entity, actor, reason)
        opened.append(row.invoice_id)
        stays = max(0, row.amount_minor - missing)
        missing -= row.amount_minor
        if stays:
            kept = replace(row, amount_minor=stays, at=now, reverses=None, actor=actor, reason=reason)
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
