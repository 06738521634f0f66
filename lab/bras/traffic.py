"""How much a subscriber moves: diurnal, heavy-tailed over subscribers, bursty in time, capped by the plan.

A pure function of (seed, username, interval): the same world asked twice gives the same traffic. Short intervals are
cut by the minute, long ones by the hour.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

MEDIAN_BPS = 700_000
"""Median subscriber's mean downstream rate over a day: about 7.5 GB a day."""
SIGMA = 1.0
"""Spread of the lognormal over subscribers: the busiest of 200 moves some ten times the median."""
UPSTREAM_SHARE = 0.11

# Share of the daily mean by local hour: quiet before dawn, busiest after supper.
DIURNAL = (
    0.55, 0.35, 0.22, 0.16, 0.15, 0.20, 0.35, 0.55, 0.70, 0.80, 0.85, 0.90,
    1.00, 1.00, 1.00, 1.05, 1.20, 1.45, 1.75, 2.05, 2.25, 2.20, 1.70, 1.00,
)  # fmt: skip

FINE = timedelta(minutes=1)
COARSE = timedelta(hours=1)


def _unit(*words: object) -> float:
    """A number in (0, 1) that depends on `words` only."""
    digest = hashlib.blake2b("/".join(map(str, words)).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") + 1) / (2**64 + 2)


def _normal(*words: object) -> float:
    """A standard normal number that depends on `words` only (Box–Muller)."""
    return math.sqrt(-2 * math.log(_unit("a", *words))) * math.cos(2 * math.pi * _unit("b", *words))


@dataclass(frozen=True, slots=True)
class TrafficModel:
    """Traffic of one subscriber. `seed` names the world."""

    seed: int
    username: str
    zone: ZoneInfo

    def mean_bps(self) -> float:
        return MEDIAN_BPS * math.exp(SIGMA * _normal(self.seed, self.username))

    def octets(self, since: datetime, until: datetime, upstream_bps: int, downstream_bps: int) -> tuple[int, int]:
        """(upstream, downstream) octets in [since, until), never above what the two rates allow."""
        step = FINE if until - since <= 2 * COARSE else COARSE
        mean = self.mean_bps()
        up = down = 0.0
        at = since
        while at < until:
            slot = int(at.timestamp() // step.total_seconds())
            slot_end = datetime.fromtimestamp((slot + 1) * step.total_seconds(), tz=since.tzinfo)
            end = min(until, slot_end)
            seconds = (end - at).total_seconds()
            rate = mean * DIURNAL[at.astimezone(self.zone).hour] * self._burst(slot, step)
            down += min(rate, downstream_bps) * seconds / 8
            up += min(rate * UPSTREAM_SHARE, upstream_bps) * seconds / 8
            at = end
        return int(up), int(down)

    def _burst(self, slot: int, step: timedelta) -> float:
        """Noise of mean about 1: minutes are mostly quiet with bursts, hours are smoother."""
        sigma = 1.1 if step == FINE else 0.5
        return math.exp(sigma * _normal(self.seed, self.username, step, slot) - sigma * sigma / 2)
