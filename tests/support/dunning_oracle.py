"""Dunning told day by day, by another hand than erp.dunning.model: an account is walked from its first day on.

Only what is needed for that is known here: no dates are computed ahead, every night looks at what lies before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from erp.dunning.model import Disputed, Pause, Policy

ORDER = ["none", "throttle", "garden", "suspend"]


@dataclass
class Invoice:
    name: str
    due: date
    total: int
    paid: list[tuple[date, int]] = field(default_factory=list)

    def open_at_end_of(self, day: date) -> int:
        return self.total - sum(amount for when, amount in self.paid if when <= day)


@dataclass
class Night:
    """What one night came to: (invoice, rung) of the steps it took, and what the account is left with."""

    took: list[tuple[str, int]]
    measure: str
    claimed: int


def walk(
    invoices: Sequence[Invoice],
    policy: Policy,
    nights: Sequence[date],
    *,
    disputes: Sequence[Disputed] = (),
    pauses: Sequence[Pause] = (),
    works: Callable[[date], bool],
) -> Mapping[date, Night]:
    """Every night in `nights`, in order; the ones between were missed."""
    climbed: dict[str, list[date]] = {invoice.name: [] for invoice in invoices}
    told = {}
    for tonight in nights:
        claimed = {}
        for invoice in invoices:
            if tonight <= invoice.due:
                continue
            contested = sum(
                d.amount_minor for d in disputes
                if d.invoice_id == invoice.name and d.first_on <= tonight and not (d.until_on and d.until_on <= tonight)
            )  # fmt: skip
            left = invoice.open_at_end_of(tonight) - contested
            if left > 0:
                claimed[invoice.name] = left
        everything = sum(claimed.values())
        resting = [p for p in pauses if p.first_on <= tonight and not (p.until_on and p.until_on <= tonight)]
        took = []
        for invoice in invoices:
            rungs = climbed[invoice.name]
            if invoice.name in claimed and not resting and works(tonight) and len(rungs) < len(policy.steps):
                step = policy.steps[len(rungs)]
                late_enough = (tonight - invoice.due).days >= step.days
                rested_enough = not rungs or (tonight - rungs[-1]).days >= max(1, step.gap_days)
                if everything >= max(policy.minimum_minor, step.minimum_minor) and late_enough and rested_enough:
                    took.append((invoice.name, len(rungs) + 1))
        for name, _ in took:
            climbed[name].append(tonight)
        worst = "none"
        for name in claimed:
            for rung, _ in enumerate(climbed[name]):
                step = policy.steps[rung]
                if everything >= max(policy.minimum_minor, step.minimum_minor):
                    worst = max(worst, step.measure.value, key=ORDER.index)
        if any(p.lifts for p in resting):
            worst = "none"
        told[tonight] = Night(took, worst, everything)
    return told


def every_night(first: date, count: int) -> list[date]:
    return [first + timedelta(days=n) for n in range(count)]
