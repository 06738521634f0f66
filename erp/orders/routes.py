"""Reading orders and subscriptions over HTTP. Placing them takes several rooms: controller.workflows.routes_orders."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from controller.domain.clock import Clock
from controller.domain.identity import OrderId
from controller.domain.service import Attachment, OnuAttachment, RouterAttachment
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import IdText, Instant, Out
from erp.orders.model import Order, OrderState, Subscription, times_in_state
from erp.orders.service import OrderService, Story


class OrderQuery(PageQuery):
    """`account_id` may be repeated."""

    state: OrderState | None = None
    account_id: Annotated[tuple[IdText, ...], Field(max_length=500)] = ()
    subscription_id: IdText | None = None


class SubscriptionQuery(PageQuery):
    account_id: IdText | None = None
    service_id: IdText | None = None


class OrderOut(Out):
    """While `waiting`, `cause` tells what for and a retry comes by itself; a held order needs `owner_team`.

    With `cancelled_by` it was turned back: its steps undo what was done, and it will never be completed.
    """

    order_id: str
    action: str
    state: str
    account_id: str
    subscription_id: str
    service_id: str
    version_id: str
    from_version_id: str | None
    step: str | None
    waiting: bool
    cause: str | None
    owner_team: str | None
    cancelled_by: str | None
    attempt: int
    requested_by: str
    created_at: Instant
    changed_at: Instant

    @classmethod
    def of(cls, order: Order) -> OrderOut:
        return cls(
            order_id=order.order_id,
            action=order.action.value,
            state=order.state.value,
            account_id=order.account_id,
            subscription_id=order.subscription_id,
            service_id=order.service_id,
            version_id=order.version_id,
            from_version_id=order.from_version_id,
            step=order.step,
            waiting=order.waiting,
            cause=order.cause,
            owner_team=order.owner_team,
            cancelled_by=order.cancelled_by,
            attempt=order.attempt,
            requested_by=order.requested_by,
            created_at=order.created_at,
            changed_at=order.changed_at,
        )


class TransitionOut(Out):
    state: str
    at: Instant
    actor: str
    cause: str | None
    seconds_in_state: float


class OrderStepOut(Out):
    """`verdict` and `evidence` are of steps that look at live sessions: "verified" by a rate that the NAS reports,
    "class-echoed" (weaker) or "no-session", and what was seen of each session in words."""

    name: str
    state: str
    started_at: Instant
    ended_at: Instant | None
    tries: int
    cause: str | None
    verdict: str | None
    evidence: str | None


class OrderedAttachmentOut(Out):
    """A device that carries the line, as ordered: its PON port and ONU, or its interface.

    Without a `subscriber_vlan` the choice was left to provisioning; the service tells which it is.
    """

    kind: str
    device_id: str
    pon_port: str | None
    onu_serial: str | None
    interface: str | None
    subscriber_vlan: int | None

    @classmethod
    def of(cls, found: Attachment) -> OrderedAttachmentOut:
        return cls(
            kind=found.kind,
            device_id=found.device_id,
            pon_port=found.port if isinstance(found, OnuAttachment) else None,
            onu_serial=found.onu_serial,
            interface=found.port if isinstance(found, RouterAttachment) else None,
            subscriber_vlan=found.subscriber_vlan or None,
        )


class OrderDetailOut(OrderOut):
    username: str
    attachments: list[OrderedAttachmentOut]
    history: list[TransitionOut]
    steps: list[OrderStepOut]


class SubscriptionOut(Out):
    subscription_id: str
    account_id: str
    service_id: str
    version_id: str
    state: str
    username: str
    framed_ipv4: str | None
    attachments: list[OrderedAttachmentOut]
    ordered_at: Instant
    activated_at: Instant | None
    ended_at: Instant | None

    @classmethod
    def of(cls, subscription: Subscription) -> SubscriptionOut:
        return cls(
            subscription_id=subscription.subscription_id,
            account_id=subscription.account_id,
            service_id=subscription.service_id,
            version_id=subscription.version_id,
            state=subscription.state.value,
            username=subscription.username,
            framed_ipv4=subscription.framed_ipv4,
            attachments=[OrderedAttachmentOut.of(found) for found in subscription.attachments],
            ordered_at=subscription.ordered_at,
            activated_at=subscription.activated_at,
            ended_at=subscription.ended_at,
        )


def endpoints(orders: OrderService, clock: Clock) -> list[Endpoint]:
    async def index(call: Call) -> Page:
        query = call.query_as(OrderQuery)
        before = query.last(str)
        found = await orders.orders(
            states=() if query.state is None else (query.state,),
            account_ids=query.account_id,
            subscription_id=query.subscription_id,
            before=before,
            limit=query.rows,
        )
        return Page.of(found, query, lambda order: (str(order.order_id),), OrderOut.of)

    async def show(call: Call) -> OrderDetailOut:
        return _detail(await orders.story(OrderId(call.path["order_id"])), clock)

    async def subscriptions(call: Call) -> Page:
        query = call.query_as(SubscriptionQuery)
        after = query.last(str)
        found = await orders.subscriptions(
            account_id=query.account_id, service_id=query.service_id, after=after, limit=query.rows
        )
        return Page.of(found, query, lambda made: (str(made.subscription_id),), SubscriptionOut.of)

    return [
        Endpoint(
            "GET",
            "/orders",
            scope="orders:read",
            handler=index,
            summary="Orders, newest first",
            query=OrderQuery,
            returns=OrderOut,
            paged=True,
        ),
        Endpoint(
            "GET",
            "/orders/{order_id}",
            scope="orders:read",
            handler=show,
            summary="One order with its states, their duration and its steps",
            returns=OrderDetailOut,
        ),
        Endpoint(
            "GET",
            "/subscriptions",
            scope="orders:read",
            handler=subscriptions,
            summary="Subscriptions in order of creation",
            query=SubscriptionQuery,
            returns=SubscriptionOut,
            paged=True,
        ),
    ]


def _detail(story: Story, clock: Clock) -> OrderDetailOut:
    durations = times_in_state(story.history, clock.now())
    return OrderDetailOut(
        **OrderOut.of(story.order).model_dump(),
        username=story.subscription.username,
        attachments=[OrderedAttachmentOut.of(found) for found in story.subscription.attachments],
        history=[
            TransitionOut(
                state=entry.state.value,
                at=entry.at,
                actor=entry.actor,
                cause=entry.cause,
                seconds_in_state=duration.total_seconds(),
            )
            for entry, duration in zip(story.history, durations, strict=True)
        ],
        steps=[
            OrderStepOut(
                name=step.name,
                state=step.state.value,
                started_at=step.started_at,
                ended_at=step.ended_at,
                tries=step.tries,
                cause=step.cause,
                verdict=step.result.get("verdict"),
                evidence=step.result.get("evidence"),
            )
            for step in story.steps
        ],
    )
