"""Volume above what the plan includes, exact to the octet.

The included volume is prorated by the day exactly like the fee, and the usage of a day belongs to the plan of that
day: whoever changes plan on day 11 has 10/30 of the old volume for the first ten days and 20/30 of the new one
afterwards. A fraction of an included octet is given to the subscriber. Volume counts both directions.

Price × octets ÷ unit, rounded once. A plan without an included volume (None) is unmetered and never has overage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from billing_bridge.rating.proration import Entitled
from controller.domain.money import Money
from controller.domain.tariff import TariffVersion
from controller.domain.units import octets_in


@dataclass(frozen=True, slots=True)
class Overage:
    """`used_octets` on the days of the version, of which `included_octets` are covered and `over_octets` are not."""

    used_octets: int
    included_octets: int | None
    over_octets: int
    amount: Money


def overage(held: Entitled, tariff: TariffVersion, used_by_day: Mapping[date, int], rounding: str) -> Overage:
    """The overage of one version in one period. `used_by_day` may hold other days; they are left out."""
    used = sum(octets for day, octets in used_by_day.items() if any(day in span for span in held.spans))
    if tariff.included_octets is None:
        return Overage(used, None, 0, Money.zero(tariff.currency))
    included = -(-tariff.included_octets * held.days // held.period_days)
    over = max(0, used - included)
    exact = tariff.overage_price * octets_in(over, tariff.overage_unit)
    return Overage(used, included, over, Money.rounded(exact, tariff.currency, rounding))
