"""From accounting records to `session_octets` samples, such that repeating the work changes nothing. Pure.

A record's running totals become the growth of its session. Accounting tells time in seconds, the time series in
milliseconds: the thousand places within a second keep apart what is not the same point.

    .000 ─┬ first session of the service at this NAS: .000 … .007, one place for each record of that second
    .008 ─┼ second session
    …     ┴ 125 sessions of one service before a place is used again

A growth is spread evenly over the time since the session's last point, in at most eight points: octets that a NAS
reports for hours at once, after an outage or with long interims, were not carried in the instant of the report.

So every growth has points of its own, computed from the session's state alone: the same records in the same order
make the same points, whatever the batches, and writing them again replaces them by themselves. The time of a session
never goes back, and never runs ahead of arrival. Usage of no known service is kept apart by session instead.

A session that nothing was heard of for long is forgotten, whether its row is still there or not: what it then reports
cannot be told from what it reported before, so it is where the session stands, and adds nothing to the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from controller.domain.identity import first_id
from controller.domain.usage import CounterSample, LoggedRecord, SessionTotals

MEASUREMENT = "session_octets"
FIELD = "octets"

_OF_A_NAS = ("on", "off", "event")
"""Kinds of record that speak of the NAS, not of a session (RFC 2866 §5.1)."""
_PLACES = 8
_SESSIONS = 1000 // _PLACES
_SECOND = timedelta(seconds=1)
_SPREAD = timedelta(seconds=150)
"""A growth over less than twice this is one point."""
_TWO_SPREADS = 2 * _SPREAD
_MOST_POINTS = 8


@dataclass(slots=True)
class SessionState:
    """What is remembered of a session; `follow` changes it in place.

    `ordinal` numbers the sessions of one service at one NAS from 0.

    `second` is the second of its last point, and `in_second` how many points of it lie in there. `heard_at` is the
    arrival of its newest record.
    """

    session_key: str
    service_id: str | None
    nas_id: str
    ordinal: int
    totals: SessionTotals
    second: datetime
    heard_at: datetime
    in_second: int = 0


@dataclass(slots=True)
class Memory:
    """States by session, and the number of sessions by (service, NAS); `follow` changes them in place.

    `counted` are the pairs whose number it changed.
    """

    sessions: dict[str, SessionState]
    counts: dict[tuple[str, str], int]
    counted: set[tuple[str, str]] = field(default_factory=set)


def follow(
    records: Sequence[LoggedRecord], memory: Memory, keep: timedelta = timedelta(days=100)
) -> list[CounterSample]:
    """The samples of these records, which come in the order of the log, and the memory after them.

    A session is forgotten that nothing was heard of for longer than `keep`.
    """
    found: list[CounterSample] = []
    for record in records:
        if record.upstream_octets is None and record.downstream_octets is None and record.kind in _OF_A_NAS:
            continue
        found += _follow_one(record, memory, keep)
    return found


def touched(records: Sequence[LoggedRecord]) -> tuple[set[str], set[tuple[str, str]]]:
    """Sessions, and (service, NAS) pairs, that `follow` needs to remember for these records."""
    pairs = {(record.service_id, record.nas_id) for record in records if record.service_id is not None}
    return {record.session_key for record in records}, pairs


def _follow_one(record: LoggedRecord, memory: Memory, keep: timedelta) -> list[CounterSample]:
    second = min(record.event_at, record.received_at).replace(microsecond=0)
    state = memory.sessions.get(record.session_key)
    forgotten = _is_forgotten(state, record, keep)
    if forgotten or state is None or (record.service_id is not None and record.service_id != state.service_id):
        totals = SessionTotals() if state is None else state.totals
        if forgotten:
            totals = SessionTotals().grown_by(record.upstream_octets, record.downstream_octets)
        ordinal = _next_ordinal(record, memory)
        heard_at = record.received_at
        state = SessionState(record.session_key, record.service_id, record.nas_id, ordinal, totals, second, heard_at)
        memory.sessions[record.session_key] = state
    state.heard_at = max(state.heard_at, record.received_at)
    before, after = state.totals, state.totals.grown_by(record.upstream_octets, record.downstream_octets)
    if after == before:
        return []
    state.totals, since = after, state.second
    at = _place(state, second)
    grown = (
        ("upstream", after.upstream_octets - before.upstream_octets),
        ("downstream", after.downstream_octets - before.downstream_octets),
    )
    tags = _tags(state)
    return [
        CounterSample(MEASUREMENT, (*tags, ("direction", direction)), FIELD, instant, part)
        for direction, octets in grown
        if octets
        for instant, part in _spread(octets, since, at)
        if part
    ]


def _is_forgotten(state: SessionState | None, record: LoggedRecord, keep: timedelta) -> bool:
    """Whether the session began, and was last heard of (no state: nobody knows), longer than `keep` ago."""
    if state is not None and record.received_at - state.heard_at <= keep:
        return False
    return record.session_key < first_id(record.received_at - keep)


def _spread(octets: int, since: datetime, at: datetime) -> list[tuple[datetime, int]]:
    """Parts that sum to `octets`, the last one at `at`; the others keep its place within their second.

    They lie after `since`, the second of the session's last point, so none of them replaces an earlier one.
    """
    gap = at - since
    if gap < _TWO_SPREADS:
        return [(at, octets)]
    count = min(_MOST_POINTS, gap // _SPREAD)
    step = timedelta(seconds=int(gap.total_seconds()) // count)
    parts = [octets * (k + 1) // count - octets * k // count for k in range(count)]
    return [(at - step * (count - 1 - k), part) for k, part in enumerate(parts)]


def _next_ordinal(record: LoggedRecord, memory: Memory) -> int:
    if record.service_id is None:
        return 0
    key = (record.service_id, record.nas_id)
    ordinal = memory.counts.get(key, 0)
    memory.counts[key] = ordinal + 1
    memory.counted.add(key)
    return ordinal


def _place(state: SessionState, second: datetime) -> datetime:
    """Take the session's next free place at or after `second`."""
    if second > state.second:
        state.second, state.in_second = second, 0
    elif state.in_second == _PLACES:
        state.second, state.in_second = state.second + _SECOND, 0
    millisecond = state.ordinal % _SESSIONS * _PLACES + state.in_second
    state.in_second += 1
    # `second` has no fraction of its own.
    return state.second.replace(microsecond=millisecond * 1000)


def _tags(state: SessionState) -> tuple[tuple[str, str], ...]:
    if state.service_id is not None:
        return (("service", state.service_id), ("nas", state.nas_id))
    return (("session", state.session_key), ("nas", state.nas_id))
