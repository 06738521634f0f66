"""The rating function: what one version costs in one period. Preview, postpaid, prepaid and re-rating all call it.

    version + days held + usage → lines, exact

No input but its arguments, no rounding but what a price says, and the same again for the same arguments. Before a
period is over only what is due in advance can be said; usage is None then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal, localcontext
from zoneinfo import ZoneInfo

from billing_bridge.rating.calls import rate_calls
from billing_bridge.rating.line import Line, Octets, Usage
from billing_bridge.rating.metered import Share, cost, counted
from billing_bridge.rating.percentile import burst
from billing_bridge.rating.proration import DaySpan, Held
from billing_bridge.rating.recurring import PRICE_PLACES, discount_line, flat_lines, one_off_line
from controller.domain.charge import ChargeKind
from controller.domain.price import METERED, Calls, Discount, Flat, Metered, OneOff, Percentile, PricePlan
from controller.domain.price_hours import Hours, hours_of
from controller.domain.tariff import TariffVersion

_DIGITS = 60
"""The longest exact product there is: octets (19 digits) × price (27) × days; what a division drops decides no cent."""


def rate(tariff: TariffVersion, held: Held, zone: ZoneInfo, usage: Usage | None) -> list[Line]:
    """The lines of one version in one period, in the order of its prices; those of nothing are left out.

    Raises ValueError for a plan with hours when `usage` does not say what was used in which quarter.
    """
    if not held.days:
        return []
    with localcontext() as context:
        context.prec = _DIGITS
        return [*_fees(tariff, held, closed=usage is not None), *(_used(tariff, held, zone, usage) if usage else ())]


def in_advance(plan: PricePlan) -> frozenset[str]:
    """Codes of the prices that are due before the usage of a period is known."""
    arrears = {p.code for p in plan.prices if isinstance(p, Flat) and p.arrears}
    found = {p.code for p in plan.prices if isinstance(p, Flat | OneOff)} - arrears
    discounts = [p for p in plan.prices if isinstance(p, Discount)]
    return frozenset(found | {p.code for p in discounts if not (arrears & set(p.of) if p.of else arrears)})


def _fees(tariff: TariffVersion, held: Held, *, closed: bool) -> Iterator[Line]:
    due = {p.code for p in tariff.plan.prices} if closed else in_advance(tariff.plan)
    for price in tariff.plan.prices:
        if price.code not in due:
            continue
        if isinstance(price, Flat):
            yield from flat_lines(price, tariff, held)
        elif isinstance(price, Discount):
            line = discount_line(price, tariff, held)
            if line is not None:
                yield line
        elif isinstance(price, OneOff):
            line = one_off_line(price, tariff, held)
            if line is not None:
                yield line


def _used(tariff: TariffVersion, held: Held, zone: ZoneInfo, usage: Usage) -> Iterator[Line]:
    share = Share(held.full_days, held.period.priced_days)
    days = tuple(held.each_day())
    metered = tariff.plan.metered
    for price in tariff.plan.prices:
        if isinstance(price, METERED):
            hours = hours_of(price, metered, tariff.plan.holidays)
            used = sum([counted(price, *octets) for octets in _by_day(usage, days, hours)])
            yield _octet_line(price, used, share, held)
        elif isinstance(price, Percentile):
            yield _burst_line(price, held, usage, zone, share)
        elif isinstance(price, Calls):
            yield _calls_line(price, held, usage, zone, share)


def _by_day(usage: Usage, days: Iterable[date], hours: Hours | None) -> list[Octets]:
    """What was used on days, or in the hours of them, in order."""
    if hours is None:
        return [usage.by_day[day] for day in days if day in usage.by_day]
    return [_in_hours(usage, day, hours) for day in days]


def _in_hours(usage: Usage, day: date, hours: Hours) -> Octets:
    whole = usage.by_day.get(day)
    if whole is None:
        return Octets(0, 0)
    quarters = usage.by_quarter.get(day, {})
    if sum(o.upstream + o.downstream for o in quarters.values()) != whole.upstream + whole.downstream:
        raise ValueError(f"what was used on {day} is not known by the hour")
    wanted = hours.quarters(day)
    found = [octets for quarter, octets in quarters.items() if quarter in wanted]
    return Octets(sum(o.upstream for o in found), sum(o.downstream for o in found))


def _octet_line(price: Metered, used: int, share: Share, held: Held) -> Line:
    found = cost(price, used, share)
    return Line(
        code=price.code,
        kind=ChargeKind.USAGE,
        label=price.label or found.label,
        exact=found.exact,
        quantity=found.quantity,
        unit=found.unit,
        unit_price=_shown(found.exact) if found.unit_price is None else found.unit_price,
        octets=found.octets,
        spans=held.spans,
        steps=(f"used {used} octets", *found.steps),
        figures={"used_octets": used, "included_octets": found.included},
    )


def _shown(exact: Decimal) -> Decimal:
    """As a document prints it: a share of a period has no end of digits, and a stored price has one."""
    return exact if exact == exact.quantize(PRICE_PLACES) else exact.quantize(PRICE_PLACES).normalize()


def _burst_line(price: Percentile, held: Held, usage: Usage, zone: ZoneInfo, share: Share) -> Line:
    found = burst(price, usage.ports, held.spans, zone, share)
    return Line(
        code=price.code,
        kind=ChargeKind.USAGE,
        label=price.label or f"{price.percent}th percentile above {price.commit_bps} bit/s",
        exact=found.exact,
        quantity=Decimal(1),
        unit="period",
        unit_price=_shown(found.exact),
        spans=held.spans,
        steps=found.steps,
        figures={
            "bins": found.bins,
            "bins_expected": found.expected,
            "rate_bps": str(found.rate_bps),
            "missing": [[gap.port, gap.since.isoformat(), gap.until.isoformat()] for gap in found.gaps],
        },
    )


def _calls_line(price: Calls, held: Held, usage: Usage, zone: ZoneInfo, share: Share) -> Line:
    spans = held.spans
    own = [c for c in usage.calls if _within(c.at.astimezone(zone).date(), spans)]
    included_s = share.volume(price.included_s)
    found = rate_calls(price, own, included_s)
    return Line(
        code=price.code,
        kind=ChargeKind.USAGE,
        label=price.label or ("1 call" if len(found.rated) == 1 else f"{len(found.rated)} calls"),
        exact=found.exact,
        quantity=Decimal(1),
        unit="period",
        unit_price=_shown(found.exact),
        spans=spans,
        steps=(
            f"{len(found.rated)} calls, {sum(r.counted_s for r in found.rated)} s by increments",
            f"included {included_s} s, charged {found.charged_s} s = {found.exact}",
            *(f"not rated: call {c.call_id} to {c.number}, no destination fits" for c in found.unrated),
        ),
        figures={
            "calls": len(found.rated),
            "charged_s": found.charged_s,
            "unrated": [c.call_id for c in found.unrated],
        },
    )


def _within(day: date, spans: tuple[DaySpan, ...]) -> bool:
    return any(day in span for span in spans)
