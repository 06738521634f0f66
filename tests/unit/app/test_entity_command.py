"""`headend entity`, and the commands that say which legal entity they mean, against a running server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.types import ASGIApp
from typer.testing import CliRunner

from controller.app.cli import app
from controller.http.endpoint import Principal
from controller.store.engine import Database
from erp.crm import entity_routes
from erp.crm import routes as crm_routes
from erp.crm.entities import EntityService
from erp.finance import books_routes, proposal_routes, revenue_routes, tax_routes
from erp.finance.proposals import ProposalService
from erp.payments import routes as payments_routes
from tests.support.api import api_app
from tests.support.finance import made_entity, manual
from tests.support.http_server import serving
from tests.support.payments import Till


@pytest.fixture
def served(sqlite_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    shutil.copy(sqlite_template, tmp_path / "headend.db")

    async def build() -> ASGIApp:
        database = Database(f"sqlite+aiosqlite:///{tmp_path}/headend.db")
        till = Till(database)
        await made_entity(till)
        await manual(till, "capital", "1800", "2900", "50.00")
        till.clock.advance(timedelta(days=40))
        rooms = [
            entity_routes.endpoints(EntityService(database, till.clock), till.crm), crm_routes.endpoints(till.crm),
            books_routes.endpoints(till.books), revenue_routes.endpoints(till.revenue),
            tax_routes.endpoints(till.tax), payments_routes.endpoints(till.room),
            proposal_routes.endpoints(ProposalService(database, till.clock, till.books)),
        ]  # fmt: skip
        everybody = Principal("user:test", frozenset({"*"}))
        return api_app([e for room in rooms for e in room], principal=everybody, clock=till.clock)

    with serving(build) as url:
        monkeypatch.setenv("HEADEND_URL", url)
        monkeypatch.setenv("HEADEND_TOKEN", "token")
        yield


def said(*command: str, status: int = 0) -> str:
    found = CliRunner().invoke(app, command)
    assert found.exit_code == status, found.output
    return found.output


def test_an_entity_is_added_and_named_by_what_is_booked_for_it(served: None, monkeypatch: pytest.MonkeyPatch) -> None:
    add = (
        "entity", "add", "Testnetz AG", "--zone", "Europe/Zurich", "--currency", "CHF", "--locale", "de_CH",
        "--country", "CH", "--iban", "CH93 0076 2011 6238 5295 7",
    )  # fmt: skip
    made = said(*add)
    assert "CH9300762011623852957" in made
    assert said(*add) == made, "again it is the same"
    assert [line.split("  ")[1] for line in said("entity", "list").splitlines()] == ["Testnetz GmbH", "Testnetz AG"]
    assert "Bern" not in said("entity", "change", "Testnetz AG", "--address", "Platz 2, Bern", "--tax-id", "CHE-1")
    assert "no legal entity Nobody AG: there are Testnetz GmbH" in said(
        "finance", "trial-balance", "--entity", "Nobody AG", status=2
    )
    swiss = ("--entity", "Testnetz AG")
    assert "account" in said("customer", "add", "Urs Muster", *swiss)
    said("finance", "post", "Capital", "1800=70", "2900=-70", "--reference", "1", "--currency", "CHF", *swiss)
    assert ("70.00 CHF" in said("finance", "trial-balance", *swiss), "70" in said("finance", "trial-balance")) == (
        True, False,
    )  # fmt: skip
    assert "70.00 CHF" in said("finance", "balance-sheet", *swiss)
    assert "CHF" in said("finance", "export", "csv", *swiss)
    assert "Closed until 2026-12-01" in said("finance", "close", "2026-11", *swiss)
    assert "Nothing is closed" in said("finance", "periods")
    said("tax", "rate", "19", "8.1", "--since", "2026-01-01", "--area", "CH", *swiss)
    assert ("8.1" in said("tax", "rates", *swiss), "8.1" in said("tax", "rates")) == (True, False)
    monkeypatch.setenv("HEADEND_WEBHOOK_SECRET", "whsec_test_1")
    monkeypatch.setenv("HEADEND_GATEWAY_KEY", "sk_test_1")
    assert "events go to" in said("payments", "gateway", "stripe-ch", *swiss)
    assert "another legal entity" in said("payments", "gateway", "stripe-ch", "--entity", "Testnetz GmbH", status=2)
