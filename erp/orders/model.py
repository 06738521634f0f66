"""Product orders and the subscriptions they make: a pure state machine in the words of TMF622.

    acknowledged ──start──▸ inProgress ──complete──▸ completed
         │                   │     ▲
         │                 hold  redrive
         │                   ▼     │
         ├──cancel──▸ ┐     held ──┴──fail──▸ failed
         └────────────┴─ cancelled ◂──cancel

An order that waits for a device stays inProgress and says so; one that a person must look at is held, with cause, step
and owner team. Nothing leaves completed, cancelled or failed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from controller.domain.identity import AccountId, DeviceId, OfferingVersionId, OrderId, ServiceId, SubscriptionId
from controller.domain.service import DesiredService, OnuAttachment, SpeedProfile
from erp.orders.errors import NotAllowed

VLAN_NOT_NAMED = 0
"""`OnuAttachment.subscriber_vlan` of an order that leaves the choice to provisioning."""


class OrderState(StrEnum):
    """TMF622 product order states."""

    ACKNOWLEDGED = "acknowledged"
    IN_PROGRESS = "inProgress"
    HELD = "held"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Action(StrEnum):
    """TMF622 order item actions."""

    ADD = "add"
    MODIFY = "modify"
    DELETE = "delete"


class SubscriptionState(StrEnum):
    RESERVED = "reserved"
    ACTIVE = "active"
    TERMINATED = "terminated"


class StepState(StrEnum):
    RUNNING = "running"
    WAITING = "waiting"
    HELD = "held"
    DONE = "done"


OPEN = frozenset({OrderState.ACKNOWLEDGED, OrderState.IN_PROGRESS, OrderState.HELD})

_MOVES = {
    (OrderState.ACKNOWLEDGED, "start"): OrderState.IN_PROGRESS,
    (OrderState.IN_PROGRESS, "hold"): OrderState.HELD,
    (OrderState.IN_PROGRESS, "complete"): OrderState.COMPLETED,
    (OrderState.HELD, "redrive"): OrderState.IN_PROGRESS,
    (OrderState.HELD, "fail"): OrderState.FAILED,
    (OrderState.HELD, "cancel"): OrderState.CANCELLED,
    (OrderState.ACKNOWLEDGED, "cancel"): OrderState.CANCELLED,
}

VERBS = frozenset(verb for _, verb in _MOVES)


def after(state: OrderState, verb: str) -> OrderState:
    """The state that `verb` leads to. Raises NotAllowed where there is no such arrow."""
    reached = _MOVES.get((state, verb))
    if reached is None:
        raise NotAllowed(f"an order that is {state.value} cannot {verb}")
    return reached


@dataclass(frozen=True, slots=True)
class Attachment:
    """Where the fibre service meets the network, as ordered; `subscriber_vlan` None leaves it to provisioning."""

    olt_id: DeviceId
    pon_port: str
    onu_serial: str
    subscriber_vlan: int | None = None


@dataclass(frozen=True, slots=True)
class Subscription:
    """What an account has: an offering version, and the service that carries it."""

    subscription_id: SubscriptionId
    account_id: AccountId
    service_id: ServiceId
    version_id: OfferingVersionId
    state: SubscriptionState
    username: str
    framed_ipv4: str | None
    attachment: Attachment | None
    ordered_at: datetime
    activated_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """A product order with its one line. While it waits or is held, `step`, `cause` and `owner_team` say where and why.

    `attempt` counts the runs of its workflow: the first, and one more for each re-drive.
    """

    order_id: OrderId
    action: Action
    state: OrderState
    account_id: AccountId
    subscription_id: SubscriptionId
    service_id: ServiceId
    version_id: OfferingVersionId
    from_version_id: OfferingVersionId | None
    attempt: int
    requested_by: str
    created_at: datetime
    changed_at: datetime
    step: str | None = None
    waiting: bool = False
    cause: str | None = None
    owner_team: str | None = None

    @property
    def is_open(self) -> bool:
        return self.state in OPEN


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step of an order's road. A step that is done is never done again; `result` is what it found.

    `tries` counts the times it ended somehow; given to `repository.put_step` it is added to what was counted before.
    """

    name: str
    state: StepState
    started_at: datetime
    ended_at: datetime | None
    tries: int
    cause: str | None
    result: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Transition:
    """The order entered `state` at `at`."""

    state: OrderState
    at: datetime
    actor: str
    cause: str | None


def times_in_state(history: list[Transition], now: datetime) -> list[timedelta]:
    """How long the order was in the state of each transition; in an open last one until `now`, in a final one zero."""
    ends = [entry.at for entry in history[1:]]
    if history:
        ends.append(now if history[-1].state in OPEN else history[-1].at)
    return [end - entry.at for entry, end in zip(history, ends, strict=True)]


def desired_service(subscription: Subscription, profile: SpeedProfile, action: Action) -> DesiredService:
    """What the network shall show once the order is done."""
    found = subscription.attachment
    attachment = (
        None
        if found is None
        else OnuAttachment(found.olt_id, found.pon_port, found.onu_serial, found.subscriber_vlan or VLAN_NOT_NAMED)
    )
    return DesiredService(subscription.service_id, profile, attachment, present=action is not Action.DELETE)
