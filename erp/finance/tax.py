"""Which tax a line bears: rates by the day and the place, exemptions by the days of a certificate. Pure.

The percent that an offering names is its class ("the standard rate, 19 %"). A `Rate` says at what that class is taxed
from a day on, everywhere or in an area, so a change of law is a row and no new offering. A line that spans such a day,
a move to another area, or the first or last day of a certificate, is split there: its amount by days, by largest
remainder, so the parts are the whole. What was delivered before a change keeps the rate of its days.

A price with tax included is what is paid, whatever the rate of the day. Whoever has a certificate pays it without the
tax that it would have in it.
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
_NONE = Decimal(0)

TAXED = ("S", "L", "M")
"""UNCL 5305: standard or reduced rate, Canary Islands, Ceuta and Melilla. All others bear no tax."""
EXEMPT = "E"
REASONS = {"AE": "VATEX-EU-AE", "K": "VATEX-EU-IC", "G": "VATEX-EU-G", "O": "VATEX-EU-O"}
"""VATEX code that says for each category what it is, where nothing more is known."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What is agreed at `agreed` per cent is taxed at `percent` from `since` on, in an area or ("") everywhere else."""

    agreed: Decimal
    since: date
    percent: Decimal
    area: str = ""


@dataclass(frozen=True, slots=True)
class Exemption:
    """A certificate: nothing is taxed on [first_on, until_on), for the `reason` that documents print.

    `category` is E for an exemption, AE where the customer owes the tax, K, G or O; `code` is of the VATEX list.
    """

    account_id: str
    first_on: date
    until_on: date
    reason: str
    category: str = EXEMPT
    code: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """An account is in the tax area `area` from the day `since` on: "ES-CN", "US-TX-Austin"."""

    account_id: str
    since: date
    area: str


@dataclass(frozen=True, slots=True)
class Treatment:
    """How a day is taxed. `relief` is the per cent that a certificate spares."""

    category: str
    percent: Decimal
    reason: str = ""
    code: str = ""
    relief: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class TaxTable:
    """The rates of an entity, and the exemptions and places of the accounts in question."""

    rates: Sequence[Rate] = ()
    exemptions: Sequence[Exemption] = ()
    places: Sequence[Place] = ()
    home: str = ""
    """The country of the entity: where an account is that nobody said anything of."""

    def on(self, charge: Charge, day: date) -> Treatment:
        """How what is charged is taxed on a day."""
        if charge.tax_category not in TAXED:
            return Treatment(charge.tax_category, Decimal(0), charge.exemption, REASONS.get(charge.tax_category, ""))
        percent = self._percent(charge, day)
        for held in self.exemptions:
            if held.account_id == charge.account_id and held.first_on <= day < held.until_on:
                code = held.code or REASONS.get(held.category, "")
                return Treatment(held.category, Decimal(0), held.reason, code, percent)
        return Treatment(charge.tax_category, percent)

    def area(self, account_id: str, day: date) -> str:
        """Where an account is on a day; at `home` where nobody said."""
        if not self.places:
            return self.home
        known = [p for p in self.places if p.account_id == account_id and p.since <= day]
        return max(known, key=lambda p: p.since).area if known else self.home

    def apply(self, charges: Iterable[Charge]) -> list[Charge]:
        """Each charge as its days are taxed, in parts where that changes within them."""
        if not (self.rates or self.exemptions or self.places):
            return [c if _plainly_taxed(c) else _treated(c, self.on(c, c.first_on)) for c in charges]
        return [part for charge in charges for part in self._parts(charge)]

    def _percent(self, charge: Charge, day: date) -> Decimal:
        area = self.area(charge.account_id, day)
        for place in dict.fromkeys((area, "")):
            known = [r for r in self.rates if (r.agreed, r.area) == (charge.tax_percent, place) and r.since <= day]
            if known:
                return max(known, key=lambda r: r.since).percent
        return charge.tax_percent

    def _parts(self, charge: Charge) -> list[Charge]:
        last = max(charge.until_on, charge.first_on + _DAY)
        spans: list[tuple[date, date, Treatment]] = []
        edges = sorted({charge.first_on, last, *(e for e in self._edges(charge) if charge.first_on < e < last)})
        for first_on, until_on in pairwise(edges):
            treatment = self.on(charge, first_on)
            if spans and spans[-1][2] == treatment:
                spans[-1] = (spans[-1][0], until_on, treatment)
            else:
                spans.append((first_on, until_on, treatment))
        if len(spans) == 1:
            return [_treated(charge, spans[0][2])]
        days = [(until_on - first_on).days for first_on, until_on, _ in spans]
        nets = allocate(charge.net.minor, days)
        quantities = _shares(charge.quantity, days)
        return [
            _treated(
                replace(
                    charge,
                    first_on=first_on,
                    until_on=until_on,
                    quantity=quantity,
                    net=Money(net, charge.net.currency),
                ),
                treatment,
            )
            for (first_on, until_on, treatment), net, quantity in zip(spans, nets, quantities, strict=True)
        ]

    def _edges(self, charge: Charge) -> Iterable[date]:
        yield from (r.since for r in self.rates if r.agreed == charge.tax_percent)
        yield from (p.since for p in self.places if p.account_id == charge.account_id)
        for exemption in self.exemptions:
            if exemption.account_id == charge.account_id:
                yield from (exemption.first_on, exemption.until_on)


def _plainly_taxed(charge: Charge) -> bool:
    """Whether it says of itself how it is taxed where nothing else says anything."""
    said = charge.exemption or charge.exemption_code or charge.tax_relief
    return charge.tax_category in TAXED and not said


def _treated(charge: Charge, treatment: Treatment) -> Charge:
    relief = treatment.relief if charge.tax_included else _NONE
    said = (charge.tax_category, charge.tax_percent, charge.exemption, charge.exemption_code, charge.tax_relief)
    # Most charges are taxed as their version says, and copies of hundreds of thousands are a cost of a bill run.
    if said == (treatment.category, treatment.percent, treatment.reason, treatment.code, relief):
        return charge
    return replace(
        charge,
        tax_category=treatment.category,
        tax_percent=treatment.percent,
        exemption=treatment.reason,
        exemption_code=treatment.code,
        tax_relief=relief,
    )


def _shares(quantity: Decimal, days: Sequence[int]) -> list[Decimal]:
    """For people: by days, to a millionth, the last part what is left."""
    parts = [(quantity * d / sum(days)).quantize(_QUANTITY, ROUND_HALF_EVEN) for d in days[:-1]]
    return [*parts, quantity - sum(parts)]
