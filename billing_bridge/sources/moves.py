"""Usage that was booked, and moved because an identifier's owner was told late: what went where, and whose word it was.

A move books reversals and parts anew under ids that follow each other. It notes the first and the last of them beside
the decision, so each reversal tells by whose word it was, whatever was decided before and after.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.sources import identifiers
from billing_bridge.sources.identifiers import Mapped
from billing_bridge.sources.tables import move


@dataclass(frozen=True, slots=True)
class Moved:
    """Usage that went from one service to another (None: to nobody). `adjusted`: a bill had it already.

    Octets, or calls and their seconds.
    """

    from_service: str
    to_service: str | None
    octets: int
    records: int
    first_on: date
    last_on: date
    adjusted: bool
    calls: int = 0
    duration_s: int = 0


async def note(
    conn: AsyncConnection, measure: str, ids: tuple[int, int], kind: str, identifier: str, since: datetime
) -> None:
    """The bookings of `measure` with these ids, first and last, follow from that entry of the identifier's timeline."""
    first_id, last_id = ids
    if first_id > last_id:
        return
    values = {
        "measure": measure, "first_id": first_id, "last_id": last_id, "kind": kind, "identifier": identifier,
        "since": since,
    }  # fmt: skip
    await conn.execute(insert(move).values(values))


async def decisions_of(conn: AsyncConnection, measure: str, ids: Collection[int]) -> dict[int, Mapped]:
    """By whose word these bookings were made; what no move made is absent."""
    if not ids:
        return {}
    query = select(move).where(move.c.measure == measure, move.c.last_id >= min(ids), move.c.first_id <= max(ids))
    moves = (await conn.execute(query.order_by(move.c.last_id))).all()
    names = {(row.kind, row.identifier) for row in moves}
    said = {
        (*name, entry.since): entry for name in sorted(names) for entry in await identifiers.entries(conn, *name)
    }  # fmt: skip
    found: dict[int, Mapped] = {}
    for booking in ids:
        of = next((row for row in moves if row.first_id <= booking <= row.last_id), None)
        if of is not None:
            found[booking] = said[of.kind, of.identifier, of.since]
    return found
