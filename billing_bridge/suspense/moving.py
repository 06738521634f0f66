"""What was booked under an identifier goes to whoever it was, in the transaction in which its timeline changed.

Octets and calls are moved each in its own way (mediation.moving, sources.moving_calls); both are noted with the
decision they follow from, and audited.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.mediation.moving import Ahead, move
from billing_bridge.mediation.repository import Position, lock_position, move_position
from billing_bridge.sources import identifiers, moves
from billing_bridge.sources.assignments import OCTETS
from billing_bridge.sources.moves import Moved
from billing_bridge.sources.release import Release
from controller.store import audit


async def move_booked(
    conn: AsyncConnection,
    release: Release,
    kind: str,
    name: str,
    since: datetime,
    ahead: Ahead | None,
    *,
    zone: ZoneInfo,
    now: datetime,
    actor: str,
    reason: str,
) -> tuple[Moved, ...]:
    """Move what was booked under an identifier whose timeline has changed at `since`; returns that."""
    position = await lock_position(conn)
    timelines = await identifiers.both(conn, kind, name)
    moved, last_interval_id = await move(
        conn, kind, name, since, timelines, ahead=ahead, upto_record=position.record_id,
        last_interval_id=position.last_interval_id, zone=zone, now=now,
    )  # fmt: skip
    await move_position(conn, Position(position.record_id, last_interval_id))
    await moves.note(conn, OCTETS, (position.last_interval_id + 1, last_interval_id), kind, name, since)
    moved += await release.move_calls(conn, kind, name, since, now=now, actor=actor)
    await audit.record_all(conn, [_change(kind, name, one, reason) for one in moved], now=now, actor=actor)
    return tuple(moved)


def _change(kind: str, name: str, one: Moved, reason: str) -> audit.Change:
    what = {"calls": one.calls, "duration_s": one.duration_s} if one.calls else {"octets": one.octets}
    return audit.Change(
        "usage-identifier.move",
        f"{kind}:{name}"[:160],
        {"service_id": one.from_service},
        {
            "service_id": one.to_service,
            **what,
            "records": one.records,
            "first_on": one.first_on.isoformat(),
            "last_on": one.last_on.isoformat(),
            "adjusted": one.adjusted,
        },
        reason,
    )
