"""What the API takes and answers where people decide: whose an identifier is, and which source bills a service."""

from __future__ import annotations

from datetime import date
from typing import Literal

from billing_bridge.sources.answers import Identifier, Kind, Reason, SourceName
from billing_bridge.sources.assignments import Assignment
from billing_bridge.sources.identifiers import Mapped
from billing_bridge.sources.moved_by import MovedBooking
from billing_bridge.sources.moves import Moved
from controller.http.endpoint import PageQuery
from controller.http.models import IdText, In, Instant, Out


class IdentifierIn(In):
    """From `since` on the identifier is that of `service_id`; null makes it nobody's.

    `overrides`: a username is so even where RADIUS knows another service; else this only fills in.
    """

    kind: Literal["username", "address", "phone", "port"]
    identifier: Identifier
    since: Instant
    service_id: IdText | None
    overrides: bool = False
    reason: Reason


class IdentifierOut(Out):
    kind: str
    identifier: str
    since: Instant
    service_id: str | None
    overrides: bool
    mapped_at: Instant
    mapped_by: str

    @classmethod
    def of(cls, m: Mapped) -> IdentifierOut:
        return cls(
            kind=m.kind, identifier=m.identifier, since=m.since, service_id=m.service_id, overrides=m.overrides,
            mapped_at=m.mapped_at, mapped_by=m.mapped_by,
        )  # fmt: skip


class MovedOut(Out):
    """Octets, or calls of so many seconds, that had been booked to one service and are another's now, or (null) wait
    for one. `adjusted`: a bill had them already, so the next run credits and charges the difference."""

    from_service_id: str
    to_service_id: str | None
    octets: int
    calls: int
    duration_s: int
    records: int
    first_on: date
    last_on: date
    adjusted: bool

    @classmethod
    def of(cls, moved: Moved) -> MovedOut:
        return cls(
            from_service_id=moved.from_service, to_service_id=moved.to_service, octets=moved.octets,
            calls=moved.calls, duration_s=moved.duration_s, records=moved.records, first_on=moved.first_on,
            last_on=moved.last_on, adjusted=moved.adjusted,
        )  # fmt: skip


class GivenOut(IdentifierOut):
    """`taken_up`: items that left suspense with it. `booked_before`: records of sources of that time that were taken
    before; what of them is another's now is in `moved`."""

    taken_up: int
    booked_before: int
    moved: list[MovedOut]


class IdentifierQuery(PageQuery):
    """`begins` is how identifiers begin; `service_id` whose they are, or were at some time."""

    kind: Kind | None = None
    identifier: Identifier | None = None
    begins: Identifier | None = None
    service_id: IdText | None = None


class MovesQuery(In):
    kind: Kind
    identifier: Identifier


class MovedBookingOut(Out):
    """What the entry of `since` took from a service (negative), or gave to one."""

    since: Instant
    service_id: str
    octets: int
    calls: int
    duration_s: int
    first_on: date
    last_on: date

    @classmethod
    def of(cls, found: MovedBooking) -> MovedBookingOut:
        return cls(**{name: getattr(found, name) for name in cls.model_fields})


class MovesOut(Out):
    moves: list[MovedBookingOut]


class AssignmentIn(In):
    """Which source bills the service from `since` on; without a service, every one that has no word of its own.

    `rates` are the bins of ports behind a price by percentile: a source of octets by port.
    """

    service_id: IdText | None = None
    measure: Literal["octets", "calls", "rates"]
    since: Instant
    source: SourceName
    reason: Reason


class AssignmentOut(Out):
    """`claimed`: nobody decided it, the source was the first to tell of the service."""

    service_id: str
    measure: str
    since: Instant
    source: str
    claimed: bool
    decided_by: str

    @classmethod
    def of(cls, a: Assignment) -> AssignmentOut:
        return cls(
            service_id=a.service_id, measure=a.measure, since=a.since, source=a.source, claimed=a.claimed,
            decided_by=a.decided_by,
        )  # fmt: skip


class AssignmentQuery(PageQuery):
    service_id: IdText | None = None
