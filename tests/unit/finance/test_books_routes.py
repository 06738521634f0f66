"""The books as a script meets them: over HTTP, and by `headend finance` against a running server."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import typer
from typer.testing import CliRunner

from controller.app.corrections_cli import tax_app
from controller.app.revenue_cli import finance_app
from controller.http import cursor
from controller.http.endpoint import Endpoint, Principal
from controller.store.engine import Database
from erp.finance import (
    adjusting_routes,
    books_routes,
    control_routes,
    correction_routes,
    proposal_routes,
    revenue_routes,
    tax_routes,
)
from erp.finance.adjusting import Adjusting
from erp.finance.proposals import ProposalService
from tests.support.api import api_client
from tests.support.finance import Books, made_entity, manual
from tests.support.http_server import serving
from tests.support.site import World

FEBRUARY = datetime(2027, 2, 2, 9, tzinfo=UTC)


def endpoints(books: Books) -> list[Endpoint]:
    return [
        *books_routes.endpoints(books.books),
        *revenue_routes.endpoints(books.revenue),
        *control_routes.endpoints(books.control),
    ]


@pytest.fixture
async def books(sqlite_database: Database) -> Books:
    made = Books(sqlite_database)
    await made_entity(made)
    return made


@pytest.fixture
async def api(books: Books) -> AsyncIterator[httpx2.AsyncClient]:
    async with api_client(endpoints(books), clock=books.clock) as client:
        yield client


def euro(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "EUR"}


async def test_an_accountants_month_over_http(books: Books, api: httpx2.AsyncClient) -> None:
    added = await api.post("/ledger-accounts", json={"code": "6310", "name": "Rent", "kind": "expense", "parent": "6"})
    assert added.status_code == 201, added.text
    body = {
        "reference": "rent-11",
        "description": "Rent of November",
        "postings": [{"code": "6310", "amount": euro("500.00")}, {"code": "1800", "amount": euro("-500.00")}],
    }
    posted = (await api.post("/journal-entries", json=body)).json()
    assert (await api.get(f"/journal-entries/{posted['entry_id']}")).json() == posted
    assert [p["name"] for p in posted["postings"]] == ["Rent", "Bank"]
    await books.issue(await books.account(), "30.00")
    books.clock.move_to(FEBRUARY)
    statement = (await api.get("/income-statement", params={"since": "2026-11-01", "as_of": "2026-11-30"})).json()
    assert [s["result"] for s in statement["statements"]] == [euro("-470.00")]
    (aged,) = (await api.get("/receivables", params={"as_of": "2026-12-31"})).json()["items"]
    assert (aged["days_31_60"], aged["total"]) == (euro("35.70"), euro("35.70"))
    (total,) = (await api.get("/receivables-totals")).json()["totals"]
    assert total["ledger"] == total["total"] == euro("35.70")
    closed = await api.post("/ledger-periods/2026-12/close", json={})
    assert closed.json()["closed_until"] == "2027-01-01"
    late = await api.post("/journal-entries", json=body | {"reference": "late", "booked_on": "2026-12-31"})
    assert (late.status_code, late.json()["code"]) == (409, "period-closed")
    reversal = await api.post(f"/journal-entries/{posted['entry_id']}/reversal", json={"reason": "paid twice"})
    assert (reversal.status_code, reversal.json()["regards_on"]) == (201, "2026-11-01")
    first = (await api.get("/ledger-accounts/1800/postings", params={"limit": 1})).json()
    rest = (await api.get("/ledger-accounts/1800/postings", params={"limit": 1, "after": first["next"]})).json()
    assert [p["amount"] for p in first["items"] + rest["items"]] == [euro("500.00"), euro("-500.00")]
    assert rest["next"] is None


async def test_a_contract_over_http(books: Books, api: httpx2.AsyncClient) -> None:
    promise = {"name": "Fibre", "kind": "recurring", "stand_alone": euro("360.00"), "first_on": "2026-12-01"}
    body = {
        "account_id": await books.account(),
        "reference": "C-1",
        "price": euro("360.00"),
        "signed_on": "2026-12-01",
        "promises": [
            promise | {"until_on": "2027-12-01"},
            promise | {"name": "Router", "kind": "equipment", "stand_alone": euro("120.00")},
        ],
    }
    tried = (await api.post("/revenue-contracts/dry-run", json=body)).json()
    assert (await api.get("/revenue-contracts")).json()["items"] == []
    made = (await api.post("/revenue-contracts", json=body)).json()
    assert tried["plan"] == made["plan"]
    assert [p["share"] for p in made["plan"]] == [euro("270.00"), euro("90.00")]
    assert len(made["plan"][0]["slices"]) == 12
    change = {"at_on": "2027-01-01", "added": euro("12.00"), "reason": "upgrade", "promises": body["promises"]}
    refused = await api.post(f"/revenue-contracts/{made['contract_id']}/changes", json=change)
    assert (refused.status_code, refused.json()["code"]) == (422, "contract-plan")
    change["promises"] = [promise | {"first_on": "2027-01-01", "until_on": "2027-12-01"}]
    tried = (await api.post(f"/revenue-contracts/{made['contract_id']}/changes/dry-run", json=change)).json()
    change["version"] = 1
    changed = (await api.post(f"/revenue-contracts/{made['contract_id']}/changes", json=change)).json()
    assert changed["price"] == euro("372.00")
    assert tried["plan"] == changed["plan"]
    twice = await api.post(f"/revenue-contracts/{made['contract_id']}/changes", json=change)
    assert (twice.status_code, twice.json()["code"]) == (409, "contract-mismatch")
    books.clock.move_to(FEBRUARY)
    done = await api.post("/revenue-recognitions", json={"month": "2027-01"})
    assert [e["booked_on"] for e in done.json()["entries"]] == ["2026-12-31", "2027-01-31"]
    (found,) = (await api.get("/revenue-contracts")).json()["items"]
    assert found["position"]["amount"] == f"-{found['earned']['amount']}"


REFUSED: list[tuple[str, str, dict[str, Any] | None, int]] = [
    ("GET", "/journal-entries/" + "0" * 32, None, 404),
    ("GET", "/ledger-accounts/9999/postings", None, 422),
    ("GET", "/ledger-accounts/1800/postings?after=nonsense", None, 400),
    ("GET", f"/ledger-accounts/1800/postings?after={cursor.encode(10**18, 'x', 1)}", None, 200),
    ("GET", "/balance-sheet?as_of=yesterday", None, 422),
    ("GET", "/income-statement?since=2027-01-02&as_of=2027-01-01", None, 422),
    ("GET", "/ledger-export?format=xml", None, 422),
    ("GET", "/revenue-contracts/" + "0" * 32, None, 404),
    ("GET", "/trial-balance?entity_id=" + "0" * 32, None, 404),
    ("GET", "/balance-sheet?entity_id=" + "0" * 32, None, 404),
    ("POST", "/ledger-periods/2026-13/close", {}, 422),
    ("POST", "/ledger-periods/2027-12/close", {}, 422),
    ("POST", "/ledger-periods/2026-01/reopen", {"reason": "x"}, 422),
    ("POST", "/ledger-periods/2026-01/reopen", {}, 422),
    ("POST", "/revenue-recognitions", {"month": "2026-11"}, 422),
    ("POST", "/journal-entries", {"reference": "x", "description": "x", "postings": []}, 422),
]


async def test_what_cannot_be_answered_is_a_problem(api: httpx2.AsyncClient) -> None:
    for method, path, body, status in REFUSED:
        answer = await api.request(method, path, json=body)
        assert answer.status_code == status, (path, answer.text)
        if status != 200:
            assert answer.headers["content-type"].startswith("application/problem+json")


@pytest.fixture
def served(sqlite_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A running server whose address and token the commands find in the environment; ids of what it has."""
    known: dict[str, str] = {}
    shutil.copy(sqlite_template, tmp_path / "headend.db")

    async def build() -> object:
        database = Database(f"sqlite+aiosqlite:///{tmp_path}/headend.db")
        books = Books(database)
        await made_entity(books)
        known["account"] = await books.account()
        known["invoice"] = await books.issue(known["account"], "30.00")  # type: ignore[arg-type]
        (line,) = await books.finance.lines(known["invoice"])  # type: ignore[arg-type]
        known["line"] = line.line_id
        await manual(books, "Wages", "6020", "1800", "12.50", date(2026, 10, 31))
        books.clock.move_to(FEBRUARY)
        proposals = ProposalService(database, books.clock, books.books)
        served = [
            *endpoints(books),
            *proposal_routes.endpoints(proposals),
            *correction_routes.endpoints(books.corrections),
            *adjusting_routes.endpoints(Adjusting(books.database, books.clock, books.corrections)),
            *tax_routes.endpoints(books.tax),
        ]
        world = World(endpoints=lambda _, __: served, clock=books.clock)
        app = await world.build(database)
        assert world.auth is not None
        by = Principal("user:admin", frozenset({"*"}))
        _, token = await world.auth.create_token("cli", ["finance:*"], expires_at=None, by=by)
        monkeypatch.setenv("HEADEND_TOKEN", token.reveal())
        return app

    with serving(build) as url:
        monkeypatch.setenv("HEADEND_URL", url)
        yield known


def test_the_books_from_the_command_line(served: dict[str, str]) -> None:
    def run(*words: str) -> str:
        found = CliRunner().invoke(finance_app, words)
        assert found.exit_code == 0, found.output
        return found.output

    assert "sum of all balances: 0.00 EUR" in run("trial-balance")
    assert run("income", "--since", "2026-11-01", "--as-of", "2026-11-30").splitlines()[-1].split() == [
        "result", "30.00", "EUR",
    ]  # fmt: skip
    assert "35.70 EUR" in run("balance-sheet", "--as-of", "2026-11-01")
    assert run("ageing").splitlines()[-1].split()[:3] == ["all", "of", "them"]
    assert "Nothing was compared yet" in run("controls")
    assert run("controls", "--now").count(" 0.00 EUR\n") == 7
    assert "Looked at 2027-02-02" in run("controls")
    assert "open Assets:1-Current-assets:1800-Bank" in run("export", "beancount")
    assert " posted: entry " in run("post", "Tea", "6300=2.50", "1800=-2.50", "--reference", "tea")
    assert run("cash-flow", "--since", "2026-01-01").splitlines()[-1].split() == ["at", "the", "end", "-15.00", "EUR"]
    assert "Closed until 2027-01-01" in run("close", "2026-12")
    assert "Closed until 2026-12-01" in run("reopen", "2026-12", "--reason", "a bill was forgotten")
    assert run("recognise", "2027-01") == ""
    assert run("revenue").split() == ["month", "account", "planned", "posted"]
    promises = ("Line=recurring:480:2026-11-01:2027-11-01", "Router=equipment:120:2026-11-01")
    signing = (*promises, "--reference", "C-1", "--signed-on", "2026-11-01")
    assert "2026-11-01  2026-11-02  Router" in run("sign-contract", served["account"], "480", *signing, "--dry-run")
    contract = run("sign-contract", served["account"], "480", *signing).split()[0]
    change = ("change-contract", contract, promises[0].replace("-11-01:", "-12-01:"), "--on", "2026-12-01")
    assert "change 2 on 2026-12-01: -24.00 EUR  loyal" in run(*change, "--added=-24", "--reason", "loyal")
    assert run("contract", contract).splitlines()[0].split()[1:] == [
        "C-1:",
        "456.00",
        "EUR,",
        "account",
        served["account"],
    ]
    assert contract in run("contracts")
    unwritten = CliRunner().invoke(finance_app, ["sign-contract", served["account"], "1", "Line", *signing[2:]])
    assert (unwritten.exit_code, "NAME=KIND:PRICE" in unwritten.output) == (2, True)
    refused = CliRunner().invoke(finance_app, ["close", "2027-12"])
    assert (refused.exit_code, "when it is over" in refused.output) == (2, True)


def test_corrections_and_taxes_from_the_command_line(served: dict[str, str]) -> None:
    def run(app: typer.Typer, *words: str) -> str:
        found = CliRunner().invoke(app, words)
        assert found.exit_code == 0, found.output
        return found.output

    why = ("--reason", "outage")
    assert run(finance_app, "creditable", served["invoice"]).split()[-4:] == ["30.00", "EUR", "30.00", "EUR"]
    noted = run(finance_app, "credit", served["invoice"], f"{served['line']}=10.00", *why, "--reference", "c1")
    assert noted.endswith(" CN-2027-000001: -11.90 EUR\n")
    assert run(finance_app, "void", served["invoice"], *why).endswith(" CN-2027-000002: -23.80 EUR\n")
    back = run(finance_app, "void", noted.split()[0], *why)
    assert back.endswith(": 11.90 EUR\n"), "the credit note is taken back by a debit note"
    assert run(finance_app, "creditable", served["invoice"]).split()[-4:] == ["30.00", "EUR", "10.00", "EUR"]
    told = ("--item", "Goodwill", "--reference", "a1", *why)
    assert run(finance_app, "adjust", *told, "--", served["account"], "-5.00").endswith(" CN-2027-000003: -5.95 EUR\n")
    waits = run(finance_app, "post", "Machine", "0400=20000", "1800=-20000", "--reference", "m").split()
    assert waits[1] == "waiting"
    assert waits[0] in run(finance_app, "proposals")
    small = run(finance_app, "post", "Rent", "6300=20", "1800=-20", "--reference", "s").split()
    assert run(finance_app, "reverse", small[3], "paid twice").split()[1] == "posted:"
    assert run(finance_app, "waiting-adjustments").split()[:2] == ["account", "reference"]
    same = CliRunner().invoke(finance_app, ["approve", waits[0]])
    assert (same.exit_code, "somebody else" in same.output) == (2, True)
    assert run(finance_app, "refuse", waits[0], *why).endswith(" refused\n")

    assert run(tax_app, "rate", "19", "20", "--since", "2027-03-01", "--area", "FR").startswith("19 % is 20 %")
    assert run(tax_app, "rates").splitlines()[-1].split() == ["19", "FR", "2027-03-01", "20"]
    assert "is in FR since 2027-03-01" in run(tax_app, "place", served["account"], "FR", "--since", "2027-03-01")
    run(tax_app, "levy", "fusf", "Federal USF", "--since", "2027-01-01", "--percent", "34.4", "--kind", "voice")
    assert run(tax_app, "levies").splitlines()[-1].split() == ["fusf", "everywhere", "2027-01-01", "34.4", "%"]
