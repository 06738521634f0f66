"""Three counts of one service and day put side by side, and the difference explained. Pure.

    counter of the device ── overhead, missing hours, held readings, open sessions ── RADIUS
    RADIUS ── suspense, given to another service by hand ── billed ── moved since, free hours, open, no price ── charged

RADIUS and what is billed are two counts of the same octets: nothing but named reasons may lie between them, not one
octet. A device counts frames and not packets: how much that is, is known from the days before of the same service,
else from the others of the same day, else from how large packets usually are. What no reason explains is unexplained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

AGREES, EXPLAINED, DIFFERS, NO_COUNTER = "agrees", "explained", "differs", "no-counter"
VERDICTS = (DIFFERS, EXPLAINED, AGREES, NO_COUNTER)

PRIOR_OVERHEAD = 0.03
"""Ethernet, VLAN tags and PPPoE add 26 to 34 octets to packets of 900 on average (RFC 894, 2516, IEEE 802.1Q)."""
USUAL_PACKETS = "packets of usual size"
PRIOR_SLACK = 0.04
"""Of an overhead that nothing is known of: small packets may double it."""
LEAST_SLACK = 0.005
"""Between polls and interims lie seconds of the day that the two count on different days."""
MOVED_AWAY = "given to another service after the bill: a run credits what it cost"
MOVED_HERE = "given to it after the bill: a run charges what it costs"
MISSING = "hours without a sample"
ANEW = "the counter began anew"
_SIGMAS = 5 * 1.4826
_LEAST_DAYS = 5
_POLL_S = 60
_POLLS_LOST = 10
"""A device that restarts is not polled for some minutes."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted of a service on a day, in octets of both directions.

    `counter` is None where no device counts it. `missing_hours` have no sample; `held` is what the collector did not
    believe, `resets` how often the counter began anew. `open_s` are seconds at the end of the day that an open session
    has not accounted for. `suspended` waits,
    `given_away` and `taken_over` were given to or from other services by hand, `from_sources` came from no RADIUS.
    `free` fell into hours that the plan gives away; `charged` is without them. `moved_away`
    and `moved_here` went to or came from other services after the day was billed: `billed` has that already.
    """

    service_id: str
    radius: int
    billed: int
    charged: int
    counter: int | None = None
    hours: int = 24
    missing_hours: int = 0
    held: int = 0
    resets: int = 0
    open_s: int = 0
    late: int = 0
    suspended: int = 0
    given_away: int = 0
    taken_over: int = 0
    from_sources: int = 0
    free: int = 0
    moved_away: int = 0
    moved_here: int = 0


@dataclass(frozen=True, slots=True)
class Overhead:
    """How much a counter is above RADIUS by nature, as a share of RADIUS; `source` says how that is known."""

    share: float
    slack: float
    source: str


@dataclass(frozen=True, slots=True)
class Reason:
    """`between` names the two counts. `octets` of the difference it explains; 0 where it is only good to know."""

    between: str
    text: str
    octets: int


@dataclass(frozen=True, slots=True)
class Reconciled:
    counted: Counted
    reasons: tuple[Reason, ...]
    unexplained: int
    verdict: str
    overhead_ppm: int | None


def overhead_of(own: Sequence[float], others: Sequence[float]) -> Overhead:
    """From the shares of the days before of a service, or of others on that day."""
    for shares, source in ((own, "the days before"), (others, "other services")):
        if len(shares) >= _LEAST_DAYS:
            middle = median(shares)
            spread = _SIGMAS * median([abs(share - middle) for share in shares])
            return Overhead(middle, max(LEAST_SLACK, spread), source)
    return Overhead(PRIOR_OVERHEAD, PRIOR_SLACK, USUAL_PACKETS)


def share_of(counted: Counted) -> float | None:
    """By how much a counter was above RADIUS; None where the day says nothing about that."""
    if counted.counter is None or counted.missing_hours or counted.held or counted.resets:
        return None
    if counted.radius < 50_000_000:
        return None
    return counted.counter / counted.radius - 1


def reconcile(counted: Counted, overhead: Overhead) -> Reconciled:
    """Name what lies between the counts."""
    reasons: list[Reason] = []
    lost = _radius_and_billed(counted, reasons)
    unexplained, ppm = lost, None
    if counted.counter is not None:
        # A guess is good enough to look at a day, not to hold a bill by.
        ppm = None if overhead.source == USUAL_PACKETS else round(overhead.share * 1_000_000)
        gap = _counter_and_radius(counted, counted.counter, overhead, reasons)
        if not lost:
            unexplained = gap
    _billed_and_charged(counted, reasons)
    differences = counted.billed != counted.radius or counted.counter is not None
    if unexplained:
        verdict = DIFFERS
    elif counted.counter is None:
        verdict = NO_COUNTER if counted.billed == counted.radius else EXPLAINED
    else:
        verdict = EXPLAINED if differences and any(r.octets for r in reasons) else AGREES
    return Reconciled(counted, tuple(reasons), unexplained, verdict, ppm)


def _radius_and_billed(c: Counted, reasons: list[Reason]) -> int:
    between, left = "RADIUS and billed", c.radius - c.billed
    if c.late:
        reasons.append(Reason(between, f"{c.late} octets came after the day was over, and are in both", 0))
    if not left:
        return 0
    for text, octets in (
        ("waits in suspense", c.suspended),
        ("given to another service by hand", c.given_away),
        ("taken over from another service by hand", -c.taken_over),
        ("billed from another source than RADIUS", -c.from_sources),
    ):
        if octets:
            reasons.append(Reason(between, text, octets))
            left -= octets
    return left


def _counter_and_radius(c: Counted, counter: int, overhead: Overhead, reasons: list[Reason]) -> int:
    between = "counter and RADIUS"
    by_nature = round(c.radius * overhead.share)
    reasons.append(Reason(between, f"frames are longer than packets, by {overhead.source}", by_nature))
    left = counter - c.radius - by_nature
    slack = overhead.slack * c.radius + 1_000_000
    if c.missing_hours:
        absent = -round(c.radius * (1 + overhead.share) * c.missing_hours / c.hours)
        left = _explain(reasons, between, f"{c.missing_hours} {MISSING}", absent, left)
        slack += abs(absent)  # nobody knows how much of the day's traffic fell into them
    if c.held:
        left = _explain(reasons, between, "readings that no port can have carried", -c.held, left)
    if c.resets:
        # What was counted since the last poll before each: at most a few polls' worth, and at the rate of the day.
        lost = -round(counter * c.resets * _POLL_S / (c.hours * 3600))
        left = _explain(reasons, between, f"{ANEW}, {c.resets} times", lost, left)
        slack += _POLLS_LOST * abs(lost)
    if c.open_s:
        unheard = round(counter * c.open_s / (c.hours * 3600))
        left = _explain(reasons, between, f"a session still open, unheard for {c.open_s} s of the day", unheard, left)
        slack += unheard
    return 0 if abs(left) <= slack else left


def _explain(reasons: list[Reason], between: str, text: str, octets: int, left: int) -> int:
    reasons.append(Reason(between, text, octets))
    return left - octets


def _billed_and_charged(c: Counted, reasons: list[Reason]) -> None:
    between, left = "billed and charged", c.billed - c.charged
    if c.moved_away:
        left = _explain(reasons, between, MOVED_AWAY, -c.moved_away, left)
    if c.moved_here:
        left = _explain(reasons, between, MOVED_HERE, c.moved_here, left)
    if not left or not c.billed:
        return
    if c.free:
        left = _explain(reasons, between, "in hours that the plan gives away", min(c.free, max(0, left)), left)
    if left:
        text = "charged in part" if c.charged else "not charged: the period is open, or the plan has no price for it"
        reasons.append(Reason(between, text, left))
