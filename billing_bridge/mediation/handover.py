"""Cuts growth where its username, or its session, changes hands: exact to the octet, in proportion to time. Pure.

    alice       |------ service A ------|------ service B ------
    growth            |-----------------+--------|
    pieces            | 2/3 of it to A  | 1/3 B  |

Pieces are differences of rounded-down running shares of the whole growth, cut at the midnights of all its owners too,
so that they always sum to it and each can be computed again from the record alone: `attribution.split_by_day` with the
same cuts says the same.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from billing_bridge.mediation.attribution import split_by_day
from billing_bridge.mediation.growth import Growth
from billing_bridge.sources.identifiers import Timeline, changes_within, decided, owner
from billing_bridge.zones import Zones


def pieces(growth: Growth, timeline: Timeline, began: datetime | None, zones: Zones) -> list[Growth]:
    """`growth` by its owners; pieces of nobody have no service.

    `timeline` is what people decided about the username, and outranks what RADIUS said. `began` is when the service of
    the record began, where the session was another's before (`growth.former_id`); None when nobody knows: then all of
    it is the present one's.
    """
    cuts = set(changes_within(timeline, growth.since, growth.until))
    if growth.former_id is not None and began is not None and growth.since < began < growth.until:
        cuts.add(began)
    if not cuts:
        return [replace(growth, service_id=_owner(growth, timeline, began, growth.since))]
    owners = {growth.service_id, growth.former_id, *(service_id for _, service_id in timeline)}
    cuts |= zones.midnights(owners, growth.since, growth.until)
    parts = split_by_day(
        growth.since, growth.until, growth.upstream_octets, growth.downstream_octets, zones.usual, sorted(cuts)
    )
    return [
        replace(
            growth,
            service_id=_owner(growth, timeline, began, part.since),
            since=part.since,
            until=part.until,
            upstream_octets=part.upstream_octets,
            downstream_octets=part.downstream_octets,
            grown_since=growth.grown_since or growth.since,
        )
        for part in parts
        if part.upstream_octets or part.downstream_octets
    ]


def _owner(growth: Growth, timeline: Timeline, began: datetime | None, at: datetime) -> str | None:
    if growth.since == growth.until:
        at = growth.until
    if decided(timeline, at):
        return owner(timeline, at)
    if growth.former_id is not None and began is not None and at < began:
        return growth.former_id
    return growth.service_id
