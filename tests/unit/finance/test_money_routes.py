"""Bill runs, invoices, payments and explanations as a script meets them: over HTTP, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest

from billing_bridge.reading import BillingReader
from billing_bridge.routes import endpoints as billing_endpoints
from billing_bridge.suspense.routes import endpoints as suspense_endpoints
from controller.domain.errors import RuleError
from controller.domain.identity import AccountId
from controller.domain.money import Money
from controller.domain.units import GB
from controller.store.engine import Database
from controller.workflows.explain_corrections import of_adjustment, of_credit
from controller.workflows.preview import Previews
from controller.workflows.routes_bill_runs import endpoints as run_endpoints
from controller.workflows.routes_billing import endpoints as explanation_endpoints
from erp.finance.adjustments import Adjustment
from erp.finance.books_routes import endpoints as books_endpoints
from erp.finance.routes import endpoints as finance_endpoints
from erp.finance.tax import Rate
from erp.finance.taxes import TaxService
from tests.support.api import api_client
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BillingWorld, Line, berlin


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    made = BillingWorld(database, tmp_path, [tariff("a" * 32, "30.00", included=10 * GB)], berlin(2026, 9, 16, 14))
    await made.entity()
    await made.jobs.launch()
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def api(world: BillingWorld) -> AsyncIterator[httpx2.AsyncClient]:
    endpoints = [
        *billing_endpoints(BillingReader(world.database)),
        *suspense_endpoints(world.suspense),
        *finance_endpoints(world.finance),
        *books_endpoints(world.books),
        *run_endpoints(world.runs, world.billing, world.certifier, Previews(world.billing, world.book, world.finance)),
        *explanation_endpoints(world.explainer),
    ]
    async with api_client(endpoints, clock=world.clock) as client:
        yield client


async def billed(world: BillingWorld, api: httpx2.AsyncClient) -> tuple[Line, str]:
    line = await world.activate("a" * 32)
    at = berlin(2026, 9, 17)
    await world.account_for(line, (at, 0, 0), (berlin(2026, 9, 18), GB, 19 * GB))
    world.clock.move_to(berlin(2026, 10, 1, 6))
    answer = await api.post("/bill-runs", json={})
    assert answer.status_code == 202, answer.text
    run_id = answer.json()["bill_run_id"]
    await world.jobs.wait(f"bill-run.v1:{run_id}")
    return line, run_id


async def test_from_bill_run_to_explained_line_and_payment(world: BillingWorld, api: httpx2.AsyncClient) -> None:
    line, run_id = await billed(world, api)
    run = (await api.get(f"/bill-runs/{run_id}")).json()
    assert (run["state"], run["accounts"], run["charges"], run["documents"]) == ("done", 1, 3, 1)
    assert [r["bill_run_id"] for r in (await api.get("/bill-runs")).json()["items"]] == [run_id]

    (found,) = (await api.get("/invoices", params={"account_id": line.account_id})).json()["items"]
    assert found["total"] == {"amount": "62.48", "currency": "EUR"}
    invoice = (await api.get(f"/invoices/{found['invoice_id']}")).json()
    assert [(row["kind"], row["net"]["amount"]) for row in invoice["lines"]] == [
        ("usage", "7.50"),
        ("recurring", "15.00"),
        ("recurring", "30.00"),
    ]
    explained = (await api.get(f"/invoice-lines/{invoice['lines'][0]['line_id']}/explanation")).json()
    assert explained["intact"], explained["faults"]
    assert sum(r["added_downstream_octets"] + r["added_upstream_octets"] for r in explained["records"]) == 20 * GB

    (day,) = (await api.get("/usage", params={"service_id": line.service_id})).json()["items"]
    assert (day["day"], day["upstream_octets"], day["downstream_octets"]) == ("2026-09-17", GB, 19 * GB)
    where = {"service_id": line.service_id, "day": "2026-09-17"}
    (interval,) = (await api.get("/usage/intervals", params=where)).json()["items"]
    assert interval["record_ids"] == [2]
    assert (await api.get("/suspense")).json()["items"] == []

    pdf = await api.get(f"/invoices/{found['invoice_id']}/pdf")
    assert pdf.headers["content-type"] == "application/pdf"
    assert pdf.content.startswith(b"%PDF-")
    assert (await api.get(f"/invoices/{found['invoice_id']}/pdf")).content == pdf.content

    body = {
        "account_id": line.account_id,
        "amount": {"amount": "70.00", "currency": "EUR"},
        "method": "bank-transfer",
        "reference": "statement 7/3",
    }
    paid = await api.post("/payments", json=body)
    assert paid.status_code == 201
    assert paid.json()["unapplied"] == {"amount": "7.52", "currency": "EUR"}
    assert (await api.post("/payments", json=body)).json() == paid.json()
    again = await api.post("/payments", json={**body, "amount": {"amount": "1.00", "currency": "EUR"}})
    assert (again.status_code, again.json()["code"]) == (409, "payment-mismatch")
    (found,) = (await api.get("/invoices")).json()["items"]
    assert found["open"]["amount"] == "0.00"

    trial = (await api.get("/trial-balance")).json()
    assert trial["totals"] == [{"amount": "0.00", "currency": "EUR"}]
    entries = (await api.get("/journal-entries")).json()["items"]
    assert [e["source"].partition(":")[0] for e in entries] == ["payment", "invoice"] or len(entries) == 2


async def test_a_line_split_by_a_change_of_tax_is_explained_in_each_part(
    world: BillingWorld, api: httpx2.AsyncClient
) -> None:
    taxes = TaxService(world.database, world.clock, world.crm)
    await taxes.add_rate(Rate(Decimal(19), date(2026, 10, 15), Decimal(16)), actor="user:anna")
    await billed(world, api)
    (found,) = (await api.get("/invoices")).json()["items"]
    lines = (await api.get(f"/invoices/{found['invoice_id']}")).json()["lines"]
    october = [row for row in lines if row["first_on"] >= "2026-10-01"]
    assert [(row["part"], row["tax_percent"]) for row in october] == [(1, "19"), (2, "16")]
    assert len({row["charge_id"] for row in october}) == 1
    for row in lines:
        explained = (await api.get(f"/invoice-lines/{row['line_id']}/explanation")).json()
        assert explained["intact"], explained["faults"]


async def test_every_line_of_every_kind_of_document_is_explained(world: BillingWorld, api: httpx2.AsyncClient) -> None:
    """A part of a usage line is credited, the rest is voided; a fee is charged; a gift has tax in it."""
    line, _ = await billed(world, api)
    (found,) = (await api.get("/invoices")).json()["items"]
    usage = (await world.finance.lines(found["invoice_id"]))[0]
    corrections = world.finance.corrections
    part = {usage.line_id: Money.exact("2.50", "EUR")}
    await corrections.credit(found["invoice_id"], part, reason="outage", reference="o1", actor="user:anna")
    await corrections.void(found["invoice_id"], reason="wrong address", actor="user:anna")
    for reference, tax, included in (("a1", "0", False), ("a2", "19", True), ("a3", "19", False)):
        net = Money.exact("-7.77" if included else "5.55", "EUR")
        category = "O" if tax == "0" else "S"
        wanted = Adjustment(
            AccountId(line.account_id), net, Decimal(tax), "Fee", "a reason", reference, category, included
        )
        await corrections.adjust(wanted, actor="user:berta")
    documents = (await api.get("/invoices")).json()["items"]
    assert sorted(d["kind"] for d in documents) == ["credit-note"] * 3 + ["invoice"] * 3
    seen = []
    for document in documents:
        for row in (await api.get(f"/invoices/{document['invoice_id']}")).json()["lines"]:
            answer = await api.get(f"/invoice-lines/{row['line_id']}/explanation")
            assert answer.status_code == 200, (row, answer.text)
            explained = answer.json()
            assert explained["intact"], explained["faults"]
            seen.append((document["kind"], row["kind"], bool(explained["price"]), len(explained["records"]) > 0))
            if row["description"].startswith("Credit:"):
                assert "because: " in explained["steps"][1]
                assert "user:anna" in explained["steps"][1]
    assert seen.count(("credit-note", "usage", True, True)) == 2, "credits are explained down to the records"
    assert seen.count(("credit-note", "recurring", True, False)) == 2
    assert seen.count(("invoice", "one-off", False, False)) + seen.count(("credit-note", "one-off", False, False)) == 3


async def test_a_credit_or_a_fee_that_is_not_what_it_says_has_faults(
    world: BillingWorld, api: httpx2.AsyncClient
) -> None:
    line, _ = await billed(world, api)
    (found,) = (await api.get("/invoices")).json()["items"]
    original = await world.finance.invoice(found["invoice_id"])
    usage = (await world.finance.lines(original.invoice_id))[0]
    part = {usage.line_id: Money.exact("2.50", "EUR")}
    corrections = world.finance.corrections
    note = await corrections.credit(original.invoice_id, part, reason="x", reference="o1", actor="user:anna")
    (credit,) = await world.finance.lines(note.invoice_id)
    other = replace(credit, tax_percent=Decimal(7), service_id="0" * 32)
    _, faults = await of_credit(world.finance, note, other, usage, original)
    assert [f.partition(": ")[2] for f in faults] == [
        f"the document {note.number} prints another amount",
        "its service_id is not that of the line which it takes back",
        "its tax_percent is not that of the line which it takes back",
    ]
    back = await corrections.void(note.invoice_id, reason="it was right", actor="user:berta")
    (again,) = await world.finance.lines(back.invoice_id)
    explained = await world.explainer.explain(again.line_id)
    assert (explained.intact, explained.steps[0][:38]) == (True, "takes back -2.50 EUR net and -0.48 EUR")
    assert "decided by user:berta" in explained.steps[1]
    assert f"{note.number}: {original.number}: " in "\n".join(explained.steps), "down to what the invoice was made of"
    fee = Adjustment(AccountId(line.account_id), Money.exact("5.55", "EUR"), Decimal(19), "Fee", "x", "a1")
    charged = await corrections.adjust(fee, actor="user:berta")
    (row,) = await world.finance.lines(charged.invoice_id)
    _, faults = await of_adjustment(world.finance, charged, replace(row, quantity=Decimal(2)))
    assert [f.partition(": ")[2] for f in faults] == [
        "comes to 11.10 EUR, says 5.55 EUR",
        "its tax comes to 2.11 EUR, says 1.05 EUR",
    ]


async def test_lists_are_paged_without_gap_or_repetition(world: BillingWorld, api: httpx2.AsyncClient) -> None:
    for n in range(5):
        await world.activate("a" * 32, await world.customer(f"Customer {n}"))
    for _ in range(3):
        await world.bill()
    for path, key, expected in (
        ("/invoices", "invoice_id", 5),
        ("/charges", "charge_id", 5),
        ("/bill-runs", "bill_run_id", 3),
        ("/journal-entries", "entry_id", 5),
    ):
        seen: list[str] = []
        after = None
        while True:
            params = {"limit": 2} if after is None else {"limit": 2, "after": after}
            page = (await api.get(path, params=params)).json()
            seen += [item[key] for item in page["items"]]
            after = page["next"]
            if after is None:
                break
        assert len(seen) == len(set(seen)) == expected, path


REFUSED: list[tuple[str, str, dict[str, object] | None, int]] = [
    ("GET", "/invoices/" + "0" * 32, None, 404),
    ("GET", "/invoice-lines/unknown/explanation", None, 404),
    ("GET", "/bill-runs/" + "0" * 32, None, 404),
    ("POST", "/bill-runs", {"as_of": "2030-01-01T00:00:00Z"}, 422),
    ("POST", "/bill-runs", {"as_of": "yesterday"}, 422),
    ("POST", "/bill-runs", {"account_id": "0" * 32}, 404),
    ("POST", "/bill-runs", {"what": 1}, 422),
    ("POST", "/bill-runs/" + "0" * 32 + "/redrive", None, 404),
    ("GET", "/usage?after=nonsense", None, 400),
    ("GET", "/usage?service_id=1", None, 422),
    ("GET", "/charges?after=WzkyMjMzNzIwMzY4NTQ3NzU4MDcsIngiXQ", None, 200),  # the last instant there is
]


async def test_what_cannot_be_answered_is_a_problem(api: httpx2.AsyncClient) -> None:
    for method, path, body, status in REFUSED:
        answer = await api.request(method, path, json=body)
        assert answer.status_code == status, (path, answer.text)
        if status != 200:
            assert answer.headers["content-type"].startswith("application/problem+json")


async def test_a_payment_of_nothing_or_to_nobody_is_refused(world: BillingWorld, api: httpx2.AsyncClient) -> None:
    account = await world.customer()
    body = {"account_id": account, "amount": {"amount": "0.00", "currency": "EUR"}, "reference": "x"}
    assert (await api.post("/payments", json=body)).status_code == 422
    body = {"account_id": "0" * 32, "amount": {"amount": "1.00", "currency": "EUR"}, "reference": "x"}
    assert (await api.post("/payments", json=body)).status_code == 404


async def test_a_failed_run_says_why_and_goes_on_when_redriven(
    world: BillingWorld, api: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.activate("a" * 32)

    async def refuses(*_: object, **__: object) -> None:
        raise RuleError("the printer is on fire")

    with monkeypatch.context() as patch:
        patch.setattr(world.finance, "issue_proved", refuses)
        run = await world.runs.start(as_of=None, account_id=None, actor="user:test")
        with pytest.raises(RuleError):
            await world.jobs.wait(f"bill-run.v1:{run.bill_run_id}")
    failed = (await api.get(f"/bill-runs/{run.bill_run_id}")).json()
    assert (failed["state"], failed["error"], failed["charges"]) == ("failed", "RuleError: the printer is on fire", 1)
    again = await api.post(f"/bill-runs/{run.bill_run_id}/redrive")
    assert again.status_code == 202
    async with asyncio.timeout(60):
        while (found := (await api.get(f"/bill-runs/{run.bill_run_id}")).json())["state"] != "done":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert (found["documents"], found["error"]) == (1, None)
    assert (await api.post(f"/bill-runs/{run.bill_run_id}/redrive")).status_code == 409
