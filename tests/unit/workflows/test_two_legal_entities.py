"""Two legal entities in two countries sell the same plan over the API, each with its books, numbers and taxes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import httpx2
import pytest

from billing_bridge.billing.model import DONE
from controller.domain.identity import AccountId, BillRunId, EntityId
from controller.store.engine import Database
from controller.workflows import certificate
from erp.crm import entity_routes
from erp.crm import routes as crm_routes
from erp.crm.entities import EntityService
from erp.finance import books_routes, control_routes, tax_routes
from erp.finance import routes as finance_routes
from erp.finance.control import ControlAccounts
from erp.finance.taxes import TaxService
from tests.support.api import api_client
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BillingWorld, berlin

EUROS, FRANCS = "a" * 32, "b" * 32
"""The plan's versions in either currency; both agree the standard rate, which Germany has at 19 %."""
SWISS = {
    "name": "Testnetz AG", "zone": "Europe/Zurich", "currency": "CHF", "locale": "de_CH", "country": "CH",
    "address": "Gasse 1\n8001 Zürich", "tax_id": "CHE-123.456.788 MWST", "iban": "CH93 0076 2011 6238 5295 7",
}  # fmt: skip


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    prices = [tariff(EUROS, "30.00"), tariff(FRANCS, "33.00", currency="CHF")]
    made = BillingWorld(database, tmp_path, prices, berlin(2026, 9, 1, 10))
    await made.entity()
    await made.jobs.launch()
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def api(world: BillingWorld) -> AsyncIterator[httpx2.AsyncClient]:
    base = (world.database, world.clock)
    rooms = [
        entity_routes.endpoints(EntityService(*base), world.crm), crm_routes.endpoints(world.crm),
        finance_routes.endpoints(world.finance), books_routes.endpoints(world.books),
        tax_routes.endpoints(TaxService(*base, world.crm)),
        control_routes.endpoints(ControlAccounts(*base, world.crm, world.books)),
    ]  # fmt: skip
    async with api_client([e for room in rooms for e in room], clock=world.clock, actor="user:anna") as client:
        yield client


async def made(api: httpx2.AsyncClient, path: str, body: dict[str, Any], **query: str) -> dict[str, Any]:
    answer = await api.post(path, json=body, params=query)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_the_same_plan_is_sold_in_two_tax_areas_and_currencies_each_in_local_books(
    world: BillingWorld, api: httpx2.AsyncClient
) -> None:
    swiss = (await made(api, "/legal-entities", SWISS))["entity_id"]
    (german,) = [e["entity_id"] for e in (await api.get("/legal-entities")).json()["entities"] if e["first"]]
    # In Switzerland what is agreed at the standard rate bears 8.1 %: by the entity's country, not by each account.
    rate = {"agreed": "19", "since": "2026-01-01", "percent": "8.1", "area": "CH"}
    await made(api, "/tax-rates", rate, entity_id=swiss)
    for n in range(3):
        for whose, version in (({}, EUROS), ({"entity_id": swiss}, FRANCS)):
            customer = await made(api, "/customers", {"name": f"Customer {n}"} | whose)
            assert (customer["currency"], customer["zone"]) == (
                ("CHF", "Europe/Zurich") if whose else ("EUR", "Europe/Berlin")
            )
            await world.activate(version, AccountId(customer["account_id"]))
    for month in (10, 11):
        world.clock.move_to(berlin(2026, month, 1, 6))
        run_id = await world.bill()
        run = await world.billing.bill_run(BillRunId(run_id))
        assert (run.state, run.documents) == (DONE, 6)
        (file,) = await world.certifier.certificates(run.bill_run_id)
        content, _ = certificate.read(file, public_key=await world.certifier.public_key())
        assert (content["bill_run_id"], sorted(content["recurring"])) == (run_id, ["CHF", "EUR"])

    invoices = (await api.get("/invoices", params={"limit": "50"})).json()["items"]
    # Two months on the first document, one on the second: at 19 % and at 8.1 %.
    for entity_id, currency, totals in ((german, "EUR", {"71.40", "35.70"}), (swiss, "CHF", {"71.35", "35.67"})):
        own = [i for i in invoices if i["total"]["currency"] == currency]
        assert sorted(i["number"] for i in own) == [f"INV-2026-{n:06d}" for n in range(1, 7)], "each its own series"
        assert {i["total"]["amount"] for i in own} == totals
        content = await world.finance.content(own[0]["invoice_id"])
        seller = content["seller"]
        entity = await world.crm.entity(EntityId(entity_id))
        assert (seller["name"], seller["address"], seller["tax_id"]) == (entity.name, entity.address, entity.tax_id)
        assert (seller["country"], seller["iban"]) == (
            ("DE", "") if currency == "EUR" else ("CH", "CH9300762011623852957")
        )
        balance = (await api.get("/trial-balance", params={"entity_id": entity_id})).json()
        assert {a["entity_id"] for a in balance["accounts"]} == {entity_id}
        assert balance["totals"] == [{"amount": "0.00", "currency": currency}]
        export = (await api.get("/ledger-export", params={"entity_id": entity_id})).text
        assert (currency in export, {"EUR": "CHF", "CHF": "EUR"}[currency] in export) == (True, False)
    assert (await api.get("/trial-balance")).json()["totals"] == [{"amount": "0.00", "currency": "EUR"}], "the first's"
    await api.post("/ledger-periods/2026-09/close", json={"entity_id": swiss})
    assert (await api.get("/ledger-periods")).json()["closed_until"] is None
    assert (await api.get("/ledger-periods", params={"entity_id": swiss})).json()["closed_until"] == "2026-10-01"
    world.clock.move_to(berlin(2026, 11, 2, 6))
    compared = (await api.post("/control-accounts", json={})).json()
    assert (compared["apart"], {a["entity_id"] for a in compared["accounts"]}) == (0, {german, swiss})


async def test_an_entity_is_made_once_and_what_it_is_for_good_is_not_said_anew(
    world: BillingWorld, api: httpx2.AsyncClient
) -> None:
    first, again = [await made(api, "/legal-entities", SWISS) for _ in range(2)]
    assert first == again
    other = await api.post("/legal-entities", json=SWISS | {"currency": "EUR"})
    assert (other.status_code, "something else is said" in other.json()["detail"]) == (409, True)
    for wrong in (
        {"zone": "Zurich"}, {"currency": "XXX"}, {"locale": "xx_YY"}, {"country": "ZZ"},
        {"iban": "CH9300762011623852958"}, {"name": " "},
    ):  # fmt: skip
        refused = await api.post("/legal-entities", json=SWISS | {"name": "Other AG"} | wrong)
        assert refused.status_code == 422, wrong
    path = f"/legal-entities/{first['entity_id']}"
    moved = await api.patch(path, json={"address": "Platz 2\n3000 Bern", "iban": ""})
    assert (moved.json()["address"], moved.json()["iban"]) == ("Platz 2\n3000 Bern", "")
    assert (await api.get(path)).json() == moved.json()
    assert (await api.patch(path, json={"currency": "EUR"})).status_code == 422
    assert [e["first"] for e in (await api.get("/legal-entities")).json()["entities"]] == [True, False]
    assert (await api.post("/customers", json={"name": "x", "entity_id": "0" * 32})).status_code == 404
    assert await world.books.today(EntityId(first["entity_id"])) == date(2026, 9, 1)
