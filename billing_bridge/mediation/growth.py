"""From accounting records to growth: what each record adds to what its session is known to have carried.

Records report running totals, arrive late, twice and shuffled; totals never fall, so a record adds only what no record
before it in the log has said. The sum of all growth of a session is therefore its highest total, in any order of
arrival. Pure.

A session that nothing was heard of for long is forgotten: what is reported of it then cannot be told from what it has
reported before, so its growth is a `forgotten` one of all that it says. Whether its row is still there does not matter.

A growth names the records it was taken from, the present one last: folding `SessionTotals.grown_by` over the others
and then over the last one gives the same difference again, which is how a bill is proved.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from controller.domain.identity import first_id
from controller.domain.usage import LoggedRecord, RecordKind, SessionTotals

_WHOLE_NAS = {RecordKind.ON.value, RecordKind.OFF.value, RecordKind.EVENT.value}


@dataclass(frozen=True, slots=True)
class SessionState:
    """How far a session is known. `…_record_id` is the record that set that total, None while it is zero."""

    session_key: str
    service_id: str | None
    totals: SessionTotals
    upstream_record_id: int | None
    downstream_record_id: int | None
    seen_until: datetime
    heard_at: datetime


@dataclass(frozen=True, slots=True)
class Growth:
    """Octets that a session gained in [since, until), from `record_ids`; at most these when it was `forgotten`.

    `former_id` is the service that the session had before this record, where it was another one. `grown_since` is
    where the whole growth began, where this is a part of it.
    """

    session_key: str
    service_id: str | None
    since: datetime
    until: datetime
    upstream_octets: int
    downstream_octets: int
    record_ids: tuple[int, ...]
    forgotten: bool = False
    former_id: str | None = None
    grown_since: datetime | None = None


def is_forgotten(heard_at: datetime | None, record: LoggedRecord, memory: timedelta) -> bool:
    """Whether the session of `record` began, and was last heard of (None: no row tells), more than `memory` ago."""
    if heard_at is not None and record.received_at - heard_at <= memory:
        return False
    return record.session_key < first_id(record.received_at - memory)


def follow(
    state: SessionState | None, record: LoggedRecord, memory: timedelta
) -> tuple[SessionState | None, Growth | None]:
    """The session after `record`, and what the record added; None when it added nothing."""
    if record.kind in _WHOLE_NAS:
        return state, None
    forgotten = is_forgotten(None if state is None else state.heard_at, record, memory)
    if state is None or forgotten:
        began = record.event_at if forgotten else _began(record)
        fresh = SessionTotals()
        state = SessionState(record.session_key, record.service_id, fresh, None, None, began, record.received_at)
    service_id = record.service_id or state.service_id
    totals = state.totals.grown_by(record.upstream_octets, record.downstream_octets)
    upstream = totals.upstream_octets - state.totals.upstream_octets
    downstream = totals.downstream_octets - state.totals.downstream_octets
    after = SessionState(
        state.session_key,
        service_id,
        totals,
        record.record_id if upstream else state.upstream_record_id,
        record.record_id if downstream else state.downstream_record_id,
        max(state.seen_until, record.event_at),
        max(state.heard_at, record.received_at),
    )
    if not upstream and not downstream:
        return after, None
    before = {i for i in (state.upstream_record_id, state.downstream_record_id) if i is not None}
    # A record that is late, yet adds something, belongs to its own instant: the time before it is already told.
    since = min(state.seen_until, record.event_at)
    ids = (*sorted(before), record.record_id)
    former_id = state.service_id if state.service_id != service_id else None
    return after, Growth(
        record.session_key, service_id, since, record.event_at, upstream, downstream, ids, forgotten, former_id
    )


def _began(record: LoggedRecord) -> datetime:
    """When a session began that is first heard of by this record (Acct-Session-Time, RFC 2866 §5.7)."""
    return record.event_at - timedelta(seconds=record.session_time_s or 0)
