"""What is due for one subscription: everything is computed anew, and the difference to what was charged is issued.

A billing engine that refuses a period because it "was already billed" never recovers from a correction. This one has
no such state: for each period it knows what the period costs today and what has been charged for it so far, per price
and version, and issues the difference, up or down. Nothing changed means no difference means no document.

Fees are due in advance, from the first day of a period; usage and fees in arrears when the period is closed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from zoneinfo import ZoneInfo

from billing_bridge.rating.codes import price_code
from billing_bridge.rating.line import Line, Usage
from billing_bridge.rating.proration import Change, DaySpan, Held, Pause, holdings
from billing_bridge.rating.rate import in_advance, rate
from controller.domain.charge import ChargeKind
from controller.domain.identity import OfferingVersionId
from controller.domain.money import Money
from controller.domain.price import Cycle
from controller.domain.tariff import TariffVersion


@dataclass(frozen=True, slots=True)
class DueKey:
    """What a charge is for, within one subscription. `code` is that of a line of the rating function."""

    kind: ChargeKind
    period_first_on: date
    version_id: OfferingVersionId
    code: str


@dataclass(frozen=True, slots=True)
class Charged:
    """What was charged for one key so far: the sum, how many charges, and the days they named.

    `given_back` are days within `span` that were credited again; `attempts` the number that the next charge has.
    """

    net_minor: int = 0
    octets: int = 0
    days: int = 0
    charges: int = 0
    span: DaySpan | None = None
    given_back: frozenset[date] = frozenset()
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Corrected:
    """Periods that begin on a day of `days` cost what `tariff` says."""

    days: DaySpan
    tariff: TariffVersion


@dataclass(frozen=True, slots=True)
class Facts:
    """All that decides what a subscription owes. Of two `corrections` of a version the later one holds."""

    changes: Sequence[Change]
    tariffs: Mapping[OfferingVersionId, TariffVersion]
    usage: Usage = field(default_factory=Usage)
    charged: Mapping[DueKey, Charged] = field(default_factory=dict)
    pauses: Sequence[Pause] = ()
    corrections: Mapping[OfferingVersionId, Sequence[Corrected]] = field(default_factory=dict)

    def price_of(self, version_id: OfferingVersionId, period: DaySpan) -> TariffVersion:
        """What a version costs in a period: what it says, or what it should have said."""
        for correction in reversed(self.corrections.get(version_id, ())):
            if period.first_on in correction.days:
                return correction.tariff
        return self.tariffs[version_id]


@dataclass(frozen=True, slots=True)
class Due:
    """A difference to charge (or to credit, when `net` is negative), with the line it came from.

    `held` is None when the version no longer has a day in the period, `line` when its price has nothing to charge in
    it any more: then all that was charged is credited.
    """

    key: DueKey
    period: DaySpan
    span: DaySpan
    net: Money
    days: int
    octets: int
    held: Held | None
    line: Line | None
    before: Charged


def due(
    facts: Facts,
    periods: Sequence[DaySpan],
    today: date,
    rounding: str,
    zone: ZoneInfo,
    cycle: Cycle = "month",
) -> list[Due]:
    """The differences of `periods`, which are those of `cycle`, as of the local day `today`.

    Only versions of that cycle are looked at. Future periods owe nothing yet.
    """
    found: list[Due] = []
    offerings = {version_id: tariff.offering_id for version_id, tariff in facts.tariffs.items()}
    for period in periods:
        if period.first_on <= today:
            held = holdings(facts.changes, period, offerings, facts.pauses)
            held = {v: of for v, of in held.items() if facts.tariffs[v].plan.cycle == cycle}
            found += _differences(facts, period, held, rounding, zone, cycle, closed=period.until_on <= today)
    return found


def _differences(
    facts: Facts,
    period: DaySpan,
    held: Mapping[OfferingVersionId, Held],
    rounding: str,
    zone: ZoneInfo,
    cycle: Cycle,
    *,
    closed: bool,
) -> list[Due]:
    usage = facts.usage if closed else None
    lines = {
        DueKey(line.kind, period.first_on, version_id, line.code): line
        for version_id, of in held.items()
        for line in rate(facts.price_of(version_id, period), of, zone, usage)
    }
    found = []
    for key in _keys(facts, period, lines, cycle, closed=closed):
        line, before = lines.get(key), facts.charged.get(key, Charged())
        currency = facts.tariffs[key.version_id].currency
        minor = Money.rounded(line.exact, currency, rounding).minor if line else 0
        net = Money(minor - before.net_minor, currency)
        if net:
            days = (line.days if line else 0) - before.days
            octets = (line.octets if line else 0) - before.octets
            span = _span(period, line, before, net)
            found.append(Due(key, period, span, net, days, octets, held.get(key.version_id), line, before))
    return found


def _keys(facts: Facts, period: DaySpan, lines: Mapping[DueKey, Line], cycle: Cycle, *, closed: bool) -> list[DueKey]:
    """Fees before usage; versions charged before stand first: a change of plan reads as credit, then charge.

    While a period is open, nothing is said about what was charged for its end (by a run that stood later in time).
    """
    charged = [
        key
        for key in facts.charged
        if key.period_first_on == period.first_on
        and facts.tariffs[key.version_id].plan.cycle == cycle
        and (closed or price_code(key.code) in in_advance(facts.tariffs[key.version_id].plan))
    ]
    return sorted(dict.fromkeys([*charged, *lines]), key=lambda key: key.kind is ChargeKind.USAGE)


def _span(period: DaySpan, line: Line | None, before: Charged, net: Money) -> DaySpan:
    """The days a charge names: those it charges, or those it gives back."""
    if line is None:
        return before.span or period
    whole = DaySpan(line.spans[0].first_on, line.spans[-1].until_on)
    if before.span is None or line.kind is not ChargeKind.RECURRING:
        return whole
    now = {day for span in line.spans for day in span.each_day()}
    charged = set(before.span.each_day()) - before.given_back
    days = sorted(charged - now if net.minor < 0 else now - charged) or sorted(now)
    return DaySpan(days[0], date.fromordinal(days[-1].toordinal() + 1))
