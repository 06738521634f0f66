"""The price plan that most tests need: a monthly fee and, with an included volume, an overage."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from controller.domain.price import Flat, Overage, Price, PricePlan, Unit
from controller.domain.price_text import to_data


def plan_of(fee: str, *, included: int | None = None, overage: str = "0.50", unit: Unit = "GB") -> PricePlan:
    """`included` None is unmetered."""
    prices: tuple[Price, ...] = (Flat(code="fee", amount=Decimal(fee)),)
    if included is not None:
        prices += (Overage(code="data", price=Decimal(overage), unit=unit, included=included),)
    return PricePlan(prices=prices)


def volume_prices(fee: str) -> list[dict[str, Any]]:
    """For the API: 1 GB included, 2.00 per GB beyond."""
    return [to_data(price) for price in plan_of(fee, included=10**9, overage="2.00").prices]
