"""Rows of pauses: what a pause is comes by event, each entry whole, and the last one holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from sqlalchemy import Row, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing.model import PauseEntry
from billing_bridge.rating.proration import DaySpan, Pause
from billing_bridge.tables import pause
from controller.domain.events import ServicePaused
from controller.domain.identity import PauseId


async def add(conn: AsyncConnection, event: ServicePaused) -> date | None:
    """Write what a pause is from now on; the first day whose fees that can change, None when the event was known."""
    known = await conn.scalar(select(pause.c.sequence).where(pause.c.event_id == event.event_id))
    if known is not None:
        return None
    known_days = await conn.scalars(select(pause.c.first_on).where(pause.c.pause_id == event.pause_id))
    first: date = min([event.first_on, *known_days])
    await conn.execute(
        insert(pause).values(
            subscription_id=event.subscription_id,
            pause_id=event.pause_id,
            kind=event.kind,
            first_on=event.first_on,
            until_on=event.until_on or date.max,
            percent=event.percent,
            event_id=event.event_id,
            actor=event.actor,
            at=event.at,
        )
    )
    return first


async def entries(conn: AsyncConnection, subscription_ids: Sequence[str]) -> dict[str, list[PauseEntry]]:
    """All that was ever said of pauses, per subscription, in the order in which it came."""
    query = select(pause).where(pause.c.subscription_id.in_(subscription_ids)).order_by(pause.c.sequence)
    found: dict[str, list[PauseEntry]] = {}
    for row in await conn.execute(query):
        found.setdefault(row.subscription_id, []).append(_entry(row))
    return found


def in_force(said: Iterable[PauseEntry], upto: int | None = None) -> list[Pause]:
    """The pauses as they were known with entry `upto`, or as they are."""
    last = {entry.pause_id: entry.pause for entry in said if upto is None or entry.sequence <= upto}
    return [p for p in last.values() if p.span.days]


def _entry(row: Row[Any]) -> PauseEntry:
    span = DaySpan(row.first_on, row.until_on)
    return PauseEntry(row.sequence, PauseId(row.pause_id), row.kind, Pause(span, row.percent), row.actor, row.at)
