"""Proves usage that other sources than RADIUS told: calls, and octets of intervals, from their records again. Pure.

A record of a source is what its digests cover; a call is one record, an interval its part by time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta

from billing_bridge.billing.model import BookedInterval, ChargeDetail
from billing_bridge.sources.booked import BookedCall
from billing_bridge.sources.model import Fact
from billing_bridge.sources.repository import Stored

_MICROSECOND = timedelta(microseconds=1)
_NAMED = 20
"""Records named in one step."""


def called(detail: ChargeDetail) -> tuple[list[BookedCall], list[str], list[str]]:
    """The calls of a charge as their records tell them, a step for each day, and every difference."""
    right: list[BookedCall] = []
    faults: list[str] = []
    for booked in detail.calls:
        told = detail.told.get(booked.record_id)
        if told is None or told.fact is None:
            faults.append(f"record {booked.record_id} of {booked.source}: missing")
            continue
        fact = told.fact
        if not told.intact:
            faults.append(f"record {booked.record_id} of {booked.source}: its digest does not cover what is stored")
        if (fact.since, fact.duration_s, fact.number) != (booked.at, booked.duration_s, booked.number):
            faults.append(f"record {booked.record_id} of {booked.source}: tells of another call than was charged")
        right.append(replace(booked, at=fact.since, duration_s=fact.duration_s, number=fact.number))
    steps = []
    for day in detail.rated.calls:
        own = [c for c in right if c.day == day.day]
        seconds = sum(c.duration_s for c in own)
        steps.append(f"{day.day}  {len(own)} calls, {seconds} s: {_records(own)}")
        if (len(own), seconds) != (day.calls, day.duration_s):
            faults.append(
                f"{day.day}: records tell of {len(own)} calls of {seconds} s, "
                f"charged were {day.calls} of {day.duration_s} s"
            )
    return right, steps, faults


def measured(intervals: Sequence[BookedInterval], told: Mapping[int, Stored]) -> tuple[list[BookedInterval], list[str]]:
    """Intervals of sources as their records tell them, and every difference."""
    right: list[BookedInterval] = []
    faults: list[str] = []
    for booked in intervals:
        interval, record_id = booked.interval, booked.interval.record_ids[-1]
        record = told.get(record_id)
        if record is None or record.fact is None:
            faults.append(f"record {record_id} of {booked.source}: missing")
            continue
        if not record.intact:
            faults.append(f"record {record_id} of {booked.source}: its digest does not cover what is stored")
        fact = record.fact
        parts = _share(fact.upstream_octets, booked, fact), _share(fact.downstream_octets, booked, fact)
        if parts != (interval.upstream_octets, interval.downstream_octets):
            faults.append(
                f"record {record_id} of {booked.source}: adds {parts[0]}/{parts[1]} octets up/down on {booked.day}, "
                f"charged were {interval.upstream_octets}/{interval.downstream_octets}"
            )
        right.append(replace(booked, interval=replace(interval, upstream_octets=parts[0], downstream_octets=parts[1])))
    return right, faults


def told_by(intervals: Sequence[BookedInterval]) -> dict[date, str]:
    """For each day the records of sources that its intervals are of, each named once, in short."""
    names: dict[date, dict[str, None]] = {}
    for booked in intervals:
        own = names.setdefault(booked.day, {})
        own.update((f"{booked.source}/{record_id}", None) for record_id in booked.interval.record_ids)
    return {day: _in_short(list(own)) for day, own in names.items()}


def _share(octets: int, booked: BookedInterval, fact: Fact) -> int:
    """The part of a record's octets in an interval, by time: a difference of rounded-down running shares."""
    whole = (fact.until - fact.since) // _MICROSECOND
    if whole <= 0:
        return octets
    before = (booked.interval.since - fact.since) // _MICROSECOND
    after = (booked.interval.until - fact.since) // _MICROSECOND
    return octets * after // whole - octets * before // whole


def _records(calls: Sequence[BookedCall]) -> str:
    """The records of calls, in short."""
    return _in_short([f"{c.source}/{c.record_id}" for c in calls])


def _in_short(named: Sequence[str]) -> str:
    return ", ".join(named[:_NAMED]) + (f" and {len(named) - _NAMED} more" if len(named) > _NAMED else "")
