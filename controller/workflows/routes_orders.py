"""Placing, dry-running, re-driving and cancelling orders over HTTP. Reading them is erp.orders.routes'."""

from __future__ import annotations

from datetime import date
from decimal import ROUND_HALF_UP
from ipaddress import IPv4Address
from typing import Annotated, Literal, Self

from pydantic import Field, RootModel, SecretStr, StringConstraints, field_validator, model_validator

from controller.domain.errors import RuleError
from controller.domain.identity import AccountId, DeviceId, OfferingId, OfferingVersionId, OrderId, SubscriptionId
from controller.domain.money import Money
from controller.domain.ports import Secret
from controller.domain.price_text import in_words, usage_words
from controller.domain.service import Attachment, OnuAttachment, Plan, RouterAttachment
from controller.domain.tariff import TariffVersion
from controller.http.endpoint import Call, Endpoint
from controller.http.models import IdText, In, MoneyOut, Out
from controller.workflows.order_fulfilment import DryRun, OrderFulfilment
from erp.orders.placement import AddRequest, DeleteRequest, ModifyRequest, Offer, Repeat, Request
from erp.orders.routes import OrderOut

_MAX_KEY = 128
_PASSWORD_LENGTH = (8, 64)


VlanId = Annotated[int, Field(ge=2, le=4094, description="Absent, one is chosen that is free on all attachments.")]
PortName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$")]


class OnuAttachmentIn(In):
    """An ONU of our stock on a PON port of an OLT."""

    kind: Literal["onu"]
    device_id: IdText
    pon_port: PortName
    onu_serial: Annotated[str, StringConstraints(min_length=12, max_length=24)]
    subscriber_vlan: VlanId | None = None

    def attachment(self) -> Attachment:
        return OnuAttachment(DeviceId(self.device_id), self.pon_port, self.onu_serial, self.subscriber_vlan or 0)


class RouterAttachmentIn(In):
    """A subinterface of a router, for the line's policer."""

    kind: Literal["router"]
    device_id: IdText
    interface: PortName
    subscriber_vlan: VlanId | None = None

    def attachment(self) -> Attachment:
        return RouterAttachment(DeviceId(self.device_id), self.interface, self.subscriber_vlan or 0)


AttachmentIn = Annotated[OnuAttachmentIn | RouterAttachmentIn, Field(discriminator="kind")]


class _OfferIn(In):
    """`offering_id` orders the version in force today, `version_id` that very one."""

    offering_id: IdText | None = None
    version_id: IdText | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.offering_id is None) == (self.version_id is None):
            raise ValueError("name either offering_id or version_id")
        return self

    def offer(self) -> Offer:
        return Offer(
            OfferingId(self.offering_id) if self.offering_id else None,
            OfferingVersionId(self.version_id) if self.version_id else None,
        )


class AddIn(_OfferIn):
    """A new line. Username and password are made when they are not named; the answer tells the password, once."""

    action: Literal["add"]
    account_id: IdText
    attachments: Annotated[
        tuple[AttachmentIn, ...],
        Field(max_length=4, description="The devices that carry the line, from the subscriber inwards, each once."),
    ] = ()
    username: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._@+-]{1,63}$")] | None = None
    password: Annotated[SecretStr, Field(min_length=_PASSWORD_LENGTH[0], max_length=_PASSWORD_LENGTH[1])] | None = None
    framed_ipv4: IPv4Address | None = None

    @field_validator("password")
    @classmethod
    def _printable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not all("\x21" <= character <= "\x7e" for character in value.get_secret_value()):
            raise ValueError("a password has printable ASCII characters and no space")
        return value

    @field_validator("attachments")
    @classmethod
    def _each_device_once(cls, value: tuple[AttachmentIn, ...]) -> tuple[AttachmentIn, ...]:
        if len({found.device_id for found in value}) < len(value):
            raise ValueError("a line is attached to each device once")
        return value

    def request(self) -> Request:
        return AddRequest(
            account_id=AccountId(self.account_id),
            offer=self.offer(),
            attachments=tuple(found.attachment() for found in self.attachments),
            username=self.username,
            password=None if self.password is None else Secret(self.password.get_secret_value()),
            framed_ipv4=None if self.framed_ipv4 is None else str(self.framed_ipv4),
        )


class ModifyIn(_OfferIn):
    """Another plan for a living subscription."""

    action: Literal["modify"]
    subscription_id: IdText

    def request(self) -> Request:
        return ModifyRequest(SubscriptionId(self.subscription_id), self.offer())


class DeleteIn(In):
    """The end of a subscription."""

    action: Literal["delete"]
    subscription_id: IdText

    def request(self) -> Request:
        return DeleteRequest(SubscriptionId(self.subscription_id))


class OrderIn(RootModel[Annotated[AddIn | ModifyIn | DeleteIn, Field(discriminator="action")]]):
    """A product order with one line, by its TMF622 action."""


class PlacedOut(OrderOut):
    """`password` is told here once and nowhere again; a repeated request (same Idempotency-Key) does not tell it."""

    username: str
    password: str | None
    repeated: bool


class PriceOut(Out):
    """What the customer would see. Prices are net; charging starts, changes or ends at verification."""

    offering: str | None
    monthly_fee: MoneyOut
    monthly_fee_before: MoneyOut
    monthly_difference: MoneyOut
    tax_percent: str
    beyond: str | None
    prices: list[str]
    version_effective_on: date | None
    downstream_bps: int | None
    upstream_bps: int | None


class StepOut(Out):
    summary: str
    rendered: str


class PlanOut(Out):
    """What one device would be sent, exactly, secrets masked; no steps when it is as desired already."""

    device_id: str
    steps: list[StepOut]
    diff: str


class DryRunOut(Out):
    action: str
    price: PriceOut
    plans: list[PlanOut]


def endpoints(fulfilment: OrderFulfilment) -> list[Endpoint]:
    async def place(call: Call) -> PlacedOut:
        body = call.body_as(OrderIn).root
        placed = await fulfilment.place(body.request(), actor=call.actor, repeat=_repeat(call))
        password = placed.password
        return PlacedOut(
            **OrderOut.of(placed.order).model_dump(),
            username=placed.subscription.username,
            password=None if password is None else password.reveal(),
            repeated=placed.repeated,
        )

    async def redrive(call: Call) -> OrderOut:
        return OrderOut.of(await fulfilment.redrive(OrderId(call.path["order_id"]), actor=call.actor))

    async def cancel(call: Call) -> OrderOut:
        return OrderOut.of(await fulfilment.cancel(OrderId(call.path["order_id"]), actor=call.actor))

    async def dry_run(call: Call) -> DryRunOut:
        return _dry_run(await fulfilment.dry_run(call.body_as(OrderIn).root.request()))

    return [
        Endpoint(
            "POST",
            "/orders",
            scope="orders:write",
            handler=place,
            summary="Place an order; repeat it safely with the header Idempotency-Key",
            body=OrderIn,
            returns=PlacedOut,
            status=202,
        ),
        Endpoint(
            "POST",
            "/orders/dry-run",
            scope="orders:read",
            handler=dry_run,
            summary="Price effect and device plan of an order, changing nothing",
            body=OrderIn,
            returns=DryRunOut,
            problems=(502, 503),
        ),
        Endpoint(
            "POST",
            "/orders/{order_id}/redrive",
            scope="orders:write",
            handler=redrive,
            summary="Go on with a held order where it stopped",
            returns=OrderOut,
            status=202,
        ),
        Endpoint(
            "POST",
            "/orders/{order_id}/cancel",
            scope="orders:write",
            handler=cancel,
            summary="Turn an open order back: what was done of it is undone, and it is never completed",
            returns=OrderOut,
            status=202,
        ),
    ]


def _repeat(call: Call) -> Repeat | None:
    """The Idempotency-Key with a canonical text of the body: spelling and order of its fields do not matter."""
    key = call.request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key) <= _MAX_KEY or not key.isascii() or not key.isprintable():
        raise RuleError(f"an Idempotency-Key has 1 to {_MAX_KEY} printable characters", code="idempotency-key")
    body = call.body_as(OrderIn).root
    text = body.model_dump_json()
    if isinstance(body, AddIn) and body.password is not None:  # the dump masks it
        text += body.password.get_secret_value()
    return Repeat(key, text)


def _dry_run(found: DryRun) -> DryRunOut:
    preview = found.preview
    return DryRunOut(
        action=preview.action.value,
        price=_price(preview.tariff_before, preview.tariff),
        plans=[_plan(plan) for plan in found.plans],
    )


def _price(before: TariffVersion | None, tariff: TariffVersion | None) -> PriceOut:
    some = tariff or before
    assert some is not None
    fee_before = (
        Money.rounded(before.monthly_fee, some.currency, ROUND_HALF_UP) if before else Money.zero(some.currency)
    )
    fee = Money.rounded(tariff.monthly_fee, some.currency, ROUND_HALF_UP) if tariff else Money.zero(some.currency)
    return PriceOut(
        offering=tariff.offering_name if tariff else None,
        monthly_fee=MoneyOut.of(fee),
        monthly_fee_before=MoneyOut.of(fee_before),
        monthly_difference=MoneyOut.of(fee - fee_before),
        tax_percent=f"{some.tax_percent:f}",
        beyond=usage_words(tariff.plan, some.currency) if tariff else None,
        prices=[in_words(price, some.currency, tariff.plan.cycle) for price in tariff.plan.prices] if tariff else [],
        version_effective_on=tariff.effective_on if tariff else None,
        downstream_bps=tariff.profile.downstream_bps if tariff else None,
        upstream_bps=tariff.profile.upstream_bps if tariff else None,
    )


def _plan(plan: Plan) -> PlanOut:
    return PlanOut(
        device_id=plan.device_id,
        steps=[StepOut(summary=step.summary, rendered=step.rendered) for step in plan.steps],
        diff=plan.diff,
    )
