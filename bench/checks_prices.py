"""What the random ISP of the corpus sells, and when its bills are made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from billing_bridge.checks.case import Month
from controller.domain.identity import OfferingId, OfferingVersionId
from controller.domain.price import (
    Band,
    Contract,
    Discount,
    Escalator,
    Flat,
    Free,
    Graduated,
    OneOff,
    Overage,
    Package,
    Percentile,
    PricePlan,
    Tier,
    Volume,
    Window,
)
from controller.domain.service import SpeedProfile
from controller.domain.tariff import TariffVersion
from controller.domain.units import GB

ZONE = ZoneInfo("Europe/Berlin")
RUNS = (date(2025, 12, 4), date(2026, 1, 4), date(2026, 2, 4), date(2026, 3, 4))
TODAY = RUNS[-1]
FIRST_DAY = date(2025, 11, 1)
MONTHS: tuple[Month, ...] = tuple((2025 + (m - 1) // 12, (m - 1) % 12 + 1) for m in range(2, 16))
"""February 2025 to March 2026."""
SEASON = (1.15, 1.1, 1.05, 1.0, 0.95, 0.9, 0.82, 0.85, 0.95, 1.0, 1.1, 1.22)
DAY = timedelta(days=1)
_LINE = SpeedProfile("corpus-100", 100_000_000, 40_000_000)


def _version(
    name: str, number: int, *prices: object, line: bool = True, contract: Contract | None = None
) -> TariffVersion:
    return TariffVersion(
        version_id=OfferingVersionId(f"{name}-v{number}"),
        offering_id=OfferingId(name),
        offering_name=name,
        number=number,
        effective_on=date(2023 + number, 1, 1),
        currency="EUR",
        tax_percent=Decimal(19),
        plan=PricePlan(prices=prices, contract=contract),  # type: ignore[arg-type]
        speed=_LINE if line else None,
    )


def _fee(amount: str, **more: object) -> Flat:
    return Flat(code="fee", amount=Decimal(amount), **more)  # type: ignore[arg-type]


_HALF_A_YEAR = Discount(code="promo", percent=Decimal(50), window=Window(months=6))
_OPENING = OneOff(code="opening", amount=Decimal("49.00"))
_NIGHT = (Band(days=("mon", "tue", "wed", "thu", "fri", "sat", "sun"), until_minute=360),)
_BY_DAY = (Band(days=("mon", "tue", "wed", "thu", "fri", "sat", "sun"), from_minute=360),)

LINES = (
    _version("home", 1, _fee("29.90")),
    _version("home", 2, _fee("34.90"), _OPENING),
    _version("home-plus", 1, _fee("44.90"), _HALF_A_YEAR, _OPENING),
    _version("metered", 1, _fee("19.90"), Overage(code="over", price=Decimal("0.30"), included=150 * GB), _OPENING),
    _version("payg", 1, _fee("9.90"), Overage(code="over", price=Decimal("0.12"))),
    _version(
        "tiers", 1, _fee("14.90"),
        Graduated(code="tiers", tiers=(
            Tier(up_to=100 * GB), Tier(up_to=400 * GB, price=Decimal("0.10")), Tier(price=Decimal("0.05")),
        )),
    ),
    _version(
        "volume", 1, _fee("12.90"),
        Volume(code="volume", tiers=(
            Tier(up_to=200 * GB, price=Decimal("0.10")), Tier(price=Decimal("0.07"), flat=Decimal(2)),
        )),
    ),
    _version("packs", 1, _fee("24.90"), Package(code="packs", price=Decimal(5), size=100 * GB, included=200 * GB)),
    _version(
        "nights", 1, _fee("22.90"), Overage(code="over", price=Decimal("0.25"), included=100 * GB, bands=_BY_DAY),
        Free(code="free", bands=_NIGHT),
    ),
    _version(
        "business", 1, _fee("149.00"), Discount(code="term", percent=Decimal(15), window=Window(months=24)),
        contract=Contract(term_months=24, escalator=Escalator(percent=Decimal("2.5"))),
    ),
    _version(
        "transit", 1, Flat(code="commit", amount=Decimal("900.00")),
        Percentile(code="burst", price=Decimal(6), commit_bps=150_000_000),
    ),
)  # fmt: skip
ITEMS = (
    _version("router", 1, _fee("3.90", each=True), line=False),
    _version("tv", 1, _fee("12.90"), OneOff(code="card", amount=Decimal("19.00")), line=False),
    _version("addresses", 1, _fee("2.00", each=True), line=False),
)
CATALOGUE: Mapping[OfferingVersionId, TariffVersion] = {t.version_id: t for t in (*LINES, *ITEMS)}
LINE_WEIGHTS = (14, 20, 14, 12, 6, 7, 6, 6, 5, 7, 3)
