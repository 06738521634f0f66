"""Accounts of the corpus: timelines, usage by day, four monthly runs by our own rating.

    account n of seed s ─▶ timelines, usage by day ─▶ four monthly runs by our own rating ─▶ the last one is judged

What is normal here is noisy on purpose: seasons, growth, holidays with the router on or off, people who use ten times
what others do, months that double, late usage, changes of plan back-dated by days, pauses, first and last bills.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_UP

from bench.checks_prices import CATALOGUE, DAY, FIRST_DAY, ITEMS, LINE_WEIGHTS, LINES, MONTHS, RUNS, SEASON, TODAY, ZONE
from billing_bridge.billing.charges import charge_of
from billing_bridge.billing.cycle import Calendar, period_containing
from billing_bridge.billing.model import DayUsage, RatedCharge, Subscription
from billing_bridge.checks.case import Case, Cohort, Holding, Key, Month, Sold
from billing_bridge.rating.due import Charged, DueKey, Facts, due
from billing_bridge.rating.line import Octets, Usage
from billing_bridge.rating.proration import Change, DaySpan
from controller.domain.charge import Charge
from controller.domain.identity import (
    AccountId,
    BillRunId,
    OfferingId,
    OfferingVersionId,
    ServiceId,
    SubscriptionId,
)
from controller.domain.tariff import TariffVersion
from controller.domain.units import GB


@dataclass(slots=True)
class Sub:
    """One subscription as it really is (`changes` with the day they became known), and as billing has it (`billed`)."""

    subscription_id: str
    anchor_day: int
    changes: list[tuple[date, Change]]
    billed: list[Change] = field(default_factory=list)
    usage: dict[date, tuple[int, int]] = field(default_factory=dict)
    late: set[date] = field(default_factory=set)
    """Days of which a part became known only after the run of their month."""
    months: dict[Month, int] = field(default_factory=dict)
    measured: dict[date, int] = field(default_factory=dict)
    earlier: list[RatedCharge] = field(default_factory=list)
    sold: Sold | None = None

    @property
    def metered(self) -> bool:
        return any(c.version_id and CATALOGUE[c.version_id].plan.metered for _, c in self.changes)

    def known(self, run: date) -> list[Change]:
        return [change for known, change in self.changes if known <= run]


@dataclass(slots=True)
class Draft:
    """One account's bill about to leave. Errors change it in place; `rate` makes the charges from its facts."""

    account_id: str
    subs: list[Sub]
    tariffs: dict[OfferingVersionId, TariffVersion] = field(default_factory=lambda: dict(CATALOGUE))
    charges: list[Charge] = field(default_factory=list)
    strangers: list[Charge] = field(default_factory=list)

    def rate(self) -> None:
        self.charges = [r.charge for sub in self.subs for r in _rated(self, sub, TODAY, sub.billed, sub.usage)]

    def case(self, cohorts: Mapping[OfferingId, Cohort]) -> Case:
        return Case(
            AccountId(self.account_id), "EUR", TODAY, self.charges, [_holding(self, sub) for sub in self.subs],
            self.tariffs, CATALOGUE, cohorts,
        )  # fmt: skip


def draft_of(seed: int, n: int) -> Draft:
    rng = random.Random(f"{seed}/{n}")
    draft = Draft(f"account-{n}", people_of(rng, n))
    for sub in draft.subs:
        _daily(rng, sub)
        for run in RUNS[:-1]:
            usage = {
                day: (up * 6 // 10, down * 6 // 10) if day in sub.late and _run_of(day) >= run else (up, down)
                for day, (up, down) in sub.usage.items() if day < run
            }  # fmt: skip
            sub.earlier += _rated(draft, sub, run, sub.known(run), usage)
        sub.billed = sub.known(TODAY)
        last = max((c for c in sub.billed if c.on <= TODAY), key=lambda c: c.on, default=None)
        sub.sold = Sold(last.version_id, last.quantity) if last else None
    draft.rate()
    return draft


def people_of(rng: random.Random, n: int) -> list[Sub]:
    """The subscriptions of an account, with what they used by month."""
    anchor = 1 if rng.random() < 0.75 else rng.randint(1, 31)
    version = rng.choices(LINES, LINE_WEIGHTS)[0]
    began = _began(rng)
    changes = [(began, Change(began, version.version_id))]
    roll = rng.random()
    day = TODAY - DAY * rng.randint(0, 75)
    if day > began + DAY * 3:
        if roll < 0.05:
            other = rng.choices(LINES[:9], LINE_WEIGHTS[:9])[0]
            changes.append((day + DAY * rng.choice((0, 0, 0, 2, 9)), Change(day, other.version_id)))
        elif roll < 0.065:
            back = day + DAY * rng.randint(2, 25)
            changes += [(day, Change(day, None)), (back, Change(back, version.version_id))]
        elif roll < 0.08:
            changes.append((day + DAY * rng.choice((0, 0, 3)), Change(day, None)))
        elif roll < 0.09:
            first, second = rng.choices(LINES[:9], k=2)
            changes += [(day, Change(day, first.version_id)), (day + DAY, Change(day + DAY, second.version_id))]
    changes = [(known, c) for known, c in changes if known <= TODAY]
    subs = [Sub(f"sub-{n}", anchor, changes)]
    ended = changes[-1][1].version_id is None
    for item, share in zip(ITEMS, (0.35, 0.15, 0.08), strict=True):
        if rng.random() < share:
            since = max(began, _began(rng))
            pieces = rng.choice((1, 1, 1, 2, 3, 5)) if item.plan.prices[0].each else 1  # type: ignore[union-attr]
            held = [(since, Change(since, item.version_id, pieces))]
            if ended and changes[-1][1].on > since:
                held.append((changes[-1][0], Change(changes[-1][1].on, None)))
            elif rng.random() < 0.02 and since < TODAY - DAY * 9:
                day = TODAY - DAY * rng.randint(1, 8)
                held.append((day, Change(day, item.version_id, pieces + 1)))
            subs.append(Sub(f"{item.offering_name}-{n}", anchor, held))
    _monthly(rng, subs[0])
    return subs


def _began(rng: random.Random) -> date:
    if rng.random() < 0.04:
        return TODAY - DAY * rng.randint(0, 40)
    return TODAY - DAY * rng.randint(41, 1100)


def _monthly(rng: random.Random, sub: Sub) -> None:
    """Octets per day by month: a level of its own, the season, growth, and what months differ by."""
    level = math.exp(rng.gauss(math.log(6.5 * GB), 0.75))
    if rng.random() < 0.02:
        level *= rng.uniform(4, 10)
    restless = abs(rng.gauss(0.16, 0.07))
    began = sub.changes[0][1].on
    for place, month in enumerate(MONTHS):
        month_began = date(*month, 1)
        noise = math.exp(rng.gauss(0, restless))
        if rng.random() < 0.01:
            noise *= rng.uniform(1.8, 3.5)
        away = rng.random() < 0.04
        if month_began <= began:
            continue
        per_day = level * SEASON[month[1] - 1] * 1.015**place * noise * (rng.uniform(0.3, 0.7) if away else 1)
        sub.months[month] = int(per_day)


def _daily(rng: random.Random, sub: Sub) -> None:
    """Days that make up the months; another source counts most services, with an error of its own."""
    if not sub.metered:
        return
    own = sub.months or {}
    counted, bias = rng.random() < 0.85, rng.gauss(0, 0.004)
    away_from = FIRST_DAY + DAY * rng.randint(0, 110) if rng.random() < 0.15 else None
    router_off = rng.random() < 0.3
    day = max(FIRST_DAY, sub.changes[0][1].on)
    level = sum(own.values()) / len(own) if own else 6 * GB * math.exp(rng.gauss(0, 0.5))
    while day < TODAY:
        per_day = own.get((day.year, day.month), level) * math.exp(rng.gauss(-0.08, 0.4))
        if day.weekday() >= 5:
            per_day *= 1.25
        if away_from is not None and away_from <= day < away_from + DAY * 9:
            per_day *= 0 if router_off else 0.02
        if per_day and _on(sub, day):
            upstream = int(per_day * rng.uniform(0.06, 0.14))
            sub.usage[day] = (upstream, int(per_day) - upstream)
            if counted and rng.random() > 0.03:
                sub.measured[day] = int(per_day * (1 + bias) * (1 + rng.gauss(0, 0.006)))
        day += DAY
    if rng.random() < 0.03:
        first = FIRST_DAY + DAY * rng.randint(40, 100)
        sub.late = {d for d in sub.usage if first <= d < first + DAY * 3}


def _on(sub: Sub, day: date) -> bool:
    held = [c for _, c in sub.changes if c.on <= day]
    return bool(held) and held[-1].version_id is not None


def _run_of(day: date) -> date:
    """The run that would have charged usage of `day`."""
    return next((run for run in RUNS if run > day), TODAY)


def _rated(
    draft: Draft, sub: Sub, run: date, changes: Sequence[Change], usage: Mapping[date, tuple[int, int]]
) -> list[RatedCharge]:
    days = [
        DayUsage(ServiceId(sub.subscription_id), day, up, down, 96, 1) for day, (up, down) in usage.items() if day < run
    ]
    charged: dict[DueKey, list[RatedCharge]] = {}
    for before in sub.earlier:
        c = before.charge
        charged.setdefault(DueKey(c.kind, before.period.first_on, c.version_id, before.code), []).append(before)
    sums = {key: _sum(of) for key, of in charged.items()}
    first = max(RUNS[0], changes[0].on) if changes else run
    if not changes or first > run:
        return []
    calendar, place = Calendar(sub.anchor_day), RUNS.index(run)
    subscription = Subscription(
        SubscriptionId(sub.subscription_id), AccountId(draft.account_id), ServiceId(sub.subscription_id), ZONE,
        calendar, first, calendar.period(RUNS[place - 1]).first_on if place else None, changes, 1, sums, days,
    )  # fmt: skip
    facts = Facts(changes, draft.tariffs, _by_hour(days), sums)
    found = due(facts, calendar.periods(first, run), run, ROUND_HALF_UP, ZONE)
    run_id = BillRunId(f"run-{run.isoformat()}")
    return [charge_of(f, subscription, draft.tariffs[f.key.version_id], run_id, ROUND_HALF_UP) for f in found]


def _sum(of: Sequence[RatedCharge]) -> Charged:
    days: set[date] = set()
    for r in of:
        named = set(DaySpan(r.charge.first_on, r.charge.until_on).each_day())
        days = days | named if r.charge.net.minor > 0 else days - named
    span = DaySpan(min(days), max(days) + DAY) if days else None
    return Charged(
        sum(r.charge.net.minor for r in of), sum(r.octets for r in of), sum(r.days for r in of), len(of), span
    )


_HOURS = (8, 40, 60, 76, 84)
"""Quarters of the clock in which the day's octets lie, a fifth each: the first is at night."""


def _quarters(up: int, down: int) -> dict[int, Octets]:
    parts = {q: Octets(up // 5, down // 5) for q in _HOURS[:-1]}
    parts[_HOURS[-1]] = Octets(up - 4 * (up // 5), down - 4 * (down // 5))
    return parts


def _by_hour(days: Sequence[DayUsage]) -> Usage:
    return Usage(
        {d.day: Octets(d.upstream_octets, d.downstream_octets) for d in days},
        {d.day: _quarters(d.upstream_octets, d.downstream_octets) for d in days},
    )


def _holding(draft: Draft, sub: Sub) -> Holding:
    charged: dict[Key, int] = {}
    for r in sub.earlier:
        key = Key(r.period.first_on, r.charge.version_id, r.charge.kind)
        charged[key] = charged.get(key, 0) + r.charge.net.minor
    closed = period_containing(period_containing(TODAY, sub.anchor_day).first_on - DAY, sub.anchor_day)
    return Holding(
        sub.subscription_id, sub.subscription_id, AccountId(draft.account_id), Calendar(sub.anchor_day), sub.billed,
        [DayUsage(ServiceId(sub.subscription_id), day, up, down, 96, 1) for day, (up, down) in sub.usage.items()],
        charged,
        {month: octets for month, octets in sub.months.items() if date(*month, 28) < closed.first_on},
        sub.measured,
        {day: _quarters(up, down) for day, (up, down) in sub.usage.items()},
        sub.sold,
    )  # fmt: skip
