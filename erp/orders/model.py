"""Product orders and the subscriptions they make: a pure state machine in the words of TMF622.

    acknowledged ──start──▸ inProgress ──complete──▸ completed
         │                   │  │  ▲
         │                   │ hold redrive
         │                   │  ▼  │
         │                   │  held ──fail──▸ failed
         │                   │  │  ▲
       cancel             cancel│ hold
         ▼                   ▼  ▼  │
         └────────────▸ pendingCancellation ──undone──▸ cancelled

An order that waits for a device stays inProgress and says so; one that a person must look at is held, with cause, step
and owner team. Whoever cancels it turns it back: what was done of it is undone and seen to be undone before it is
cancelled, and it is never completed afterwards. Nothing leaves completed, cancelled or failed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from controller.domain.identity import AccountId, OfferingVersionId, OrderId, ServiceId, SubscriptionId
from controller.domain.service import Attachment, DesiredService, SpeedProfile
from erp.orders.errors import NotAllowed


class OrderState(StrEnum):
    """TMF622 product order states."""

    ACKNOWLEDGED = "acknowledged"
    IN_PROGRESS = "inProgress"
    HELD = "held"
    PENDING_CANCELLATION = "pendingCancellation"
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


AT_WORK = frozenset({OrderState.IN_PROGRESS, OrderState.PENDING_CANCELLATION})
"""States in which the workflow takes steps: forwards, or back."""
OPEN = AT_WORK | {OrderState.ACKNOWLEDGED, OrderState.HELD}

_MOVES = {
    (OrderState.ACKNOWLEDGED, "start"): OrderState.IN_PROGRESS,
    (OrderState.IN_PROGRESS, "hold"): OrderState.HELD,
    (OrderState.IN_PROGRESS, "complete"): OrderState.COMPLETED,
    (OrderState.HELD, "redrive"): OrderState.IN_PROGRESS,
    (OrderState.HELD, "fail"): OrderState.FAILED,
    (OrderState.ACKNOWLEDGED, "cancel"): OrderState.PENDING_CANCELLATION,
    (OrderState.IN_PROGRESS, "cancel"): OrderState.PENDING_CANCELLATION,
    (OrderState.HELD, "cancel"): OrderState.PENDING_CANCELLATION,
    (OrderState.PENDING_CANCELLATION, "hold"): OrderState.HELD,
    (OrderState.PENDING_CANCELLATION, "undone"): OrderState.CANCELLED,
}

VERBS = frozenset(verb for _, verb in _MOVES)


def after(state: OrderState, verb: str) -> OrderState:
    """The state that `verb` leads to. Raises NotAllowed where there is no such arrow."""
    reached = _MOVES.get((state, verb))
    if reached is None:
        raise NotAllowed(f"an order that is {state.value} cannot {verb}")
    return reached


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
    attachments: tuple[Attachment, ...]
    """As ordered, from the subscriber inwards; a VLAN of 0 was left to provisioning."""
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
    cancelled_by: str | None = None
    """Who turned it back. From then on its steps undo what was done; a re-drive goes on with that."""

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


def refuse_past_return(order: Order, done: Collection[str]) -> None:
    """Raise NotAllowed where an order cannot be turned back any more, saying what to do instead.

    An order that was completed is a fact: charging started, changed or ended with it. The end of a line is one as soon
    as its devices were seen without it: its login is given up next.
    """
    ended = order.action is Action.DELETE and "converge" in done
    if order.cancelled_by or not (order.state is OrderState.COMPLETED or ended):
        return
    instead = {
        Action.ADD: f"end subscription {order.subscription_id} by an order to delete",
        Action.MODIFY: f"order to modify subscription {order.subscription_id} back to version {order.from_version_id}",
        Action.DELETE: "order a new line",
    }[order.action]
    raise NotAllowed(f"the order is past cancelling ({order.state.value}): {instead}")


def times_in_state(history: list[Transition], now: datetime) -> list[timedelta]:
    """How long the order was in the state of each transition; in an open last one until `now`, in a final one zero."""
    ends = [entry.at for entry in history[1:]]
    if history:
        ends.append(now if history[-1].state in OPEN else history[-1].at)
    return [end - entry.at for entry, end in zip(history, ends, strict=True)]


def desired_service(subscription: Subscription, profile: SpeedProfile, *, present: bool) -> DesiredService:
    """What the network shall show of a subscription."""
    return DesiredService(subscription.service_id, profile, subscription.attachments, present)
