"""Accounts over HTTP: days, anchors, families, deposits, resellers and rating again, with what each refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import httpx2
import pytest

from billing_bridge import account_routes
from billing_bridge.billing.accounts import AccountBilling
from billing_bridge.billing.rerating import Reratings
from billing_bridge.settings import BillingSettings
from controller.store.engine import Database
from controller.workflows import rerate
from erp.catalog.service import CatalogService
from erp.crm import hierarchy_routes
from erp.crm.hierarchy import HierarchyService
from erp.finance import deposit_routes, resale_routes
from erp.finance.deposits import DepositService
from erp.finance.resale import ResaleService
from erp.finance.settings import FinanceSettings
from tests.support.api import api_client
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BERLIN, BillingWorld, berlin

PLAN = "a" * 32
NOBODY = "0" * 32


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    made = BillingWorld(database, tmp_path, [tariff(PLAN, "30.00")], berlin(2026, 9, 1, 9))
    await made.entity()
    await made.launch()
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def api(world: BillingWorld) -> AsyncIterator[httpx2.AsyncClient]:
    settings, common = BillingSettings(zone=BERLIN), (world.database, world.clock)
    endpoints = [
        *account_routes.endpoints(AccountBilling(*common, world.crm, settings)),
        *hierarchy_routes.endpoints(HierarchyService(*common)),
        *deposit_routes.endpoints(DepositService(*common, world.crm, world.finance.settlement)),
        *resale_routes.endpoints(ResaleService(*common, world.crm, FinanceSettings())),
        *rerate.endpoints(CatalogService(*common), Reratings(*common, settings), world.runs),
    ]
    async with api_client(endpoints, clock=world.clock) as client:
        yield client


async def test_the_days_of_an_account_and_its_anchor(world: BillingWorld, api: httpx2.AsyncClient) -> None:
    account = await world.customer()
    assert (await api.put(f"/accounts/{account}/anchor-day", json={"anchor_day": 31})).json()["anchor_day"] == 31
    line = await world.activate(PLAN, account)
    await world.pause(line, date(2026, 9, 10), date(2026, 9, 22), percent=25)
    days = {"since_on": "2026-08-01", "until_on": "2026-10-01"}
    found = (await api.get(f"/accounts/{account}/entitlements", params=days)).json()
    (entitled,) = found["subscriptions"]
    assert (found["anchor_day"], entitled["anchor_day"]) == (31, 31)
    told = [(s["first_on"], s["until_on"], s["percent"], s["fee"], s["cycle"]) for s in entitled["stretches"]]
    assert told == [
        ("2026-09-01", "2026-09-10", 100, "30.00", "month"),
        ("2026-09-10", "2026-09-22", 25, "30.00", "month"),
        ("2026-09-22", "2026-10-01", 100, "30.00", "month"),
    ]
    for path in (f"/accounts/{NOBODY}/entitlements", f"/accounts/{account}/entitlements"):
        until = "2026-10-01" if NOBODY in path else "2099-01-01"
        answer = await api.get(path, params={"since_on": "2026-08-01", "until_on": until})
        assert answer.status_code == (404 if NOBODY in path else 422)
    assert (await api.put(f"/accounts/{account}/anchor-day", json={"anchor_day": 32})).status_code == 422
    assert (await api.put(f"/accounts/{NOBODY}/anchor-day", json={"anchor_day": 3})).status_code == 404


async def test_a_family_is_set_and_listed(world: BillingWorld, api: httpx2.AsyncClient) -> None:
    parent, child = await world.customer("Holding AG"), await world.customer("Depot")
    body = {"parent_id": parent, "heading": "Depot · 4711", "blocked_with_parent": True}
    made = (await api.put(f"/accounts/{child}/parent", json=body)).json()
    assert (made["since"], made["billed_to_parent"], made["heading"]) == ("2026-09-01", True, "Depot · 4711")
    (listed,) = (await api.get(f"/accounts/{parent}/children")).json()["items"]
    assert (listed["account_id"], listed["name"], listed["blocked_with_parent"]) == (child, "Depot", True)
    relations = (await api.get(f"/accounts/{child}/parent")).json()["relations"]
    assert [r["parent_id"] for r in relations] == [parent]
    refused = await api.put(f"/accounts/{parent}/parent", json={"parent_id": child})
    assert (refused.status_code, "two levels" in refused.json()["detail"]) == (422, True)
    assert (await api.put(f"/accounts/{child}/parent", json={"parent_id": NOBODY})).status_code == 404


async def test_deposits_and_resellers(world: BillingWorld, api: httpx2.AsyncClient) -> None:
    reseller, customer = await world.customer("Partner"), await world.customer("Ada")
    money = {"amount": "50.00", "currency": "EUR"}
    taken = await api.post(f"/accounts/{customer}/deposits", json={"amount": money, "reference": "router"})
    assert taken.status_code == 201
    deposit_id = taken.json()["deposit_id"]
    given = await api.post(f"/deposits/{deposit_id}/release", json={"reason": "moved"})
    assert given.json()["payment_id"]
    assert [d["reason"] for d in (await api.get("/deposits")).json()["items"]] == ["moved"]
    assert (await api.post(f"/deposits/{NOBODY}/release", json={"reason": "x"})).status_code == 404
    assert (
        await api.put(f"/accounts/{customer}/reseller", json={"reseller_id": reseller, "percent": "12.5"})
    ).status_code == 200
    assert (
        await api.put(f"/accounts/{customer}/reseller", json={"reseller_id": reseller, "percent": "101"})
    ).status_code == 422
    await world.activate(PLAN, customer)
    await world.bill()
    (statement,) = (await api.get(f"/resellers/{reseller}/statement", params={"month": "2026-09"})).json()["statements"]
    assert (statement["net"]["amount"], statement["share"]["amount"]) == ("30.00", "3.75")
    early = await api.post(f"/resellers/{reseller}/settlements", json={"month": "2026-09"})
    assert early.status_code == 422
    world.clock.move_to(berlin(2026, 10, 1, 9))
    settled = (await api.post(f"/resellers/{reseller}/settlements", json={"month": "2026-09"})).json()
    assert settled["statements"][0]["entry_id"]


async def test_rating_again_refuses_what_is_not_there(api: httpx2.AsyncClient) -> None:
    for body, status in (
        ({"offering_id": NOBODY, "period": "2026-09"}, 404),
        ({"offering_id": NOBODY, "period": "2026-13"}, 422),
        ({"offering_id": NOBODY, "period": "2026-09", "version_id": PLAN}, 422),
    ):
        assert (await api.post("/reratings", json=body)).status_code == status
