"""Usage as every source but RADIUS tells it, and what may be believed of it. Pure.

A `Fact` is one call, or the octets of one interval, under an identifier (a username, an address, a number, a port). It
has the idempotency key of its source: the same key with the same content is a duplicate, with another content it is a
conflict, and waits. `implausible` refuses what no service can have used; nothing refused is lost, it waits in suspense.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

MALFORMED, NEGATIVE, ABSURD, CLOCK_JUMP = "malformed", "negative", "absurd", "clock-jump"
CONFLICT, NO_PRICE, SECOND_SOURCE = "conflict", "no-price", "second-source"

LONGEST = timedelta(days=1)
"""One call, or one interval of octets, lasts no longer: a gateway that says so has lost the end of it."""
FASTEST_BPS = 1_600_000_000_000
"""No port is faster (IEEE 802.3dj)."""
AHEAD = timedelta(minutes=10)
"""How far the clock of a source may be before ours."""
OLDEST = timedelta(days=400)
"""What is older is a clock that was never set."""
DRIFT = timedelta(seconds=5)
"""How far begin, end and duration of one call may be apart: each is rounded, and answered late."""


@dataclass(frozen=True, slots=True)
class Fact:
    """`until` is the end as the source said it; without one it follows from the duration."""

    key: str
    line: int
    identifier: str
    since: datetime
    until: datetime
    content: str
    upstream_octets: int = 0
    downstream_octets: int = 0
    duration_s: int = 0
    number: str = ""

    @property
    def octets(self) -> int:
        return self.upstream_octets + self.downstream_octets

    @property
    def digest(self) -> bytes:
        """The evidence: SHA-256 of the line, or of the canonical JSON of the event, as it came."""
        return sha256(self.content.encode()).digest()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line that is no usage: kept as it came, with the reason. `key` is made of its content."""

    line: int
    detail: str
    content: str

    @property
    def key(self) -> str:
        return f"line:{self.digest.hex()}"

    @property
    def digest(self) -> bytes:
        return sha256(self.content.encode()).digest()


Told = Fact | Unreadable


@dataclass(frozen=True, slots=True)
class Source:
    """`bills`: its usage is charged for where nobody decided otherwise; else it is compared only."""

    name: str
    title: str
    measure: str
    identifier_kind: str
    bills: bool
    awaited: bool
    lateness_s: int | None
    mapping: str | None
    complete_until: datetime | None
    deliveries: int
    link: bytes
    registered_at: datetime
    registered_by: str
    retired_at: datetime | None


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a delivery. accepted = rated + unrated + suspense + duplicate."""

    delivery_id: int
    source: str
    number: int
    name: str
    content_sha256: bytes
    received_at: datetime
    received_by: str
    accepted: int
    rated: int
    unrated: int
    suspense: int
    duplicate: int
    complete_until: datetime | None
    link: bytes

    @property
    def new(self) -> int:
        return self.accepted - self.duplicate


def implausible(fact: Fact, measure: str, now: datetime) -> tuple[str, str] | None:
    """Reason and detail why this cannot be believed; None when it can."""
    if fact.upstream_octets < 0 or fact.downstream_octets < 0 or fact.duration_s < 0:
        return NEGATIVE, f"{fact.upstream_octets}/{fact.downstream_octets} octets, {fact.duration_s} s"
    if fact.until < fact.since:
        return CLOCK_JUMP, f"ends at {fact.until.isoformat()}, before it begins"
    if fact.until > now + AHEAD:
        return CLOCK_JUMP, f"ends at {fact.until.isoformat()}, which has not come"
    if fact.since < now - OLDEST:
        return CLOCK_JUMP, f"began at {fact.since.isoformat()}, more than {OLDEST.days} days ago"
    lasted = fact.until - fact.since
    if lasted > LONGEST or fact.duration_s > LONGEST.total_seconds():
        return ABSURD, f"lasts {max(lasted.total_seconds(), fact.duration_s):.0f} s"
    if measure == "calls" and fact.duration_s and abs(lasted - timedelta(seconds=fact.duration_s)) > DRIFT:
        return CLOCK_JUMP, f"{fact.duration_s} s between instants {lasted.total_seconds():.0f} s apart"
    if fact.octets * 8 > FASTEST_BPS * (lasted.total_seconds() + DRIFT.total_seconds()):
        return ABSURD, f"{fact.octets} octets in {lasted.total_seconds():.0f} s"
    return None


def record_digest(source: str, record_id: int, told: Told, content_sha256: bytes) -> bytes:
    """Covers every stored field of a record; a delivery's link covers these."""
    if isinstance(told, Unreadable):
        line = f"{source}\t{record_id}\t{told.key}\t{told.line}"
    else:
        line = (
            f"{source}\t{record_id}\t{told.key.encode().hex()}\t{told.line}\t{told.identifier.encode().hex()}"
            f"\t{told.since.isoformat()}\t{told.until.isoformat()}\t{told.upstream_octets}\t{told.downstream_octets}"
            f"\t{told.duration_s}\t{told.number.encode().hex()}"
        )
    return sha256(content_sha256 + line.encode()).digest()
