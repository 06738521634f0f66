"""Usage as it is recorded: accounting records of sessions, and counter samples of interfaces.

A `UsageRecord` is one accounting packet, stored before it is acknowledged; its octets are the session's running totals
(gigawords folded in), not deltas. None means the packet did not say: absent is never zero.
A `CounterSample` is a second source for the same service; it is compared with the first, never added to it.
What is read back of them stands here too: a `LoggedRecord` with its proof, a `UsageInterval`, a `Bucket` of a series.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from controller.domain.identity import ServiceId


class RecordKind(StrEnum):
    """Acct-Status-Type (RFC 2866 §5.1). `event`: a type that is about no session, such as those of tunnels (RFC 2867
    §3.1) and Failed. `release` is our own word: octets of an earlier record count from now on."""

    START = "start"
    INTERIM = "interim"
    STOP = "stop"
    ON = "on"
    OFF = "off"
    EVENT = "event"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """One accounting packet, decoded.

    `session_key` is ours (NAS, Acct-Session-Id and life of that id); `acct_session_id` is the NAS's, opaque bytes.
    `event_at` is Event-Timestamp where sent, else arrival less Acct-Delay-Time; `received_at` the arrival.
    `packet_sha256` is the digest of the datagram as it arrived.
    """

    kind: RecordKind
    session_key: str
    nas_id: str
    acct_session_id: bytes
    username: str
    service_id: str | None
    event_at: datetime
    received_at: datetime
    session_time_s: int | None
    upstream_octets: int | None
    downstream_octets: int | None
    packet_sha256: bytes


@dataclass(frozen=True, slots=True)
class CounterSample:
    """The value of one series at one instant. `series` is a label set such as olt=…,service=…,direction=…"""

    measurement: str
    tags: tuple[tuple[str, str], ...]
    field: str
    at: datetime
    value: int | float


@dataclass(frozen=True, slots=True)
class SessionTotals:
    """What a session is known to have carried so far. Totals never fall: late and repeated records change nothing."""

    upstream_octets: int = 0
    downstream_octets: int = 0

    def grown_by(self, upstream_octets: int | None, downstream_octets: int | None) -> SessionTotals:
        """The totals after a record reported these running totals. None means absent, and absent is not zero."""
        return SessionTotals(
            max(self.upstream_octets, upstream_octets or 0), max(self.downstream_octets, downstream_octets or 0)
        )


@dataclass(frozen=True, slots=True)
class UsageInterval:
    """Octets of one service between two accounting records of one session, half-open [since, until).

    `record_ids` are the usage-log ids of the records the difference was taken from.
    """

    service_id: ServiceId
    session_key: str
    since: datetime
    until: datetime
    upstream_octets: int
    downstream_octets: int
    record_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LoggedRecord:
    """One row of the usage log with the proof around it, as `explain` prints it.

    `record_sha256` covers `packet_sha256` and every stored field; `intact` is whether it still does.
    """

    record_id: int
    kind: str
    session_key: str
    nas_id: str
    acct_session_id: bytes
    username: str
    service_id: str | None
    event_at: datetime
    received_at: datetime
    session_time_s: int | None
    upstream_octets: int | None
    downstream_octets: int | None
    packet_sha256: bytes
    record_sha256: bytes
    intact: bool


@dataclass(frozen=True, slots=True)
class MeasuredOctets:
    """Octets that were measured under an identifier in [since, until). The same `key` is the same measurement."""

    key: str
    identifier: str
    since: datetime
    until: datetime
    upstream_octets: int
    downstream_octets: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """One aggregated point: [start, start + step). `value` is None where there was no sample: a gap is never a zero."""

    start: datetime
    value: float | None
