"""Facts that other rooms must see. They go to the outbox in the transaction that makes them true.

Delivered at least once, in order of commit; handlers are idempotent by `event_id`. An event carries no secret: what a
room needs beyond the fact it is given by a workflow, or keeps itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import ClassVar

from controller.domain.identity import (
    AccountId,
    BillRunId,
    CustomerId,
    InvoiceId,
    ItemId,
    OfferingVersionId,
    OrderId,
    PauseId,
    PaymentId,
    ServiceId,
    SubscriptionId,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`actor` is who caused it: "user:<name>", "token:<name>" or "system:<room>"."""

    name: ClassVar[str] = ""
    event_id: str
    at: datetime
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerCreated(Event):
    """A customer has an account now, whose days are counted in `zone` (an IANA name) for good."""

    name: ClassVar[str] = "customer.created"
    customer_id: CustomerId
    account_id: AccountId
    display_name: str
    currency: str
    zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountParentSet(Event):
    """From the local day `since` on an account belongs to another ("" to nobody), which may pay for it.

    `heading` is what stands above its lines on the payer's document.
    """

    name: ClassVar[str] = "account.parent-set"
    account_id: AccountId
    since: date
    parent_id: str
    billed_to_parent: bool
    heading: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOrdered(Event):
    """An order was accepted: stock is reserved and the subscription waits for its service."""

    name: ClassVar[str] = "service.ordered"
    order_id: OrderId
    subscription_id: SubscriptionId
    service_id: ServiceId
    account_id: AccountId
    version_id: OfferingVersionId
    action: str
    """TMF622 order item action: add, modify or delete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceActivated(Event):
    """The service was read back and equals what was desired: charging starts at `at`."""

    name: ClassVar[str] = "service.activated"
    order_id: OrderId
    subscription_id: SubscriptionId
    service_id: ServiceId
    account_id: AccountId
    version_id: OfferingVersionId


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChanged(Event):
    """A plan change was verified on every device that carries the service; the new price holds from `at`."""

    name: ClassVar[str] = "service.changed"
    order_id: OrderId
    subscription_id: SubscriptionId
    service_id: ServiceId
    account_id: AccountId
    from_version_id: OfferingVersionId
    version_id: OfferingVersionId


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceTerminated(Event):
    name: ClassVar[str] = "service.terminated"
    order_id: OrderId
    subscription_id: SubscriptionId
    service_id: ServiceId
    account_id: AccountId


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePaused(Event):
    """A pause of a subscription (or item) was agreed, changed or called off: this is what it is from now on.

    On its days, [first_on, until_on) of the account's zone, `percent` of the fees go on. `until_on` None is until
    further notice; a pause that was called off has no day (until_on equals first_on). `seasonal` is the customer's
    wish, `suspension` ours.
    """

    name: ClassVar[str] = "service.paused"
    pause_id: PauseId
    subscription_id: SubscriptionId
    service_id: ServiceId
    account_id: AccountId
    kind: str
    first_on: date
    until_on: date | None
    percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemHeld(Event):
    """From `at` on the account has `quantity` pieces of a product that is no line; `version_id` None ends it."""

    name: ClassVar[str] = "item.held"
    item_id: ItemId
    account_id: AccountId
    version_id: OfferingVersionId | None
    quantity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRestricted(Event):
    """From `at` on whoever serves an item keeps it from its customer (`measure` suspend), or serves it again (none).

    `kind` is the product's, `reference` the orderer's own name of the item, `reason` in words.
    """

    name: ClassVar[str] = "item.restricted"
    item_id: ItemId
    account_id: AccountId
    kind: str
    reference: str
    measure: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderHeld(Event):
    """An order fell out: `cause` in words, `owner_team` who must act. Nothing is lost; a re-drive goes on."""

    name: ClassVar[str] = "order.held"
    order_id: OrderId
    cause: str
    step: str
    owner_team: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCancelled(Event):
    """An order was turned back, and what had been done of it was seen to be undone."""

    name: ClassVar[str] = "order.cancelled"
    order_id: OrderId
    subscription_id: SubscriptionId
    service_id: ServiceId
    action: str
    """TMF622 order item action: add, modify or delete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargesRated(Event):
    """A batch of one bill run was rated; the charges are read from billing_bridge by run and batch."""

    name: ClassVar[str] = "charges.rated"
    bill_run_id: BillRunId
    batch: int
    charges: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceIssued(Event):
    name: ClassVar[str] = "invoice.issued"
    invoice_id: InvoiceId
    number: str
    account_id: AccountId
    total_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentReceived(Event):
    name: ClassVar[str] = "payment.received"
    payment_id: PaymentId
    account_id: AccountId
    amount_minor: int
    currency: str
    invoice_ids: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentReversed(Event):
    """Money of a payment went back, or with a negative amount came again. `invoice_ids` were settled by it before."""

    name: ClassVar[str] = "payment.reversed"
    payment_id: PaymentId
    account_id: AccountId
    kind: str
    """refund, chargeback, return or void."""
    amount_minor: int
    currency: str
    invoice_ids: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivablesChanged(Event):
    """What is open of an account changed without money: a match was made or taken back, an invoice written off."""

    name: ClassVar[str] = "receivables.changed"
    account_id: AccountId
    currency: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DunningStepTold(Event):
    """A customer was told of a step for an invoice; a `fee_minor` above 0 is due for it, once per invoice and step."""

    name: ClassVar[str] = "dunning.step-told"
    account_id: AccountId
    invoice_id: InvoiceId
    step: str
    fee_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DunningChanged(Event):
    """A person or the mail changed what an account's state follows from: a pause, plan, dispute, segment or notice."""

    name: ClassVar[str] = "dunning.changed"
    account_id: AccountId
    cause: str


EVENT_TYPES: dict[str, type[Event]] = {
    kind.name: kind
    for kind in (
        CustomerCreated,
        AccountParentSet,
        ServiceOrdered,
        ServiceActivated,
        ServiceChanged,
        ServiceTerminated,
        ServicePaused,
        ItemHeld,
        ItemRestricted,
        OrderHeld,
        OrderCancelled,
        ChargesRated,
        InvoiceIssued,
        PaymentReceived,
        PaymentReversed,
        ReceivablesChanged,
        DunningStepTold,
        DunningChanged,
    )
}
"""Every event that may stand in the outbox, by its name."""
