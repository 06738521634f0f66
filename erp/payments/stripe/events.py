"""From the JSON of an event to what it says about money. Pure.

An event is a picture of an object at `created`. Money is booked from what the picture says the sums are by then
(refunded so far, withdrawn so far), never from how many events came: they come repeated, late, and in any order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from controller.domain.money import Money
from erp.payments.errors import NotAnEvent
from erp.payments.stripe import amounts

_SECRETS = frozenset({"client_secret"})
_MAX_DEPTH = 40


@dataclass(frozen=True, slots=True)
class Head:
    """What every event says. `intent_id` is the payment that it is about, where it is about one."""

    event_id: str
    type: str
    created: datetime
    object_id: str
    intent_id: str | None


@dataclass(frozen=True, slots=True)
class Paid:
    """A payment succeeded. `account_id` and `attempt_id` are what the one who asked for it noted, `customer` the
    gateway's id."""

    intent_id: str
    amount: Money
    charge_id: str | None
    customer: str | None
    account_id: str | None
    payer: str
    at: datetime
    attempt_id: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt to pay failed; `why` is the gateway's word, such as card_declined."""

    intent_id: str
    amount: Money
    account_id: str | None
    customer: str | None
    why: str
    attempt_id: str | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """A checkout session says whose payment it was; the money itself is told by the payment."""

    intent_id: str
    account_id: str | None
    customer: str | None


@dataclass(frozen=True, slots=True)
class Refunded:
    """So much of a payment was refunded in all."""

    intent_id: str
    charge_id: str
    so_far: Money


@dataclass(frozen=True, slots=True)
class Disputed:
    """What a dispute has taken so far, and the fees for it; both fall when it is won. `final` once it is closed."""

    dispute_id: str
    intent_id: str
    withdrawn: Money
    fees: Money
    status: str
    reason: str
    final: bool


@dataclass(frozen=True, slots=True)
class PaidOut:
    """The gateway sent what it owed to the bank, or with `failed` got it back. `trace` is what the bank may quote."""

    payout_id: str
    amount: Money
    failed: bool
    arrival_on: date
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Settled:
    """A charge has moved the balance; the transaction says what that cost. None while the gateway does not know."""

    charge_id: str
    transaction_id: str | None


@dataclass(frozen=True, slots=True)
class RefundFailed:
    """A refund could not be delivered: its money is at the gateway again."""

    refund_id: str
    intent_id: str
    amount: Money


Fact = Paid | Failed | Named | Refunded | RefundFailed | Disputed | PaidOut | Settled


def parse(body: bytes) -> tuple[Head, Mapping[str, Any]]:
    """Raises NotAnEvent."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise NotAnEvent("the body is not JSON") from None
    try:
        about = found["data"]["object"]
        if found["object"] != "event" or not isinstance(about, dict):
            raise NotAnEvent("the body is no event of Stripe")
        head = Head(
            _word(found["id"]),
            _word(found["type"]),
            _instant(found["created"]),
            _word(about.get("id", "")) or "none",
            _intent(about),
        )
    except (KeyError, TypeError, AttributeError):
        raise NotAnEvent("the body is no event of Stripe") from None
    if not head.event_id or not head.type:
        raise NotAnEvent("an event has an id and a type")
    return head, found


def storable(event: Mapping[str, Any]) -> str:
    """The event as it is kept: without what would let a reader act as the payer."""
    return json.dumps(_without_secrets(event, 0), separators=(",", ":"), sort_keys=True)


def fact(event: Mapping[str, Any]) -> Fact | None:
    """What an event says about money; None for one of a type that says nothing. Raises NotAnEvent."""
    about = event["data"]["object"]
    try:
        match event["type"]:
            case "payment_intent.succeeded":
                return _paid(about, _instant(event["created"]))
            case "payment_intent.payment_failed":
                return _failed(about)
            case "checkout.session.completed" | "checkout.session.async_payment_succeeded":
                return _named(about)
            case "charge.refunded":
                return _refunded(about)
            case (
                "charge.dispute.created"
                | "charge.dispute.updated"
                | "charge.dispute.closed"
                | "charge.dispute.funds_withdrawn"
                | "charge.dispute.funds_reinstated"
            ):
                return _disputed(about)
            case "refund.failed" | "refund.updated" | "charge.refund.updated":
                return _refund_failed(about, failed=event["type"] == "refund.failed")
            case "payout.paid" | "payout.failed":
                return _paid_out(about, _instant(event["created"]), failed=event["type"] == "payout.failed")
            case "charge.succeeded" | "charge.updated" | "charge.captured":
                return Settled(_word(about["id"]), _id_of(about.get("balance_transaction")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotAnEvent(f"{event['type']} lacks what the API says it has: {type(error).__name__} {error}") from None
    return None


def _paid_out(about: Mapping[str, Any], told_at: datetime, *, failed: bool) -> PaidOut:
    told = about.get("arrival_date")
    arrival = told_at if told is None else _instant(told)
    trace = about.get("trace_id")
    value = trace.get("value") if isinstance(trace, dict) else None
    return PaidOut(
        _word(about["id"]),
        _money(about["amount"], about["currency"]),
        failed,
        arrival.date(),
        _word(value) if isinstance(value, str) else "",
    )


def _paid(about: Mapping[str, Any], at: datetime) -> Paid:
    charge = _id_of(about.get("latest_charge"))
    return Paid(
        _word(about["id"]),
        _money(about.get("amount_received") or about["amount"], about["currency"]),
        charge,
        _id_of(about.get("customer")),
        _noted(about.get("metadata"), "account_id"),
        _payer(about),
        at,
        _noted(about.get("metadata"), "attempt_id"),
    )


def _failed(about: Mapping[str, Any]) -> Failed:
    error = about.get("last_payment_error") or {}
    why = str(error.get("decline_code") or error.get("code") or "unknown")[:80]
    return Failed(
        _word(about["id"]),
        _money(about["amount"], about["currency"]),
        _noted(about.get("metadata"), "account_id"),
        _id_of(about.get("customer")),
        why,
        _noted(about.get("metadata"), "attempt_id"),
    )


def _named(about: Mapping[str, Any]) -> Named | None:
    intent_id = _id_of(about.get("payment_intent"))
    if intent_id is None or about.get("payment_status") not in ("paid", "no_payment_required"):
        return None
    reference = about.get("client_reference_id")
    account_id = _noted(about.get("metadata"), "account_id") or (reference if _is_id(reference) else None)
    return Named(intent_id, account_id, _id_of(about.get("customer")))


def _refunded(about: Mapping[str, Any]) -> Refunded | None:
    intent_id = _id_of(about.get("payment_intent"))
    if intent_id is None:
        return None
    return Refunded(intent_id, _word(about["id"]), _money(about["amount_refunded"], about["currency"]))


def _refund_failed(about: Mapping[str, Any], *, failed: bool) -> RefundFailed | None:
    """Until the API version 2024-10-28 `charge.refund.updated` alone tells it, by its status; later ones repeat it."""
    intent_id, status = _id_of(about.get("payment_intent")), about.get("status")
    if intent_id is None or not (failed or status in ("failed", "canceled")):
        return None
    return RefundFailed(_word(about["id"]), intent_id, _money(about["amount"], about["currency"]))


def _disputed(about: Mapping[str, Any]) -> Disputed | None:
    intent_id, status = _id_of(about.get("payment_intent")), _word(about["status"])
    if intent_id is None:
        return None
    moved = about.get("balance_transactions") or []
    currency = about["currency"]
    if moved:
        withdrawn, fees = -sum(int(m["amount"]) for m in moved), sum(int(m.get("fee", 0)) for m in moved)
        currency = moved[0]["currency"]
    else:
        # The documented rule: an inquiry ("warning_…") takes nothing, a dispute takes the amount until it is won.
        takes = status in ("needs_response", "under_review", "lost")
        withdrawn, fees = int(about["amount"]) if takes else 0, 0
    final = status in ("won", "lost", "warning_closed", "prevented")
    if status in ("won", "warning_closed", "prevented"):
        # Some accounts get the reinstating transaction later than the verdict.
        withdrawn = 0
    return Disputed(
        _word(about["id"]),
        intent_id,
        _money(max(0, withdrawn), currency),
        _money(max(0, fees), currency),
        status,
        str(about.get("reason") or "")[:80],
        final,
    )


def _intent(about: Mapping[str, Any]) -> str | None:
    return _id_of(about.get("id")) if about.get("object") == "payment_intent" else _id_of(about.get("payment_intent"))


def _id_of(value: Any) -> str | None:
    """An id, or that of the object which stands in its place when it was expanded."""
    found = value.get("id") if isinstance(value, dict) else value
    return _word(found) or None if isinstance(found, str) else None


def _noted(metadata: Any, name: str) -> str | None:
    """An id that we write into the metadata of every payment that we ask for."""
    found = metadata.get(name) if isinstance(metadata, dict) else None
    return found if _is_id(found) else None


def _is_id(text: Any) -> bool:
    return isinstance(text, str) and len(text) == 32 and all(c in "0123456789abcdef" for c in text)


def _payer(about: Mapping[str, Any]) -> str:
    """Whatever says to a person who paid."""
    for key in ("receipt_email", "description", "statement_descriptor"):
        if isinstance(about.get(key), str) and about[key].strip():
            return str(about[key]).strip()[:140]
    return ""


def _money(amount: Any, currency: Any) -> Money:
    found = amounts.read(amount, currency)
    if found.minor < 0:
        raise ValueError(f"{found} is negative")
    return found


def _instant(seconds: Any) -> datetime:
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 0 < seconds < 10**11:
        raise NotAnEvent("an event says when it was made, in seconds since 1970")
    return datetime.fromtimestamp(seconds, UTC)


def _word(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 255 or "\x00" in value:
        raise TypeError("a short text")
    return value


def _without_secrets(value: Any, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise NotAnEvent("the event is nested too deeply")
    if isinstance(value, dict):
        return {k: _without_secrets(v, depth + 1) for k, v in value.items() if k not in _SECRETS}
    if isinstance(value, list):
        return [_without_secrets(v, depth + 1) for v in value]
    return value
