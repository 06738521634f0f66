"""What dunning writes down of a decision or a step: audit, the event that has an account looked at anew, and fees."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.events import DunningChanged, DunningStepTold
from controller.domain.identity import AccountId, InvoiceId, new_id
from controller.store import audit, outbox
from erp.dunning.model import Due
from erp.dunning.standing import Standing

ACTOR = "system:dunning"


async def changed(
    conn: AsyncConnection,
    now: datetime,
    account_id: str,
    cause: str,
    actor: str,
    reason: str | None,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any],
) -> None:
    """Audit a decision about an account, and have its state looked at anew."""
    await audit.record(
        conn,
        now=now,
        actor=actor,
        action=f"dunning.{cause}",
        subject=f"account:{account_id}",
        before=None if before is None else dict(before),
        after=dict(after),
        reason=reason,
    )
    event = DunningChanged(event_id=new_id(now), at=now, actor=actor, account_id=AccountId(account_id), cause=cause)
    await outbox.append(conn, event)


async def record_step(conn: AsyncConnection, due: Due, standing: Standing, now: datetime) -> None:
    """In the audit log, with what it takes of services that the ladder names."""
    await audit.record(
        conn,
        now=now,
        actor=ACTOR,
        action="dunning.step",
        subject=f"account:{standing.account_id}",
        after={
            "invoice": due.debt.number,
            "step": due.step.name,
            "measure": due.step.measure.value,
            "services": {kind.value: measure.value for kind, measure in due.step.services},
            "overdue": str(standing.money(standing.state.claimed_minor)),
            "policy": f"{due.policy.segment} {due.policy.version}",
        },
    )


def step_told(standing: Standing, invoice_id: str, name: str, fee_minor: int, now: datetime) -> DunningStepTold:
    return DunningStepTold(
        event_id=new_id(now),
        at=now,
        actor=ACTOR,
        account_id=standing.account_id,
        invoice_id=InvoiceId(invoice_id),
        step=name,
        fee_minor=fee_minor,
        currency=standing.customer.account.currency,
    )


def step_row(due: Due, standing: Standing, notice_id: str | None, now: datetime) -> dict[str, Any]:
    return {
        "step_id": new_id(now),
        "account_id": standing.account_id,
        "invoice_id": due.debt.invoice_id,
        "since_on": due.debt.since,
        "number": due.number,
        "name": due.step.name,
        "policy_id": due.policy.policy_id,
        "taken_on": standing.state.day,
        "taken_at": now,
        "notice_id": notice_id,
    }
