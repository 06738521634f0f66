"""What the API of the sources takes and answers: what they are, what they deliver, and what has become of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from billing_bridge.sources.booked import BookedCall
from billing_bridge.sources.cdr import PRESETS, CsvMapping
from billing_bridge.sources.comparing import Said
from billing_bridge.sources.ledger import Hour
from billing_bridge.sources.model import Report, Source
from billing_bridge.sources.repository import Stored
from controller.domain.errors import RuleError
from controller.http.endpoint import PageQuery
from controller.http.models import IdText, In, Instant, Out

SourceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=300, strip_whitespace=True)]
Kind = Literal["username", "address", "phone", "port", "service"]
Measure = Literal["octets", "calls"]
Preset = Literal["asterisk", "freeswitch", "sip", "octets"]
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=253, strip_whitespace=True)]
_Count = Annotated[int, Field(strict=True, ge=-(10**18), le=10**18)]
"""A number and nothing that looks like one: true is no octet."""
_Lateness = Annotated[int, Field(ge=0, le=31 * 86_400)]


class SourceIn(In):
    """A source of usage.

    `bills`: what it tells is charged for where nobody decided otherwise; else it is only compared. `awaited`: bill runs
    wait until it is complete. `lateness_s`: it is taken to be complete up to so long before the newest usage that it
    told; without it only what deliveries say counts. Files need a `mapping` or a `preset`; `zone` and `country` then
    complete the preset.
    """

    name: SourceName
    title: Annotated[str, StringConstraints(min_length=1, max_length=120, strip_whitespace=True)]
    measure: Measure
    identifier_kind: Kind
    bills: bool = True
    awaited: bool = True
    lateness_s: _Lateness | None = None
    mapping: CsvMapping | None = None
    preset: Preset | None = None

    def mapping_text(self) -> str | None:
        if self.mapping is not None and self.preset is not None:
            raise RuleError("say a mapping or a preset, not both", code="mapping")
        found = PRESETS[self.preset] if self.preset else self.mapping
        return None if found is None else found.model_dump_json()


class SourceChangeIn(In):
    """What is left out stays."""

    reason: Reason
    title: Annotated[str, StringConstraints(min_length=1, max_length=120, strip_whitespace=True)] | None = None
    bills: bool | None = None
    awaited: bool | None = None
    lateness_s: _Lateness | None = None
    mapping: CsvMapping | None = None


class CompleteIn(In):
    until: Instant
    reason: Reason


class RetireIn(In):
    reason: Reason


class SourceOut(Out):
    """`complete_until` is the watermark: all its usage before that instant has been told."""

    name: str
    title: str
    measure: str
    identifier_kind: str
    bills: bool
    awaited: bool
    lateness_s: int | None
    mapping: CsvMapping | None
    complete_until: Instant | None
    lag_s: int | None
    deliveries: int
    registered_at: Instant
    registered_by: str
    retired_at: Instant | None

    @classmethod
    def of(cls, found: Source, now: datetime) -> SourceOut:
        until = found.complete_until
        return cls(
            name=found.name, title=found.title, measure=found.measure, identifier_kind=found.identifier_kind,
            bills=found.bills, awaited=found.awaited, lateness_s=found.lateness_s,
            mapping=None if found.mapping is None else CsvMapping.model_validate_json(found.mapping),
            complete_until=until, lag_s=None if until is None else int((now - until).total_seconds()),
            deliveries=found.deliveries, registered_at=found.registered_at, registered_by=found.registered_by,
            retired_at=found.retired_at,
        )  # fmt: skip


class SourcesOut(Out):
    sources: list[SourceOut]


class FileIn(In):
    """A file, or the part of one that begins with line `first_line`; a part of a file with a header repeats it.

    `complete_until`: all usage before that instant has been told with this.
    """

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    content: Annotated[str, StringConstraints(min_length=1)]
    first_line: Annotated[int, Field(ge=1, le=10**9)] = 1
    complete_until: Instant | None = None


class EventData(In):
    """Octets of [time, until), or a call of `duration_s` to `number`."""

    until: Instant | None = None
    upstream_octets: _Count = 0
    downstream_octets: _Count = 0
    duration_s: _Count = 0
    number: Annotated[str, StringConstraints(max_length=64)] = ""


class UsageEventIn(In):
    """One event in the form of CloudEvents 1.0: `id` is the idempotency key, `subject` the identifier.

    `time` is where the usage begins. `source`, where it is sent, is the name in the address.
    """

    id: Annotated[str, StringConstraints(min_length=1, max_length=190)]
    time: Instant
    subject: Identifier
    data: EventData
    specversion: Literal["1.0"] = "1.0"
    type: Annotated[str, StringConstraints(max_length=120)] = "usage"
    source: str | None = None


class EventsIn(In):
    events: Annotated[list[UsageEventIn], Field(max_length=1000)]
    name: Annotated[str, StringConstraints(min_length=1, max_length=200)] = "events"
    complete_until: Instant | None = None


class DeliveryOut(Out):
    """What became of a delivery: accepted = rated + unrated + suspense + duplicate; `new` are all but the last."""

    delivery_id: int
    source: str
    number: int
    name: str
    content_sha256: str
    received_at: Instant
    received_by: str
    accepted: int
    new: int
    rated: int
    unrated: int
    suspense: int
    duplicate: int
    duplicate_percent: float
    complete_until: Instant | None
    link: str

    @classmethod
    def of(cls, r: Report) -> DeliveryOut:
        return cls(
            delivery_id=r.delivery_id, source=r.source, number=r.number, name=r.name,
            content_sha256=r.content_sha256.hex(), received_at=r.received_at, received_by=r.received_by,
            accepted=r.accepted, new=r.new, rated=r.rated, unrated=r.unrated, suspense=r.suspense,
            duplicate=r.duplicate, duplicate_percent=round(100 * r.duplicate / r.accepted, 1) if r.accepted else 0.0,
            complete_until=r.complete_until, link=r.link.hex(),
        )  # fmt: skip


class DeliveryQuery(PageQuery):
    source: SourceName | None = None


class RecordQuery(PageQuery):
    """`delivery` is the number of a delivery of `source`."""

    source: SourceName | None = None
    delivery: Annotated[int, Field(ge=1, le=10**15)] | None = None
    state: Literal["rated", "unrated", "suspense"] | None = None


class RecordOut(Out):
    """A record as it came (`content`), and what became of it."""

    record_id: int
    source: str
    delivery: int
    line: int
    key: str
    accepted_at: Instant
    state: str
    identifier_kind: str
    identifier: str
    since: Instant | None
    until: Instant | None
    upstream_octets: int | None
    downstream_octets: int | None
    duration_s: int | None
    number: str | None
    content: str
    content_sha256: str

    @classmethod
    def of(cls, s: Stored) -> RecordOut:
        fact = s.fact
        return cls(
            record_id=s.record_id, source=s.source, delivery=s.delivery, line=s.line, key=s.key,
            accepted_at=s.accepted_at, state=s.state, identifier_kind=s.identifier_kind, identifier=s.identifier,
            since=fact.since if fact else None, until=fact.until if fact else None,
            upstream_octets=fact.upstream_octets if fact else None,
            downstream_octets=fact.downstream_octets if fact else None, duration_s=fact.duration_s if fact else None,
            number=fact.number if fact else None, content=s.content, content_sha256=s.content_sha256.hex(),
        )  # fmt: skip


class CallQuery(PageQuery):
    service_id: IdText
    day: date | None = None


class CallOut(Out):
    """An answered call that was booked to a service. `record_id` is the record of its source. Below zero `duration_s`
    takes it back: it is another service's, by what was decided later."""

    call_id: int
    day: date
    at: Instant
    duration_s: int
    number: str
    source: str
    record_id: int
    adjustment: bool

    @classmethod
    def of(cls, c: BookedCall) -> CallOut:
        return cls(
            call_id=c.call_id, day=c.day, at=c.at, duration_s=c.duration_s, number=c.number, source=c.source,
            record_id=c.record_id, adjustment=c.adjustment,
        )  # fmt: skip


class ComparedQuery(In):
    """Days are local days of the legal entity, `until_on` exclusive; at most 400 of them."""

    service_id: IdText
    since_on: date
    until_on: date


class SaidOut(Out):
    """What one source says of one day; `bills`: the service is charged by it."""

    day: date
    source: str
    bills: bool
    upstream_octets: int
    downstream_octets: int
    calls: int
    duration_s: int

    @classmethod
    def of(cls, s: Said) -> SaidOut:
        return cls(
            day=s.day, source=s.source, bills=s.bills, upstream_octets=s.upstream_octets,
            downstream_octets=s.downstream_octets, calls=s.calls, duration_s=s.duration_s,
        )  # fmt: skip


class ComparedOut(Out):
    days: list[SaidOut]


class CountOut(Out):
    """Records, and their octets or seconds."""

    records: int
    amount: int

    @classmethod
    def of(cls, pair: tuple[int, int]) -> CountOut:
        return cls(records=pair[0], amount=pair[1])


class HourOut(Out):
    """One hour of arrival of one source. `adds_up`: accepted = rated + unrated + suspense + duplicate, both ways.

    `unit` is that of the amounts: octets, or seconds of calls.
    """

    source: str
    unit: str
    hour: Instant
    accepted: CountOut
    rated: CountOut
    unrated: CountOut
    suspense: CountOut
    duplicate: CountOut
    adds_up: bool

    @classmethod
    def of(cls, h: Hour, measures: Mapping[str, str]) -> HourOut:
        return cls(
            source=h.source, unit="s" if measures.get(h.source) == "calls" else "octets", hour=h.hour,
            accepted=CountOut.of(h.accepted), rated=CountOut.of(h.rated),
            unrated=CountOut.of(h.unrated), suspense=CountOut.of(h.suspense), duplicate=CountOut.of(h.duplicate),
            adds_up=h.adds_up,
        )  # fmt: skip


class HourQuery(PageQuery):
    source: SourceName | None = None
    since: Instant | None = None
    until: Instant | None = None


class LedgerOut(Out):
    """Per source over all its hours; `hour` is the first of them."""

    totals: list[HourOut]


class CheckOut(Out):
    """`faults`: a sentence for every place where ledger, records and hash chain do not agree; none is good."""

    faults: list[str]
