"""Payments over HTTP: webhooks without a token, matches moved, refunds approved."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx2
import pytest

from controller.http.dispatch import API_PREFIX
from erp.finance import routes as finance_routes
from erp.finance import settlement_routes
from erp.payments import cash_routes, routes
from erp.payments.bank import routes as bank_routes
from erp.payments.sepa import routes as sepa_routes
from tests.support.api import api_client
from tests.support.camt import IBAN, Entry, Stmt, Tx, camt
from tests.support.payments import WEBHOOK_SECRET, Till


@pytest.fixture
async def api(till: Till) -> AsyncIterator[httpx2.AsyncClient]:
    found = [
        *finance_routes.endpoints(till.finance),
        *settlement_routes.endpoints(till.finance),
        *routes.endpoints(till.room),
        *bank_routes.endpoints(till.room),
        *sepa_routes.endpoints(till.room),
        *cash_routes.endpoints(till.room),
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
    given_up = {"reason": "rounding", "relieve_tax": True, "reference": "form-1"}
    lost, again = [await api.post(f"/invoices/{invoice}/write-off", json=given_up) for _ in range(2)]
    assert (again.status_code, again.json()) == (201, lost.json()), "told twice, done once"
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
    turned = await api.post(f"/write-offs/{lost.json()['payment_id']}/reverse", json={"reason": "wrong invoice"})
    assert (turned.status_code, turned.json()["reversals"][0]["kind"]) == (200, "void")
    assert await till.open_of(invoice) == 570
    money = await api.post(f"/write-offs/{paid['payment_id']}/reverse", json={"reason": "x"})
    assert (money.status_code, money.json()["code"]) == (422, "no-write-off")
    again = await api.post(f"/invoices/{invoice}/write-off", json=given_up | {"reference": "form-2"})
    assert (again.status_code, await till.open_of(invoice)) == (201, 0)
    await till.assert_sound()


async def test_a_bank_file_a_direct_debit_and_a_day_at_the_till(till: Till, api: httpx2.AsyncClient) -> None:
    till.clock.move_to(datetime(2026, 11, 21, 9, tzinfo=UTC))
    account = await till.account("Erika Beispiel")
    invoice = await till.issue(account)
    ours = {"name": "Testnetz GmbH", "iban": IBAN, "creditor_id": "DE98ZZZ09999999999"}
    bank = (await api.post("/bank-accounts", json=ours)).json()
    assert (await api.post("/bank-accounts", json=ours)).status_code == 409
    code = await api.get(f"/invoices/{invoice}/payment-code")
    assert (code.headers["content-type"], b"<svg" in code.content) == ("image/svg+xml", True)
    raw = camt("08", Stmt("0.00", [Entry("10.00", [Tx(name="Erika Beispiel")], ref="1"), Entry("-4.00", ref="2")]))
    assert (await api.post("/bank-files", content=raw, headers={"Content-Type": "text/plain"})).status_code == 415
    xml = {"Content-Type": "application/xml"}
    made = (await api.post("/bank-files", params={"name": "a.xml"}, content=raw, headers=xml)).json()
    assert (made["is_new"], made["lines"], made["matched"]) == (True, 2, 0)
    assert not (await api.post("/bank-files", content=raw, headers=xml)).json()["is_new"]
    wrong = await api.post("/bank-files", content=b"<a/>", headers=xml)
    assert (wrong.status_code, wrong.json()["code"]) == (422, "bank-file")
    lines = (await api.get("/bank-lines", params={"state": "open", "limit": 1})).json()
    assert lines["next"]
    page = (await api.get("/bank-lines", params={"state": "open", "after": lines["next"]})).json()["items"]
    found = {row["amount"]["amount"]: row for row in (*lines["items"], *page)}
    assert (len(found), found["10.00"]["age_days"]) == (2, 1)
    paid = found["10.00"]["line_id"]
    detail = (await api.get(f"/bank-lines/{paid}")).json()
    assert detail["proposals"][0]["invoice_id"] == invoice
    assert (await api.post(f"/bank-lines/{paid}/match", json={"account_id": account})).json()["state"] == "matched"
    assert (await api.post(f"/bank-lines/{paid}/match", json={"account_id": account})).status_code == 409
    assert (await api.post(f"/bank-lines/{paid}/unmatch", json={"reason": "no"})).json()["state"] == "open"
    body = {"code": "6300", "reason": "rent"}
    assert (await api.post(f"/bank-lines/{found['-4.00']['line_id']}/book", json=body)).status_code == 200
    (position,) = (await api.get("/bank-accounts")).json()["accounts"]
    assert (position["closing"]["amount"], position["ledger"]["amount"], position["open_lines"]) == ("6.00", "6.00", 1)

    mandate = {
        "account_id": account, "reference": "M-1", "signed_on": "2026-01-01", "iban": "DE12500105170648489890",
        "debtor": "Erika Beispiel",
    }  # fmt: skip
    assert (await api.post("/mandates", json=mandate)).status_code == 201
    day = {"bank_account_id": bank["bank_account_id"], "collect_on": "2026-12-07"}
    file = (await api.post("/direct-debits", json=day)).json()
    assert (file["items"], file["total"]["amount"], file["state"]) == (1, "35.70", "made")
    content = await api.get(f"/direct-debits/{file['collection_id']}/file")
    assert content.headers["content-type"] == "application/xml"
    assert b"pain.008.001.08" in content.content
    assert (await api.post(f"/direct-debits/{file['collection_id']}/send")).json()["state"] == "sent"
    (entry,) = (await api.get(f"/direct-debits/{file['collection_id']}")).json()["entries"]
    assert entry["state"] == "paid"

    desk = (await api.post("/tills", json={"name": "HQ1"})).json()
    zero = {"counted": {"amount": "0.00", "currency": "EUR"}}
    shift = (await api.post(f"/tills/{desk['till_id']}/shifts", json=zero)).json()
    cash = {"account_id": account, "amount": {"amount": "5.00", "currency": "EUR"}, "request": "r-1"}
    taken = (await api.post(f"/shifts/{shift['shift_id']}/payments", json=cash)).json()
    assert taken["number"] == "CASH-HQ1-2026-000001"
    short = await api.post(f"/shifts/{shift['shift_id']}/close", json=zero)
    assert (short.status_code, short.json()["code"]) == (422, "cash-difference")
    closed = await api.post(f"/shifts/{shift['shift_id']}/close", json=zero | {"reason": "stolen"})
    assert closed.json()["difference"]["amount"] == "-5.00"
    await till.assert_sound()


async def test_unknown_payers_and_disputes_are_pages_without_a_gap_or_an_end_that_nobody_told(
    till: Till, api: httpx2.AsyncClient
) -> None:
    await till.gateway()
    account = await till.account()
    unknown = [till.stripe.paid(1000 + n, receipt_email="x@example.net")["id"] for n in range(5)]
    disputes = [till.stripe.dispute(till.stripe.paid(1000, metadata={"account_id": account})) for _ in range(5)]
    for won in disputes[1:3]:
        till.stripe.close_dispute(won, won=True)
    for event in till.stripe.events:
        await till.deliver(event | {"created": 1_790_000_000 + event["created"] % 2})
    while await till.room.inbox.drain():
        pass

    async def pages(path: str, key: str) -> list[list[str]]:
        found, after = [], None
        while True:
            answer = await api.get(path, params={"limit": 2} | ({"after": after} if after else {}))
            found.append([row[key] for row in answer.json()["items"]])
            after = answer.json()["next"]
            if after is None:
                return found

    listed = await pages("/unknown-card-payments", "intent_id")
    assert [len(page) for page in listed] == [2, 2, 1]
    assert sorted(itertools.chain(*listed)) == sorted(unknown)
    listed = await pages("/payment-disputes", "dispute_id")
    assert sorted(itertools.chain(*listed)) == sorted(d["id"] for d in disputes)
    assert {*listed[1][1:], *listed[2]} == {d["id"] for d in disputes[1:3]}, "open ones first"
