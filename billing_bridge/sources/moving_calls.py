"""Gives booked calls to whoever an identifier was, once that is entered late: taken back there, placed again.

    booked       A  call 7, 65 s          stays as it was booked: what was billed names it
    afterwards   A  call 8, −65 s         the reversal
                 B  call 9, 65 s          the same record, by whose it was when the call began

A call that is placed again is treated like one that has just come: a bill had its day, another source tells of the
calls of its new service, no plan has a price for it, or it is nobody's and waits. What a person wrote off stays so;
what was only compared with another source stays where it was compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.mediation.repository import Standing, standings
from billing_bridge.sources import booked, identifiers, moves, repository
from billing_bridge.sources.assignments import CALLS
from billing_bridge.sources.booked import BookedCall
from billing_bridge.sources.calls import items_of
from billing_bridge.sources.ledger import Tally
from billing_bridge.sources.moves import Moved
from billing_bridge.sources.placing import Arrived, Placing
from billing_bridge.sources.repository import Ids
from billing_bridge.sources.tables import record
from billing_bridge.suspense.model import MAPPED, WRITTEN_OFF
from billing_bridge.suspense.repository import decide
from billing_bridge.suspense.settle import rate_again, read_timelines


@dataclass(frozen=True, slots=True)
class _Wrong:
    """A call that is booked to a service that it is not of, and whose it is."""

    call: BookedCall
    to: str | None
    item: Row[Any] | None
    """What waits of it for want of a plan or a price."""


async def move_calls(
    conn: AsyncConnection,
    placing: Placing,
    kind: str,
    name: str,
    since: datetime,
    *,
    zone: ZoneInfo,
    now: datetime,
    actor: str,
) -> list[Moved]:
    """Move the calls of the identifier that began at `since` or later, until its next owner's. The caller holds
    mediation's position."""
    timeline = (await identifiers.timelines(conn, kind, [name])).get(name, [])
    end = min((at for at, _ in timeline if at > since), default=None)
    told = select(record.c.record_id).where(
        record.c.identifier_kind == kind, record.c.identifier == name, record.c.since >= since
    )
    if end is not None:
        told = told.where(record.c.since < end)
    calls = await booked.of_records(conn, list(await conn.scalars(told)))
    wrong = [(c, to) for c in calls if (to := identifiers.owner(timeline, c.at)) != c.service_id]
    items = await items_of(conn, [c for c, _ in wrong])
    found = [_Wrong(c, to, items.get(c.record_id)) for c, to in wrong]
    found = [one for one in found if one.item is None or one.item.state != WRITTEN_OFF]
    if not found:
        return []
    ids = await repository.lock_ids(conn)
    known = await standings(conn, {s for one in found for s in (one.call.service_id, one.to) if s is not None})
    after = await _take_back(conn, found, known, ids, zone, now, actor)
    after = await _place_again(conn, placing, found, after, now)
    await repository.move_ids(conn, after)
    await moves.note(conn, CALLS, (ids.call_id + 1, after.call_id), kind, name, since)
    return _summary(found, known)


async def _take_back(
    conn: AsyncConnection,
    found: Sequence[_Wrong],
    known: Mapping[str, Standing],
    ids: Ids,
    zone: ZoneInfo,
    now: datetime,
    actor: str,
) -> Ids:
    reversals = [
        one.call.reversed_as(ids.call_id + n, late=_late(known, one.call.service_id, one.call.day))
        for n, one in enumerate(found, 1)
    ]
    await booked.add(conn, reversals)
    for one in found:
        if one.item is not None:
            await decide(conn, [one.item.suspense_id], MAPPED, now, actor)
    # Whoever bills them now does not go on before this is committed.
    services = sorted({c.service_id for c in reversals})
    await read_timelines(conn, services, zone)
    days: dict[str, date] = {}
    for reversal in reversals:
        if reversal.adjustment:
            days[reversal.service_id] = min(days.get(reversal.service_id, reversal.day), reversal.day)
    await rate_again(conn, days)
    return Ids(ids.record_id, ids.call_id + len(reversals))


async def _place_again(
    conn: AsyncConnection, placing: Placing, found: Sequence[_Wrong], ids: Ids, now: datetime
) -> Ids:
    """As if they had just come, each by its source."""
    tally = Tally()
    stored = {s.record_id: s for s in await repository.records(conn, (one.call.record_id for one in found))}
    for name in sorted({one.call.source for one in found}):
        source = await repository.get(conn, name)
        assert source is not None, "a source is never deleted"
        arrived = []
        for one in found:
            own = stored[one.call.record_id]
            if one.call.source == name and own.fact is not None:
                again = Arrived(own.record_id, own.accepted_at, own.fact, believed=True, turn=one.call.turn + 2)
                arrived.append(again)
        placed, _, ids = await placing.place(
            conn, source, arrived, last_interval_id=0, ids=ids, now=now, tally=tally
        )  # fmt: skip
        states = [(one.record_id, placed.state(one.record_id)) for one in arrived]
        await repository.set_states(conn, states)
        for told, (record_id, state) in zip(arrived, states, strict=True):
            tally.move(name, told.accepted_at, stored[record_id].state, state, told.fact.duration_s)
    await tally.write(conn)
    return ids


def _late(known: Mapping[str, Standing], service_id: str | None, day: date) -> bool:
    standing = None if service_id is None else known.get(service_id)
    return standing is not None and standing.bills_late(day)


def _summary(found: Sequence[_Wrong], known: Mapping[str, Standing]) -> list[Moved]:
    by_pair: dict[tuple[str, str | None], list[BookedCall]] = {}
    for one in found:
        by_pair.setdefault((one.call.service_id, one.to), []).append(one.call)
    return [
        Moved(
            old, new, 0, len(own), min(c.day for c in own), max(c.day for c in own),
            any(_late(known, s, c.day) for s in (old, new) for c in own), len(own), sum(c.duration_s for c in own),
        )
        for (old, new), own in sorted(by_pair.items(), key=lambda found: (found[0][0], found[0][1] or ""))
    ]  # fmt: skip
