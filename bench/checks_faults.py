"""Errors of a bill: each function changes its lines the way the fault would; False where the bill does not lend itself.

They are those of the trade, made without a look at what detects them.
"""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal

from bench.checks_lines import (
    Spoiler,
    another_line,
    change_line,
    discount_lines,
    fee_lines,
    net_times,
    of_offering,
    parts_of_months,
    pick,
    sub_of,
    usage_lines,
    whole_months,
)
from bench.checks_people import Draft, Sub
from bench.checks_prices import CATALOGUE, DAY, RUNS, TODAY
from billing_bridge.billing.cycle import period_containing
from billing_bridge.rating.proration import DaySpan
from controller.domain.charge import Charge, ChargeKind
from controller.domain.identity import (
    AccountId,
    BillRunId,
    ChargeId,
    OfferingVersionId,
    ServiceId,
    SubscriptionId,
    new_id,
)
from controller.domain.money import Money
from controller.domain.price import (
    OneOff,
    Overage,
)
from controller.domain.tariff import TariffVersion
from controller.domain.units import GB


def charged_again(rng: random.Random, draft: Draft) -> bool:
    """A month that was paid is charged again."""
    before = [
        r for s in draft.subs for r in s.earlier if r.charge.kind is ChargeKind.RECURRING and r.charge.net.minor > 100
    ]
    if not before or not draft.charges:
        return False
    draft.charges.append(another_line(rng, rng.choice(before).charge, bill_run_id=draft.charges[0].bill_run_id))
    return True


def too_early(rng: random.Random, draft: Draft) -> bool:
    """The month after the next is charged too."""
    line = pick(rng, whole_months(draft))
    if line is None:
        return False
    later = period_containing(line.until_on, sub_of(draft, line).anchor_day)
    draft.charges.append(another_line(rng, line, first_on=later.first_on, until_on=later.until_on))
    return True


def a_day_too_many(rng: random.Random, draft: Draft) -> bool:
    line = pick(rng, [c for c in fee_lines(draft) if c.net.minor > 900])
    if line is None:
        return False
    days = (line.until_on - line.first_on).days
    factor = Decimal(days + 1) / days
    change_line(draft, line, quantity=line.quantity * factor, net=net_times(line, factor), until_on=line.until_on + DAY)
    return True


def whole_for_a_part(rng: random.Random, draft: Draft) -> bool:
    line = pick(rng, parts_of_months(draft))
    if line is None:
        return False
    tariff = CATALOGUE[line.version_id]
    fee = tariff.monthly_fee
    if not fee or abs(line.net.amount) >= fee:
        return False
    change_line(draft, line, quantity=Decimal(1), unit="month", unit_price=fee, net=Money.exact(fee, "EUR"))
    return True


def part_for_a_whole(rng: random.Random, draft: Draft) -> bool:
    line = pick(rng, whole_months(draft))
    if line is None or line.quantity != 1:
        return False
    factor = Decimal(rng.randint(12, 27)) / 31
    change_line(draft, line, quantity=factor, net=net_times(line, factor))
    return True


def after_the_end(rng: random.Random, draft: Draft) -> bool:
    """The end of a line never reached billing's run: the whole month is charged."""
    for sub in draft.subs:
        last = sub.billed[-1]
        held = [c for c in sub.billed if c.version_id]
        if last.version_id is None and last.on <= TODAY and held:
            tariff = CATALOGUE[held[-1].version_id]  # type: ignore[index]
            period = period_containing(TODAY, sub.anchor_day)
            if tariff.monthly_fee and last.on <= period.first_on:
                draft.charges.append(_made(rng, draft, sub, tariff, period))
                return True
    return False


def while_paused(rng: random.Random, draft: Draft) -> bool:
    """A pause ends and the fee of its days is charged after all."""
    for sub in draft.subs:
        paused = [(a, b) for a, b in zip(sub.billed, sub.billed[1:], strict=False) if a.version_id is None]
        for a, b in paused:
            if b.version_id is None or b.on > TODAY or not draft.charges:
                continue
            tariff, period = CATALOGUE[b.version_id], period_containing(a.on, sub.anchor_day)
            if tariff.monthly_fee and period.until_on >= b.on and (b.on - a.on).days > 1:
                days = (b.on - a.on).days
                net = Money.rounded(tariff.monthly_fee * days / period.days, "EUR", ROUND_HALF_UP)
                line = _made(rng, draft, sub, tariff, DaySpan(a.on, b.on))
                draft.charges.append(
                    replace(
                        line, quantity=Decimal(days), unit="day", unit_price=tariff.monthly_fee / period.days, net=net
                    )
                )
                return True
    return False


def _made(rng: random.Random, draft: Draft, sub: Sub, tariff: TariffVersion, span: DaySpan) -> Charge:
    return Charge(
        ChargeId(new_id(datetime.fromtimestamp(rng.randrange(10**9), UTC))), BillRunId(f"run-{TODAY}"),
        AccountId(draft.account_id), SubscriptionId(sub.subscription_id), ServiceId(sub.subscription_id),
        tariff.version_id, ChargeKind.RECURRING, span.first_on, span.until_on,
        f"{tariff.offering_name}: monthly fee", Decimal(1), "month", tariff.monthly_fee,
        Money.exact(tariff.monthly_fee, "EUR"), tariff.tax_percent, tariff.offering_name,
    )  # fmt: skip


def somebody_elses(rng: random.Random, draft: Draft) -> bool:
    line = pick(rng, fee_lines(draft))
    if line is None:
        return False
    other = f"sub-{rng.randrange(10**6, 10**7)}"
    draft.charges.append(another_line(rng, line, subscription_id=SubscriptionId(other), service_id=ServiceId(other)))
    return True


def other_plans_usage(rng: random.Random, draft: Draft) -> bool:
    """Usage priced by a plan that the line does not have."""
    lines = [
        c for c in fee_lines(draft) if c.subscription_id.startswith("sub-") and not CATALOGUE[c.version_id].plan.metered
    ]
    line = pick(rng, lines)
    if line is None:
        return False
    octets = rng.randint(30, 400)
    price = Decimal("0.12")
    period = period_containing(
        period_containing(TODAY, sub_of(draft, line).anchor_day).first_on - DAY, sub_of(draft, line).anchor_day
    )
    draft.charges.append(another_line(
        rng, line, version_id=OfferingVersionId("payg-v1"), kind=ChargeKind.USAGE, first_on=period.first_on,
        until_on=period.until_on, quantity=Decimal(octets), unit="GB", unit_price=price,
        net=Money.rounded(price * octets, "EUR", ROUND_HALF_UP), description=f"payg: {octets} GB",
    ))  # fmt: skip
    return True


def promotion_goes_on(rng: random.Random, draft: Draft) -> bool:
    """A discount whose months are over is taken off once more."""
    ended = {c.subscription_id for c in discount_lines(draft)}
    lines = [c for c in of_offering("home-plus")(draft) if c.subscription_id not in ended and c.unit == "month"]
    line = pick(rng, lines)
    if line is None:
        return False
    net = net_times(line, Decimal("-0.5"))
    days = (line.until_on - line.first_on).days
    draft.charges.append(another_line(
        rng, line, net=net, quantity=Decimal(days), unit="day", unit_price=net.amount / days,
        description="home-plus: discount of 50 %",
    ))  # fmt: skip
    return True


def credit_too_large(rng: random.Random, draft: Draft) -> bool:
    """More is given back for a month than was paid for it."""
    before = [
        (s, r) for s in draft.subs for r in s.earlier
        if r.charge.kind is ChargeKind.RECURRING and r.charge.net.minor > 500
    ]  # fmt: skip
    if not before or not draft.charges:
        return False
    _, r = rng.choice(before)
    net = net_times(r.charge, Decimal("-1.4"))
    draft.charges.append(another_line(
        rng, r.charge, net=net, quantity=Decimal(-1), unit="period", unit_price=abs(net.amount), adjustment=True,
        bill_run_id=draft.charges[0].bill_run_id, description=f"{r.charge.item}: credit of monthly fee",
    ))  # fmt: skip
    return True


def ten_times_the_pieces(rng: random.Random, draft: Draft) -> bool:
    line = pick(rng, [c for c in of_offering("router", "addresses")(draft) if c.unit == "month"])
    if line is None:
        return False
    change_line(draft, line, quantity=line.quantity * 10, net=net_times(line, Decimal(10)))
    return True


def does_not_add_up(rng: random.Random, draft: Draft) -> bool:
    line = pick(rng, fee_lines(draft))
    if line is None:
        return False
    off = rng.choice((-1, 1)) * rng.randint(30, 900)
    change_line(draft, line, net=Money(line.net.minor + off, line.net.currency))
    return True


def one_off_again(rng: random.Random, draft: Draft) -> bool:
    """The opening fee of a customer of years is charged."""
    for sub in draft.subs:
        held = [c for c in sub.billed if c.version_id]
        if not held or held[0].on > RUNS[0] or sub.billed[-1].version_id is None:
            continue
        tariff = CATALOGUE[held[-1].version_id]  # type: ignore[index]
        price = next((p for p in tariff.plan.prices if isinstance(p, OneOff)), None)
        if price is not None and draft.charges:
            made = _made(rng, draft, sub, tariff, DaySpan(TODAY, TODAY + DAY))
            net = Money.exact(price.amount, "EUR")
            draft.charges.append(replace(
                made, kind=ChargeKind.ONE_OFF, unit="piece", unit_price=price.amount, net=net,
                description=f"{tariff.offering_name}: one-off charge",
            ))  # fmt: skip
            return True
    return False


def one_off_lines(draft: Draft) -> list[Charge]:
    return [c for c in draft.charges if c.kind is ChargeKind.ONE_OFF and c.net.minor > 0]


def nothing_included(rng: random.Random, draft: Draft) -> bool:
    """The included volume is not taken off."""
    for line in usage_lines(draft):
        tariff = CATALOGUE[line.version_id]
        price = next((p for p in tariff.plan.prices if isinstance(p, Overage) and p.included), None)
        if price is None or tariff.offering_name != "metered":
            continue
        used = sum(sum(o) for d, o in sub_of(draft, line).usage.items() if line.first_on <= d < line.until_on)
        amount = Decimal(used) / GB
        change_line(draft, line, quantity=amount, net=Money.rounded(amount * price.price, "EUR", ROUND_HALF_UP))
        return True
    return False


def free_hours_charged(rng: random.Random, draft: Draft) -> bool:
    for sub in draft.subs:
        if any(c.version_id == "nights-v1" for c in sub.billed):
            before = draft.charges
            plain = CATALOGUE[OfferingVersionId("nights-v1")]
            fee, by_day, *_ = plain.plan.prices
            assert isinstance(by_day, Overage)
            all_day = replace(plain.plan, prices=(fee, replace(by_day, bands=())))
            draft.tariffs = {**draft.tariffs, plain.version_id: replace(plain, plan=all_day)}
            draft.rate()
            draft.tariffs = dict(CATALOGUE)
            # The usage of the same days must cost more for it.
            now, was = sum(c.net.minor for c in draft.charges), sum(c.net.minor for c in before)
            if now > was + 50 and not any(c.adjustment for c in draft.charges):
                return True
            draft.charges = before
    return False


def raised(times: str) -> Spoiler:
    def spoil(rng: random.Random, draft: Draft) -> bool:
        for line in of_offering("business")(draft):
            first = sub_of(draft, line).billed[0].on
            if (TODAY - first).days > 400 and line.net.minor > 5000:
                factor = Decimal("1.025") ** (1 if times == "twice" else -1)
                price = (line.unit_price * factor).quantize(Decimal("0.01"))
                change_line(draft, line, unit_price=price, net=net_times(line, price / line.unit_price))
                return True
        return False

    return spoil


def thirty_days(rng: random.Random, draft: Draft) -> bool:
    """A part of a month of 31 days is divided by another number of days."""
    line = pick(rng, [c for c in parts_of_months(draft) if c.net.minor > 400])
    if line is None:
        return False
    factor = Decimal(31) / 28
    change_line(draft, line, unit_price=line.unit_price * factor, net=net_times(line, factor))
    return True


def late_usage_twice(rng: random.Random, draft: Draft) -> bool:
    late = [c for c in draft.charges if c.kind is ChargeKind.USAGE and c.adjustment and c.net.minor > 50]
    line = pick(rng, late)
    if line is None:
        return False
    draft.charges.append(another_line(rng, line, description=f"{line.description} (late)"))
    return True


def both_in_full(rng: random.Random, draft: Draft) -> bool:
    """After a change of plan the days of the old one are not given back."""
    for sub in draft.subs:
        if not any(c.version_id for c in sub.billed[1:]):
            continue
        own = [c for c in draft.charges if c.subscription_id == sub.subscription_id]
        credits = [c for c in own if c.kind is ChargeKind.RECURRING and c.net.minor < -100 and c.adjustment]
        if credits and any(c.net.minor > 0 for c in own):
            draft.charges = [c for c in draft.charges if c not in credits]
            return True
    return False
