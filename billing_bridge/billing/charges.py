"""Turns a difference into a charge: id, words, quantity, arithmetic and evidence. Pure.

The id is a digest of what the charge is for (subscription, period, version, price and how many came before it), so a
repeated bill run finds its own charges, and the database refuses a second one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypedDict

from billing_bridge.billing.model import DayUsage, RatedCharge, Subscription
from billing_bridge.rating.codes import price_code, read_code
from billing_bridge.rating.due import Due
from billing_bridge.rating.metered import beyond
from billing_bridge.rating.proration import WHOLE_FEE
from billing_bridge.rating.recurring import escalated, fee_label, of_days, paused_fee, window_days
from billing_bridge.sources.booked import CallDay
from billing_bridge.sources.booked import days as call_days
from controller.domain.charge import Charge, ChargeKind, Missing
from controller.domain.identity import BillRunId, ChargeId
from controller.domain.money import Money
from controller.domain.price import Calls, Discount, Flat, OneOff, Overage, Percentile, Price
from controller.domain.tariff import TariffVersion
from controller.domain.units import octets_in

ENDS_ON = "ends_on"
"""In the arithmetic of a charge: the first day without what was promised for a time."""
MISSING = "missing"
"""There, too: what the ports of a percentile did not report."""


def charge_of(
    found: Due, subscription: Subscription, tariff: TariffVersion, bill_run_id: BillRunId, rounding: str
) -> RatedCharge:
    """The charge for one difference of `subscription`, by the prices of `tariff`."""
    attempt = found.before.attempts
    quantity, unit, unit_price = _quantity(found, tariff)
    ends_on = _ends_on(found, tariff)
    charge = Charge(
        charge_id=charge_id(found, subscription.subscription_id, attempt),
        bill_run_id=bill_run_id,
        account_id=subscription.account_id,
        subscription_id=subscription.subscription_id,
        service_id=subscription.service_id,
        version_id=found.key.version_id,
        kind=found.key.kind,
        first_on=found.span.first_on,
        until_on=found.span.until_on,
        description=_description(found, tariff),
        quantity=quantity,
        unit=unit,
        unit_price=unit_price,
        net=found.net,
        tax_percent=tariff.tax_percent,
        item=tariff.offering_name,
        adjustment=_corrects(found, subscription),
        ends_on=ends_on,
        missing=_missing(found.line.figures if found.line else {}),
        **as_sold(tariff),
    )
    evidence: tuple[DayUsage, ...] = ()
    calls: list[CallDay] = []
    bins: dict[str, Any] = {}
    if found.key.kind is ChargeKind.USAGE and found.held is not None:
        spans = found.held.spans
        price = _price(found, tariff)
        if isinstance(price, Calls):
            calls = call_days(c for c in subscription.calls if any(c.day in span for span in spans))
        elif isinstance(price, Percentile):
            bins = {"ports": sorted(subscription.ports.bins), "last_record_id": subscription.ports.last_record_id}
        else:
            days = set(found.held.each_day())
            evidence = tuple([u for u in subscription.usage if u.counted_on in days])
    arithmetic = (
        _arithmetic(found, rounding)
        | bins
        | {
            "timeline_sequence": subscription.timeline_sequence,
            "pause_sequence": subscription.pause_sequence,
        }
    )
    if ends_on is not None:
        arithmetic[ENDS_ON] = ends_on.isoformat()
    if tariff.version_id != found.key.version_id:
        arithmetic["priced_as"] = tariff.version_id
    return RatedCharge(
        charge, found.key.code, found.period, attempt, found.octets, found.days, arithmetic, evidence, calls
    )


class AsSold(TypedDict):
    """What a version says of a charge for documents: its class of tax, whether prices have it in them, its names."""

    tax_category: str
    tax_included: bool
    names: tuple[tuple[str, str], ...]
    product: str


def as_sold(tariff: TariffVersion) -> AsSold:
    """Fields of a charge by the version."""
    return {
        "tax_category": tariff.tax_category,
        "tax_included": tariff.plan.tax_included,
        "names": tariff.names,
        "product": tariff.kind.value,
    }


def ends_on_of(arithmetic: str) -> date | None:
    """The end of a promotion, of a charge as it is stored."""
    if ENDS_ON not in arithmetic:
        return None
    told: str | None = json.loads(arithmetic).get(ENDS_ON)
    return date.fromisoformat(told) if told else None


def missing_of(arithmetic: str) -> Missing | None:
    """What was not measured, of a charge as it is stored."""
    return _missing(json.loads(arithmetic)) if MISSING in arithmetic else None


def _missing(figures: Mapping[str, Any]) -> Missing | None:
    told = figures.get(MISSING)
    if not told:
        return None
    gaps = [(port, datetime.fromisoformat(since), datetime.fromisoformat(until)) for port, since, until in told]
    return Missing(figures["bins_expected"] - figures["bins"], figures["bins_expected"], tuple(gaps))


def _ends_on(found: Due, tariff: TariffVersion) -> date | None:
    """The first day without a discount or fee that holds for a time."""
    if found.key.kind is not ChargeKind.RECURRING or found.held is None:
        return None
    price = _price(found, tariff)
    if not isinstance(price, Discount | Flat):
        return None
    until_on = window_days(price.window, found.held.since_on).until_on
    return None if until_on == date.max else until_on


def charge_id(found: Due, subscription_id: str, attempt: int) -> ChargeId:
    """32 hexadecimal digits, the same for the same difference."""
    key = found.key
    text = f"{key.kind}|{subscription_id}|{key.period_first_on.isoformat()}|{key.version_id}|{key.code}|{attempt}"
    return ChargeId(hashlib.sha256(text.encode()).hexdigest()[:32])


def _corrects(found: Due, subscription: Subscription) -> bool:
    """Whether the period had been billed before, for this kind of charge."""
    if found.key.kind is not ChargeKind.USAGE:
        return found.before.charges > 0
    billed = subscription.usage_billed_until_on
    return billed is not None and found.period.until_on <= billed


def _quantity(found: Due, tariff: TariffVersion) -> tuple[Decimal, str, Decimal]:
    """Of a whole line what it says; of a difference the days or octets of it, or one of what it comes to."""
    price, line = _price(found, tariff), found.line
    if line is not None and not found.before.charges:
        return line.quantity, line.unit, line.unit_price
    if isinstance(price, Flat):
        return of_days(found.days, found.period.priced_days, _fee(price, found, tariff))
    if isinstance(price, Overage):
        return octets_in(found.octets, price.unit), price.unit, price.price
    if isinstance(price, OneOff):
        return Decimal(1).copy_sign(Decimal(found.net.minor)), "piece", abs(found.net.amount)
    return Decimal(1).copy_sign(Decimal(found.net.minor)), "period", abs(found.net.amount)


def _fee(price: Flat, found: Due, tariff: TariffVersion) -> Decimal:
    _, step, percent = read_code(found.key.code)
    escalator = tariff.plan.escalator
    fee = escalated(price.amount, escalator, step, tariff.currency) if step and escalator else price.amount
    return paused_fee(fee, percent)


def _price(found: Due, tariff: TariffVersion) -> Price:
    code = price_code(found.key.code)
    return next(price for price in tariff.plan.prices if price.code == code)


def _description(found: Due, tariff: TariffVersion) -> str:
    price = _price(found, tariff)
    credit = found.net.minor < 0
    if isinstance(price, Overage):
        what = price.label or beyond(price, abs(found.octets))
        return f"{tariff.offering_name}: {'credit for ' if credit else ''}{what}"
    label = price.label or (found.line.label if found.line else "charged before")
    if isinstance(price, Flat):
        label, percent = fee_label(price, tariff), read_code(found.key.code)[2]
        if percent != WHOLE_FEE:
            label += f", paused at {percent} %"
        credit = credit and price.amount > 0
        whole = found.period.priced_days
        if found.days % whole:
            of = f"of {whole} days" if not price.each else f"piece-days ÷ {whole}"
            label += f", {abs(found.days)} {of}"
    else:
        credit = credit and found.before.charges > 0
    return f"{tariff.offering_name}: {'credit of ' if credit else ''}{label}"


def _arithmetic(found: Due, rounding: str) -> dict[str, Any]:
    held, line = found.held, found.line
    entitled = Money.rounded(line.exact, found.net.currency, rounding).minor if line else 0
    return {
        "rounding": rounding,
        "period_days": found.period.priced_days,
        "entitled_days": held.days if held else 0,
        "spans": [[s.first_on.isoformat(), s.until_on.isoformat()] for s in held.spans] if held else [],
        "entitled_minor": entitled,
        "charged_before_minor": found.before.net_minor,
        "charged_before_octets": found.before.octets,
        "net_minor": found.net.minor,
        "steps": list(line.steps) if line else [],
        **(line.figures if line else {}),
    }
