"""Turns a difference into a charge: id, words, quantity, arithmetic and evidence. Pure.

The id is a digest of what the charge is for (subscription, period, version, kind and how many came before it), so a
repeated bill run finds its own charges, and the database refuses a second one.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Any

from billing_bridge.billing.model import DayUsage, RatedCharge, Subscription
from billing_bridge.rating.rate import Due
from controller.domain.charge import Charge, ChargeKind
from controller.domain.identity import BillRunId, ChargeId
from controller.domain.tariff import TariffVersion
from controller.domain.units import human_octets, octets_in

_PRICE_PLACES = Decimal("0.000001")
"""Prices per day are shown with six decimals; the amount is computed from the fee, never from them."""


def charge_of(
    found: Due, subscription: Subscription, tariff: TariffVersion, bill_run_id: BillRunId, rounding: str
) -> RatedCharge:
    """The charge for one difference of `subscription`."""
    attempt = found.before.charges
    quantity, unit, unit_price = _quantity(found, tariff)
    charge = Charge(
        charge_id=charge_id(found, subscription.subscription_id, attempt),
        bill_run_id=bill_run_id,
        account_id=subscription.account_id,
        subscription_id=subscription.subscription_id,
        service_id=subscription.service_id,
        version_id=tariff.version_id,
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
    )
    evidence: tuple[DayUsage, ...] = ()
    if found.key.kind is ChargeKind.USAGE and found.entitled is not None:
        spans = found.entitled.spans
        evidence = tuple(u for u in subscription.usage if any(u.counted_on in span for span in spans))
    arithmetic = _arithmetic(found, tariff, rounding) | {"timeline_sequence": subscription.timeline_sequence}
    return RatedCharge(charge, found.period, attempt, found.octets, found.days, arithmetic, evidence)


def charge_id(found: Due, subscription_id: str, attempt: int) -> ChargeId:
    """32 hexadecimal digits, the same for the same difference."""
    key = found.key
    text = f"{key.kind}|{subscription_id}|{key.period_first_on.isoformat()}|{key.version_id}|{attempt}"
    return ChargeId(hashlib.sha256(text.encode()).hexdigest()[:32])


def _corrects(found: Due, subscription: Subscription) -> bool:
    """Whether the period had been billed before, for this kind of charge."""
    if found.key.kind is ChargeKind.RECURRING:
        return found.before.charges > 0
    billed = subscription.usage_billed_until_on
    return billed is not None and found.period.until_on <= billed


def _quantity(found: Due, tariff: TariffVersion) -> tuple[Decimal, str, Decimal]:
    if found.key.kind is ChargeKind.USAGE:
        return octets_in(found.octets, tariff.overage_unit), tariff.overage_unit, tariff.overage_price
    if abs(found.days) == found.period.days:
        return Decimal(found.days // found.period.days), "month", tariff.monthly_fee
    daily = tariff.monthly_fee / found.period.days
    return Decimal(found.days), "day", daily.quantize(_PRICE_PLACES).normalize()


def _description(found: Due, tariff: TariffVersion) -> str:
    if found.key.kind is ChargeKind.USAGE:
        what = f"{human_octets(abs(found.octets))} beyond the included volume"
        return f"{tariff.offering_name}: {'credit for ' if found.net.minor < 0 else ''}{what}"
    part = "" if abs(found.days) == found.period.days else f", {abs(found.days)} of {found.period.days} days"
    return f"{tariff.offering_name}: {'credit of ' if found.net.minor < 0 else ''}monthly fee{part}"


def _arithmetic(found: Due, tariff: TariffVersion, rounding: str) -> dict[str, Any]:
    held, over = found.entitled, found.overage
    steps: dict[str, Any] = {
        "rounding": rounding,
        "period_days": found.period.days,
        "entitled_days": held.days if held else 0,
        "spans": [[s.first_on.isoformat(), s.until_on.isoformat()] for s in held.spans] if held else [],
        "charged_before_minor": found.before.net_minor,
        "net_minor": found.net.minor,
    }
    if found.key.kind is ChargeKind.RECURRING:
        return steps | {"fee": str(tariff.monthly_fee), "entitled_minor": held.amount.minor if held else 0}
    return steps | {
        "plan_octets": tariff.included_octets,
        "included_octets": over.included_octets if over else 0,
        "used_octets": over.used_octets if over else 0,
        "over_octets": over.over_octets if over else 0,
        "charged_before_octets": found.before.octets,
        "price": str(tariff.overage_price),
        "unit": tariff.overage_unit,
        "entitled_minor": over.amount.minor if over else 0,
    }
