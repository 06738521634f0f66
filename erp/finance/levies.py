"""Taxes of communications that are no VAT: surcharges and fees of federal, state and local authorities. Pure.

    rule      a per cent of the amount, or an amount for each line that is provided, or both
    area      a rule holds where the account is: "US" in the country, "US-TX" in the state, "US-TX-Austin" in the city
    upon      codes of other levies that are part of what it is levied on (tax on tax); they are computed first
    rounding  each levy once over the lines of a document, given to them by largest remainder

`LevyAdapter` is the port: the table of rules is one implementation, a tax service asked over HTTP another. What is
levied comes on top of the price, also of one with tax included, and is posted to an account of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Protocol

from controller.domain.charge import Charge, ChargeKind
from controller.domain.identity import AccountId, EntityId
from controller.domain.money import Money
from erp.finance.errors import LevyLoop
from erp.finance.model import Levy, tax_by_line
from erp.finance.tax import EXEMPT


@dataclass(frozen=True, slots=True)
class LevyRule:
    """One levy from `since` on (until before `until_on`). `kinds` are product kinds it is for; none means all."""

    code: str
    name: str
    authority: str
    area: str
    since: date
    percent: Decimal = Decimal(0)
    per_line: Decimal = Decimal(0)
    kinds: tuple[str, ...] = ()
    upon: tuple[str, ...] = ()
    until_on: date | None = None

    def holds(self, line: LevyLine) -> bool:
        """Whether a line bears it."""
        here = not self.area or line.area == self.area or line.area.startswith(f"{self.area}-")
        there = self.since <= line.first_on and (self.until_on is None or line.first_on < self.until_on)
        return here and there and (not self.kinds or line.product in self.kinds) and not line.exempt

    @property
    def rate(self) -> str:
        """For people."""
        parts = [f"{self.percent.normalize():f} %"] if self.percent else []
        return " + ".join([*parts, f"{self.per_line:f} per line"] if self.per_line else parts)


@dataclass(frozen=True, slots=True)
class LevyLine:
    """A line of a document to be. `count` is how many lines it provides, negative where it takes them back."""

    place: int
    area: str
    product: str
    kind: str
    first_on: date
    net: Money
    count: int
    exempt: bool

    @classmethod
    def of(cls, place: int, charge: Charge, area: str) -> LevyLine:
        """Of a charge whose net is without tax."""
        pieces = math.ceil(abs(charge.quantity)) if charge.unit in ("month", "piece") else 1
        count = pieces if charge.kind is ChargeKind.RECURRING else 0
        return cls(
            place,
            area,
            charge.product,
            charge.kind.value,
            charge.first_on,
            charge.net,
            -count if charge.net.minor < 0 else count,
            bool(charge.exemption) and charge.tax_category == EXEMPT,
        )


@dataclass(frozen=True, slots=True)
class LevyRequest:
    """A document about to be issued."""

    entity_id: EntityId
    account_id: AccountId
    lines: tuple[LevyLine, ...]


class LevyAdapter(Protocol):
    """Port. Who computes levies: the built-in table, or a tax service."""

    @property
    def asks_a_peer(self) -> bool:
        """Whether an answer comes over the network: then nobody waits for it in a transaction."""
        ...

    async def levies(self, requests: Sequence[LevyRequest]) -> list[list[Levy]]:
        """For each document its levies. Raises LevyUnavailable; then nothing is issued, and it is tried again."""
        ...


def levied(rules: Iterable[LevyRule], lines: Sequence[LevyLine]) -> list[Levy]:
    """What the lines of one document bear. Raises LevyLoop."""
    found: list[Levy] = []
    for code, versions in in_order(rules):
        bearing = [(line, rule) for line in lines for rule in [_in_force(versions, line)] if rule is not None]
        for rule in dict.fromkeys(rule for _, rule in bearing):
            found += _of_rule(rule, code, [line for line, r in bearing if r == rule], found)
    return found


def in_order(rules: Iterable[LevyRule]) -> list[tuple[str, list[LevyRule]]]:
    """By code, each after those that it is levied upon. Raises LevyLoop for one that is levied on itself."""
    waiting: dict[str, list[LevyRule]] = {}
    for rule in rules:
        waiting.setdefault(rule.code, []).append(rule)
    upon = {code: {u for r in found for u in r.upon} & waiting.keys() for code, found in waiting.items()}
    done: list[tuple[str, list[LevyRule]]] = []
    while waiting:
        ready = [code for code in sorted(waiting) if not upon[code] & waiting.keys()]
        if not ready:
            raise LevyLoop(f"levies are levied on each other: {', '.join(sorted(waiting))}")
        done += [(code, waiting.pop(code)) for code in ready]
    return done


def _in_force(versions: Sequence[LevyRule], line: LevyLine) -> LevyRule | None:
    """The rule of the narrowest area, of those the last to begin."""
    holding = [rule for rule in versions if rule.holds(line)]
    return max(holding, key=lambda r: (len(r.area), r.since)) if holding else None


def _of_rule(rule: LevyRule, code: str, lines: Sequence[LevyLine], before: Sequence[Levy]) -> list[Levy]:
    upon = {line.place: line.net for line in lines}
    for levy in before:
        if levy.code in rule.upon and levy.place in upon:
            upon[levy.place] += levy.tax
    bases = list(upon.values())
    _, shares = tax_by_line(bases, rule.percent, ROUND_HALF_UP)
    made = []
    for line, base, share in zip(lines, bases, shares, strict=True):
        tax = share + Money.rounded(rule.per_line * line.count, base.currency, ROUND_HALF_UP)
        if tax:
            made.append(Levy(line.place, code, rule.name, rule.authority, tax, base, rule.rate))
    return made
