"""What is due for one subscription: everything is computed anew, and the difference to what was charged is issued.

A billing engine that refuses a period because it "was already billed" never recovers from a correction. This one has
no such state: for each period it knows what the period costs today and what has been charged for it so far, per kind
and version, and issues the difference, up or down. Nothing changed means no difference means no document.

Fees are due in advance, from the first day of a period; usage in arrears, when its period is closed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from billing_bridge.rating.overage import Overage, overage
from billing_bridge.rating.proration import Change, DaySpan, Entitled, entitled
from controller.domain.charge import ChargeKind
from controller.domain.identity import OfferingVersionId
from controller.domain.money import Money
from controller.domain.tariff import TariffVersion


@dataclass(frozen=True, slots=True)
class DueKey:
    """What a charge is for, within one subscription."""

    kind: ChargeKind
    period_first_on: date
    version_id: OfferingVersionId


@dataclass(frozen=True, slots=True)
class Charged:
    """What was charged for one key so far: the sum, how many charges, and the days they named."""

    net_minor: int = 0
    octets: int = 0
    days: int = 0
    charges: int = 0
    span: DaySpan | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """All that decides what a subscription owes. `used_by_day` is octets of both directions per local day."""

    changes: Sequence[Change]
    tariffs: Mapping[OfferingVersionId, TariffVersion]
    used_by_day: Mapping[date, int] = field(default_factory=dict)
    charged: Mapping[DueKey, Charged] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Due:
    """A difference to charge (or to credit, when `net` is negative), with the arithmetic it came from.

    `entitled` is None when the version no longer has a day in the period: then all that was charged is credited.
    """

    key: DueKey
    period: DaySpan
    span: DaySpan
    net: Money
    days: int
    octets: int
    entitled: Entitled | None
    overage: Overage | None
    before: Charged


def due(facts: Facts, periods: Sequence[DaySpan], today: date, rounding: str) -> list[Due]:
    """The differences of `periods` as of the local day `today`; future periods owe nothing yet."""
    found: list[Due] = []
    for period in periods:
        if period.first_on > today:
            continue
        held = {e.version_id: e for e in entitled(facts.changes, period, facts.tariffs, rounding)}
        found += _fees(facts, period, held)
        if period.until_on <= today:
            found += _usage(facts, period, held, rounding)
    return found


def _fees(facts: Facts, period: DaySpan, held: Mapping[OfferingVersionId, Entitled]) -> list[Due]:
    found = []
    for key in _keys(facts, ChargeKind.RECURRING, period, held):
        now, before = held.get(key.version_id), facts.charged.get(key, Charged())
        net = _difference(facts, key, now.amount.minor if now else 0, before)
        if net:
            days = (now.days if now else 0) - before.days
            found.append(Due(key, period, _span(period, now, before, net), net, days, 0, now, None, before))
    return found


def _usage(facts: Facts, period: DaySpan, held: Mapping[OfferingVersionId, Entitled], rounding: str) -> list[Due]:
    found = []
    for key in _keys(facts, ChargeKind.USAGE, period, held):
        now, before = held.get(key.version_id), facts.charged.get(key, Charged())
        over = overage(now, facts.tariffs[key.version_id], facts.used_by_day, rounding) if now else None
        net = _difference(facts, key, over.amount.minor if over else 0, before)
        if net:
            octets = (over.over_octets if over else 0) - before.octets
            span = DaySpan(now.spans[0].first_on, now.spans[-1].until_on) if now else before.span or period
            found.append(Due(key, period, span, net, 0, octets, now, over, before))
    return found


def _keys(facts: Facts, kind: ChargeKind, period: DaySpan, held: Mapping[OfferingVersionId, Entitled]) -> list[DueKey]:
    """Versions charged before stand first: a change of plan reads as credit, then charge."""
    charged = [k for k in facts.charged if k.kind is kind and k.period_first_on == period.first_on]
    fresh = [DueKey(kind, period.first_on, version_id) for version_id in held]
    return list(dict.fromkeys([*charged, *fresh]))


def _difference(facts: Facts, key: DueKey, minor: int, before: Charged) -> Money:
    return Money(minor - before.net_minor, facts.tariffs[key.version_id].currency)


def _span(period: DaySpan, now: Entitled | None, before: Charged, net: Money) -> DaySpan:
    """The days a fee line names: those it charges, or those it gives back."""
    if now is None:
        return before.span or period
    if before.span is None:
        return DaySpan(now.spans[0].first_on, now.spans[-1].until_on)
    held = {day for span in now.spans for day in span.each_day()}
    charged = set(before.span.each_day())
    days = sorted(charged - held if net.minor < 0 else held - charged) or sorted(held)
    return DaySpan(days[0], date.fromordinal(days[-1].toordinal() + 1))
