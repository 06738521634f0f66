"""Which tax a line bears: rates by the day on which they came into force, exemptions by that of a certificate. Pure.

The percent that an offering names is its class ("the standard rate, 19 %"). A `Rate` says at what that class is taxed
from a day on, so a change of law is a row and no new offering. A line that spans such a day, or the first or last day
of a certificate, is split there: its net by days, by largest remainder, so the parts are the whole. What was delivered
before a change keeps the rate of its days.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise

from controller.domain.charge import Charge
from controller.domain.money import Money, allocate

_DAY = timedelta(days=1)
_QUANTITY = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Rate:
    """What is agreed at `agreed` per cent is taxed at `percent` from the day `since` on."""

    agreed: Decimal
    since: date
    percent: Decimal


@dataclass(frozen=True, slots=True)
class Exemption:
    """A certificate: nothing is taxed on [first_on, until_on), for the `reason` that documents print."""

    account_id: str
    first_on: date
    until_on: date
    reason: str


@dataclass(frozen=True, slots=True)
class TaxTable:
    """The rates of an entity, and the exemptions of the accounts in question."""

    rates: Sequence[Rate] = ()
    exemptions: Sequence[Exemption] = ()

    def on(self, agreed: Decimal, account_id: str, day: date) -> tuple[Decimal, str]:
        """(percent, reason of an exemption or "")."""
        for exemption in self.exemptions:
            if exemption.account_id == account_id and exemption.first_on <= day < exemption.until_on:
                return Decimal(0), exemption.reason
        known = [r for r in self.rates if r.agreed == agreed and r.since <= day]
        return (max(known, key=lambda r: r.since).percent if known else agreed), ""

    def apply(self, charges: Iterable[Charge]) -> list[Charge]:
        """Each charge at the tax of its days, in parts where that changes within them."""
        return [part for charge in charges for part in self._parts(charge)]

    def _parts(self, charge: Charge) -> list[Charge]:
        last = max(charge.until_on, charge.first_on + _DAY)
        spans: list[tuple[date, date, Decimal, str]] = []
        edges = sorted({charge.first_on, last, *(e for e in self._edges(charge) if charge.first_on < e < last)})
        for first_on, until_on in pairwise(edges):
            percent, reason = self.on(charge.tax_percent, charge.account_id, first_on)
            if spans and spans[-1][2:] == (percent, reason):
                spans[-1] = (spans[-1][0], until_on, percent, reason)
            else:
                spans.append((first_on, until_on, percent, reason))
        if len(spans) == 1:
            return [replace(charge, tax_percent=spans[0][2], exemption=spans[0][3])]
        days = [(until_on - first_on).days for first_on, until_on, _, _ in spans]
        nets = allocate(charge.net.minor, days)
        quantities = _shares(charge.quantity, days)
        return [
            replace(
                charge,
                first_on=first_on,
                until_on=until_on,
                quantity=quantity,
                net=Money(net, charge.net.currency),
                tax_percent=percent,
                exemption=reason,
            )
            for (first_on, until_on, percent, reason), net, quantity in zip(spans, nets, quantities, strict=True)
        ]

    def _edges(self, charge: Charge) -> Iterable[date]:
        yield from (r.since for r in self.rates if r.agreed == charge.tax_percent)
        for exemption in self.exemptions:
            if exemption.account_id == charge.account_id:
                yield from (exemption.first_on, exemption.until_on)


def _shares(quantity: Decimal, days: Sequence[int]) -> list[Decimal]:
    """For people: by days, to a millionth, the last part what is left."""
    parts = [(quantity * d / sum(days)).quantize(_QUANTITY, ROUND_HALF_EVEN) for d in days[:-1]]
    return [*parts, quantity - sum(parts)]
