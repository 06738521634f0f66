"""Decides for each fact of a source whose it is and what becomes of it, and does it, in the caller's transaction.

    fact ─ believed? ─ whose, at that instant? ─ which source bills it? ┬ this one   → booked: intervals and days, calls
             │                 │                                        ├ another    → compared
             └── suspense ─────┘                                        └ two claim it → suspense

The caller holds mediation's position and the ids of the sources, in this order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.mediation.attribution import DayPart, split_by_day
from billing_bridge.mediation.booking import book
from billing_bridge.mediation.growth import Growth
from billing_bridge.mediation.repository import standings
from billing_bridge.sources import assignments, calls, identifiers, repository
from billing_bridge.sources.assignments import ALWAYS, CALLS, OCTETS, Assigned, Assignment
from billing_bridge.sources.booked import BookedCall
from billing_bridge.sources.booked import add as add_calls
from billing_bridge.sources.comparing import compare, compare_calls
from billing_bridge.sources.identifiers import ADDRESS, PORT, SERVICE, Timeline
from billing_bridge.sources.ledger import RATED, SUSPENSE, UNRATED, Tally, fate
from billing_bridge.sources.model import SECOND_SOURCE, Fact, Source, implausible
from billing_bridge.sources.repository import Ids, Waiting
from billing_bridge.suspense.model import NO_SERVICE
from billing_bridge.suspense.settle import rate_again
from billing_bridge.zones import Zones, zones_of
from controller.domain.clock import local_date
from controller.domain.ports import AddressHolders


@dataclass(frozen=True, slots=True)
class Arrived:
    """A fact (or the part of one that waited) with the record it is from. `believed`: a person said that it is true.

    `turn` is that of a call which is booked again (billing_bridge_call). `whole` is what the record says of itself,
    where `fact` is a part of it: the octets of a piece are a share of that.
    """

    record_id: int
    accepted_at: datetime
    fact: Fact
    grown_since: datetime | None = None
    believed: bool = False
    turn: int = 0
    whole: Fact | None = None


@dataclass(slots=True)
class Placed:
    """What became of the facts of one source: per record its parts, and the amount of each part."""

    fates: dict[int, set[str]] = field(default_factory=dict)
    amounts: dict[int, dict[str, int]] = field(default_factory=dict)
    waiting: list[Waiting] = field(default_factory=list)

    def note(self, record_id: int, disposition: str, amount: int) -> None:
        self.fates.setdefault(record_id, set()).add(disposition)
        amounts = self.amounts.setdefault(record_id, {})
        amounts[disposition] = amounts.get(disposition, 0) + amount

    def hold(self, part: Waiting, amount: int) -> None:
        self.waiting.append(part)
        self.note(part.record_id, SUSPENSE, amount)

    def state(self, record_id: int) -> str:
        return fate(self.fates[record_id])


class Placing:
    """`holders` knows which session had an address when; without it only what people mapped is known. `zone` is that of
    services that have none of their own."""

    def __init__(self, zone: ZoneInfo, holders: AddressHolders | None) -> None:
        self._zone = zone
        self._holders = holders

    async def place(
        self,
        conn: AsyncConnection,
        source: Source,
        arrived: Sequence[Arrived],
        *,
        last_interval_id: int,
        ids: Ids,
        now: datetime,
        tally: Tally,
    ) -> tuple[Placed, int, Ids]:
        """What became of these facts, the last interval id and the ids after them. Their records are stored."""
        placed, believed = Placed(), []
        for one in arrived:
            wrong = None if one.believed else implausible(one.fact, source.measure, now)
            if wrong is None:
                believed.append(one)
            else:
                placed.hold(_unbelieved(one, *wrong), 0)
        owners = await self._owners(conn, source, [one.fact for one in believed])
        if source.measure == CALLS:
            ids = await self._calls(conn, source, believed, owners, placed, ids, now=now, tally=tally)
        else:
            last_interval_id = await self._octets(conn, source, believed, owners, placed, last_interval_id, now=now)
        await repository.suspend(conn, source.name, placed.waiting, now)
        return placed, last_interval_id, ids

    async def _owners(self, conn: AsyncConnection, source: Source, facts: Sequence[Fact]) -> Mapping[str, Timeline]:
        names = {fact.identifier for fact in facts}
        if source.identifier_kind == SERVICE:
            known = await standings(conn, names)
            return {name: ((ALWAYS, name),) for name in names if name in known}
        found: dict[str, Timeline] = dict(await identifiers.timelines(conn, source.identifier_kind, names))
        if source.identifier_kind == ADDRESS and self._holders is not None and facts:
            since, until = min(f.since for f in facts), max(f.until for f in facts)
            for name in sorted(names - found.keys()):
                found[name] = await self._holders.held(conn, name, since, until)
        return found

    async def _octets(
        self,
        conn: AsyncConnection,
        source: Source,
        arrived: Sequence[Arrived],
        owners: Mapping[str, Timeline],
        placed: Placed,
        last_interval_id: int,
        *,
        now: datetime,
    ) -> int:
        zones = await zones_of(conn, {s for timeline in owners.values() for _, s in timeline}, self._zone)
        parts = [(one, part) for one in arrived for part in _parts(one, owners.get(one.fact.identifier, ()), zones)]
        bills = await assignments.of_services(conn, OCTETS, (part.service_id for _, part in parts))
        booked: list[tuple[Arrived, Growth]] = []
        other: list[Growth] = []
        for one, part in parts:
            octets = part.upstream_octets + part.downstream_octets
            if part.service_id is None:
                held = _waiting(
                    one, NO_SERVICE, "nobody is known to have it", part.since, part.until, part.upstream_octets,
                    part.downstream_octets, part.grown_since,
                )  # fmt: skip
                placed.hold(held, octets)
            elif bills.source(part.service_id, part.since) == source.name:
                booked.append((one, part))
            else:
                other.append(part)
                placed.note(one.record_id, UNRATED, octets)
        made = await book(
            conn, [part for _, part in booked], last_interval_id, zone=self._zone, now=now, source=source.name
        )
        for place, (one, part) in enumerate(booked):
            for disposition, octets in made.shares(place, part.upstream_octets + part.downstream_octets).items():
                placed.note(one.record_id, disposition, octets)
        await compare(conn, source.name, other, self._zone)
        if source.identifier_kind == PORT:
            await _rates_again(conn, other, zones)
        for one in arrived:
            if one.record_id not in placed.fates:
                placed.note(one.record_id, UNRATED, 0)
        return made.last_interval_id

    async def _calls(
        self,
        conn: AsyncConnection,
        source: Source,
        arrived: Sequence[Arrived],
        owners: Mapping[str, Timeline],
        placed: Placed,
        ids: Ids,
        *,
        now: datetime,
        tally: Tally,
    ) -> Ids:
        """A call is whose it was when it began."""
        of = {one.record_id: identifiers.owner(owners.get(one.fact.identifier, ()), one.fact.since) for one in arrived}
        bills = await assignments.of_services(conn, CALLS, of.values())
        known = await standings(conn, (service for service in of.values() if service is not None))
        zones = await zones_of(conn, of.values(), self._zone)
        booked: list[BookedCall] = []
        other: list[tuple[str, datetime, int]] = []
        for one in arrived:
            service_id, fact = of[one.record_id], one.fact
            if service_id is None:
                placed.hold(_waiting(one, NO_SERVICE, "nobody is known to have it"), fact.duration_s)
            elif fact.duration_s == 0:
                placed.note(one.record_id, UNRATED, 0)
            elif (wrong := await self._second(conn, source, bills, service_id, fact)) is not None:
                placed.hold(_waiting(one, SECOND_SOURCE, wrong), fact.duration_s)
            elif bills.source(service_id, fact.since) != source.name:
                other.append((service_id, fact.since, fact.duration_s))
                placed.note(one.record_id, UNRATED, fact.duration_s)
            else:
                day = local_date(fact.since, zones.of(service_id))
                standing = known.get(service_id)
                late = standing is not None and standing.bills_late(day)
                call_id = ids.call_id + len(booked) + 1
                booked.append(
                    BookedCall(
                        call_id,
                        service_id,
                        day,
                        fact.since,
                        fact.duration_s,
                        fact.number,
                        source.name,
                        one.record_id,
                        late,
                        one.turn,
                    )
                )
        await add_calls(conn, booked)
        services = sorted({c.service_id for c in booked})
        held = await calls.settle_calls(conn, services, zone=self._zone, now=now, tally=tally, calls=booked)
        for call in booked:
            placed.note(call.record_id, SUSPENSE if call.record_id in held else RATED, call.duration_s)
        late_days: dict[str, date] = {}
        for call in booked:
            if call.adjustment:
                late_days[call.service_id] = min(late_days.get(call.service_id, call.day), call.day)
        await rate_again(conn, late_days)
        await compare_calls(conn, source.name, other, self._zone)
        return Ids(ids.record_id, ids.call_id + len(booked))

    async def _second(
        self, conn: AsyncConnection, source: Source, bills: Assigned, service_id: str, fact: Fact
    ) -> str | None:
        """Whether another source, too, tells of the calls of this service for billing. The first one has a claim."""
        if not source.bills:
            return None
        found = bills.at(service_id, fact.since)
        if found is None:
            found = await assignments.put(
                conn, Assignment(service_id, CALLS, ALWAYS, source.name, True, f"source:{source.name}")
            )
            bills.claim(found)
        if found.claimed and found.source != source.name:
            return f"{found.source} already tells of the calls of this service: say which of the two bills it"
        return None


def _parts(one: Arrived, timeline: Timeline, zones: Zones) -> list[Growth]:
    """A fact by its owners at each instant, cut at their midnights. One without duration belongs to the owner at its
    end."""
    fact = one.fact
    cuts = {*identifiers.changes_within(timeline, fact.since, fact.until)}
    cuts |= zones.midnights((service_id for _, service_id in timeline), fact.since, fact.until)
    days = _shares(fact, one.whole or fact, sorted(cuts), zones)
    grown_since = one.grown_since or (fact.since if len(days) > 1 else None)
    return [
        Growth(
            fact.identifier[:64],
            identifiers.owner(timeline, part.since if fact.since < fact.until else fact.until),
            part.since,
            part.until,
            part.upstream_octets,
            part.downstream_octets,
            (one.record_id,),
            grown_since=grown_since,
        )
        for part in days
        if part.upstream_octets or part.downstream_octets
    ]


def _shares(fact: Fact, whole: Fact, cuts: Sequence[datetime], zones: Zones) -> list[DayPart]:
    """A fact in pieces, as shares of the whole that its record says, where it is such a share itself."""
    if whole is not fact:
        also = [*cuts, fact.since, fact.until]
        all_of_it = split_by_day(
            whole.since, whole.until, whole.upstream_octets, whole.downstream_octets, zones.usual, also
        )
        own = [p for p in all_of_it if fact.since <= p.since and p.until <= fact.until]
        if sum(p.upstream_octets + p.downstream_octets for p in own) == fact.octets:
            return own
    return split_by_day(fact.since, fact.until, fact.upstream_octets, fact.downstream_octets, zones.usual, cuts)


async def _rates_again(conn: AsyncConnection, parts: Sequence[Growth], zones: Zones) -> None:
    """Bins of a port that come after their month was billed: what a price by percentile makes of it may change."""
    known = await standings(conn, (str(part.service_id) for part in parts))
    late: dict[str, date] = {}
    for part in parts:
        service_id, day = str(part.service_id), local_date(part.since, zones.of(part.service_id))
        standing = known.get(service_id)
        if standing is not None and standing.bills_late(day):
            late[service_id] = min(late.get(service_id, day), day)
    await rate_again(conn, late)


def _unbelieved(one: Arrived, reason: str, detail: str) -> Waiting:
    """Nothing that it says is counted; its record keeps what it said."""
    since = min(one.fact.since, one.fact.until)
    return Waiting(one.record_id, one.accepted_at, reason, detail, one.fact.identifier, since, one.fact.until)


def _waiting(
    one: Arrived,
    reason: str,
    detail: str,
    since: datetime | None = None,
    until: datetime | None = None,
    upstream_octets: int | None = None,
    downstream_octets: int | None = None,
    grown_since: datetime | None = None,
) -> Waiting:
    fact = one.fact
    return Waiting(
        one.record_id,
        one.accepted_at,
        reason,
        detail,
        fact.identifier,
        fact.since if since is None else since,
        fact.until if until is None else until,
        fact.upstream_octets if upstream_octets is None else upstream_octets,
        fact.downstream_octets if downstream_octets is None else downstream_octets,
        grown_since=grown_since,
        duration_s=fact.duration_s or None,
    )
