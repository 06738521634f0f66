"""What a pause of a line is: days on which it is not in use, or not paid for in full."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from controller.domain.identity import AccountId, ItemId, PauseId, ServiceId, SubscriptionId
from controller.domain.price import ProductKind


class PauseKind(StrEnum):
    SEASONAL = "seasonal"
    """The customer's wish."""
    SUSPENSION = "suspension"
    """Ours."""


@dataclass(frozen=True, slots=True)
class PauseRequest:
    """`until_on` None is until further notice. With `service_off` nobody can log in on these days.

    `with_items` pauses the fees of the line's items too, those of `item_kinds` alone where kinds are named.
    """

    subscription_id: SubscriptionId
    kind: PauseKind
    first_on: date
    until_on: date | None
    percent: int = 0
    reason: str = ""
    service_off: bool = True
    with_items: bool = True
    item_kinds: frozenset[ProductKind] | None = None


@dataclass(frozen=True, slots=True)
class LinePause:
    """`off_since` is when the network was seen to have the line out of use, None while it has it in use.

    `item_id` is set where it is the fees of an item that pause with those of the line.
    """

    pause_id: PauseId
    subscription_id: SubscriptionId
    service_id: ServiceId
    account_id: AccountId
    item_id: ItemId | None
    with_pause_id: PauseId | None
    kind: PauseKind
    first_on: date
    until_on: date | None
    percent: int
    reason: str
    service_off: bool
    off_since: datetime | None
    agreed_at: datetime
    agreed_by: str
    changed_at: datetime

    @property
    def called_off(self) -> bool:
        return self.until_on == self.first_on

    def in_force(self, day: date) -> bool:
        return self.first_on <= day and (self.until_on is None or day < self.until_on)

    def state(self, today: date) -> str:
        """called-off, agreed, in-force or over."""
        if self.called_off:
            return "called-off"
        if today < self.first_on:
            return "agreed"
        return "in-force" if self.in_force(today) else "over"
