"""What the office does, done from a terminal: customers, documents, mandates, resale, taxes, and `headend api`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from starlette.types import ASGIApp
from typer.testing import CliRunner

from controller.app.cli import app
from controller.http.endpoint import Principal
from controller.store.engine import Database
from erp.crm import routes as crm_routes
from erp.finance import deposit_routes, resale_routes, tax_routes
from erp.finance import routes as finance_routes
from erp.finance.deposits import DepositService
from erp.finance.resale import ResaleService
from erp.finance.settings import FinanceSettings
from erp.finance.taxes import TaxService
from erp.payments import routes
from erp.payments.sepa import routes as sepa_routes
from tests.support.api import api_app
from tests.support.finance import made_entity
from tests.support.http_server import serving
from tests.support.payments import Till


@pytest.fixture
def ids(sqlite_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """An account with an invoice of 35.70, the customer of a reseller; the month after is here."""
    shutil.copy(sqlite_template, tmp_path / "headend.db")
    found: dict[str, str] = {}

    async def build() -> ASGIApp:
        database = Database(f"sqlite+aiosqlite:///{tmp_path}/headend.db")
        till = Till(database)
        await made_entity(till)
        account, shop = await till.account("Ada Lovelace"), await till.account("Radio Hopper")
        resale = ResaleService(database, till.clock, till.crm, FinanceSettings())
        await resale.assign(account, shop, Decimal("12.5"), since=date(2026, 10, 1), actor="user:test")
        found.update(account=account, shop=shop, invoice=await till.issue(account))
        till.clock.move_to(datetime(2026, 12, 3, 9, tzinfo=UTC))
        rooms = [crm_routes.endpoints(till.crm), finance_routes.endpoints(till.finance)]
        rooms += [routes.endpoints(till.room), sepa_routes.endpoints(till.room), resale_routes.endpoints(resale)]
        rooms += [tax_routes.endpoints(TaxService(database, till.clock, till.crm))]
        rooms += [deposit_routes.endpoints(DepositService(database, till.clock, till.crm, till.finance.settlement))]
        everybody = Principal("user:test", frozenset({"*"}))
        return api_app([e for room in rooms for e in room], principal=everybody, clock=till.clock)

    with serving(build) as url:
        monkeypatch.setenv("HEADEND_URL", url)
        monkeypatch.setenv("HEADEND_TOKEN", "token")
        yield found


def said(*command: str, status: int = 0) -> str:
    found = CliRunner().invoke(app, command)
    assert found.exit_code == status, found.output
    return found.output


def test_customers_and_their_documents(ids: dict[str, str], tmp_path: Path) -> None:
    assert "Ada Lovelace" in said("customer", "list", "love")
    made = said("customer", "add", "Grace Hopper", "--email", "grace@example.net")
    assert said("customer", "list", "grace@example.net").split()[0] == made.split()[0]
    far = said("customer", "add", "Sina Tuiasosopo", "--zone", "Pacific/Apia")
    assert far.strip().endswith("in Pacific/Apia")
    assert said("customer", "list", "Sina").strip().endswith("Pacific/Apia")
    assert "is no IANA time zone" in said("customer", "add", "Nobody", "--zone", "Mars/Base", status=2)
    listed = said("invoice", "list", "--state", "overdue")
    assert "INV-2026-000001" in listed
    assert "1 documents: 35.70 EUR, open 35.70 EUR" in listed
    assert "30.00 EUR net  19 %" in said("invoice", "show", ids["invoice"])
    said("invoice", "save", ids["invoice"], str(tmp_path / "invoice.pdf"))
    assert (tmp_path / "invoice.pdf").read_bytes().startswith(b"%PDF")


def test_a_mandate_is_added_listed_and_ended(ids: dict[str, str]) -> None:
    given = (ids["account"], "M-1", "DE12500105170648489890", "Ada Lovelace", "--signed-on", "2026-11-30")
    mandate_id = said("payments", "mandate", *given).strip()
    assert "M-1  active" in said("payments", "mandates", "--account", ids["account"])
    assert "a mandate M-1 is there already" in said("payments", "mandate", *given, status=2)
    assert said("payments", "mandate-end", mandate_id, "--reason", "moves", "--after-last").strip() == "ending"
    assert said("payments", "mandate-end", mandate_id, "--reason", "revoked").strip() == "ended"
    assert said("payments", "mandates", "--account", ids["shop"]) == ""


def test_a_gateway_is_set_up_without_its_secrets_being_told(
    ids: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADEND_WEBHOOK_SECRET", "whsec_of_the_test")
    monkeypatch.setenv("HEADEND_GATEWAY_KEY", "sk_of_the_test")
    told = said("payments", "gateway", "stripe") + said("payments", "gateways")
    assert "can be asked" in told
    assert "of_the_test" not in told
    assert said("payments", "chargebacks") == said("payments", "refunds") == ""


def test_a_reseller_is_settled_once_the_month_is_over(ids: dict[str, str]) -> None:
    assert said("reseller", "list") == f"{ids['shop']}  1 customers\n"
    assert ids["account"] in said("reseller", "customers", ids["shop"])
    assert "30.00 EUR × 12.5 % = 3.75 EUR" in said("reseller", "statement", ids["shop"], "2026-11")
    assert "commission 3.75 EUR, settled" in said("reseller", "settle", ids["shop"], "2026-11")
    assert "2026-12 is not over" in said("reseller", "settle", ids["shop"], "2026-12", status=2)
    assert "nobody" in said("reseller", "assign", ids["account"], "-")
    assert said("reseller", "history", ids["account"]).count("\n") == 2


def test_an_account_is_exempt_and_in_a_tax_area(ids: dict[str, str]) -> None:
    said("tax", "place", ids["account"], "ES-CN", "--since", "2026-12-01")
    assert "ES-CN" in said("tax", "places", ids["account"])
    span = ("--first", "2026-12-01", "--until", "2027-12-01", "--reason", "Reverse charge", "--category", "AE")
    said("tax", "exempt", ids["account"], *span)
    assert "Reverse charge" in said("tax", "exemptions", ids["account"])


def test_a_deposit_is_taken_and_given_back(ids: dict[str, str]) -> None:
    made = said("account", "deposit", ids["account"], "50.00", "--reference", "router").strip()
    assert "50.00 EUR  router" in said("account", "deposits", ids["account"])
    assert said("account", "deposit-release", made, "--reason", "moved out").startswith("payment ")
    assert "given back" in said("account", "deposits")


def test_anything_else_is_asked_of_the_api_as_it_is(ids: dict[str, str], tmp_path: Path) -> None:
    found = json.loads(said("api", "GET", "/invoices", "state=open", "limit:=1"))
    assert [row["invoice_id"] for row in found["items"]] == [ids["invoice"]]
    lines = said("api", "GET", "/api/v1/customers", "--all").splitlines()
    assert sorted(json.loads(line)["name"] for line in lines) == ["Ada Lovelace", "Radio Hopper"]
    paid = said(
        "api", "POST", "/payments", f"account_id={ids['account']}", "amount.amount=35.70", "amount.currency=EUR",
        "reference=by hand",
    )  # fmt: skip
    assert json.loads(paid)["amount"] == {"amount": "35.70", "currency": "EUR"}
    said("api", "GET", f"/invoices/{ids['invoice']}/pdf", "--output", str(tmp_path / "a.pdf"))
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    body = tmp_path / "body.json"
    body.write_text('{"reference": "by file"}')
    rest = (f"account_id={ids['account']}", 'amount:={"amount": "1.00", "currency": "EUR"}')
    assert json.loads(said("api", "POST", "/payments", *rest, "--body", str(body)))["reference"] == "by file"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("GET", "/nowhere"), "nothing"),
        (("GET", "/invoices", "state"), "neither name=text nor name:=JSON"),
        (("GET", "/invoices", "limit:=one"), "no JSON"),
        (("GET", "/invoices", "a.b=1"), "do not stand in one another"),
        (("POST", "/payments", "a=1", "a.b=2"), "can hold no other"),
        (("POST", "/payments", "--body", "/nowhere.json"), "cannot be read"),
        (("POST", "/payments", "colour=red"), "colour"),
    ],
)
def test_what_the_api_cannot_be_asked_is_said_in_one_line(
    ids: dict[str, str], given: tuple[str, ...], words: str
) -> None:
    told = said("api", *given, status=2)
    assert words in told
    assert told.count("\n") == 1
