"""Burst billing: the 95th percentile of a rate over 5-minute bins, above a commitment.

The ports of a service are added up bin by bin before anything is sorted: the percentile of a sum is not the sum of
percentiles. A bin is missing when no port reported it; it is left out, and listed. A bin that some ports reported
counts with what they did, and what is absent is listed too. Nearest rank: of n bins in rising order number
ceil(n × 95 %).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from billing_bridge.rating.line import Octets
from billing_bridge.rating.metered import Share
from billing_bridge.rating.proration import DaySpan
from controller.domain.clock import start_of_day
from controller.domain.price import Percentile
from controller.domain.units import MBPS

BIN_S = 300


@dataclass(frozen=True, slots=True)
class Gap:
    """Bins from `since` until `until` that `port` did not report; "" when no port did."""

    port: str
    since: datetime
    until: datetime

    def __str__(self) -> str:
        who = f"port {self.port}" if self.port else "every port"
        return f"{who}: {self.since:%Y-%m-%dT%H:%MZ} until {self.until:%Y-%m-%dT%H:%MZ}"


@dataclass(frozen=True, slots=True)
class Burst:
    """`octets` is what the bin at the percentile carried; `bins` were present of `expected`."""

    exact: Decimal
    octets: int
    rate_bps: Decimal
    above_bps: Decimal
    bins: int
    expected: int
    gaps: tuple[Gap, ...]
    steps: tuple[str, ...]


def burst(
    price: Percentile, ports: Mapping[str, Mapping[int, Octets]], spans: Sequence[DaySpan], zone: ZoneInfo, share: Share
) -> Burst:
    """What the rate above the commitment costs on `spans`, which are `share` of a period."""
    wanted = [at for span in spans for at in _bins(span, zone)]
    sums = [_sum(ports, at) for at in wanted]
    present = sorted(_value(s, price) for s in sums if s is not None)
    octets = present[_rank(len(present), price.percent) - 1] if present else 0
    rate_bps = Decimal(octets * 8) / BIN_S
    above_bits = max(0, octets * 8 - price.commit_bps * BIN_S)  # of one bin; divided once, below
    above_bps = Decimal(above_bits) / BIN_S
    exact = price.price * above_bits * share.days / (BIN_S * MBPS * share.of)
    gaps = [*_gaps("", (at for at, s in zip(wanted, sums, strict=True) if s is None))]
    known = {at for at, s in zip(wanted, sums, strict=True) if s is not None}
    for port, bins in sorted(ports.items()):
        gaps += _gaps(port, (at for at in wanted if at in known and at not in bins))
    steps = [
        f"{len(present)} of {len(wanted)} bins of {BIN_S} s; {price.percent}th percentile "
        f"is number {_rank(len(present), price.percent)}: {octets} octets = {rate_bps} bit/s",
        f"above {price.commit_bps} bit/s: {above_bps} bit/s × {price.price} per Mbit/s "
        f"× {share.days} ÷ {share.of} days = {exact}",
        *(f"missing: {gap}" for gap in gaps),
    ]
    return Burst(exact, octets, rate_bps, above_bps, len(present), len(wanted), tuple(gaps), tuple(steps))


def _bins(span: DaySpan, zone: ZoneInfo) -> range:
    first, last = (int(start_of_day(day, zone).timestamp()) for day in (span.first_on, span.until_on))
    return range(first, last, BIN_S)


def _sum(ports: Mapping[str, Mapping[int, Octets]], at: int) -> Octets | None:
    found = [bins[at] for bins in ports.values() if at in bins]
    return Octets(sum(o.upstream for o in found), sum(o.downstream for o in found)) if found else None


def _value(octets: Octets, price: Percentile) -> int:
    match price.direction:
        case "sum":
            return octets.upstream + octets.downstream
        case "upstream":
            return octets.upstream
        case "downstream":
            return octets.downstream
    return max(octets)


def _rank(bins: int, percent: int) -> int:
    return -(-bins * percent // 100)


def _gaps(port: str, missing: Iterable[int]) -> list[Gap]:
    found: list[list[int]] = []
    for at in missing:
        if found and found[-1][1] == at:
            found[-1][1] = at + BIN_S
        else:
            found.append([at, at + BIN_S])
    return [Gap(port, datetime.fromtimestamp(a, UTC), datetime.fromtimestamp(b, UTC)) for a, b in found]
