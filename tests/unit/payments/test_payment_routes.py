"""Payments over HTTP: webhooks without a token, matches moved, refunds approved."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from controller.http.dispatch import API_PREFIX
from erp.finance import routes as finance_routes
from erp.finance import settlement_routes
from erp.payments import routes
from tests.support.api import api_client
from tests.support.payments import WEBHOOK_SECRET, Till


@pytest.fixture
async def api(till: Till) -> AsyncIterator[httpx2.AsyncClient]:
    found = [
        *finance_routes.endpoints(till.finance),
        *settlement_routes.endpoints(till.finance),
        *routes.endpoints(till.room),
    ]
    async with api_client(found, clock=till.clock) as client:
        yield client


async def test_a_webhook_needs_no_token_but_a_signature(till: Till, api: httpx2.AsyncClient) -> None:
    made = await api.put(
        "/payment-gateways/stripe", json={"webhook_secret": WEBHOOK_SECRET, "api_key": "sk_test_12345"}
    )
    assert made.status_code == 200, made.text
    assert "whsec" not in made.text
    account = await till.account()
    till.stripe.paid(500, metadata={"account_id": account})
    body, header = till.stripe.signed(till.stripe.events[0], int(till.clock.now().timestamp()))
    async with api_client(routes.endpoints(till.room), scopes=None, clock=till.clock) as stranger:
        path = "/payment-gateways/stripe/webhook"
        first = await stranger.post(path, content=body, headers={"Stripe-Signature": header})
        again = await stranger.post(path, content=body, headers={"Stripe-Signature": header})
        assert (first.json(), again.json()) == ({"new": True}, {"new": False})
        for wrong in ({}, {"Stripe-Signature": header.replace("v1=", "v1=0")}, {"Stripe-Signature": "t=1,v1=1"}):
            refused = await stranger.post(path, content=body, headers=wrong)
            assert (refused.status_code, refused.json()["code"]) == (400, "signature")
        large = await stranger.post(path, content=b"x" * 300_000, headers={"Stripe-Signature": header})
        assert large.status_code == 413
        assert (await stranger.post("/payment-gateways/none/webhook", content=body)).status_code == 404
        assert (await stranger.get("/payment-events")).status_code == 401
    await till.room.inbox.drain()
    (told,) = (await api.get("/payment-events", params={"state": "booked"})).json()["items"]
    assert (told["deliveries"], told["detail"]) == (2, "booked to its account")
    assert str(api.base_url).rstrip("/").endswith(API_PREFIX)


async def test_a_payment_is_matched_moved_and_refunded(till: Till, api: httpx2.AsyncClient) -> None:
    account = await till.account()
    invoice = await till.issue(account)
    body = {"account_id": account, "amount": {"amount": "50.00", "currency": "EUR"}, "reference": "a"}
    paid = (await api.post("/payments", json=body)).json()
    detail = (await api.get(f"/payments/{paid['payment_id']}")).json()
    (row,) = detail["allocations"]
    assert (row["amount"]["amount"], row["number"], row["standing"]) == ("35.70", "INV-2026-000001", True)
    back = await api.post(f"/allocations/{row['allocation_id']}/reverse", json={"reason": "other invoice meant"})
    assert back.json()["unapplied"]["amount"] == "50.00"
    waiting = (await api.get("/payments", params={"unapplied": "true"})).json()["items"]
    assert [p["payment_id"] for p in waiting] == [paid["payment_id"]]
    path = f"/payments/{paid['payment_id']}/allocations"
    part = {"invoice_id": invoice, "amount": {"amount": "30.00", "currency": "EUR"}}
    assert (await api.post(path, json=part)).status_code == 201
    assert (await api.post(path, json=part)).json()["code"] == "not-that-much"
    lost = await api.post(f"/invoices/{invoice}/write-off", json={"reason": "rounding", "relieve_tax": True})
    assert (lost.json()["kind"], lost.json()["amount"]["amount"]) == ("write-off", "5.70")
    asked = {
        "payment_id": paid["payment_id"], "amount": {"amount": "20.00", "currency": "EUR"}, "way": "bank",
        "reason": "overpaid", "creditor": "Erika Beispiel", "iban": "DE02 1203 0000 0000 2020 51",
    }  # fmt: skip
    wrong = await api.post("/refunds", json=asked | {"iban": "DE03120300000000202051"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "iban")
    made = (await api.post("/refunds", json=asked)).json()
    approved = (await api.post(f"/refunds/{made['refund_id']}/approve")).json()
    assert (approved["state"], approved["approved_by"]) == ("approved", "user:test")
    assert [r["refund_id"] for r in (await api.get("/refunds", params={"state": "approved"})).json()["items"]] == [
        made["refund_id"]
    ]
    await till.assert_sound()
