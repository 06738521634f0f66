"""What a prepaid service is made of: terms, sessions with their slices, and movements. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from billing_bridge.errors import NotPrepaid
from billing_bridge.rating.line import Call
from billing_bridge.rating.prepaid import Units
from controller.domain.credit import FinalAction, Standing
from controller.domain.money import Money
from controller.domain.price import Calls, Free, Metered, PricePlan, Volume
from controller.domain.tariff import TariffVersion

OCTETS, SECONDS = "octets", "seconds"
"""Units of a balance that is no money."""
DUE, TOLD = "due", "told"
START_FOLLOWS = timedelta(seconds=60)
"""How long a slice is kept for a login whose accounting has not begun."""


class Kind(StrEnum):
    """Why a balance moved, or what is reserved of it."""

    TOP_UP = "top-up"
    DEBIT = "debit"
    RESERVATION = "reservation"
    RELEASE = "release"
    EXPIRY = "expiry"
    """A slice whose session fell silent, or never began, is given back."""
    LAPSE = "lapse"
    """Credit that was kept longer than its terms say is gone."""
    PAY_OUT = "pay-out"
    """What was left of a closed balance was given back."""


class State(StrEnum):
    """Of a slice."""

    PENDING = "pending"
    """Its session has not begun."""
    SHUT = "shut"
    """Nothing was left for it, and its session begins in the garden."""
    OPEN = "open"
    FINAL = "final"
    """Its session was told to end."""
    WALLED = "walled"
    """Its session is in the garden, where nothing costs."""
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Terms:
    """From `since` on: `slice` is in octets, or in seconds where the balance is seconds. No tariff: it is units."""

    sequence: int
    since: datetime
    tariff: TariffVersion | None
    slice: int
    validity: timedelta
    action: FinalAction
    credit_days: int | None = None
    """How long credit is kept after the last top-up; None is for ever."""
    notice_days: int | None = None
    """So many days before it is gone the customer is told."""
    low_below: int | None = None
    """The customer is told, too, when less of it is left."""

    @property
    def version_id(self) -> str | None:
        return None if self.tariff is None else self.tariff.version_id

    @property
    def price(self) -> Metered | Units:
        """What data costs. Raises NotPrepaid for a tariff that says nothing of it."""
        return Units() if self.tariff is None else price_of_data(self.tariff.plan)

    @property
    def calls(self) -> Calls | None:
        """What calls cost; None where none can be made."""
        prices = () if self.tariff is None else self.tariff.plan.prices
        return next((p for p in prices if isinstance(p, Calls)), None)


def price_of_data(plan: PricePlan) -> Metered:
    """The one price of octets that a prepaid plan has. Raises NotPrepaid."""
    if len(plan.metered) != 1:
        raise NotPrepaid(f"a prepaid service is charged by one price of octets, and this plan has {len(plan.metered)}")
    price = plan.metered[0]
    if isinstance(price, Volume | Free) or plan.hourly:
        said = "falls with use" if isinstance(price, Volume) else "depends on the hour"
        raise NotPrepaid(f"price {price.code!r} {said}: what is left of a balance cannot be told from it")
    if plan.cycle != "month":
        raise NotPrepaid(f"volumes of a prepaid plan are by the month, and the cycle of this one is a {plan.cycle}")
    return price


@dataclass(slots=True)
class Wallet:
    """`reserved` of `balance` is held for sessions. `worth_minor` was paid, net, for what is left of it."""

    service_id: str
    account_id: str
    unit: str
    currency: str
    balance: int
    reserved: int
    worth_minor: int
    overshoot: int
    standing: Standing
    opened_at: datetime
    closing_at: datetime | None = None
    """Since then it is being closed: nothing more is reserved of it, and what is used from then on costs nothing."""
    closed_at: datetime | None = None
    expires_on: date | None = None
    """The first local day on which what is left is gone, unless it is topped up before."""
    notice_on: date | None = None
    """The local day on which the customer is to be told of that; None once it was written down."""
    low_notice: str | None = None
    """DUE once there is little left, TOLD when the customer was told of that; until there is more again."""
    owed: int = 0
    """Used beyond a slice while what was left was held for others: it is taken of what these give back."""

    @property
    def available(self) -> int:
        return self.balance - self.reserved

    @property
    def is_in_use(self) -> bool:
        """Whether logins take of it."""
        return self.closing_at is None and self.closed_at is None

    @property
    def shut(self) -> str:
        """What became of it, in words, once it is not in use."""
        return "is being closed" if self.closed_at is None else "was closed"

    @property
    def worth(self) -> Money:
        return Money(self.worth_minor, self.currency)


@dataclass(frozen=True, slots=True)
class Closing:
    """See billing_bridge_prepaid_closing."""

    service_id: str
    record_id: int
    until_at: datetime
    is_over: bool
    pay_out: bool
    actor: str


@dataclass(slots=True)
class Session:
    """See billing_bridge_prepaid_session."""

    reservation_id: str
    service_id: str
    station: str
    nas_id: str
    session_key: str | None
    state: State
    upstream_octets: int
    downstream_octets: int
    seconds: int
    open: int
    seen_until: datetime
    free_until: datetime | None
    expires_at: datetime
    heard_at: datetime
    nas_limit: int = 0

    def total(self, unit: str) -> int:
        """What its NAS counts of it since its begin."""
        return self.seconds if unit == SECONDS else self.upstream_octets + self.downstream_octets


@dataclass(slots=True)
class PrepaidCall:
    """See billing_bridge_prepaid_call."""

    service_id: str
    call_id: str
    number: str
    began_at: datetime
    terms: int
    period_on: date
    granted_s: int
    duration_s: int | None
    debited: int
    expires_at: datetime

    def lasting(self, seconds: int) -> Call:
        return Call(self.call_id, self.began_at, seconds, self.number)


@dataclass(frozen=True, slots=True)
class Reading:
    """Running totals that a record of the usage log reported; None is absent, and absent is not zero."""

    record_id: int
    kind: str
    session_key: str
    nas_id: str
    service_id: str
    event_at: datetime
    received_at: datetime
    session_time_s: int | None
    upstream_octets: int | None
    downstream_octets: int | None
    station: str = ""
    """Of a session that is new, where accounting knows it."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Use that is priced together: of a month, by its first day, under the terms of this sequence."""

    terms: int
    period_on: date


@dataclass(slots=True)
class Used:
    """`debited` is what `used` octets or seconds cost together."""

    used: int = 0
    debited: int = 0


@dataclass(frozen=True, slots=True)
class Movement:
    """One entry of a balance; `key` moves it once. `overshoot` is what was used and nobody pays."""

    service_id: str
    kind: Kind
    key: str
    amount: int
    reserved_change: int
    balance_after: int
    reserved_after: int
    overshoot: int
    worth_change_minor: int
    session_key: str | None
    record_id: int | None
    actor: str
    at: datetime
    sequence: int = 0
