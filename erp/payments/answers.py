"""What payments is asked and answers over HTTP: gateways, card payments, refunds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints

from controller.domain.money import Money
from controller.http.endpoint import PageQuery
from controller.http.models import IdText, In, Instant, MoneyIn, MoneyOut, Out
from erp.finance.books_answers import EntityIn
from erp.payments.card_rows import CardAttempt, SavedCard
from erp.payments.refund_rows import Refund
from erp.payments.repository import CardPayment, Dispute, Gateway, Told

Reason = Annotated[str, StringConstraints(min_length=1, max_length=300, strip_whitespace=True)]
ProviderId = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")]


class GatewayIn(EntityIn):
    """Secrets are written and never read back. A new webhook secret holds beside the former one for a day.

    Whose it is (the first legal entity's where it is not said) stays so.
    """

    webhook_secret: Annotated[SecretStr, Field(min_length=8, max_length=200)]
    api_key: Annotated[SecretStr, Field(min_length=8, max_length=200)] | None = None
    api_base: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]{1,180}$")] = "https://api.stripe.com"


class GatewayOut(Out):
    name: str
    entity_id: str
    kind: str
    api_base: str
    can_be_asked: bool
    former_secret_until: Instant | None
    updated_at: Instant

    @classmethod
    def of(cls, found: Gateway) -> GatewayOut:
        return cls(
            name=found.name,
            entity_id=found.entity_id,
            kind=found.kind,
            api_base=found.api_base,
            can_be_asked=found.api_key is not None,
            former_secret_until=found.former_until if found.former_secret else None,
            updated_at=found.updated_at,
        )


class GatewaysOut(Out):
    gateways: list[GatewayOut]


class StoredOut(Out):
    """The event is stored. `new` is false for one that was told before."""

    new: bool


class EventOut(Out):
    """What a gateway told. `state` is received, booked, waiting, unknown, stale or failed; `detail` says why."""

    event_key: int
    gateway: str
    provider_id: str
    type: str
    object_id: str
    intent_id: str | None
    created_at: Instant
    received_at: Instant
    deliveries: int
    state: str
    detail: str
    attempts: int
    handled_at: Instant | None

    @classmethod
    def of(cls, told: Told) -> EventOut:
        return cls(**{name: getattr(told, name) for name in cls.model_fields})


class EventQuery(PageQuery):
    state: Literal["received", "booked", "waiting", "unknown", "stale", "failed"] | None = None


class EventCountOut(Out):
    gateway: str
    type: str
    state: str
    events: int


class EventCountsOut(Out):
    counts: list[EventCountOut]


class CardPaymentOut(Out):
    gateway: str
    intent_id: str
    payer: str
    customer: str | None
    amount: MoneyOut
    paid_at: Instant
    account_id: str | None
    payment_id: str | None

    @classmethod
    def of(cls, found: CardPayment) -> CardPaymentOut:
        return cls(
            gateway=found.gateway,
            intent_id=found.intent_id,
            payer=found.payer,
            customer=found.customer,
            amount=MoneyOut.of(found.amount),
            paid_at=found.paid_at,
            account_id=found.account_id,
            payment_id=found.payment_id,
        )


class AssignIn(In):
    account_id: IdText


class DisputeOut(Out):
    gateway: str
    dispute_id: str
    intent_id: str
    withdrawn: MoneyOut
    fees: MoneyOut
    status: str
    reason: str
    told_at: Instant
    final: bool

    @classmethod
    def of(cls, found: Dispute) -> DisputeOut:
        return cls(
            gateway=found.gateway,
            dispute_id=found.dispute_id,
            intent_id=found.intent_id,
            withdrawn=MoneyOut.of(found.withdrawn),
            fees=MoneyOut.of(found.fees),
            status=found.status,
            reason=found.reason,
            told_at=found.told_at,
            final=found.final,
        )


class ChargeIn(In):
    """Charge a card that was left with the gateway: all that is open of the invoice, or `amount`."""

    gateway: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,32}$")]
    invoice_id: IdText
    customer: ProviderId
    method: ProviderId
    amount: MoneyIn | None = None
    reference: Annotated[str, StringConstraints(min_length=1, max_length=80, strip_whitespace=True)] | None = None
    """The caller's: the same again is the same charge."""


class AttemptQuery(PageQuery):
    account_id: IdText | None = None
    invoice_id: IdText | None = None
    state: Literal["asked", "unsure", "pending", "paid", "failed"] | None = None


class AttemptOut(Out):
    """`state` is asked, unsure, pending, paid or failed. Paid is what an event of the gateway has said."""

    attempt_id: str
    gateway: str
    account_id: str
    invoice_id: str | None
    amount: MoneyOut
    customer: str
    method: str
    state: str
    intent_id: str | None
    detail: str
    asked_at: Instant
    asked_by: str
    changed_at: Instant
    reference: str | None

    @classmethod
    def of(cls, made: CardAttempt) -> AttemptOut:
        return cls(
            attempt_id=made.attempt_id,
            gateway=made.gateway,
            account_id=made.account_id,
            invoice_id=made.invoice_id,
            amount=MoneyOut.of(made.amount),
            customer=made.customer,
            method=made.method,
            state=made.state,
            intent_id=made.intent_id,
            detail=made.detail,
            asked_at=made.asked_at,
            asked_by=made.actor,
            changed_at=made.changed_at,
            reference=made.reference,
        )


class SavedCardOut(Out):
    """A card that was charged before, and what the last charge came to. `method` null: only its holder is known."""

    gateway: str
    customer: str
    method: str | None
    state: str | None
    detail: str
    last_at: Instant

    @classmethod
    def of(cls, found: SavedCard) -> SavedCardOut:
        return cls(**{name: getattr(found, name) for name in cls.model_fields})


class SavedCardsOut(Out):
    cards: list[SavedCardOut]


class RefundIn(In):
    """`creditor` and `iban` are needed where the money goes by bank."""

    payment_id: IdText
    amount: MoneyIn
    way: Literal["gateway", "bank", "cash"]
    reason: Reason
    creditor: Annotated[str, StringConstraints(max_length=70)] = ""
    iban: Annotated[str, StringConstraints(max_length=42)] = ""


class RefundOut(Out):
    """`state` is requested, approved, sent, done or refused."""

    refund_id: str
    payment_id: str
    account_id: str
    amount: MoneyOut
    way: str
    state: str
    reason: str
    creditor: str
    iban: str
    requested_by: str
    requested_at: Instant
    approved_by: str | None
    changed_at: Instant
    provider_id: str | None
    detail: str

    @classmethod
    def of(cls, made: Refund) -> RefundOut:
        plain = {name: getattr(made, name) for name in cls.model_fields if name != "amount"}
        return cls(amount=MoneyOut.of(made.amount), **plain)


class RefundQuery(PageQuery):
    state: Literal["requested", "approved", "sent", "done", "refused"] | None = None


class ReasonIn(In):
    reason: Reason


def amount_of(given: MoneyIn | None) -> Money | None:
    return None if given is None else given.money()
