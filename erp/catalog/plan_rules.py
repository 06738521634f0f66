"""What a price plan must not say. Pure; the first thing that is wrong is named by the code of its price.

Refused is what could not be charged or what would be charged twice: hours that no price or two prices claim, tiers that
do not end, amounts finer than the currency, two prices of one code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal

from controller.domain.money import exponent, is_currency
from controller.domain.price import (
    DAY_MINUTES,
    METERED,
    QUARTER_MINUTES,
    Band,
    Calls,
    Contract,
    Discount,
    Flat,
    Graduated,
    Meter,
    Metered,
    OneOff,
    Overage,
    Package,
    Percentile,
    Price,
    PricePlan,
    ProductKind,
    Tier,
    Volume,
    Window,
)
from controller.domain.price_hours import uncovered
from erp.catalog.errors import BadVersion

_CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_ID = re.compile(r"[0-9a-f]{32}")
_DECIMALS = 6
_MOST = Decimal(10**9)
_MOST_OCTETS = 2**62
_MOST_PRICES, _MOST_TIERS, _MOST_DESTINATIONS, _MOST_HOLIDAYS = 50, 50, 20_000, 400
_MOST_MONTHS = 1_200
_MOST_SECONDS = 3_600
_CREDITS = (ProductKind.DISCOUNT,)


def check_plan(plan: PricePlan, currency: str, kind: ProductKind) -> None:
    """Raises BadVersion."""
    for wrong in _wrong(plan, currency, kind):
        raise BadVersion(wrong)


def _wrong(plan: PricePlan, currency: str, kind: ProductKind) -> Iterator[str]:
    if not is_currency(currency):
        yield f"currency: {currency} is no currency of ISO 4217 that is in use"
    if len(plan.prices) > _MOST_PRICES:
        yield f"a plan has at most {_MOST_PRICES} prices"
    codes = [price.code for price in plan.prices]
    for price in plan.prices:
        if not _CODE.fullmatch(price.code):
            yield f"code {price.code[:40]!r}: 1 to 32 of a-z, 0-9 and -"
        if codes.count(price.code) > 1:
            yield f"code {price.code} stands twice"
        yield from (f"{price.code}: {wrong}" for wrong in _price(price, plan, currency, kind))
    yield from _meters(plan)
    if len(plan.holidays) > _MOST_HOLIDAYS or len(set(plan.holidays)) != len(plan.holidays):
        yield f"holidays: at most {_MOST_HOLIDAYS} different days"
    if plan.contract is not None:
        yield from (f"contract: {wrong}" for wrong in _contract(plan.contract, currency))
    yield from _parts(plan, kind)


def _price(price: Price, plan: PricePlan, currency: str, kind: ProductKind) -> Iterator[str]:
    if len(price.label) > 120 or not price.label.isprintable():
        yield "label: at most 120 printable characters"
    match price:
        case Flat() | OneOff():
            yield from _money("amount", price.amount, currency, negative=kind in _CREDITS)
            if isinstance(price, Flat):
                yield from _window(price.window)
        case Discount():
            yield from _discount(price, plan)
        case Percentile():
            yield from _unit_price("price", price.price)
            if not 1 <= price.percent <= 100 or not 0 <= price.commit_bps <= 10**13:
                yield "percent lies between 1 and 100, commit_bps between 0 and 10 Tbit/s"
        case Calls():
            yield from _calls(price)
        case _:
            yield from _metered(price)


def _metered(price: Metered) -> Iterator[str]:
    for band in price.bands:
        yield from _band(band)
    match price:
        case Overage() | Package():
            yield from _unit_price("price", price.price)
            if not 0 <= price.included <= _MOST_OCTETS:
                yield "included octets must not be negative, or beyond any use"
            if isinstance(price, Package) and not 1 <= price.size <= _MOST_OCTETS:
                yield "size: at least one octet"
        case Graduated() | Volume():
            yield from _tiers(price.tiers)


def _tiers(tiers: tuple[Tier, ...]) -> Iterator[str]:
    if not 1 <= len(tiers) <= _MOST_TIERS:
        yield f"tiers: 1 to {_MOST_TIERS}"
        return
    limits = [tier.up_to for tier in tiers[:-1]]
    if tiers[-1].up_to is not None or None in limits:
        yield "tiers: the last, and only the last, is without up_to"
        return
    known = [limit for limit in limits if limit is not None]
    if known != sorted(set(known)) or not all(0 < limit <= _MOST_OCTETS for limit in known):
        yield "tiers: up_to must rise"
    for tier in tiers:
        yield from _unit_price("tiers: price", tier.price)
        yield from _unit_price("tiers: flat", tier.flat)


def _band(band: Band) -> Iterator[str]:
    if not band.days or len(set(band.days)) != len(band.days):
        yield "bands: days, each once"
    if band.from_minute % QUARTER_MINUTES or band.until_minute % QUARTER_MINUTES:
        yield f"bands: minutes are multiples of {QUARTER_MINUTES}"
    if not 0 <= band.from_minute < band.until_minute <= DAY_MINUTES:
        yield f"bands: from_minute before until_minute, at most {DAY_MINUTES}; past midnight is two bands"


def _meters(plan: PricePlan) -> Iterator[str]:
    """Octets are charged once: every quarter of the week of a meter by one price, and not by direction and sum both."""
    by_meter: dict[Meter, list[Metered]] = {}
    for price in plan.prices:
        if isinstance(price, METERED):
            by_meter.setdefault(price.meter, []).append(price)
    if Meter.OCTETS in by_meter and len(by_meter) > 1:
        yield "meters: octets of both directions and of one would be charged twice"
    for meter, prices in by_meter.items():
        yield from (f"{meter.value}: {wrong}" for wrong in uncovered(prices))


def _discount(price: Discount, plan: PricePlan) -> Iterator[str]:
    yield from _window(price.window)
    flats = {p.code for p in plan.prices if isinstance(p, Flat)}
    if not flats or not set(price.of) <= flats:
        yield "a discount is on flat prices of the same plan"
    if not 0 < price.percent <= 100:
        yield "percent lies above 0, and at most at 100"


def _calls(price: Calls) -> Iterator[str]:
    if not 1 <= len(price.destinations) <= _MOST_DESTINATIONS:
        yield f"destinations: 1 to {_MOST_DESTINATIONS}"
    seen = set()
    for destination in price.destinations:
        prefix = destination.prefix
        if not re.fullmatch(r"[0-9]{0,15}", prefix) or prefix in seen:
            yield f"prefix {prefix[:20]!r}: digits only, and each once"
        seen.add(prefix)
        yield from _unit_price("price", destination.price)
        yield from _unit_price("setup", destination.setup)
        if not (1 <= destination.first_s <= _MOST_SECONDS and 1 <= destination.next_s <= _MOST_SECONDS):
            yield f"increments: 1 to {_MOST_SECONDS} seconds"
    if not 0 <= price.included_s <= 10**9:
        yield "included_s must not be negative"


def _contract(contract: Contract, currency: str) -> Iterator[str]:
    months = (contract.term_months, contract.renewal_months)
    if not 1 <= months[0] <= _MOST_MONTHS or not 0 <= months[1] <= _MOST_MONTHS:
        yield "term_months: at least 1; renewal_months: at least 0"
    if not 0 <= contract.notice_days <= 366 or not 0 <= contract.remind_days <= 366:
        yield "notice_days and remind_days: 0 to 366"
    fee, escalator = contract.early_termination, contract.escalator
    if fee is not None:
        yield from _money("amount", fee.amount, currency, negative=False)
        if not 0 <= fee.percent_of_fees <= 100:
            yield "percent_of_fees: 0 to 100"
    if escalator is not None and not (-100 < escalator.percent <= 100 and 1 <= escalator.every_months <= _MOST_MONTHS):
        yield "escalator: percent above -100 and at most 100, every_months at least 1"


def _parts(plan: PricePlan, kind: ProductKind) -> Iterator[str]:
    if (kind is ProductKind.BUNDLE) is not (len(plan.parts) > 1):
        yield "a bundle has two parts or more, and nothing else has any"
    offerings = [part.offering_id for part in plan.parts]
    if not all(_ID.fullmatch(offering_id) for offering_id in offerings):
        yield "parts: offering_id is that of an offering"
    if len(set(offerings)) != len(offerings):
        yield "parts: each offering once"
    if plan.parts and (any(p.stand_alone < 0 for p in plan.parts) or not sum(p.stand_alone for p in plan.parts)):
        yield "parts: stand_alone prices must not be negative, nor all of them 0"


def _window(window: Window) -> Iterator[str]:
    if not 0 <= window.from_month <= _MOST_MONTHS or (
        window.months is not None and not 1 <= window.months <= _MOST_MONTHS
    ):
        yield "window: from_month at least 0, months at least 1"
    if window.until_on is not None and not date(1970, 1, 1) <= window.until_on <= date(2199, 12, 31):
        yield "window: until_on lies between 1970 and 2199"


def _money(what: str, amount: Decimal, currency: str, *, negative: bool) -> Iterator[str]:
    if amount < 0 and not negative:
        yield f"{what} must not be negative"
    if abs(amount) > _MOST:
        yield f"{what} is beyond {_MOST}"
    if _decimals(amount) > exponent(currency):
        yield f"{what} has more than the {exponent(currency)} decimals of {currency}"


def _unit_price(what: str, amount: Decimal) -> Iterator[str]:
    if not 0 <= amount <= _MOST:
        yield f"{what} must not be negative, nor beyond {_MOST}"
    if _decimals(amount) > _DECIMALS:
        yield f"{what} has more than {_DECIMALS} decimals"


def _decimals(value: Decimal) -> int:
    places = value.normalize().as_tuple().exponent
    return -places if isinstance(places, int) and places < 0 else 0
