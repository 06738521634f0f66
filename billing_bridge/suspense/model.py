"""Which usage of a service has a plan to be charged by, and what becomes of the rest. Pure.

    timeline        |----- plan A -----|            |-- plan B ----
    usage of a day          a          t    x  x        b
                            charged    └ not-entitled ┘ charged

Nothing is remembered about entitlement that cannot be computed again: `settle_day` looks at the whole timeline and at
all that a day has used, says what the suspense of that day must be, and said twice changes nothing. So it does not
matter whether the usage or the entitlement, the activation or the termination came first.

A day that is charged by decision counts on the nearest day with a plan: the last one before it, else the first one
after. A plan that comes to cover the day afterwards outdoes every decision about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal

from billing_bridge.rating.metered import dearest
from billing_bridge.rating.proration import ALWAYS, Change, Stretch, stretches
from billing_bridge.sources.model import ABSURD, CLOCK_JUMP, CONFLICT, MALFORMED, NEGATIVE, NO_PRICE, SECOND_SOURCE
from controller.domain.identity import OfferingVersionId
from controller.domain.money import Money
from controller.domain.price import Calls
from controller.domain.tariff import TariffVersion

NO_SERVICE = "unknown-service"
ALTERED = "altered-record"
FORGOTTEN = "forgotten-session"
NOT_ENTITLED = "not-entitled"
REASONS = (
    NO_SERVICE, ALTERED, FORGOTTEN, NOT_ENTITLED, MALFORMED, NEGATIVE, ABSURD, CLOCK_JUMP, CONFLICT, NO_PRICE,
    SECOND_SOURCE,
)  # fmt: skip

WAITING, MAPPED, CHARGED, WRITTEN_OFF, ENTITLED = "waiting", "mapped", "charged", "written-off", "entitled"
ACCEPTED = "accepted"
STATES = (WAITING, MAPPED, CHARGED, WRITTEN_OFF, ENTITLED, ACCEPTED)

NEVER, BEFORE, LAST_DAY, AFTER = "never-entitled", "before-activation", "termination-day", "after-termination"

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class DayItem:
    """The suspense of one day of a service. `suspense_id` is None while it is not stored."""

    suspense_id: int | None
    state: str
    upstream_octets: int
    downstream_octets: int
    detail: str
    version_id: OfferingVersionId | None
    counted_on: date | None = None
    last_interval_id: int = 0
    """Of the usage that it covers."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Items that are new or changed, and the first day that must be rated again for it."""

    items: list[DayItem]
    rate_from_on: date | None = None


@dataclass(frozen=True, slots=True)
class Nearest:
    """The plan nearest to a day without one."""

    version_id: OfferingVersionId
    day: date


def held(timelines: Iterable[Sequence[Change]]) -> list[Stretch]:
    """All plans of a service in order of time; each timeline is that of one subscription, in order of its changes."""
    found = [stretch for changes in timelines for stretch in stretches(changes, ALWAYS)]
    return sorted(found, key=lambda s: (s.span.first_on, s.span.until_on))


def last_days(changes: Sequence[Change]) -> tuple[date, date] | None:
    """The last unbroken days of a plan: [from, until)."""
    found = stretches(changes, ALWAYS)
    if not found:
        return None
    return found[-1].span.first_on, found[-1].span.until_on


def nearest(day: date, plans: Sequence[Stretch]) -> Nearest | None:
    """The last day with a plan before `day`, else the first one after it."""
    before = [s for s in plans if s.span.until_on <= day]
    if before:
        last = max(before, key=lambda s: s.span.until_on)
        return Nearest(last.version_id, last.span.until_on - _DAY)
    return next((Nearest(s.version_id, s.span.first_on) for s in plans if s.span.first_on > day), None)


def settle_day(
    day: date,
    used: tuple[int, int],
    items: Sequence[DayItem],
    plans: Sequence[Stretch],
    last_interval_id: int = 0,
) -> Settled:
    """What the suspense of `day` must be, given all it has used (upstream, downstream) and its present items.

    `items` are those waiting, charged or written off; at most one of them is waiting or charged. `last_interval_id` is
    that of what was used.
    """
    if any(day in plan.span for plan in plans):
        counted = [i.counted_on for i in items if i.counted_on is not None]
        return Settled(
            [replace(i, state=ENTITLED, counted_on=None) for i in items], min([day, *counted]) if items else None
        )
    written_off = [i for i in items if i.state == WRITTEN_OFF]
    upstream = used[0] - sum(i.upstream_octets for i in written_off)
    downstream = used[1] - sum(i.downstream_octets for i in written_off)
    open_item = next((i for i in items if i.state in (WAITING, CHARGED)), None)
    if not upstream and not downstream:
        if open_item is None:
            return Settled([])
        # All that waited here was given to another service.
        given = replace(open_item, state=MAPPED, upstream_octets=0, downstream_octets=0, counted_on=None)
        return Settled([given], open_item.counted_on)
    place = nearest(day, plans)
    charged = open_item is not None and open_item.state == CHARGED and place is not None
    wanted = DayItem(
        suspense_id=open_item.suspense_id if open_item else None,
        state=CHARGED if charged else WAITING,
        upstream_octets=upstream,
        downstream_octets=downstream,
        detail=detail_of(day, plans),
        version_id=place.version_id if place else None,
        counted_on=place.day if charged and place else None,
        last_interval_id=last_interval_id,
    )
    if wanted == open_item:
        return Settled([])
    counted = [i.counted_on for i in (open_item, wanted) if i is not None and i.counted_on is not None]
    return Settled([wanted], min(counted, default=None))


def worth(octets: int, tariff: TariffVersion, rounding: str) -> Money:
    """What `octets` come to at the dearest price of a plan, its included volume used up: the most they can be worth."""
    most = max((dearest(price, octets) for price in tariff.plan.metered), default=Decimal(0))
    return Money.rounded(most, tariff.currency, rounding)


def worth_of_calls(calls: int, seconds: int, tariff: TariffVersion, rounding: str) -> Money:
    """What calls come to at most by the dearest destination of a plan: each with its set-up, and one increment more."""
    most = Decimal(0)
    for price in tariff.plan.prices:
        for to in price.destinations if isinstance(price, Calls) else ():
            counted = seconds + calls * max(to.first_s, to.next_s)
            most = max(most, to.setup * calls + to.price * counted / 60)
    return Money.rounded(most, tariff.currency, rounding)


def detail_of(day: date, plans: Sequence[Stretch]) -> str:
    """Where a day without a plan lies."""
    if not plans:
        return NEVER
    if any(plan.span.until_on == day for plan in plans):
        return LAST_DAY
    return BEFORE if day < plans[0].span.first_on else AFTER
