"""Refunds by bank that did not reach their customer: rejected by our bank, or returned by theirs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.store import audit
from erp.finance.chart import IN_TRANSIT
from erp.finance.settlement import MoneyBack, Settlement
from erp.payments import refund_rows
from erp.payments.refund_rows import Refund
from erp.payments.sepa.report import Report


async def came_back(
    conn: AsyncConnection, settlement: Settlement, refund: Refund, out_of: str, reason: str, now: datetime, actor: str
) -> None:
    """The money is the customer's again, as if it had never been sent; `out_of` is the role of where it is now."""
    why = f"could not be delivered: {reason}"[:300]
    back = MoneyBack(refund.payment_id, -refund.amount, "refund", f"bank:{refund.refund_id}:back", out_of, why)
    await settlement.reverse_in(conn, back, actor=actor)
    await refund_rows.change(conn, refund.refund_id, refund_rows.REFUSED, now, detail=why)
    subject, after = f"refund:{refund.refund_id}", {"amount": str(refund.amount), "way": refund.way}
    await audit.record(conn, now=now, actor=actor, action="refund.back", subject=subject, after=after, reason=why)


async def rejected(
    conn: AsyncConnection, settlement: Settlement, file_id: str, told: Report, now: datetime, actor: str
) -> int:
    """What a report rejects of a file of ours, whose one block is the file: its money never left. How many."""
    whole = told.reason if told.all_rejected else next((reason for _, reason in told.blocks), "")
    reasons = {one.end_to_end: one.reason for one in told.rejected}
    count = 0
    for refund in await refund_rows.refunds(conn, file_id=file_id, states=(refund_rows.SENT,), limit=1_000_000):
        reason = reasons.get(refund.refund_id, whole)
        if reason:
            await came_back(conn, settlement, refund, IN_TRANSIT, reason, now, actor)
            count += 1
    return count
