"""Values of billing: rated charges with their arithmetic and evidence, bill runs and their batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from billing_bridge.billing.cycle import Calendar
from billing_bridge.rating.due import Charged, DueKey
from billing_bridge.rating.proration import Change, DaySpan, Pause
from billing_bridge.sources.booked import BookedCall, CallDay
from billing_bridge.sources.ports import Ports
from billing_bridge.sources.repository import Stored
from controller.domain.charge import Charge
from controller.domain.clock import local_date
from controller.domain.identity import (
    AccountId,
    BillRunId,
    OfferingId,
    OfferingVersionId,
    OrderId,
    PauseId,
    ServiceId,
    SubscriptionId,
)
from controller.domain.money import Money
from controller.domain.price import Cycle
from controller.domain.tariff import TariffVersion
from controller.domain.usage import UsageInterval

OPEN, RATED, CHECKED, INVOICED = "open", "rated", "checked", "invoiced"
QUEUED, RUNNING, HELD, DONE, FAILED = "queued", "running", "held", "done", "failed"
"""States of a run; a held one stands still before its next document until somebody releases it."""
WAITING, RATING, PROVING, ISSUING, CERTIFYING = "waiting", "rating", "proving", "issuing", "certifying"
"""Phases of a run at work: for the facts, then accounts, sums, documents, and sums again."""


class DayUsage(NamedTuple):
    """Octets of a service on a local day: the sum of its intervals up to `last_interval_id`.

    `released_to` is the day on which a person had them charged, when no plan held on `day` itself.
    """

    service_id: ServiceId
    day: date
    upstream_octets: int
    downstream_octets: int
    intervals: int
    last_interval_id: int
    released_to: date | None = None

    @property
    def octets(self) -> int:
        return self.upstream_octets + self.downstream_octets

    @property
    def counted_on(self) -> date:
        """The day whose plan they are charged by."""
        return self.released_to or self.day


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a bill run knows of one subscription, read under its lock."""

    subscription_id: SubscriptionId
    account_id: AccountId
    service_id: ServiceId
    zone: ZoneInfo
    """Of its account: all its days are counted in it."""
    calendar: Calendar
    rate_from_on: date
    usage_billed_until_on: date | None
    changes: Sequence[Change]
    timeline_sequence: int
    """The last entry of the timeline that `changes` holds."""
    charged: Mapping[DueKey, Charged]
    usage: Sequence[DayUsage]
    cycles: frozenset[Cycle] = frozenset[Cycle]({"month"})
    """Of every plan it ever had; that of a month when it never had any."""
    pauses: Sequence[Pause] = ()
    pause_sequence: int = 0
    """The last entry of a pause that `pauses` holds."""
    calls: Sequence[BookedCall] = ()
    ports: Ports = field(default_factory=Ports)
    usage_octets: int = 0
    """What `usage` comes to, added up by the database."""

    def day(self, at: datetime) -> date:
        """The day of an instant, for it."""
        return local_date(at, self.zone)


@dataclass(frozen=True, slots=True)
class Entitlement:
    """One entry of a timeline, with the event that is its evidence. `sequence` is the order in which they came."""

    sequence: int
    at: datetime
    version_id: OfferingVersionId | None
    event_id: str
    event_name: str
    order_id: OrderId
    quantity: int = 1


@dataclass(frozen=True, slots=True)
class PauseEntry:
    """What a pause became with one event. `sequence` is the order in which they came; the last one of a pause holds."""

    sequence: int
    pause_id: PauseId
    kind: str
    pause: Pause
    actor: str
    at: datetime


@dataclass(frozen=True, slots=True)
class RatedCharge:
    """A charge with everything that explains it; `code` is that of its price. `arithmetic` is plain JSON."""

    charge: Charge
    code: str
    period: DaySpan
    attempt: int
    octets: int
    days: int
    arithmetic: Mapping[str, Any]
    evidence: Sequence[DayUsage]
    calls: Sequence[CallDay] = ()


@dataclass(frozen=True, slots=True)
class BookedInterval:
    """A usage interval as it was booked on `day`; a part of a longer one when that crossed midnight."""

    interval_id: int
    day: date
    adjustment: bool
    grown_since: datetime
    interval: UsageInterval
    source: str | None = None
    """None is the usage log; else the record ids are those of that source."""


@dataclass(frozen=True, slots=True)
class ChargeDetail:
    """All that stands behind a charge, for `explain`."""

    rated: RatedCharge
    earlier_minor: int
    """What the charges before this one, for the same period, version and price, amount to."""
    earlier_charges: int
    """How many those are; attempts whose charges were withdrawn are none."""
    tariff: TariffVersion
    offerings: Mapping[OfferingVersionId, OfferingId]
    """The offering of every version in the timeline."""
    timeline: Sequence[Entitlement]
    pauses: Sequence[PauseEntry]
    intervals: Sequence[BookedInterval]
    zone: ZoneInfo
    """In which the days of the subscription are counted."""
    calls: Sequence[BookedCall] = ()
    ports: Ports = field(default_factory=Ports)
    told: Mapping[int, Stored] = field(default_factory=dict)
    """Records of sources that intervals and calls name, by id."""


@dataclass(frozen=True, slots=True)
class BillRun:
    """A bill run and how far it is. `account_id` None means every account."""

    bill_run_id: BillRunId
    as_of: datetime
    account_id: AccountId | None
    state: str
    usage_watermark: int
    event_watermark: int
    accounts: int
    batches: int
    batches_done: int
    charges: int
    documents: int
    actor: str
    created_at: datetime
    finished_at: datetime | None
    error: str | None
    dry: bool = False
    preview_id: BillRunId | None = None
    hold_changed: bool = False
    phase: str = WAITING
    batches_checked: int = 0
    waiting_for: str | None = None
    """Sources of usage that are not complete yet."""
    contents: bool = False
    """What its drafts say is kept: of a dry run, until it is old or another one has taken its place."""


Key = tuple[AccountId, str]
"""Account and currency, of which a run makes one document."""


@dataclass(frozen=True, slots=True)
class DraftTotal:
    """What the document of an account in one currency comes to. `agreed` is the sum of its charges."""

    account_id: AccountId
    charges: int
    agreed: Money
    net: Money
    tax: Money
    sha256: bytes
    content: Mapping[str, Any] | None = None
    """Kept of dry runs alone."""
    issued: bool = False

    @property
    def key(self) -> Key:
        return self.account_id, self.net.currency

    @property
    def total(self) -> Money:
        return self.net + self.tax
