"""Part `rating`: octet records into money on one core, at three sizes: added up by local day or hour, then priced.

A record is what one interim update added: a service, an interval, octets up and down. Only the product's work is timed;
making the records is not.
"""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

from bench.results import Result
from billing_bridge.rating.book import OctetBook, OctetRecord
from billing_bridge.rating.line import Usage
from billing_bridge.rating.proration import DaySpan, Held, Stretch
from billing_bridge.rating.rate import rate
from controller.domain.identity import OfferingId, OfferingVersionId
from controller.domain.money import Money
from controller.domain.price import Band, Flat, Free, Graduated, Overage, PricePlan, Tier
from controller.domain.tariff import TariffVersion

BY_DAY_SIZES = (100_000, 1_000_000, 10_000_000)
BY_HOUR_SIZES = (50_000, 200_000, 1_000_000)
"""A plan with hours keeps a sum for every quarter of an hour: a hundred times as many, and every record is cut."""
GOAL = 100_000
RECORDS_PER_SERVICE = 2_000
"""Of one month: an interim update every 20 minutes."""

_ZONE = ZoneInfo("Europe/Berlin")
_PERIOD = DaySpan(date(2026, 10, 1), date(2026, 11, 1))
_CHUNK = 50_000
_VERSION = OfferingVersionId("bench")

_BY_DAY = PricePlan(
    prices=(
        Flat(code="fee", amount=Decimal("29.90")),
        Graduated(code="data", tiers=(Tier(up_to=10**11, price=Decimal("0.05")), Tier(price=Decimal("0.02")))),
    )
)
_NIGHT = Band(days=("mon", "tue", "wed", "thu", "fri", "sat", "sun"), until_minute=480)
_BY_HOUR = PricePlan(
    prices=(
        Flat(code="fee", amount=Decimal("29.90")),
        Overage(
            code="day",
            price=Decimal("0.05"),
            included=10**11,
            bands=(replace(_NIGHT, from_minute=480, until_minute=1440),),
        ),
        Free(code="night", bands=(_NIGHT,)),
    )
)


def run(seconds: float, rounds: int) -> Sequence[Result]:
    """One size after the other, so that it is seen to be linear; `seconds` and `rounds` do not matter here."""
    return [
        *(_measured(_BY_DAY, "by day", size) for size in BY_DAY_SIZES),
        *(_measured(_BY_HOUR, "by hour", size) for size in BY_HOUR_SIZES),
    ]


def hundred_million(_seconds: float, _rounds: int) -> Sequence[Result]:
    """A month of 50,000 services, which takes longer to make than to rate."""
    return [_measured(_BY_DAY, "by day", 100_000_000)]


def _measured(plan: PricePlan, how: str, size: int) -> Result:
    version = TariffVersion(
        version_id=_VERSION,
        offering_id=OfferingId("bench"),
        offering_name="Bench",
        number=1,
        effective_on=_PERIOD.first_on,
        currency="EUR",
        tax_percent=Decimal(19),
        plan=plan,
        speed=None,
    )
    book = OctetBook(_ZONE, quarters=plan.hourly)
    spent_s = 0.0
    for chunk in _records(size):
        begin = time.process_time()
        book.add(chunk)
        spent_s += time.process_time() - begin
    services = max(1, size // RECORDS_PER_SERVICE)
    begin = time.process_time()
    minor = sum(_price(version, book.usage(str(n))) for n in range(services))
    spent_s += time.process_time() - begin
    assert minor > 0
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return Result(
        f"octet records rated {how}",
        round(size / spent_s, 1),
        "records/s",
        f"{size:,} records of {services:,} services, {spent_s * 1e6 / size:.2f} µs each on one core, {peak_mb} MB",
        goal=f">= {GOAL:,} records/s",
        met=size / spent_s >= GOAL,
    )


def _price(version: TariffVersion, usage: Usage) -> int:
    held = Held(_VERSION, _PERIOD, (Stretch(_VERSION, _PERIOD),), _PERIOD.first_on)
    lines = rate(version, held, _ZONE, usage)
    return sum(Money.rounded(line.exact, version.currency, ROUND_HALF_UP).minor for line in lines)


def _records(size: int) -> Iterator[list[OctetRecord]]:
    """In order of arrival over the month, each service in turn."""
    chance = random.Random(7)
    services = max(1, size // RECORDS_PER_SERVICE)
    names = [str(n) for n in range(services)]
    start = int(datetime(2026, 9, 30, 22, tzinfo=UTC).timestamp()) * 1_000_000
    step = 31 * 86_400 * 1_000_000 // size
    length = 31 * 86_400 * 1_000_000 // RECORDS_PER_SERVICE
    for first in range(0, size, _CHUNK):
        octets = [chance.getrandbits(27) for _ in range(1_000)]
        yield [
            (names[n % services], max(start, start + n * step - length), start + n * step, o >> 3, o)
            for n, o in zip(range(first, min(size, first + _CHUNK)), octets * (_CHUNK // 1_000), strict=False)
        ]
