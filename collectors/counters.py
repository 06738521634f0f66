"""From two readings of a counter to what grew in between. Pure.

    reading ──► delta(previous, current) ──► Growth: octets, and what was seen: growth wrap reset gap quarantined

A counter that fell was reset, or, if it has 32 bits, wrapped (RFC 2863 §3.1.6); a 64-bit counter never wraps in a
device's life. What no port could have carried is not counted but set aside, visibly. Two readings with polls missing
in between are one longer interval: the sum stays true, the picture has a gap. Refuses to guess:

* after a restart (sysUpTime fell) or an announced discontinuity, the growth is the new value: what was counted since;
* a restarted agent whose counters lived on (the value is more than the port could carry since) is plain growth;
* a 32-bit counter on a port that could wrap it twice within the interval says nothing, and is a gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

TICKS_PER_S = 100
_TICKS = 2**32
"""sysUpTime is TimeTicks: hundredths of a second modulo 2³² (497 days), RFC 3418."""

FASTEST_PORT_BPS = 1_600_000_000_000
"""What a port is taken for whose speed is not known: no Ethernet port is faster (IEEE 802.3dj)."""

TIMING_SLACK_S = 5.0
"""Agents answer from caches some seconds old, so an interval may hold this much more traffic than its length."""


class Seen(StrEnum):
    """What a pair of readings was."""

    FIRST = "first"
    GROWTH = "growth"
    WRAP = "wrap"
    RESET = "reset"
    GAP = "gap"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Reading:
    """A counter's value at one instant. `bits` is 32 or 64.

    `uptime_ticks` is sysUpTime and `discontinuity_ticks` ifCounterDiscontinuityTime, both hundredths of a second as
    the device says them; None where it does not. `index` is the ifIndex the value was read at.
    """

    at: datetime
    value: int
    bits: int = 64
    uptime_ticks: int | None = None
    discontinuity_ticks: int | None = None
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Growth:
    """`octets` is None where nothing can be said: a gap, never a zero. `refused` is what was quarantined."""

    seen: Seen
    octets: int | None = None
    refused: int | None = None
    detail: str = ""


def delta(previous: Reading | None, current: Reading, speed_bps: int | None) -> Growth:
    """What the counter grew by between two readings, never negative and never more than the port can carry.

    `speed_bps` is the port's speed, or None where it is not known or not to be believed.
    """
    if previous is None:
        return Growth(Seen.FIRST)
    elapsed_s = (current.at - previous.at).total_seconds()
    if elapsed_s <= 0:
        return Growth(Seen.GAP, detail="not later than the reading before")
    if restarted(previous, current):
        return _since_restart(previous, current, elapsed_s, speed_bps)
    if previous.bits != current.bits or previous.index != current.index:
        return Growth(Seen.GAP, detail="another counter than before")
    if previous.discontinuity_ticks != current.discontinuity_ticks and current.discontinuity_ticks is not None:
        return _judge(Seen.RESET, current.value, elapsed_s, speed_bps, "announced discontinuity")
    if current.bits == 32 and capacity(speed_bps, elapsed_s) >= 2**32 and speed_bps is not None:
        return Growth(Seen.GAP, detail="a 32-bit counter may have wrapped more than once")
    if current.value >= previous.value:
        return _judge(Seen.GROWTH, current.value - previous.value, elapsed_s, speed_bps, "faster than the port")
    return _fell(previous, current, elapsed_s, speed_bps)


def restarted(previous: Reading, current: Reading) -> bool:
    """Whether the device began to count its uptime anew between the readings; sysUpTime's own wrap is no restart."""
    if previous.uptime_ticks is None or current.uptime_ticks is None:
        return False
    elapsed = (current.at - previous.at).total_seconds() * TICKS_PER_S
    expected = previous.uptime_ticks + elapsed
    tolerance = TIMING_SLACK_S * TICKS_PER_S + elapsed / 100
    behind = (expected - current.uptime_ticks) % _TICKS
    on_time = behind <= tolerance or _TICKS - behind <= tolerance
    # A clock of ours that jumped looks like a late uptime; the device restarted only if it came up since then.
    return not on_time and current.uptime_ticks <= elapsed + tolerance


def capacity(speed_bps: int | None, seconds: float) -> int:
    """The most octets a port of this speed can count in that time, slack included."""
    return int((speed_bps or FASTEST_PORT_BPS) / 8 * (seconds + TIMING_SLACK_S))


def _since_restart(previous: Reading, current: Reading, elapsed_s: float, speed_bps: int | None) -> Growth:
    assert current.uptime_ticks is not None
    up_s = min(current.uptime_ticks / TICKS_PER_S, elapsed_s)
    if current.value <= capacity(speed_bps, up_s):
        return Growth(Seen.RESET, current.value, detail="restarted")
    survived = current.value - previous.value
    if previous.bits == current.bits and 0 <= survived <= capacity(speed_bps, elapsed_s):
        return Growth(Seen.GROWTH, survived, detail="the agent restarted, the counter did not")
    return Growth(Seen.QUARANTINED, refused=current.value, detail="more than the port can carry since its restart")


def _fell(previous: Reading, current: Reading, elapsed_s: float, speed_bps: int | None) -> Growth:
    if current.bits == 32:
        wrapped = current.value + 2**32 - previous.value
        if wrapped <= capacity(speed_bps, elapsed_s):
            return Growth(Seen.WRAP, wrapped)
    return _judge(Seen.RESET, current.value, elapsed_s, speed_bps, "fell to an impossible value")


def _judge(seen: Seen, octets: int, elapsed_s: float, speed_bps: int | None, detail: str) -> Growth:
    if octets > capacity(speed_bps, elapsed_s):
        return Growth(Seen.QUARANTINED, refused=octets, detail=detail)
    return Growth(seen, octets, detail=detail if seen is Seen.RESET else "")
