"""A seeded ISP with its bills, and errors put into some of them: what `billing_bridge.checks` is judged by.

    account n of seed s ─▶ timelines, usage by day ─▶ four monthly runs by our own rating ─▶ the last one is judged
                                                            └─ into some, one error of one kind ─┘

What is normal here is noisy on purpose: seasons, growth, holidays with the router on or off, people who use ten times
what others do, months that double, late usage, changes of plan back-dated by days, pauses, first and last bills. The
errors are those of the trade, made without a look at what detects them: each function changes the bill, or the facts it
is rated from, the way the fault would.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

from billing_bridge.billing.charges import charge_of
from billing_bridge.billing.cycle import Calendar, period_containing
from billing_bridge.billing.model import DayUsage, RatedCharge, Subscription
from billing_bridge.checks.case import Case, Cohort, Holding, Key, Month, Sold
from billing_bridge.checks.history import cohort_of
from billing_bridge.rating.due import Charged, DueKey, Facts, due
from billing_bridge.rating.line import Octets, Usage
from billing_bridge.rating.proration import Change, DaySpan
from controller.domain.charge import Charge, ChargeKind
from controller.domain.identity import (
    AccountId,
    BillRunId,
    ChargeId,
    OfferingId,
    OfferingVersionId,
    ServiceId,
    SubscriptionId,
    new_id,
)
from controller.domain.money import Money
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
_SEASON = (1.15, 1.1, 1.05, 1.0, 0.95, 0.9, 0.82, 0.85, 0.95, 1.0, 1.1, 1.22)
_DAY = timedelta(days=1)
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
_LINE_WEIGHTS = (14, 20, 14, 12, 6, 7, 6, 6, 5, 7, 3)


@dataclass(slots=True)
class Sub:
    """One subscription as it really is (`changes` with the day they became known), and as billing has it (`billed`)."""

    subscription_id: str
    anchor_day: int
    changes: list[tuple[date, Change]]
    billed: list[Change] = field(default_factory=list)
    usage: dict[date, tuple[int, int]] = field(default_factory=dict)
    late: set[date] = field(default_factory=set)
    """Days of which a part became known only after the run of their month."""
    months: dict[Month, int] = field(default_factory=dict)
    measured: dict[date, int] = field(default_factory=dict)
    earlier: list[RatedCharge] = field(default_factory=list)
    sold: Sold | None = None

    @property
    def metered(self) -> bool:
        return any(c.version_id and CATALOGUE[c.version_id].plan.metered for _, c in self.changes)

    def known(self, run: date) -> list[Change]:
        return [change for known, change in self.changes if known <= run]


@dataclass(slots=True)
class Draft:
    """One account's bill about to leave. Errors change it in place; `rate` makes the charges from its facts."""

    account_id: str
    subs: list[Sub]
    tariffs: dict[OfferingVersionId, TariffVersion] = field(default_factory=lambda: dict(CATALOGUE))
    charges: list[Charge] = field(default_factory=list)
    strangers: list[Charge] = field(default_factory=list)

    def rate(self) -> None:
        self.charges = [r.charge for sub in self.subs for r in _rated(self, sub, TODAY, sub.billed, sub.usage)]

    def case(self, cohorts: Mapping[OfferingId, Cohort]) -> Case:
        return Case(
            AccountId(self.account_id), "EUR", TODAY, self.charges, [_holding(self, sub) for sub in self.subs],
            self.tariffs, CATALOGUE, cohorts,
        )  # fmt: skip


class Corpus:
    """Accounts 0 … `size` − 1 of a seed. `each` errors of every kind are spread over them."""

    def __init__(self, seed: int, size: int, each: int) -> None:
        self.seed, self.size = seed, size
        quota = [kind for kind in KINDS for _ in range(each)]
        if len(quota) * 2 > size:
            raise ValueError(f"{len(quota)} errors need at least {2 * len(quota)} accounts")
        self._quota = quota
        months: dict[OfferingId, list[Mapping[Month, int]]] = {}
        for n in range(size):
            for sub in _people(random.Random(f"{seed}/{n}"), n):
                version = next((c.version_id for _, c in reversed(sub.changes) if c.version_id), None)
                if version and sub.metered:
                    months.setdefault(CATALOGUE[version].offering_id, []).append(sub.months)
        self.cohorts = {offering: cohort_of(of) for offering, of in months.items()}

    def drafts(self) -> Iterator[tuple[str | None, Draft]]:
        """(kind of the error or None, bill), in order of account; accounts without a charge have no bill."""
        rng = random.Random(f"{self.seed}/errors")
        waiting = list(self._quota)
        rng.shuffle(waiting)
        for n in range(self.size):
            draft = _draft(self.seed, n)
            kind = None
            left = self.size - n
            if waiting and rng.random() < 1.6 * len(waiting) / left:
                kind = self._spoil(rng, draft, waiting)
            if draft.charges:
                yield kind, draft

    def _spoil(self, rng: random.Random, draft: Draft, waiting: list[str]) -> str | None:
        tried: set[str] = set()
        for kind in list(waiting):
            if kind in tried:
                continue
            tried.add(kind)
            if KINDS[kind](rng, draft):
                waiting.remove(kind)
                return kind
        return None


def _draft(seed: int, n: int) -> Draft:
    rng = random.Random(f"{seed}/{n}")
    draft = Draft(f"account-{n}", _people(rng, n))
    for sub in draft.subs:
        _daily(rng, sub)
        for run in RUNS[:-1]:
            usage = {
                day: (up * 6 // 10, down * 6 // 10) if day in sub.late and _run_of(day) >= run else (up, down)
                for day, (up, down) in sub.usage.items() if day < run
            }  # fmt: skip
            sub.earlier += _rated(draft, sub, run, sub.known(run), usage)
        sub.billed = sub.known(TODAY)
        last = max((c for c in sub.billed if c.on <= TODAY), key=lambda c: c.on, default=None)
        sub.sold = Sold(last.version_id, last.quantity) if last else None
    draft.rate()
    return draft


# --- people


def _people(rng: random.Random, n: int) -> list[Sub]:
    """The subscriptions of an account, with what they used by month."""
    anchor = 1 if rng.random() < 0.75 else rng.randint(1, 31)
    version = rng.choices(LINES, _LINE_WEIGHTS)[0]
    began = _began(rng)
    changes = [(began, Change(began, version.version_id))]
    roll = rng.random()
    day = TODAY - _DAY * rng.randint(0, 75)
    if day > began + _DAY * 3:
        if roll < 0.05:
            other = rng.choices(LINES[:9], _LINE_WEIGHTS[:9])[0]
            changes.append((day + _DAY * rng.choice((0, 0, 0, 2, 9)), Change(day, other.version_id)))
        elif roll < 0.065:
            back = day + _DAY * rng.randint(2, 25)
            changes += [(day, Change(day, None)), (back, Change(back, version.version_id))]
        elif roll < 0.08:
            changes.append((day + _DAY * rng.choice((0, 0, 3)), Change(day, None)))
        elif roll < 0.09:
            first, second = rng.choices(LINES[:9], k=2)
            changes += [(day, Change(day, first.version_id)), (day + _DAY, Change(day + _DAY, second.version_id))]
    changes = [(known, c) for known, c in changes if known <= TODAY]
    subs = [Sub(f"sub-{n}", anchor, changes)]
    ended = changes[-1][1].version_id is None
    for item, share in zip(ITEMS, (0.35, 0.15, 0.08), strict=True):
        if rng.random() < share:
            since = max(began, _began(rng))
            pieces = rng.choice((1, 1, 1, 2, 3, 5)) if item.plan.prices[0].each else 1  # type: ignore[union-attr]
            held = [(since, Change(since, item.version_id, pieces))]
            if ended and changes[-1][1].on > since:
                held.append((changes[-1][0], Change(changes[-1][1].on, None)))
            elif rng.random() < 0.02 and since < TODAY - _DAY * 9:
                day = TODAY - _DAY * rng.randint(1, 8)
                held.append((day, Change(day, item.version_id, pieces + 1)))
            subs.append(Sub(f"{item.offering_name}-{n}", anchor, held))
    _monthly(rng, subs[0])
    return subs


def _began(rng: random.Random) -> date:
    if rng.random() < 0.04:
        return TODAY - _DAY * rng.randint(0, 40)
    return TODAY - _DAY * rng.randint(41, 1100)


def _monthly(rng: random.Random, sub: Sub) -> None:
    """Octets per day by month: a level of its own, the season, growth, and what months differ by."""
    level = math.exp(rng.gauss(math.log(6.5 * GB), 0.75))
    if rng.random() < 0.02:
        level *= rng.uniform(4, 10)
    restless = abs(rng.gauss(0.16, 0.07))
    began = sub.changes[0][1].on
    for place, month in enumerate(MONTHS):
        month_began = date(*month, 1)
        noise = math.exp(rng.gauss(0, restless))
        if rng.random() < 0.01:
            noise *= rng.uniform(1.8, 3.5)
        away = rng.random() < 0.04
        if month_began <= began:
            continue
        per_day = level * _SEASON[month[1] - 1] * 1.015**place * noise * (rng.uniform(0.3, 0.7) if away else 1)
        sub.months[month] = int(per_day)


def _daily(rng: random.Random, sub: Sub) -> None:
    """Days that make up the months; another source counts most services, with an error of its own."""
    if not sub.metered:
        return
    own = sub.months or {}
    counted, bias = rng.random() < 0.85, rng.gauss(0, 0.004)
    away_from = FIRST_DAY + _DAY * rng.randint(0, 110) if rng.random() < 0.15 else None
    router_off = rng.random() < 0.3
    day = max(FIRST_DAY, sub.changes[0][1].on)
    level = sum(own.values()) / len(own) if own else 6 * GB * math.exp(rng.gauss(0, 0.5))
    while day < TODAY:
        per_day = own.get((day.year, day.month), level) * math.exp(rng.gauss(-0.08, 0.4))
        if day.weekday() >= 5:
            per_day *= 1.25
        if away_from is not None and away_from <= day < away_from + _DAY * 9:
            per_day *= 0 if router_off else 0.02
        if per_day and _on(sub, day):
            upstream = int(per_day * rng.uniform(0.06, 0.14))
            sub.usage[day] = (upstream, int(per_day) - upstream)
            if counted and rng.random() > 0.03:
                sub.measured[day] = int(per_day * (1 + bias) * (1 + rng.gauss(0, 0.006)))
        day += _DAY
    if rng.random() < 0.03:
        first = FIRST_DAY + _DAY * rng.randint(40, 100)
        sub.late = {d for d in sub.usage if first <= d < first + _DAY * 3}


def _on(sub: Sub, day: date) -> bool:
    held = [c for _, c in sub.changes if c.on <= day]
    return bool(held) and held[-1].version_id is not None


def _run_of(day: date) -> date:
    """The run that would have charged usage of `day`."""
    return next((run for run in RUNS if run > day), TODAY)


# --- our own rating


def _rated(
    draft: Draft, sub: Sub, run: date, changes: Sequence[Change], usage: Mapping[date, tuple[int, int]]
) -> list[RatedCharge]:
    days = [
        DayUsage(ServiceId(sub.subscription_id), day, up, down, 96, 1) for day, (up, down) in usage.items() if day < run
    ]
    charged: dict[DueKey, list[RatedCharge]] = {}
    for before in sub.earlier:
        c = before.charge
        charged.setdefault(DueKey(c.kind, before.period.first_on, c.version_id, before.code), []).append(before)
    sums = {key: _sum(of) for key, of in charged.items()}
    first = max(RUNS[0], changes[0].on) if changes else run
    if not changes or first > run:
        return []
    calendar, place = Calendar(sub.anchor_day), RUNS.index(run)
    subscription = Subscription(
        SubscriptionId(sub.subscription_id), AccountId(draft.account_id), ServiceId(sub.subscription_id),
        calendar, first, calendar.period(RUNS[place - 1]).first_on if place else None, changes, 1, sums, days,
    )  # fmt: skip
    facts = Facts(changes, draft.tariffs, _by_hour(days), sums)
    found = due(facts, calendar.periods(first, run), run, ROUND_HALF_UP, ZONE)
    run_id = BillRunId(f"run-{run.isoformat()}")
    return [charge_of(f, subscription, draft.tariffs[f.key.version_id], run_id, ROUND_HALF_UP) for f in found]


def _sum(of: Sequence[RatedCharge]) -> Charged:
    days: set[date] = set()
    for r in of:
        named = set(DaySpan(r.charge.first_on, r.charge.until_on).each_day())
        days = days | named if r.charge.net.minor > 0 else days - named
    span = DaySpan(min(days), max(days) + _DAY) if days else None
    return Charged(
        sum(r.charge.net.minor for r in of), sum(r.octets for r in of), sum(r.days for r in of), len(of), span
    )


_HOURS = (8, 40, 60, 76, 84)
"""Quarters of the clock in which the day's octets lie, a fifth each: the first is at night."""


def _quarters(up: int, down: int) -> dict[int, Octets]:
    parts = {q: Octets(up // 5, down // 5) for q in _HOURS[:-1]}
    parts[_HOURS[-1]] = Octets(up - 4 * (up // 5), down - 4 * (down // 5))
    return parts


def _by_hour(days: Sequence[DayUsage]) -> Usage:
    return Usage(
        {d.day: Octets(d.upstream_octets, d.downstream_octets) for d in days},
        {d.day: _quarters(d.upstream_octets, d.downstream_octets) for d in days},
    )


def _holding(draft: Draft, sub: Sub) -> Holding:
    charged: dict[Key, int] = {}
    for r in sub.earlier:
        key = Key(r.period.first_on, r.charge.version_id, r.charge.kind)
        charged[key] = charged.get(key, 0) + r.charge.net.minor
    closed = period_containing(period_containing(TODAY, sub.anchor_day).first_on - _DAY, sub.anchor_day)
    return Holding(
        sub.subscription_id, sub.subscription_id, AccountId(draft.account_id), Calendar(sub.anchor_day), sub.billed,
        [DayUsage(ServiceId(sub.subscription_id), day, up, down, 96, 1) for day, (up, down) in sub.usage.items()],
        charged,
        {month: octets for month, octets in sub.months.items() if date(*month, 28) < closed.first_on},
        sub.measured,
        {day: _quarters(up, down) for day, (up, down) in sub.usage.items()},
        sub.sold,
    )  # fmt: skip


# --- errors

Spoiler = Callable[[random.Random, Draft], bool]


def _fees(draft: Draft) -> list[Charge]:
    return [c for c in draft.charges if c.kind is ChargeKind.RECURRING and c.net.minor > 100 and not c.adjustment]


def _usage(draft: Draft) -> list[Charge]:
    return [c for c in draft.charges if c.kind is ChargeKind.USAGE and c.net.minor > 200 and not c.adjustment]


def _pick(rng: random.Random, found: Sequence[Charge]) -> Charge | None:
    return rng.choice(found) if found else None


def _change(draft: Draft, old: Charge, **values: object) -> None:
    place = next(n for n, c in enumerate(draft.charges) if c is old)
    draft.charges[place] = replace(old, **values)  # type: ignore[arg-type]


def _net(charge: Charge, factor: Decimal) -> Money:
    return Money.rounded(charge.net.amount * factor, charge.net.currency, ROUND_HALF_UP)


def _another(rng: random.Random, charge: Charge, **values: object) -> Charge:
    made = new_id(datetime.fromtimestamp(rng.randrange(10**9), UTC))
    return replace(charge, charge_id=ChargeId(made), **values)  # type: ignore[arg-type]


def _sub_of(draft: Draft, charge: Charge) -> Sub:
    return next(s for s in draft.subs if s.subscription_id == charge.subscription_id)


def _on_line(choose: Callable[[Draft], Sequence[Charge]], **values: object) -> Spoiler:
    """An error that sets fields of a line; a callable is given the line."""

    def spoil(rng: random.Random, draft: Draft) -> bool:
        line = _pick(rng, choose(draft))
        if line is None:
            return False
        _change(draft, line, **{k: v(line) if callable(v) else v for k, v in values.items()})
        return True

    return spoil


def _scaled(factor: str) -> dict[str, object]:
    f = Decimal(factor)
    return {"unit_price": lambda c: c.unit_price * f, "net": lambda c: _net(c, f)}


def _doubled(choose: Callable[[Draft], Sequence[Charge]]) -> Spoiler:
    def spoil(rng: random.Random, draft: Draft) -> bool:
        line = _pick(rng, choose(draft))
        if line is None:
            return False
        draft.charges.append(_another(rng, line))
        return True

    return spoil


def _forgotten(choose: Callable[[Draft], Sequence[Charge]]) -> Spoiler:
    def spoil(rng: random.Random, draft: Draft) -> bool:
        line = _pick(rng, choose(draft))
        if line is None or len(draft.charges) < 2:
            return False
        draft.charges = [c for c in draft.charges if c is not line]
        return True

    return spoil


def _whole_months(draft: Draft) -> list[Charge]:
    return [c for c in _fees(draft) if c.unit == "month" and (c.until_on - c.first_on).days >= 28]


def _parts_of_months(draft: Draft) -> list[Charge]:
    return [c for c in _fees(draft) if c.unit == "day" and (c.until_on - c.first_on).days < 25]


def _discounts(draft: Draft) -> list[Charge]:
    return [c for c in draft.charges if c.kind is ChargeKind.RECURRING and c.net.minor < -100 and not c.adjustment]


def _of_offering(*names: str) -> Callable[[Draft], list[Charge]]:
    return lambda draft: [c for c in _fees(draft) if CATALOGUE[c.version_id].offering_name in names]


def _charged_again(rng: random.Random, draft: Draft) -> bool:
    """A month that was paid is charged again."""
    before = [
        r for s in draft.subs for r in s.earlier if r.charge.kind is ChargeKind.RECURRING and r.charge.net.minor > 100
    ]
    if not before or not draft.charges:
        return False
    draft.charges.append(_another(rng, rng.choice(before).charge, bill_run_id=draft.charges[0].bill_run_id))
    return True


def _too_early(rng: random.Random, draft: Draft) -> bool:
    """The month after the next is charged too."""
    line = _pick(rng, _whole_months(draft))
    if line is None:
        return False
    later = period_containing(line.until_on, _sub_of(draft, line).anchor_day)
    draft.charges.append(_another(rng, line, first_on=later.first_on, until_on=later.until_on))
    return True


def _a_day_too_many(rng: random.Random, draft: Draft) -> bool:
    line = _pick(rng, [c for c in _fees(draft) if c.net.minor > 900])
    if line is None:
        return False
    days = (line.until_on - line.first_on).days
    factor = Decimal(days + 1) / days
    _change(draft, line, quantity=line.quantity * factor, net=_net(line, factor), until_on=line.until_on + _DAY)
    return True


def _whole_for_a_part(rng: random.Random, draft: Draft) -> bool:
    line = _pick(rng, _parts_of_months(draft))
    if line is None:
        return False
    tariff = CATALOGUE[line.version_id]
    fee = tariff.monthly_fee
    if not fee or abs(line.net.amount) >= fee:
        return False
    _change(draft, line, quantity=Decimal(1), unit="month", unit_price=fee, net=Money.exact(fee, "EUR"))
    return True


def _part_for_a_whole(rng: random.Random, draft: Draft) -> bool:
    line = _pick(rng, _whole_months(draft))
    if line is None or line.quantity != 1:
        return False
    factor = Decimal(rng.randint(12, 27)) / 31
    _change(draft, line, quantity=factor, net=_net(line, factor))
    return True


def _after_the_end(rng: random.Random, draft: Draft) -> bool:
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


def _while_paused(rng: random.Random, draft: Draft) -> bool:
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


def _somebody_elses(rng: random.Random, draft: Draft) -> bool:
    line = _pick(rng, _fees(draft))
    if line is None:
        return False
    other = f"sub-{rng.randrange(10**6, 10**7)}"
    draft.charges.append(_another(rng, line, subscription_id=SubscriptionId(other), service_id=ServiceId(other)))
    return True


def _other_plans_usage(rng: random.Random, draft: Draft) -> bool:
    """Usage priced by a plan that the line does not have."""
    lines = [
        c for c in _fees(draft) if c.subscription_id.startswith("sub-") and not CATALOGUE[c.version_id].plan.metered
    ]
    line = _pick(rng, lines)
    if line is None:
        return False
    octets = rng.randint(30, 400)
    price = Decimal("0.12")
    period = period_containing(
        period_containing(TODAY, _sub_of(draft, line).anchor_day).first_on - _DAY, _sub_of(draft, line).anchor_day
    )
    draft.charges.append(_another(
        rng, line, version_id=OfferingVersionId("payg-v1"), kind=ChargeKind.USAGE, first_on=period.first_on,
        until_on=period.until_on, quantity=Decimal(octets), unit="GB", unit_price=price,
        net=Money.rounded(price * octets, "EUR", ROUND_HALF_UP), description=f"payg: {octets} GB",
    ))  # fmt: skip
    return True


def _promotion_goes_on(rng: random.Random, draft: Draft) -> bool:
    """A discount whose months are over is taken off once more."""
    ended = {c.subscription_id for c in _discounts(draft)}
    lines = [c for c in _of_offering("home-plus")(draft) if c.subscription_id not in ended and c.unit == "month"]
    line = _pick(rng, lines)
    if line is None:
        return False
    net = _net(line, Decimal("-0.5"))
    days = (line.until_on - line.first_on).days
    draft.charges.append(_another(
        rng, line, net=net, quantity=Decimal(days), unit="day", unit_price=net.amount / days,
        description="home-plus: discount of 50 %",
    ))  # fmt: skip
    return True


def _credit_too_large(rng: random.Random, draft: Draft) -> bool:
    """More is given back for a month than was paid for it."""
    before = [
        (s, r) for s in draft.subs for r in s.earlier
        if r.charge.kind is ChargeKind.RECURRING and r.charge.net.minor > 500
    ]  # fmt: skip
    if not before or not draft.charges:
        return False
    _, r = rng.choice(before)
    net = _net(r.charge, Decimal("-1.4"))
    draft.charges.append(_another(
        rng, r.charge, net=net, quantity=Decimal(-1), unit="period", unit_price=abs(net.amount), adjustment=True,
        bill_run_id=draft.charges[0].bill_run_id, description=f"{r.charge.item}: credit of monthly fee",
    ))  # fmt: skip
    return True


def _pieces(rng: random.Random, draft: Draft) -> bool:
    line = _pick(rng, [c for c in _of_offering("router", "addresses")(draft) if c.unit == "month"])
    if line is None:
        return False
    _change(draft, line, quantity=line.quantity * 10, net=_net(line, Decimal(10)))
    return True


def _does_not_add_up(rng: random.Random, draft: Draft) -> bool:
    line = _pick(rng, _fees(draft))
    if line is None:
        return False
    off = rng.choice((-1, 1)) * rng.randint(30, 900)
    _change(draft, line, net=Money(line.net.minor + off, line.net.currency))
    return True


def _one_off_again(rng: random.Random, draft: Draft) -> bool:
    """The opening fee of a customer of years is charged."""
    for sub in draft.subs:
        held = [c for c in sub.billed if c.version_id]
        if not held or held[0].on > RUNS[0] or sub.billed[-1].version_id is None:
            continue
        tariff = CATALOGUE[held[-1].version_id]  # type: ignore[index]
        price = next((p for p in tariff.plan.prices if isinstance(p, OneOff)), None)
        if price is not None and draft.charges:
            made = _made(rng, draft, sub, tariff, DaySpan(TODAY, TODAY + _DAY))
            net = Money.exact(price.amount, "EUR")
            draft.charges.append(replace(
                made, kind=ChargeKind.ONE_OFF, unit="piece", unit_price=price.amount, net=net,
                description=f"{tariff.offering_name}: one-off charge",
            ))  # fmt: skip
            return True
    return False


def _one_offs(draft: Draft) -> list[Charge]:
    return [c for c in draft.charges if c.kind is ChargeKind.ONE_OFF and c.net.minor > 0]


def _nothing_included(rng: random.Random, draft: Draft) -> bool:
    """The included volume is not taken off."""
    for line in _usage(draft):
        tariff = CATALOGUE[line.version_id]
        price = next((p for p in tariff.plan.prices if isinstance(p, Overage) and p.included), None)
        if price is None or tariff.offering_name != "metered":
            continue
        used = sum(sum(o) for d, o in _sub_of(draft, line).usage.items() if line.first_on <= d < line.until_on)
        amount = Decimal(used) / GB
        _change(draft, line, quantity=amount, net=Money.rounded(amount * price.price, "EUR", ROUND_HALF_UP))
        return True
    return False


def _free_hours_charged(rng: random.Random, draft: Draft) -> bool:
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


def _raised(times: str) -> Spoiler:
    def spoil(rng: random.Random, draft: Draft) -> bool:
        for line in _of_offering("business")(draft):
            first = _sub_of(draft, line).billed[0].on
            if (TODAY - first).days > 400 and line.net.minor > 5000:
                factor = Decimal("1.025") ** (1 if times == "twice" else -1)
                price = (line.unit_price * factor).quantize(Decimal("0.01"))
                _change(draft, line, unit_price=price, net=_net(line, price / line.unit_price))
                return True
        return False

    return spoil


def _thirty_days(rng: random.Random, draft: Draft) -> bool:
    """A part of a month of 31 days is divided by another number of days."""
    line = _pick(rng, [c for c in _parts_of_months(draft) if c.net.minor > 400])
    if line is None:
        return False
    factor = Decimal(31) / 28
    _change(draft, line, unit_price=line.unit_price * factor, net=_net(line, factor))
    return True


def _late_usage_twice(rng: random.Random, draft: Draft) -> bool:
    late = [c for c in draft.charges if c.kind is ChargeKind.USAGE and c.adjustment and c.net.minor > 50]
    line = _pick(rng, late)
    if line is None:
        return False
    draft.charges.append(_another(rng, line, description=f"{line.description} (late)"))
    return True


def _both_in_full(rng: random.Random, draft: Draft) -> bool:
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


def _spoiled_usage(change: Callable[[random.Random, Sub, list[date]], bool]) -> Spoiler:
    """An error in the usage that the bill is rated from; it must cost the customer or us at least six euros."""

    def spoil(rng: random.Random, draft: Draft) -> bool:
        for sub in draft.subs:
            if not sub.metered or sub.billed[-1].version_id is None or len(sub.billed) > 1:
                continue
            period = period_containing(period_containing(TODAY, sub.anchor_day).first_on - _DAY, sub.anchor_day)
            days = [d for d in sorted(sub.usage) if d in period]
            if len(days) < 20:
                continue
            usage, before = dict(sub.usage), draft.charges
            if change(rng, sub, days):
                draft.rate()
                now, was = sum(c.net.minor for c in draft.charges), sum(c.net.minor for c in before)
                if abs(now - was) >= 600 and draft.charges:
                    return True
            sub.usage, draft.charges = usage, before
        return False

    return spoil


def _times(factor: float) -> Callable[[random.Random, Sub, list[date]], bool]:
    def change(rng: random.Random, sub: Sub, days: list[date]) -> bool:
        for day in days:
            up, down = sub.usage[day]
            sub.usage[day] = (int(up * factor), int(down * factor))
        return True

    return change


def _lost_days(rng: random.Random, sub: Sub, days: list[date]) -> bool:
    first = rng.randrange(0, max(1, len(days) - 14))
    for day in days[first : first + 14]:
        del sub.usage[day]
    return True


def _counter_jump(rng: random.Random, sub: Sub, days: list[date]) -> bool:
    day = rng.choice(days)
    up, down = sub.usage[day]
    sub.usage[day] = (up, down + sum(sum(sub.usage[d]) for d in days) * rng.randint(8, 60) // 2)
    return True


def _neighbours(rng: random.Random, sub: Sub, days: list[date]) -> bool:
    """A line was connected to another's port: the usage is that of somebody else."""
    factor = math.exp(rng.gauss(0, 0.9))
    if 0.5 < factor < 2:
        return False
    return _times(factor * 1.0)(rng, sub, days)


def _direction_twice(rng: random.Random, sub: Sub, days: list[date]) -> bool:
    """Downstream octets stand in both directions."""
    for day in days:
        _, down = sub.usage[day]
        sub.usage[day] = (down, down)
    return True


def _old_plan(rng: random.Random, draft: Draft) -> bool:
    """A change of plan was built and never reached billing."""
    sub = draft.subs[0]
    if len(sub.billed) != 1 or sub.billed[0].version_id not in ("home-v2", "home-plus-v1", "metered-v1", "packs-v1"):
        return False
    if not draft.charges:
        return False
    sub.sold = Sold(OfferingVersionId(rng.choice(("home-v1", "tiers-v1"))))
    return True


def _copied_price(rng: random.Random, draft: Draft) -> bool:
    """Billing's copy of the price is not what was agreed."""
    line = _pick(rng, _fees(draft))
    if line is None or not isinstance(CATALOGUE[line.version_id].plan.prices[0], Flat):
        return False
    tariff = CATALOGUE[line.version_id]
    first = tariff.plan.prices[0]
    assert isinstance(first, Flat)
    price = replace(first, amount=first.amount + rng.choice((Decimal("-3.00"), Decimal("1.00"), Decimal("5.00"))))
    if price.amount <= 0:
        return False
    plan = replace(tariff.plan, prices=(price, *tariff.plan.prices[1:]))
    draft.tariffs = {**draft.tariffs, tariff.version_id: replace(tariff, plan=plan)}
    draft.rate()
    return bool(draft.charges)


def _old_quantity(rng: random.Random, draft: Draft) -> bool:
    for sub in draft.subs:
        last = sub.billed[-1]
        if last.version_id in ("router-v1", "addresses-v1") and any(
            c.subscription_id == sub.subscription_id for c in draft.charges
        ):
            sub.sold = Sold(last.version_id, last.quantity + rng.randint(1, 3))
            return True
    return False


def _ended_in_orders(rng: random.Random, draft: Draft) -> bool:
    for sub in draft.subs:
        if sub.billed[-1].version_id and any(c.subscription_id == sub.subscription_id for c in draft.charges):
            sub.sold = Sold(None)
            return True
    return False


KINDS: Mapping[str, Spoiler] = {
    "fee of zero": _on_line(_fees, net=Money(0, "EUR"), unit_price=Decimal(0)),
    "fee with the sign turned": _on_line(_fees, net=lambda c: -c.net, quantity=lambda c: -c.quantity),
    "fee line twice": _doubled(_fees),
    "usage line twice": _doubled(_usage),
    "fee line forgotten": _forgotten(_fees),
    "usage line forgotten": _forgotten(_usage),
    "no tax": _on_line(_fees, tax_percent=Decimal(0)),
    "tax of another area": _on_line(_fees, tax_percent=Decimal(20)),
    "reduced tax": _on_line(_usage, tax_percent=Decimal(7)),
    "other currency": _on_line(_fees, net=lambda c: Money(c.net.minor, "CHF")),
    "month charged again": _charged_again,
    "month charged too early": _too_early,
    "a day too many": _a_day_too_many,
    "whole month for a part": _whole_for_a_part,
    "part for a whole month": _part_for_a_whole,
    "month divided by the wrong days": _thirty_days,
    "both plans in full": _both_in_full,
    "fee after the end": _after_the_end,
    "fee while paused": _while_paused,
    "line of somebody else": _somebody_elses,
    "usage of a plan not held": _other_plans_usage,
    "promotion goes on": _promotion_goes_on,
    "promotion forgotten": _forgotten(
        lambda d: [c for c in _discounts(d) if CATALOGUE[c.version_id].offering_name == "home-plus"]
    ),
    "term discount forgotten": _forgotten(
        lambda d: [c for c in _discounts(d) if CATALOGUE[c.version_id].offering_name == "business"]
    ),
    "commitment not billed": _forgotten(_of_offering("transit")),
    "credit above the original": _credit_too_large,
    "ten times the pieces": _pieces,
    "price ten times": _on_line(_fees, **_scaled("10")),
    "price a tenth": _on_line(_fees, **_scaled("0.1")),
    "line does not add up": _does_not_add_up,
    "one-off again": _one_off_again,
    "one-off forgotten": _forgotten(_one_offs),
    "included volume ignored": _nothing_included,
    "GiB for GB": _on_line(
        lambda d: [c for c in _usage(d) if c.unit == "GB"],
        quantity=lambda c: c.quantity * Decimal("0.931323"), net=lambda c: _net(c, Decimal("0.931323")),
    ),
    "free hours charged": _free_hours_charged,
    "raised once too often": _raised("twice"),
    "raise forgotten": _raised("never"),
    "late usage charged twice": _late_usage_twice,
    "two sources summed": _spoiled_usage(_times(2)),
    "two weeks of records lost": _spoiled_usage(_lost_days),
    "counter jumped": _spoiled_usage(_counter_jump),
    "usage of another line": _spoiled_usage(_neighbours),
    "downstream in both directions": _spoiled_usage(_direction_twice),
    "kilobytes for bytes": _spoiled_usage(_times(1 / 1000)),
    "plan change never billed": _old_plan,
    "copied price differs": _copied_price,
    "old number of pieces": _old_quantity,
    "ended, still billed": _ended_in_orders,
}  # fmt: skip
"""What goes wrong → the function that does it to a bill; False where this bill does not lend itself to it."""
