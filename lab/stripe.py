"""A payment service that speaks as Stripe's published API does: idempotency keys, declines, faults, signed events.

Charges and refunds are kept in memory. `faults` are what happens to the next requests, in order:

    "429", "500", "503"     that status, nothing done
    "conflict"              409: the same key is in flight elsewhere
    "lost"                  it is done, and the connection ends without an answer

`events` are what would be sent to the webhook, oldest first; `signed` makes the request of one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Json = dict[str, Any]
DECLINING = "pm_card_chargeDeclinedInsufficientFunds"
"""The payment method that Stripe's test mode declines."""


@dataclass
class StripeEmulator:
    """One account. `now` is the clock of its events."""

    api_key: str
    webhook_secret: str
    now: int = field(default_factory=lambda: int(time.time()))
    faults: deque[str] = field(default_factory=deque)
    events: list[Json] = field(default_factory=list)
    requests: int = 0
    intents: dict[str, Json] = field(default_factory=dict)
    refunds: dict[str, Json] = field(default_factory=dict)
    moved: dict[str, Json] = field(default_factory=dict)
    """Balance transactions, each with the payout that it is part of."""
    _answers: dict[str, tuple[str, int, Json]] = field(default_factory=dict)

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/payment_intents", self._intent, methods=["POST"]),
                Route("/v1/refunds", self._refund, methods=["POST"]),
                Route("/v1/balance_transactions", self._transactions, methods=["GET"]),
                Route("/v1/balance_transactions/{transaction}", self._transaction, methods=["GET"]),
            ]
        )

    def paid(self, amount: int, currency: str = "eur", **more: Any) -> Json:
        """A payment that a customer made, and its event."""
        made = self._new_intent({"amount": str(amount), "currency": currency}, more)
        self._succeed(made)
        return made

    def settle(self, intent: Json, fee: int, kind: str = "charge") -> Json:
        """The payment moves the balance, less a fee, which its charge then names; its event."""
        source = intent["latest_charge"]
        made = self._moved(intent["amount"], intent["currency"], fee, kind=kind, source=source)
        charge = {
            "id": source, "object": "charge", "amount": intent["amount"], "currency": intent["currency"],
            "payment_intent": intent["id"], "balance_transaction": made["id"],
        }  # fmt: skip
        return self.tell("charge.updated", charge)

    def pay_out(self, arrival: int, trace: str | None = None) -> Json:
        """What the balance holds goes to the bank; its event."""
        part = [t for t in self.moved.values() if t["payout"] is None]
        made = {
            "id": self._id("po"), "object": "payout", "amount": sum(t["net"] for t in part), "status": "paid",
            "currency": part[0]["currency"], "arrival_date": arrival,
            "trace_id": None if trace is None else {"status": "supported", "value": trace},
        }  # fmt: skip
        part.append(self._moved(-made["amount"], made["currency"], 0, kind="payout", source=made["id"]))
        for one in part:
            one["payout"] = made["id"]
        return self.tell("payout.paid", made)

    def dispute(self, intent: Json, fee: int = 1500) -> Json:
        """The payer's bank takes the money back; its event."""
        made = {
            "id": self._id("dp"), "object": "dispute", "amount": intent["amount"], "currency": intent["currency"],
            "charge": intent["latest_charge"], "payment_intent": intent["id"], "reason": "fraudulent",
            "status": "needs_response",
            "balance_transactions": [self._moved(-intent["amount"], intent["currency"], fee)],
        }  # fmt: skip
        self.tell("charge.dispute.created", made)
        return made

    def close_dispute(self, dispute: Json, won: bool) -> None:
        dispute["status"] = "won" if won else "lost"
        if won:
            dispute["balance_transactions"].append(self._moved(dispute["amount"], dispute["currency"], 0))
        self.tell("charge.dispute.closed", dispute)

    def tell(self, kind: str, about: Json) -> Json:
        """Make an event; every second one more."""
        self.now += 1
        made = {
            "id": self._id("evt"), "object": "event", "api_version": "2024-06-20", "created": self.now,
            "livemode": False, "pending_webhooks": 1, "request": {"id": None, "idempotency_key": None},
            "type": kind, "data": {"object": json.loads(json.dumps(about))},
        }  # fmt: skip
        self.events.append(made)
        return made

    def signed(self, event: Json, at: int | None = None) -> tuple[bytes, str]:
        """Body and Stripe-Signature header, signed at `at`."""
        body = json.dumps(event, indent=2).encode()
        seconds = self.now if at is None else at
        said = f"{seconds}.".encode() + body
        right = hmac.new(self.webhook_secret.encode(), said, hashlib.sha256).hexdigest()
        return body, f"t={seconds},v1={right},v0={'0' * 64}"

    async def _intent(self, request: Request) -> Response:
        return await self._once(request, self._charge)

    async def _refund(self, request: Request) -> Response:
        return await self._once(request, self._give_back)

    async def _once(self, request: Request, do: Any) -> Response:
        self.requests += 1
        if request.headers.get("authorization") != f"Bearer {self.api_key}":
            return _error(401, "invalid_request_error", "Invalid API Key provided")
        body = await request.body()
        key = request.headers.get("idempotency-key", "")
        fault = self.faults.popleft() if self.faults else ""
        if fault == "conflict":
            return _error(409, "idempotency_error", "Another request with the same key is in progress")
        if fault in ("429", "500", "503"):
            return _error(int(fault), "api_error", "try again", headers={"Retry-After": "0"})
        digest = hashlib.sha256(request.url.path.encode() + body).hexdigest()
        replayed = key in self._answers
        if not replayed:
            self._answers[key] = (digest, *do(dict(parse_qsl(body.decode()))))
        known, status, answer = self._answers[key]
        if known != digest:
            return _error(400, "idempotency_error", "Keys can only be used with the same parameters")
        if fault == "lost":
            while (await request.receive())["type"] != "http.disconnect":
                pass  # until the client has waited long enough
        return JSONResponse(answer, status, headers={"Idempotent-Replayed": "true"} if replayed else None)

    def _charge(self, form: dict[str, str]) -> tuple[int, Json]:
        metadata = {k[9:-1]: v for k, v in form.items() if k.startswith("metadata[")}
        more = {"customer": form.get("customer"), "metadata": metadata, "description": form.get("description")}
        made = self._new_intent(form, more)
        if form.get("payment_method") == DECLINING:
            made["status"] = "requires_payment_method"
            error = {
                "type": "card_error", "code": "card_declined", "decline_code": "insufficient_funds",
                "message": "Your card has insufficient funds.", "payment_intent": made,
            }  # fmt: skip
            made["last_payment_error"] = {k: v for k, v in error.items() if k != "payment_intent"}
            self.tell("payment_intent.payment_failed", made)
            return 402, {"error": error}
        self._succeed(made)
        return 200, made

    def _give_back(self, form: dict[str, str]) -> tuple[int, Json]:
        intent = self.intents.get(form.get("payment_intent", ""))
        if intent is None:
            return 404, {
                "error": {
                    "type": "invalid_request_error",
                    "code": "resource_missing",
                    "message": "No such payment_intent",
                }
            }
        amount = int(form["amount"])
        before = sum(r["amount"] for r in self.refunds.values() if r["payment_intent"] == intent["id"])
        if before + amount > intent["amount"]:
            return 400, {
                "error": {
                    "type": "invalid_request_error",
                    "code": "charge_already_refunded",
                    "message": "greater than unrefunded amount",
                }
            }
        made = {
            "id": self._id("re"), "object": "refund", "amount": amount, "currency": intent["currency"],
            "payment_intent": intent["id"], "charge": intent["latest_charge"], "status": "succeeded",
        }  # fmt: skip
        self.refunds[made["id"]] = made
        self.refunded(intent, before + amount)
        return 200, made

    def refunded(self, intent: Json, so_far: int) -> None:
        """The event of a refund: the charge with all that was refunded of it."""
        charge = {
            "id": intent["latest_charge"], "object": "charge", "amount": intent["amount"], "amount_refunded": so_far,
            "currency": intent["currency"], "payment_intent": intent["id"], "refunded": so_far == intent["amount"],
        }  # fmt: skip
        self.tell("charge.refunded", charge)

    def _new_intent(self, form: dict[str, str], more: Json) -> Json:
        made: Json = {
            "id": self._id("pi"), "object": "payment_intent", "amount": int(form["amount"]), "amount_received": 0,
            "currency": form["currency"], "status": "requires_confirmation", "latest_charge": None, "customer": None,
            "metadata": {}, "receipt_email": None, "description": None,
        }  # fmt: skip
        made["client_secret"] = f"{made['id']}_secret_{'x' * 20}"
        made.update(more)
        self.intents[made["id"]] = made
        return made

    def _succeed(self, intent: Json) -> None:
        intent.update(status="succeeded", amount_received=intent["amount"], latest_charge=self._id("ch"))
        self.tell("payment_intent.succeeded", intent)

    def _moved(self, amount: int, currency: str, fee: int, *, kind: str = "adjustment", source: str = "") -> Json:
        made: Json = {
            "id": self._id("txn"), "object": "balance_transaction", "amount": amount, "currency": currency, "fee": fee,
            "net": amount - fee, "type": kind, "reporting_category": "dispute" if kind == "adjustment" else kind,
            "source": source, "payout": None,
        }  # fmt: skip
        self.moved[made["id"]] = made
        return made

    async def _transaction(self, request: Request) -> Response:
        return self._read(request, self.moved.get(request.path_params["transaction"]))

    async def _transactions(self, request: Request) -> Response:
        """Pages of two, so that who reads only the first is found out."""
        found = [t for t in self.moved.values() if t["payout"] == request.query_params.get("payout")]
        ids = [t["id"] for t in found]
        after = request.query_params.get("starting_after")
        begin = 0 if after is None else ids.index(after) + 1
        data = found[begin : begin + 2]
        return self._read(request, {"object": "list", "data": data, "has_more": begin + 2 < len(found)})

    def _read(self, request: Request, found: Json | None) -> Response:
        self.requests += 1
        if request.headers.get("authorization") != f"Bearer {self.api_key}":
            return _error(401, "invalid_request_error", "Invalid API Key provided")
        fault = self.faults.popleft() if self.faults else ""
        if fault:
            return _error(int(fault), "api_error", "try again", headers={"Retry-After": "0"})
        if found is None:
            return JSONResponse(_refusal("resource_missing", "No such balance transaction"), 404)
        return JSONResponse(found)

    def _id(self, prefix: str) -> str:
        self._made = getattr(self, "_made", 0) + 1
        return f"{prefix}_lab{self._made:08d}"


def _refusal(code: str, message: str) -> Json:
    return {"error": {"type": "invalid_request_error", "code": code, "message": message}}


def _error(status: int, kind: str, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": {"type": kind, "message": message}}, status, headers=headers)
