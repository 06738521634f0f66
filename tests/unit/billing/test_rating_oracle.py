"""The rating function against oracles that walk day by day, octet by octet and second by second, in fractions."""

from __future__ import annotations

import calendar
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from billing_bridge.rating.book import OctetBook
from billing_bridge.rating.calls import counted, rate_calls
from billing_bridge.rating.codes import price_code
from billing_bridge.rating.line import Call, Octets
from billing_bridge.rating.metered import Share, cost
from billing_bridge.rating.percentile import burst
from billing_bridge.rating.proration import Change, DaySpan, holdings
from billing_bridge.rating.rate import rate
from controller.domain.identity import OfferingVersionId
from controller.domain.money import Money
from controller.domain.price import (
    Calls,
    Contract,
    Destination,
    Discount,
    Escalator,
    Flat,
    Graduated,
    Overage,
    Package,
    Percentile,
    PricePlan,
    Tier,
    Volume,
    Window,
)
from tests.support.billing_fakes import tariff

UTC_ZONE = ZoneInfo("Etc/UTC")
A, B = OfferingVersionId("A"), OfferingVersionId("B")
amounts = st.decimals("0", "99.99", places=2)


def minor(value: Fraction) -> int:
    """Half away from zero, on integers."""
    sign = -1 if value < 0 else 1
    return sign * int((2 * abs(value) * 100 + 1) // 2)


def later(day: date, months: int) -> date:
    for _ in range(months):
        day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return day


def month_of(first: date, day: date) -> int:
    """Whole months that passed on `day`, by counting them one after the other."""
    months = 0
    while True:
        begin = later(first, months + 1)
        begin = begin.replace(day=min(first.day, calendar.monthrange(begin.year, begin.month)[1]))
        if begin > day:
            return months
        months += 1


windows = st.builds(Window, from_month=st.integers(0, 3), months=st.none() | st.integers(1, 4))
days = st.integers(0, 500).map(lambda n: date(2027, 10, 1) + timedelta(days=n))
timelines = st.lists(st.tuples(days, st.sampled_from([A, B, None]), st.integers(1, 3)), min_size=1, max_size=6).map(
    lambda found: [Change(*entry) for entry in sorted(found, key=lambda entry: entry[0])]
)


@given(timelines, amounts, windows, st.integers(1, 100), windows, st.booleans(), st.integers(0, 16))
def test_fees_discounts_and_escalation_equal_a_walk_day_by_day(
    changes: list[Change], fee: Decimal, window: Window, percent: int, promo: Window, each: bool, month: int
) -> None:
    flat = Flat(code="fee", amount=fee, each=each, window=window)
    discount = Discount(code="promo", percent=Decimal(percent), window=promo)
    contract = Contract(term_months=24, escalator=Escalator(percent=Decimal("7.5"), every_months=5))
    plan = PricePlan(prices=(flat, discount), contract=contract)
    tariffs = {v: replace(tariff(v, "0"), plan=plan) for v in (A, B)}
    first_on = later(date(2027, 10, 1), month)
    period = DaySpan(first_on, later(first_on, 1))

    wanted: dict[str, Fraction] = {}
    since: dict[str, date] = {}
    day = date(2027, 10, 1)
    while day < period.until_on:
        now = [c for c in changes if c.on <= day]
        version = now[-1].version_id if now else None
        if version is not None:
            months = month_of(since.setdefault(version, day), day)
            if day in period and window.from_month <= months < window.from_month + (window.months or 10**6):
                raised = fee
                for _ in range(months // 5):
                    raised = (raised * Decimal("1.075")).quantize(Decimal("0.01"), ROUND_HALF_UP)
                part = Fraction(raised) * (now[-1].quantity if each else 1) / period.days
                step = f"{version} fee {months // 5}"
                wanted[step] = wanted.get(step, Fraction(0)) + part
                if promo.from_month <= months < promo.from_month + (promo.months or 10**6):
                    off = f"{version} promo"
                    wanted[off] = wanted.get(off, Fraction(0)) - part * percent / 100
        day += timedelta(days=1)

    found: dict[str, int] = {}
    for version, held in holdings(changes, period, {v: t.offering_id for v, t in tariffs.items()}).items():
        for line in rate(tariffs[version], held, UTC_ZONE, None):
            step = f" {int(line.code.partition('+')[2] or 0)}" if price_code(line.code) == "fee" else ""
            found[f"{version} {price_code(line.code)}{step}"] = Money.rounded(line.exact, "EUR", ROUND_HALF_UP).minor
    assert {k: v for k, v in found.items() if v} == {k: minor(v) for k, v in wanted.items() if minor(v)}


limits = st.lists(st.integers(1, 120), min_size=0, max_size=3, unique=True).map(sorted)
prices = st.decimals("0", "9.99", places=2)
shares = st.integers(1, 31).flatmap(lambda of: st.tuples(st.integers(1, of), st.just(of)))


@given(limits, st.lists(st.tuples(prices, prices), min_size=4, max_size=4), st.integers(0, 200), shares)
def test_tiers_equal_a_walk_octet_by_octet(
    ends: list[int], said: list[tuple[Decimal, Decimal]], used: int, share: tuple[int, int]
) -> None:
    tiers = tuple(
        Tier(up_to=end, price=price, flat=flat) for end, (price, flat) in zip([*ends, None], said, strict=False)
    )
    bounds = [10**9 if t.up_to is None else -(-t.up_to * share[0] // share[1]) for t in tiers]
    graduated, entered = Fraction(0), set()
    for octet in range(used):
        reached = next(n for n, bound in enumerate(bounds) if octet < bound)
        graduated += Fraction(tiers[reached].price) + (0 if reached in entered else Fraction(tiers[reached].flat))
        entered.add(reached)
    found = cost(Graduated(code="g", tiers=tiers, unit="octet"), used, Share(*share))
    assert Fraction(found.exact) == graduated
    whole = cost(Volume(code="v", tiers=tiers, unit="octet"), used, Share(*share))
    last = tiers[next(n for n, bound in enumerate(bounds) if used <= bound)]
    assert Fraction(whole.exact) == (sum([Fraction(last.price)] * used) + Fraction(last.flat) if used else 0)


@given(st.integers(0, 200), st.integers(1, 40), prices, st.integers(0, 300), shares)
def test_packages_and_overage_equal_opening_one_package_after_the_other(
    included: int, size: int, price: Decimal, used: int, share: tuple[int, int]
) -> None:
    left = -(-included * share[0] // share[1])
    opened, room, beyond = 0, 0, 0
    for _ in range(used):
        if left:
            left -= 1
            continue
        beyond += 1
        if not room:
            opened, room = opened + 1, size
        room -= 1
    packs = cost(Package(code="p", price=price, size=size, included=included), used, Share(*share))
    over = cost(Overage(code="o", price=price, unit="octet", included=included), used, Share(*share))
    assert (Fraction(packs.exact), Fraction(over.exact)) == (opened * Fraction(price), beyond * Fraction(price))


@given(
    st.lists(st.binary(min_size=288, max_size=288), min_size=1, max_size=3),
    st.integers(1, 100),
    st.integers(0, 40),
)
def test_the_percentile_is_what_is_left_when_the_highest_bins_are_struck_out(
    said: list[bytes], percent: int, commit: int
) -> None:
    ports = [[None if octets > 240 else octets for octets in port] for port in said]
    start = int(datetime(2026, 9, 1, tzinfo=UTC).timestamp())
    bins = {
        str(n): {start + 300 * at: Octets(0, octets) for at, octets in enumerate(port) if octets is not None}
        for n, port in enumerate(ports)
    }
    price = Percentile(code="p", price=Decimal("1"), percent=percent, commit_bps=commit, direction="sum")
    span = DaySpan(date(2026, 9, 1), date(2026, 9, 2))
    found = burst(price, bins, [span], UTC_ZONE, Share(1, 30))
    columns = [[octets for octets in column if octets is not None] for column in zip(*ports, strict=True)]
    left = sorted(sum(column) for column in columns if column)
    for _ in range(len(left) * (100 - percent) // 100):
        left.pop()
    rate_bps = Fraction((left[-1] if left else 0) * 8, 300)
    above = max(Fraction(0), rate_bps - commit)
    assert abs(Fraction(found.exact) - above / 10**6 / 30) < Fraction(1, 10**20)
    assert (found.bins, found.expected) == (len([c for c in columns if c]), 288)
    listed = sum((gap.until - gap.since) // timedelta(minutes=5) for gap in found.gaps if not gap.port)
    assert listed == len([c for c in columns if not c])


zones = st.sampled_from(["Europe/Berlin", "Pacific/Chatham", "America/St_Johns", "Australia/Lord_Howe"])


@given(
    zones,
    st.sampled_from(
        [datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 4, 4, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC)]
    ),
    st.integers(0, 40 * 3600),
    st.integers(1, 9_000),
    st.integers(1, 5),
)
def test_octets_by_quarter_equal_a_walk_second_by_second(
    zone: str, base: datetime, offset_s: int, seconds: int, each: int
) -> None:
    since = int(base.timestamp()) + offset_s
    wanted: dict[tuple[date, int], int] = {}
    for second in range(since, since + seconds):
        clock = datetime.fromtimestamp(second, ZoneInfo(zone))
        key = (clock.date(), (clock.hour * 60 + clock.minute) // 15)
        wanted[key] = wanted.get(key, 0) + each
    for quarters in (True, False):
        book = OctetBook(ZoneInfo(zone), quarters=quarters)
        book.add([("s", since * 10**6, (since + seconds) * 10**6, seconds * each, 2 * seconds * each)])
        used = book.usage("s")
        assert {(d, q): o.upstream for d, of in used.by_quarter.items() for q, o in of.items()} == (
            wanted if quarters else {}
        )
        by_day = {d: sum(n for (day, _), n in wanted.items() if day == d) for d, _ in wanted}
        assert used.by_day == {d: Octets(n, 2 * n) for d, n in by_day.items()}


@given(
    st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=8),
    st.integers(0, 300),
    st.integers(1, 70),
    st.integers(1, 70),
)
def test_calls_equal_a_meter_that_ticks_by_increments(
    said: list[tuple[int, bool]], included_s: int, first_s: int, next_s: int
) -> None:
    home = Destination(prefix="49", price=Decimal("0.07"), first_s=first_s, next_s=next_s, included=True)
    away = Destination(prefix="1", price=Decimal("0.13"), setup=Decimal("0.05"), first_s=first_s, next_s=next_s)
    at = datetime(2026, 9, 1, tzinfo=UTC)
    calls = [Call(f"{n:02d}", at + timedelta(hours=n), s, "4930" if h else "1212") for n, (s, h) in enumerate(said)]
    wanted, left = Fraction(0), included_s
    for call in calls:
        ticked = 0
        while ticked < call.duration_s:
            ticked += next_s if ticked else first_s
        assert counted(call.duration_s, home) == ticked
        to = home if call.number == "4930" else away
        charged = 0
        for _ in range(ticked):
            if to.included and left:
                left -= 1
            else:
                charged += 1
        wanted += Fraction(to.price) * charged / 60 + (Fraction(to.setup) if charged else 0)
    found = rate_calls(Calls(code="v", destinations=(home, away)), calls, included_s)
    assert Money.rounded(found.exact, "EUR", ROUND_HALF_UP).minor == minor(wanted)
