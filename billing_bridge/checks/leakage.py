"""What is live and not billed, and what is billed and not live, each with what it is worth. Pure.

    seen: logins, sessions, ONUs, stock at customers ─┐
                                                      ├─▶ by service ─▶ Leak: evidence, price per day, since when
    billed: subscriptions with a plan today ──────────┘

A price is taken from the nearest thing that is known: what the service was billed before, what is sold at that speed,
else the median of all lines. It is an estimate, and says what it was taken from.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cached_property
from statistics import median_low
from zoneinfo import ZoneInfo

from controller.domain.clock import local_date
from controller.domain.money import Money

LIVE_NOT_BILLED, BILLED_NOT_LIVE = "live-not-billed", "billed-not-live"
SIDES = (LIVE_NOT_BILLED, BILLED_NOT_LIVE)
LOGIN, SESSION, ONU, STOCK = "login", "session", "onu", "stock"

QUIET = timedelta(days=7)
"""A line that nothing was heard of for so long is not live: holidays are shorter, mostly."""
_DAYS = Decimal(365) / 12
_UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Sight:
    """Something seen: a login, sessions, an ONU, a device at a customer's. `service_id` None is of no known service.

    A login that is refused is no sign of life (`is_live` False), and told all the same.
    """

    what: str
    ref: str
    service_id: str | None
    since: datetime
    last: datetime
    detail: str
    is_live: bool = True
    downstream_bps: int | None = None


@dataclass(frozen=True, slots=True)
class BilledLine:
    """A subscription as billing has it: the plan of its last days, and until when."""

    subscription_id: str
    service_id: str
    account_id: str
    offering_name: str
    downstream_bps: int | None
    monthly: Money
    from_on: date
    until_on: date | None
    paused: bool = False
    zone: ZoneInfo = _UTC
    """In which its days are counted."""

    def on(self, day: date) -> bool:
        return self.from_on <= day and (self.until_on is None or day < self.until_on)

    def at(self, now: datetime) -> bool:
        """Whether it is billed on the day that it is for it."""
        return self.on(local_date(now, self.zone))


@dataclass(frozen=True, slots=True)
class Offer:
    """What is sold: the fee of a speed, or (no speed) of a rented device."""

    name: str
    downstream_bps: int | None
    monthly: Money


@dataclass(frozen=True, slots=True)
class Leak:
    """`key` is the service, or what was seen where no service is known. `lost` is since `since_on`."""

    side: str
    key: str
    title: str
    service_id: str | None
    account_id: str | None
    subscription_id: str | None
    monthly: Money
    per_day: Money
    since_on: date
    days: int
    lost: Money
    price_from: str
    evidence: tuple[Sight, ...] = field(default=())


def live_not_billed(
    sights: Iterable[Sight],
    lines: Sequence[BilledLine],
    offers: Sequence[Offer],
    *,
    ordered: Collection[str],
    currency: str,
    now: datetime,
    zone: ZoneInfo,
) -> list[Leak]:
    """Dearest first. Services of an order that is still being built are left out. What nobody was ever billed for is
    counted by the days of `zone`."""
    billed = {line.service_id for line in lines if line.at(now)}
    groups: dict[str, list[Sight]] = {}
    for sight in sights:
        if sight.is_live and (sight.service_id is None or sight.service_id not in billed):
            groups.setdefault(sight.service_id or f"{sight.what}:{sight.ref}", []).append(sight)
    prices, found = _Prices(lines, offers, currency, now), []
    for key, own in groups.items():
        if key in ordered:
            continue
        before = prices.last.get(key)
        monthly, price_from = prices.of(own, before)
        theirs = zone if before is None else before.zone
        began = min(local_date(s.since, theirs) for s in own)
        if before is not None and before.until_on is not None:
            # What was billed until then is lost only since.
            began = max(began, before.until_on)
        title = next((s.ref for what in (LOGIN, SESSION, ONU, STOCK) for s in own if s.what == what), key)
        if before is not None:
            title += f" ({before.offering_name}, ended {before.until_on})"
        found.append(
            _leak(
                LIVE_NOT_BILLED,
                key,
                title,
                own[0].service_id,
                before.account_id if before else None,
                before.subscription_id if before else None,
                monthly,
                began,
                local_date(now, theirs),
                price_from,
                own,
            )
        )
    return sorted(found, key=lambda leak: (-leak.monthly.minor, leak.key))


def billed_not_live(sights: Iterable[Sight], lines: Sequence[BilledLine], *, now: datetime) -> list[Leak]:
    """Lines that are billed today, whose login is missing or refused, or of which nothing was heard for long."""
    by_service: dict[str, list[Sight]] = {}
    for sight in sights:
        if sight.service_id is not None:
            by_service.setdefault(sight.service_id, []).append(sight)
    found = []
    for line in lines:
        if line.downstream_bps is None or line.paused or not line.at(now):
            continue
        own = by_service.get(line.service_id, [])
        since = _dead_since(line, own, now)
        if since is None:
            continue
        began, why = since
        found.append(
            _leak(
                BILLED_NOT_LIVE,
                line.service_id,
                f"{line.offering_name}: {why}",
                line.service_id,
                line.account_id,
                line.subscription_id,
                line.monthly,
                max(began, line.from_on),
                local_date(now, line.zone),
                f"the fee of {line.offering_name}",
                own,
            )
        )
    return sorted(found, key=lambda leak: (-leak.lost.minor, leak.key))


def _dead_since(line: BilledLine, own: Sequence[Sight], now: datetime) -> tuple[date, str] | None:
    zone = line.zone
    logins = [s for s in own if s.what == LOGIN]
    heard = [s.last for s in own if s.what in (SESSION, ONU)]
    last = max(heard, default=None)
    if last is not None and now - last < QUIET and any(s.is_live for s in logins):
        return None
    if not logins:
        if last is not None and now - last < QUIET:
            return None  # it carries something, so it is no line by login
        return (local_date(last, zone) if last else line.from_on), "no login, nothing heard"
    if not any(s.is_live for s in logins):
        refused = min(s.since for s in logins)
        return local_date(refused, zone), "its login is refused"
    if last is None:
        if now.date() - line.from_on < QUIET:
            return None
        return line.from_on, "never heard of"
    return local_date(last, zone), f"nothing heard since {local_date(last, zone)}"


@dataclass
class _Prices:
    """What a service without a bill may be worth; what is asked of all lines is worked out once."""

    lines: Sequence[BilledLine]
    offers: Sequence[Offer]
    currency: str
    now: datetime
    last: dict[str, BilledLine] = field(default_factory=dict)
    """By service, the line that was billed until the latest."""

    def __post_init__(self) -> None:
        for line in self.lines:
            known = self.last.get(line.service_id)
            if known is None or (line.until_on or date.max) > (known.until_on or date.max):
                self.last[line.service_id] = line

    def of(self, own: Sequence[Sight], before: BilledLine | None) -> tuple[Money, str]:
        """A month of it, and where that is from."""
        if before is not None:
            return before.monthly, f"what {before.offering_name} was billed before"
        if all(s.what == STOCK for s in own):
            rent = min((o for o in self.offers if o.downstream_bps is None), key=_fee, default=None)
            if rent is None:
                return Money.zero(self.currency), "a device at a customer's; nothing is sold as its rent"
            return rent.monthly, f"the rent of {rent.name}"
        speed = max((s.downstream_bps for s in own if s.downstream_bps), default=None)
        cheapest = min((o for o in self.offers if speed and o.downstream_bps == speed), key=_fee, default=None)
        if cheapest is not None:
            return cheapest.monthly, f"the fee of {cheapest.name}, which has that speed"
        return self.usual

    @cached_property
    def usual(self) -> tuple[Money, str]:
        """The median of what is billed, else of what is sold."""
        fees = [line.monthly.minor for line in self.lines if line.downstream_bps and line.at(self.now)]
        if fees:
            return Money(median_low(fees), self.currency), f"the median of {len(fees)} lines that are billed"
        fees = [o.monthly.minor for o in self.offers if o.downstream_bps]
        if fees:
            return Money(median_low(fees), self.currency), f"the median of {len(fees)} offerings"
        return Money.zero(self.currency), "nothing is sold yet"


def _fee(offer: Offer) -> int:
    return offer.monthly.minor


def _leak(
    side: str,
    key: str,
    title: str,
    service_id: str | None,
    account_id: str | None,
    subscription_id: str | None,
    monthly: Money,
    began: date,
    today: date,
    price_from: str,
    evidence: Sequence[Sight],
) -> Leak:
    days = max(1, (today - began).days)
    return Leak(
        side,
        key,
        title,
        service_id,
        account_id,
        subscription_id,
        monthly,
        Money.rounded(monthly.amount / _DAYS, monthly.currency, ROUND_HALF_EVEN),
        began,
        days,
        Money.rounded(monthly.amount / _DAYS * days, monthly.currency, ROUND_HALF_EVEN),
        price_from,
        tuple(sorted(evidence, key=lambda s: (s.what, s.ref))),
    )
