"""What waited is taken up: booked by whose it is at each of its instants, with the ledger of usage moved along.

Whoever decides holds mediation's position (`suspense.service`); nothing here asks whether it may be. What is still
nobody's waits on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.mediation.booking import book
from billing_bridge.mediation.growth import Growth
from billing_bridge.mediation.handover import pieces
from billing_bridge.mediation.repository import Held, Position, move_position
from billing_bridge.mediation.repository import suspend as hold
from billing_bridge.settings import BillingSettings
from billing_bridge.sources import identifiers
from billing_bridge.sources.identifiers import Timeline, owner
from billing_bridge.sources.ledger import RADIUS, SUSPENSE, Tally, fate
from billing_bridge.sources.release import Release
from billing_bridge.sources.repository import set_states
from billing_bridge.suspense import repository
from billing_bridge.suspense.dispositions import Part, RecordKey, Told, count_records, fates, shares_of, told_of
from billing_bridge.suspense.model import MAPPED
from billing_bridge.suspense.repository import Item
from billing_bridge.zones import Zones, zones_of
from controller.domain.clock import local_date


class TakingUp:
    """Within the transaction of a decision."""

    def __init__(self, release: Release, settings: BillingSettings) -> None:
        self._release = release
        self._settings = settings

    async def take_all(
        self,
        conn: AsyncConnection,
        kind: str,
        name: str,
        since: datetime,
        position: Position,
        now: datetime,
        actor: str,
        only: str | None = None,
    ) -> tuple[Item, ...]:
        """Take up what waits under an identifier that has an owner now (or the owner `only`); returns the items."""
        timeline = (await identifiers.timelines(conn, kind, [name]))[name]
        taken: list[Item] = []
        for item in await repository.unmapped(conn, name, since):
            whose = owners(item, timeline)
            mine = only in whose if only is not None else whose != {None}
            if mine and await self._release.kind(conn, item) == kind:
                taken.append(item)
        for service_id in sorted({o for item in taken for o in owners(item, timeline) if o is not None}):
            ids = [i.suspense_id for i in taken if service_id in owners(i, timeline)]
            await repository.decide(conn, ids, MAPPED, now, actor, service_id=service_id)
        await move_position(conn, await self.take_up(conn, taken, timeline, position, now))
        return tuple(taken)

    async def take_up(
        self, conn: AsyncConnection, taken: Sequence[Item], timeline: Timeline, position: Position, now: datetime
    ) -> Position:
        """Book what waited, by whose it is at each instant; what is still nobody's waits on. Moves the ledger."""
        tally = Tally()
        own: list[tuple[Item, Growth]] = []
        rest: list[Held] = []
        logged = [item for item in taken if item.source is None]
        found: dict[int, set[str]] = {item.suspense_id: set() for item in logged}
        said = await told_of(conn, [_part(i, self._settings.zone) for i in logged if i.grown_since is not None])
        zones = await zones_of(conn, (service_id for _, service_id in timeline), self._settings.zone)
        for item in logged:
            for part in _pieces(item, timeline, said, zones):
                if part.service_id is None:
                    rest.append(Held(part, item.reason, item.username or "", item.nas_id or "", item.accepted_at))
                    found[item.suspense_id].add(SUSPENSE)
                else:
                    own.append((item, part))
        booked = await book(
            conn, [part for _, part in own], position.last_interval_id, zone=self._settings.zone, now=now
        )
        await hold(conn, rest, now)
        for place, (item, part) in enumerate(own):
            for disposition, octets in booked.shares(place, part.upstream_octets + part.downstream_octets).items():
                found[item.suspense_id].add(disposition)
                if item.accepted_at is not None:
                    tally.move(RADIUS, item.accepted_at, SUSPENSE, disposition, octets, 0)
        await self.count(conn, [(item, fate(found[item.suspense_id])) for item in logged], tally)
        told = [item for item in taken if item.source is not None]
        after = await self._release.again(conn, told, Position(position.record_id, booked.last_interval_id), now, tally)
        await self.count(conn, [(item, None) for item in told if item.grown_since is not None], tally)
        await tally.write(conn)
        return after

    async def count(self, conn: AsyncConnection, items: Sequence[tuple[Item, str | None]], tally: Tally) -> None:
        """The records of what waited count as this; or, where only a part of one waited, as all its parts say."""
        counted = [(item, alone) for item, alone in items if item.accepted_at is not None]
        cut = [_part(item, self._settings.zone) for item, _ in counted if item.grown_since is not None]
        told = await told_of(conn, cut)
        cut = [part for part in cut if part.of in told]
        said = await fates(conn, cut, told)
        before = {part.of: SUSPENSE for part in cut}
        await count_records(conn, before, said, told, tally)
        for item, alone in counted:
            if item.grown_since is None and alone is not None and item.accepted_at is not None:
                tally.move(item.source or RADIUS, item.accepted_at, SUSPENSE, alone, 0)
                if item.source_record_id is not None:
                    await set_states(conn, [(item.source_record_id, alone)])


def begins(item: Item) -> datetime:
    return min(item.since, item.until)


def owners(item: Item, timeline: Timeline) -> set[str | None]:
    """Whose an item is by now, at all its instants. A call is whose it was when it began."""
    if item.since >= item.until or (item.source is not None and not item.octets):
        return {owner(timeline, item.until if item.source is None else item.since)}
    cuts = identifiers.changes_within(timeline, item.since, item.until)
    return {owner(timeline, at) for at in (item.since, *cuts)}


def _growth(item: Item) -> Growth:
    return Growth(
        item.session_key or "",
        None,
        item.since,
        item.until,
        item.upstream_octets,
        item.downstream_octets,
        item.record_ids,
        grown_since=item.grown_since,
    )


def _pieces(item: Item, timeline: Timeline, told: Mapping[RecordKey, Told], zones: Zones) -> list[Growth]:
    """An item by whose it is. Of a part of a record the pieces are shares of the whole."""
    growth, part = _growth(item), _part(item, zones.usual)
    said = told.get(part.of) if item.grown_since is not None else None
    cuts = set(identifiers.changes_within(timeline, item.since, item.until))
    cuts |= zones.midnights((service_id for _, service_id in timeline), item.since, item.until)
    if said is None or not cuts:
        return pieces(growth, timeline, None, zones)
    return [
        replace(
            growth, service_id=owner(timeline, p.since), since=p.since, until=p.until,
            upstream_octets=p.upstream_octets, downstream_octets=p.downstream_octets,
        )
        for p in shares_of(part, said, sorted(cuts), zones.usual)
        if p.upstream_octets or p.downstream_octets
    ]  # fmt: skip


def _part(item: Item, zone: ZoneInfo) -> Part:
    """An item as a part of its record, which nobody has."""
    return Part(
        0,
        "",
        local_date(item.since, zone),
        item.session_key or (item.username or "")[:64],
        item.grown_since or item.since,
        item.since,
        item.until,
        item.upstream_octets,
        item.downstream_octets,
        item.record_ids,
        item.source or RADIUS,
    )
