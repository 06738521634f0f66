"""That what is open of an account changed without money: written to the audit log, and told to dunning."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.events import ReceivablesChanged
from controller.domain.identity import AccountId, new_id
from controller.store import audit, outbox


async def changed(
    conn: AsyncConnection, account_id: AccountId, currency: str, now: datetime, actor: str, cause: str
) -> None:
    """Told in the transaction of the change; `cause` is the action of its audit entry."""
    event = ReceivablesChanged(
        event_id=new_id(now), at=now, actor=actor, account_id=account_id, currency=currency, cause=cause
    )
    await outbox.append(conn, event)


async def audited_and_changed(
    conn: AsyncConnection,
    subject: str,
    account_id: AccountId,
    currency: str,
    now: datetime,
    actor: str,
    action: str,
    after: dict[str, object],
    reason: str | None = None,
) -> None:
    """`subject` as the audit log names them, `payment:…`; `after` what it is now, or how much of it changed."""
    await audit.record(conn, now=now, actor=actor, action=action, subject=subject, after=after, reason=reason)
    await changed(conn, account_id, currency, now, actor, action)
