"""Fees by the day: flat prices with their windows and escalation, discounts on them, and what is due once.

    fee × piece-days ÷ days of the period

Days of a pause cost the share of the fee that goes on, on a line of its own; those of a pause that costs nothing are on
none. Promotions and escalators count the months of the calendar, paused or not.

A window is counted in months from the first day of the offering, so the sixth month of a promotion ends on a day, and
the period in which it ends is discounted to that day. An escalator cuts a fee into steps, each a line of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

from billing_bridge.rating.codes import line_code
from billing_bridge.rating.line import Line
from billing_bridge.rating.proration import WHOLE_FEE, DaySpan, Held, Stretch
from controller.domain.charge import ChargeKind
from controller.domain.clock import add_months
from controller.domain.money import Money
from controller.domain.price import Cycle, Discount, Escalator, Flat, OneOff, Window
from controller.domain.tariff import TariffVersion

PRICE_PLACES = Decimal("0.000001")
"""Prices per day are shown with six decimals; the amount is computed from the fee, never from them."""
_ADJECTIVES: dict[Cycle, str] = {
    "week": "weekly", "month": "monthly", "quarter": "quarterly", "half-year": "half-yearly", "year": "yearly"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Step:
    """The fee of one escalation step and the stretches in which it holds."""

    number: int
    fee: Decimal
    stretches: tuple[Stretch, ...]


def flat_lines(price: Flat, tariff: TariffVersion, held: Held) -> list[Line]:
    """One line for each escalation step that holds on a day of the period, and for each share of it that goes on."""
    lines = []
    for step in _steps(price, tariff, held):
        for percent in sorted({s.percent for s in step.stretches if s.percent}, reverse=True):
            own = tuple(s for s in step.stretches if s.percent == percent)
            lines.append(_flat_line(price, tariff, held, _Step(step.number, step.fee, own), percent))
    return lines


def _flat_line(price: Flat, tariff: TariffVersion, held: Held, step: _Step, percent: int) -> Line:
    days = _piece_days(step.stretches, each=price.each)
    fee = paused_fee(step.fee, percent)
    exact = fee * days / held.period.priced_days
    quantity, unit, unit_price = of_days(days, held.period.priced_days, fee)
    steps = [f"{s.span.first_on} until {s.span.until_on} (exclusive): {_pieces(s, price)}" for s in step.stretches]
    if step.number:
        steps.append(f"{price.amount} {tariff.currency} raised {step.number} times = {step.fee}")
    if percent != WHOLE_FEE:
        steps.append(f"paused: {percent} % of {step.fee} {tariff.currency} = {fee}")
    steps.append(f"{fee} {tariff.currency} × {days} ÷ {held.period.priced_days} days = {exact}")
    return Line(
        code=line_code(price.code, step.number, percent),
        kind=ChargeKind.RECURRING,
        label=fee_label(price, tariff) + (f", paused at {percent} %" if percent != WHOLE_FEE else ""),
        exact=exact,
        quantity=quantity,
        unit=unit,
        unit_price=unit_price,
        days=days,
        spans=tuple(s.span for s in step.stretches),
        steps=tuple(steps),
    )


def fee_label(price: Flat, tariff: TariffVersion) -> str:
    """What a fee is called where its price does not say."""
    return price.label or f"{_ADJECTIVES[tariff.plan.cycle]} fee"


def paused_fee(fee: Decimal, percent: int) -> Decimal:
    """The share of a fee that goes on while the service is paused."""
    return fee if percent == WHOLE_FEE else fee * percent / 100


def discount_line(price: Discount, tariff: TariffVersion, held: Held) -> Line | None:
    """The percentage of what the discounted fees come to on the days of the discount; None without a day."""
    within = window_days(price.window, held.since_on)
    fee_days, spans, steps = Decimal(0), set[DaySpan](), []
    for flat in tariff.plan.prices:
        if not isinstance(flat, Flat) or (price.of and flat.code not in price.of):
            continue
        for step in _steps(flat, tariff, held):
            cut = [s for s in _within(step.stretches, within) if s.percent]
            spans |= {s.span for s in cut}
            for percent in sorted({s.percent for s in cut}, reverse=True):
                days = _piece_days([s for s in cut if s.percent == percent], each=flat.each)
                fee_days += paused_fee(step.fee, percent) * days
                steps.append(f"{flat.code}: {paused_fee(step.fee, percent)} {tariff.currency} × {days} days")
    if not spans:
        return None
    exact = -fee_days * price.percent / (100 * held.period.priced_days)
    steps.append(f"−{price.percent} % of {fee_days} ÷ {held.period.priced_days} days = {exact}")
    first, last = min(s.first_on for s in spans), max(s.until_on for s in spans)
    days = len({day for span in spans for day in span.each_day()})
    return Line(
        code=price.code,
        kind=ChargeKind.RECURRING,
        label=price.label or f"discount of {price.percent.normalize():f} %",
        exact=exact,
        quantity=Decimal(days),
        unit="day",
        unit_price=(exact / days).quantize(PRICE_PLACES).normalize(),
        days=days,
        spans=(DaySpan(first, last),),
        steps=tuple(steps),
    )


def one_off_line(price: OneOff, tariff: TariffVersion, held: Held) -> Line | None:
    """Due in the period in which the subscription had the offering first, by the version of that day."""
    first = next((s for s in held.stretches if held.since_on in s.span), None)
    if first is None:
        return None
    pieces = first.quantity if price.each else 1
    exact = price.amount * pieces
    return Line(
        code=price.code,
        kind=ChargeKind.ONE_OFF,
        label=price.label or "one-off charge",
        exact=exact,
        quantity=Decimal(pieces),
        unit="piece",
        unit_price=price.amount,
        spans=(DaySpan(held.since_on, date.fromordinal(held.since_on.toordinal() + 1)),),
        steps=(f"once, on {held.since_on}: {price.amount} {tariff.currency} × {pieces} = {exact}",),
    )


def of_days(days: int, period_days: int, fee: Decimal) -> tuple[Decimal, str, Decimal]:
    """Quantity, unit and unit price of piece-days: whole months where they are."""
    if days % period_days == 0:
        return Decimal(days // period_days), "month", fee
    return Decimal(days), "day", (fee / period_days).quantize(PRICE_PLACES).normalize()


def window_days(window: Window, since_on: date) -> DaySpan:
    """The days of a window for who had the offering first on `since_on`."""
    first_on = add_months(since_on, window.from_month)
    until_on = date.max if window.months is None else add_months(since_on, window.from_month + window.months)
    if window.until_on is not None:
        until_on = min(until_on, window.until_on)
    return DaySpan(first_on, max(first_on, until_on))


def escalated(fee: Decimal, escalator: Escalator, steps: int, currency: str) -> Decimal:
    """The fee after so many steps, each rounded half up to the minor unit."""
    for _ in range(steps):
        fee = Money.rounded(fee * (100 + escalator.percent) / 100, currency, ROUND_HALF_UP).amount
    return fee


def _steps(price: Flat, tariff: TariffVersion, held: Held) -> Iterator[_Step]:
    kept = list(_within(held.stretches, window_days(price.window, held.since_on)))
    escalator = tariff.plan.escalator
    if escalator is None:
        if kept:
            yield _Step(0, price.amount, tuple(kept))
        return
    number = _steps_before(escalator, held.since_on, held.period.first_on)
    while (begin := add_months(held.since_on, escalator.every_months * number)) < held.period.until_on:
        end = add_months(held.since_on, escalator.every_months * (number + 1))
        cut = tuple(_within(kept, DaySpan(begin, end)))
        if cut:
            yield _Step(number, escalated(price.amount, escalator, number, tariff.currency), cut)
        number += 1


def _steps_before(escalator: Escalator, since_on: date, day: date) -> int:
    """Steps that ended before `day`, or one fewer."""
    months = (day.year - since_on.year) * 12 + day.month - since_on.month
    return max(0, months // escalator.every_months - 1)


def _within(stretches: tuple[Stretch, ...] | list[Stretch], days: DaySpan) -> Iterator[Stretch]:
    for stretch in stretches:
        span = stretch.span.common(days)
        if span is not None:
            yield Stretch(stretch.version_id, span, stretch.quantity, stretch.percent)


def _piece_days(stretches: Iterable[Stretch], *, each: bool) -> int:
    return sum(s.span.days * (s.quantity if each else 1) for s in stretches)


def _pieces(stretch: Stretch, price: Flat) -> str:
    pieces = f" × {stretch.quantity} pieces" if price.each and stretch.quantity != 1 else ""
    return f"{stretch.span.days} days{pieces}"
