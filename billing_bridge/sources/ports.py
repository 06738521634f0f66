"""The five-minute bins of a service's ports, from the records of one source, for prices by the percentile of a rate.

    who owns the port at the begin of a bin   → identifiers of kind "port"
    which source says what it carried         → an assignment of "rates", else the counters of interfaces

A bin that no record covers is missing, never zero; an interval longer than two bins says nothing about one of them. A
record that lies in two bins is cut in proportion to time. What waits in suspense is not believed, and not in here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.rating.line import Octets
from billing_bridge.rating.percentile import BIN_S
from billing_bridge.sources import assignments, identifiers
from billing_bridge.sources.assignments import RATES
from billing_bridge.sources.identifiers import PORT, owner
from billing_bridge.sources.ledger import SUSPENSE
from billing_bridge.sources.repository import stored
from billing_bridge.sources.tables import identifier, record
from controller.store.many import one_of

INTERFACES = "interfaces"
"""The source of rates where nobody decided otherwise: our own polls of interfaces."""
_BIN = timedelta(seconds=BIN_S)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ZONES = timedelta(hours=14)
"""A day begins this much before UTC's where it begins first; bins that lie in no day of the bill are not looked at."""

Bins = Mapping[int, Octets]


@dataclass(frozen=True, slots=True)
class Ports:
    """Bins by port, and the newest record they are made of: evidence is all records up to it.

    `altered` are records whose digests do not cover what is stored, where that was asked for.
    """

    bins: Mapping[str, Bins] = field(default_factory=dict)
    last_record_id: int = 0
    altered: tuple[int, ...] = ()


async def of_services(
    conn: AsyncConnection, service_ids: Sequence[str], since: date, until_record_id: int | None = None
) -> dict[str, Ports]:
    """Of the services that have ports, since a day in any zone.

    With `until_record_id` only of records up to that one, each of which is proved.
    """
    names = set(
        await conn.scalars(
            select(identifier.c.identifier).where(
                identifier.c.kind == PORT, one_of(conn, identifier.c.service_id, sorted(set(service_ids)))
            )
        )
    )
    if not names:
        return {}
    owners = await identifiers.timelines(conn, PORT, names)
    bills = await assignments.of_services(conn, RATES, service_ids)
    query = select(record).where(
        record.c.identifier_kind == PORT,
        one_of(conn, record.c.identifier, sorted(names)),
        record.c.until > datetime.combine(since, time.min, UTC) - _ZONES,
        record.c.state != SUSPENSE,
    )
    if until_record_id is not None:
        query = query.where(record.c.record_id <= until_record_id)
    wanted = set(service_ids)
    found: dict[str, dict[str, dict[int, list[int]]]] = {}
    last: dict[str, int] = {}
    altered: dict[str, set[int]] = {}
    for row in await conn.execute(query.order_by(record.c.record_id)):
        for at, up, down in cut(row.since, row.until, row.upstream_octets, row.downstream_octets):
            service_id = owner(owners[row.identifier], at)
            if service_id not in wanted or service_id is None:
                continue
            if row.source != (bills.source(service_id, at) or INTERFACES):
                continue
            bins = found.setdefault(service_id, {}).setdefault(row.identifier, {})
            own = bins.setdefault((at - _EPOCH) // timedelta(seconds=1), [0, 0])
            own[0] += up
            own[1] += down
            last[service_id] = row.record_id
            if until_record_id is not None and not stored(row).intact:
                altered.setdefault(service_id, set()).add(row.record_id)
    return {
        service_id: Ports(
            {port: {at: Octets(*sums) for at, sums in bins.items()} for port, bins in ports.items()},
            last[service_id],
            tuple(sorted(altered.get(service_id, ()))),
        )
        for service_id, ports in found.items()
    }


def cut(since: datetime, until: datetime, upstream: int, downstream: int) -> Iterable[tuple[datetime, int, int]]:
    """(begin of the bin, octets up and down); nothing for an interval too long to say anything of a bin. Pure."""
    if until - since > 2 * _BIN:
        return
    first = since - (since - _EPOCH) % _BIN
    whole, given, begin = (until - since) // _MICROSECOND, (0, 0), first
    while True:
        end = begin + _BIN
        share = (end - since) // _MICROSECOND
        upto = (upstream, downstream) if end >= until else (upstream * share // whole, downstream * share // whole)
        yield begin, upto[0] - given[0], upto[1] - given[1]
        if end >= until:
            return
        given, begin = upto, end
