"""Errors in what a bill is made from: usage that was counted wrong, and facts that other rooms know better."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal

from bench.checks_lines import Spoiler, fee_lines, pick
from bench.checks_people import Draft, Sub
from bench.checks_prices import CATALOGUE, DAY, TODAY
from billing_bridge.billing.cycle import period_containing
from billing_bridge.checks.case import Sold
from controller.domain.identity import OfferingVersionId
from controller.domain.price import (
    Flat,
)


def spoiled_usage(change: Callable[[random.Random, Sub, list[date]], bool]) -> Spoiler:
    """An error in the usage that the bill is rated from; it must cost the customer or us at least six euros."""

    def spoil(rng: random.Random, draft: Draft) -> bool:
        for sub in draft.subs:
            if not sub.metered or sub.billed[-1].version_id is None or len(sub.billed) > 1:
                continue
            period = period_containing(period_containing(TODAY, sub.anchor_day).first_on - DAY, sub.anchor_day)
            days = [d for d in sorted(sub.usage) if d in period]
            if len(days) < 20:
                continue
            usage, before = dict(sub.usage), draft.charges
            if change(rng, sub, days):
                draft.rate()
                now, was = sum(c.net.minor for c in draft.charges), sum(c.net.minor for c in before)
                if abs(now - was) >= 600 and draft.charges:
                    return True
            sub.usage, draft.charges = usage, before
        return False

    return spoil


def multiplied(factor: float) -> Callable[[random.Random, Sub, list[date]], bool]:
    def change(rng: random.Random, sub: Sub, days: list[date]) -> bool:
        for day in days:
            up, down = sub.usage[day]
            sub.usage[day] = (int(up * factor), int(down * factor))
        return True

    return change


def lost_days(rng: random.Random, sub: Sub, days: list[date]) -> bool:
    first = rng.randrange(0, max(1, len(days) - 14))
    for day in days[first : first + 14]:
        del sub.usage[day]
    return True


def counter_jump(rng: random.Random, sub: Sub, days: list[date]) -> bool:
    day = rng.choice(days)
    up, down = sub.usage[day]
    sub.usage[day] = (up, down + sum(sum(sub.usage[d]) for d in days) * rng.randint(8, 60) // 2)
    return True


def neighbours(rng: random.Random, sub: Sub, days: list[date]) -> bool:
    """A line was connected to another's port: the usage is that of somebody else."""
    factor = math.exp(rng.gauss(0, 0.9))
    if 0.5 < factor < 2:
        return False
    return multiplied(factor * 1.0)(rng, sub, days)


def direction_twice(rng: random.Random, sub: Sub, days: list[date]) -> bool:
    """Downstream octets stand in both directions."""
    for day in days:
        _, down = sub.usage[day]
        sub.usage[day] = (down, down)
    return True


def old_plan(rng: random.Random, draft: Draft) -> bool:
    """A change of plan was built and never reached billing."""
    sub = draft.subs[0]
    if len(sub.billed) != 1 or sub.billed[0].version_id not in ("home-v2", "home-plus-v1", "metered-v1", "packs-v1"):
        return False
    if not draft.charges:
        return False
    sub.sold = Sold(OfferingVersionId(rng.choice(("home-v1", "tiers-v1"))))
    return True


def copied_price(rng: random.Random, draft: Draft) -> bool:
    """Billing's copy of the price is not what was agreed."""
    line = pick(rng, fee_lines(draft))
    if line is None or not isinstance(CATALOGUE[line.version_id].plan.prices[0], Flat):
        return False
    tariff = CATALOGUE[line.version_id]
    first = tariff.plan.prices[0]
    assert isinstance(first, Flat)
    price = replace(first, amount=first.amount + rng.choice((Decimal("-3.00"), Decimal("1.00"), Decimal("5.00"))))
    if price.amount <= 0:
        return False
    plan = replace(tariff.plan, prices=(price, *tariff.plan.prices[1:]))
    draft.tariffs = {**draft.tariffs, tariff.version_id: replace(tariff, plan=plan)}
    draft.rate()
    return bool(draft.charges)


def old_quantity(rng: random.Random, draft: Draft) -> bool:
    for sub in draft.subs:
        last = sub.billed[-1]
        if last.version_id in ("router-v1", "addresses-v1") and any(
            c.subscription_id == sub.subscription_id for c in draft.charges
        ):
            sub.sold = Sold(last.version_id, last.quantity + rng.randint(1, 3))
            return True
    return False


def ended_in_orders(rng: random.Random, draft: Draft) -> bool:
    for sub in draft.subs:
        if sub.billed[-1].version_id and any(c.subscription_id == sub.subscription_id for c in draft.charges):
            sub.sold = Sold(None)
            return True
    return False
