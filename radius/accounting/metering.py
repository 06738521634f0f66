"""The counters of a session against its reports: plain growth is the session's own business, all else is decided here.

    session.counter_state   NULL, or "held base held base [w]" of the upstream and the downstream counter

Pure. A growth is possible when the port can have carried it in the time that passed by the NAS's own count
(Acct-Session-Time), or by its events where it does not count; where a site says so, when the plan with its margin can.
What a counter of 32 bits means when it falls is told by the plan: the port could have wrapped it many times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from radius.accounting.counter import Counter, Reading, read
from radius.accounting.record import AccountingRecord

if TYPE_CHECKING:
    from radius.accounting.session import Session

UNQUESTIONED_OCTETS = 1 << 26
"""A growth below this is not looked at closely: no line is so slow that it would matter, and most records are such."""
MEASURING_SLACK_S = 30
"""How far apart a NAS may read its clock and its counters."""

WRAPPED = "w"
"""How `counter_state` ends when a counter of 32 bits began anew."""

Rates = tuple[int, int]
"""bit/s upstream and downstream."""


class Speeds(NamedTuple):
    """What a session should at most have had, and beyond what its octets are held."""

    likely: Rates
    possible: Rates


Fastest = Callable[[AccountingRecord], Speeds]


def port_speed(record: AccountingRecord) -> Speeds:
    """Where nothing is known of a plan: what the port can carry."""
    rates = (record.nas.port_speed_bps, record.nas.port_speed_bps)
    return Speeds(rates, rates)


@dataclass(frozen=True, slots=True)
class Held:
    """What a record reported and what does not count until somebody releases it; octets as (upstream, downstream)."""

    reasons: tuple[str, ...]
    octets: tuple[int, int]
    reported: tuple[int | None, int | None]
    limits: tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class Observed:
    """What was found out of the ordinary: octets newly held, and whether older ones turned out never to have been."""

    held: Held | None
    retracted: bool


def read_closely(session: Session, record: AccountingRecord, newest: bool, fastest: Fastest) -> Observed | None:
    """Counters that grew much, fell, or are followed since they once misbehaved."""
    elapsed_s = _elapsed(session, record)
    later = elapsed_s is not None and elapsed_s > 0 and (record.session_time_s is not None or record.exact)
    now = fastest(record)
    # An interval in which the plan changed may have had either.
    before, session.speeds = session.speeds or now, now
    likely, limits = _limits(now.likely, before.likely, elapsed_s), _limits(now.possible, before.possible, elapsed_s)
    if later and session.counter_state is None and _is_plausible(session, record, limits):
        return None
    (up, down), wrapped = counters(session), session.has_wrapped
    is_up_32, is_down_32 = record.counts_to_32_bits()
    read_up = _read(up, record.upstream_octets, later, (likely[0], limits[0]), is_up_32)
    read_down = _read(down, record.downstream_octets, later, (likely[1], limits[1]), is_down_32)
    session.upstream_octets, session.downstream_octets = read_up.counter.counted, read_down.counter.counted
    if read_up.fell or read_down.fell or (newest and _is_lower(up, down, record)):
        session.counter_fell = session.touched = True
    wrapped = wrapped or read_up.wrapped or read_down.wrapped
    state = _state(read_up.counter, read_down.counter, wrapped)
    if state != session.counter_state:
        session.counter_state, session.touched = state, True
    is_plain = state is None and not read_up.held_octets and not read_down.held_octets
    record.counted = None if is_plain else _counted(session, record)
    return _observed(record, read_up, read_down, limits)


def _is_plausible(session: Session, record: AccountingRecord, limits: tuple[int | None, int | None]) -> bool:
    """Take over what can have been carried, which is what nearly every record says; False, and nothing done, else."""
    up, down = record.upstream_octets, record.downstream_octets
    if up is not None and (limits[0] is None or not 0 <= up - session.upstream_octets <= limits[0]):
        return False
    if down is not None and (limits[1] is None or not 0 <= down - session.downstream_octets <= limits[1]):
        return False
    session.upstream_octets = session.upstream_octets if up is None else up
    session.downstream_octets = session.downstream_octets if down is None else down
    record.counted = None
    return True


def _elapsed(session: Session, record: AccountingRecord) -> float | None:
    """Seconds since the newest reading, negative for an older one; None where nobody can tell."""
    if record.session_time_s is not None:
        return record.session_time_s - (session.session_time_s or 0)
    if session.is_only_started and not session.start_seen:
        return None
    return (record.event_us - session.last_event_us) / 1_000_000


def _limits(now: Rates, before: Rates, elapsed_s: float | None) -> tuple[int | None, int | None]:
    """Octets upstream and downstream in that time, at the faster of two speeds."""
    if elapsed_s is None:
        return None, None
    seconds = abs(elapsed_s) + MEASURING_SLACK_S
    return int(max(now[0], before[0]) * seconds) // 8, int(max(now[1], before[1]) * seconds) // 8


def _read(
    counter: Counter, reported: int | None, later: bool, limits: tuple[int | None, int | None], is_32_bit: bool
) -> Reading:
    if reported is None:
        return Reading(counter)
    return read(counter, reported, later=later, limit=limits[0], possible=limits[1], is_32_bit=is_32_bit)


def _is_lower(up: Counter, down: Counter, record: AccountingRecord) -> bool:
    reported_up, reported_down = record.upstream_octets, record.downstream_octets
    return (reported_up is not None and up.base + reported_up < up.known) or (
        reported_down is not None and down.base + reported_down < down.known
    )


def _counted(session: Session, record: AccountingRecord) -> tuple[int | None, int | None]:
    """The totals that the log is to say, in the directions that the record speaks of."""
    return (
        None if record.upstream_octets is None else session.upstream_octets,
        None if record.downstream_octets is None else session.downstream_octets,
    )


def _observed(
    record: AccountingRecord, up: Reading, down: Reading, limits: tuple[int | None, int | None]
) -> Observed | None:
    reasons = tuple(dict.fromkeys(r.reason for r in (up, down) if r.reason is not None))
    held = None
    if reasons:
        reported = (record.upstream_octets, record.downstream_octets)
        held = Held(reasons, (up.held_octets, down.held_octets), reported, limits)
    retracted = up.retracted or down.retracted
    return Observed(held, retracted) if held is not None or retracted else None


def counters(session: Session) -> tuple[Counter, Counter]:
    """Its upstream and its downstream counter."""
    if session.counter_state is None:
        return Counter(session.upstream_octets), Counter(session.downstream_octets)
    held_up, base_up, held_down, base_down = session.counter_state.rstrip(WRAPPED).split(" ")[:4]
    return (
        Counter(session.upstream_octets, int(held_up), int(base_up)),
        Counter(session.downstream_octets, int(held_down), int(base_down)),
    )


def _state(up: Counter, down: Counter, wrapped: bool) -> str | None:
    if not (up.held or up.base or down.held or down.base or wrapped):
        return None
    return f"{up.held} {up.base} {down.held} {down.base}{' ' + WRAPPED if wrapped else ''}"


def release(session: Session, upstream_octets: int, downstream_octets: int) -> bool:
    """Count octets that were held; False, and nothing done, when they are not held any more."""
    up, down = counters(session)
    if upstream_octets > up.held or downstream_octets > down.held:
        return False
    session.upstream_octets += upstream_octets
    session.downstream_octets += downstream_octets
    up = Counter(session.upstream_octets, up.held - upstream_octets, up.base)
    down = Counter(session.downstream_octets, down.held - downstream_octets, down.base)
    session.counter_state = _state(up, down, session.has_wrapped)
    session.touched = True
    return True
