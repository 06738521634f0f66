from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from controller.domain.identity import OrderId
from controller.store.engine import Database
from controller.workflows import routes_orders
from erp.catalog import routes as catalog_routes
from erp.crm import routes as crm_routes
from erp.inventory import routes as inventory_routes
from erp.orders import routes as order_routes
from erp.orders.model import OrderState
from tests.support.api import api_client
from tests.support.isp import Isp, open_isp, sqlite_database

OLT = "f" * 32
ONU = {"kind": "onu", "device_id": OLT, "pon_port": "pon-1", "onu_serial": "NOKI1234ABCD"}
VERSION = {
    "effective_on": "2026-09-01",
    "prices": [
        {"model": "flat", "code": "fee", "amount": "39.90"},
        {"model": "overage", "code": "data", "price": "0.05", "included": 1000},
    ],
    "tax_percent": "19",
    "downstream_bps": 100_000_000,
    "upstream_bps": 20_000_000,
}


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """SQLite alone: what the routes call is tried on both databases elsewhere."""
    opened = await sqlite_database(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
async def isp(database: Database, tmp_path: Path) -> AsyncIterator[Isp]:
    async with open_isp(database, tmp_path) as opened:
        await opened.crm.ensure_entity(
            name="Net GmbH", zone="Europe/Berlin", currency="EUR", locale="de_DE", address="Weg 1", tax_id="DE1"
        )
        yield opened


@pytest.fixture
async def api(isp: Isp) -> AsyncIterator[httpx2.AsyncClient]:
    endpoints = [
        *crm_routes.endpoints(isp.crm),
        *catalog_routes.endpoints(isp.catalog),
        *inventory_routes.endpoints(isp.inventory),
        *order_routes.endpoints(isp.orders, isp.clock),
        *routes_orders.endpoints(isp.fulfilment),
    ]
    async with api_client(endpoints, clock=isp.clock) as client:
        yield client


async def created(api: httpx2.AsyncClient, path: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    response = await api.post(path, json=body, headers=headers)
    assert response.status_code in (201, 202), response.text
    answer: dict[str, Any] = response.json()
    return answer


async def add_body(api: httpx2.AsyncClient) -> dict[str, Any]:
    customer = await created(api, "/customers", {"name": "Anna Muster", "email": "anna@example.net"})
    offering = await created(api, "/offerings", {"name": "Fibre 100", **VERSION})
    await created(api, "/stock-items", {"serial": "NOKI1234ABCD"})
    return {
        "action": "add",
        "account_id": customer["account_id"],
        "offering_id": offering["offering_id"],
        "attachments": [ONU],
    }


async def test_an_order_over_http_tells_its_password_once_and_shows_its_road(api: httpx2.AsyncClient, isp: Isp) -> None:
    body = await add_body(api)
    placed = await created(api, "/orders", body, **{"Idempotency-Key": "k-1"})
    assert len(placed["password"]) >= 12
    await isp.until_state(OrderId(placed["order_id"]), OrderState.COMPLETED)
    shown = (await api.get(f"/orders/{placed['order_id']}")).json()
    assert [entry["state"] for entry in shown["history"]] == ["acknowledged", "inProgress", "completed"]
    assert [step["name"] for step in shown["steps"]][-1] == "complete"
    assert shown["username"] == placed["username"]
    assert placed["password"] not in str(shown)

    again = await created(api, "/orders", dict(reversed(body.items())), **{"Idempotency-Key": "k-1"})
    assert (again["order_id"], again["password"], again["repeated"]) == (placed["order_id"], None, True)
    other = await api.post("/orders", json={**body, "username": "x"}, headers={"Idempotency-Key": "k-1"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")

    (subscription,) = (await api.get("/subscriptions", params={"service_id": placed["service_id"]})).json()["items"]
    assert (subscription["state"], subscription["attachments"][0]["onu_serial"]) == ("active", "NOKI1234ABCD")
    (listed,) = (await api.get("/orders", params={"state": "completed"})).json()["items"]
    assert listed["order_id"] == placed["order_id"]
    assert (await api.get("/orders", params={"state": "held"})).json()["items"] == []


async def test_the_same_key_with_another_password_is_refused(api: httpx2.AsyncClient) -> None:
    body = {**await add_body(api), "password": "correct-horse"}
    await created(api, "/orders", body, **{"Idempotency-Key": "k"})
    response = await api.post("/orders", json={**body, "password": "battery-staple"}, headers={"Idempotency-Key": "k"})
    assert response.status_code == 422
    assert "battery" not in response.text


async def test_a_held_order_is_redriven_over_http(api: httpx2.AsyncClient, isp: Isp) -> None:
    isp.network.refusal = "no such PON port"
    placed = await created(api, "/orders", await add_body(api))
    await isp.until_state(OrderId(placed["order_id"]), OrderState.HELD)
    held = (await api.get(f"/orders/{placed['order_id']}")).json()
    assert (held["cause"], held["step"], held["owner_team"]) == ("no such PON port", "converge", "network-operations")
    isp.network.refusal = None
    again = await api.post(f"/orders/{placed['order_id']}/redrive")
    assert (again.status_code, again.json()["state"]) == (202, "inProgress")
    await isp.until_state(OrderId(placed["order_id"]), OrderState.COMPLETED)
    twice = await api.post(f"/orders/{placed['order_id']}/redrive")
    assert (twice.status_code, twice.json()["code"]) == (409, "not-allowed-in-state")


async def test_an_order_is_cancelled_over_http_and_a_completed_one_is_not(api: httpx2.AsyncClient, isp: Isp) -> None:
    isp.network.refusal = "no such PON port"
    placed = await created(api, "/orders", await add_body(api))
    await isp.until_state(OrderId(placed["order_id"]), OrderState.HELD)
    isp.network.refusal = None
    turned = await api.post(f"/orders/{placed['order_id']}/cancel")
    assert (turned.status_code, turned.json()["state"]) == (202, "pendingCancellation")
    assert turned.json()["cancelled_by"] == "user:test"
    await isp.until_state(OrderId(placed["order_id"]), OrderState.CANCELLED)
    (listed,) = (await api.get("/orders", params={"state": "cancelled"})).json()["items"]
    assert listed["order_id"] == placed["order_id"]

    again = await created(api, "/orders", await add_body_again(api))
    await isp.until_state(OrderId(again["order_id"]), OrderState.COMPLETED)
    late = await api.post(f"/orders/{again['order_id']}/cancel")
    assert (late.status_code, late.json()["code"]) == (409, "not-allowed-in-state")
    assert "by an order to delete" in late.json()["detail"]
    assert (await api.post(f"/orders/{'0' * 32}/cancel")).status_code == 404
    read_only = routes_orders.endpoints(isp.fulfilment)
    async with api_client(read_only, clock=isp.clock, scopes={"orders:read"}) as reader:
        assert (await reader.post(f"/orders/{again['order_id']}/cancel")).status_code == 403


async def test_a_dry_run_tells_the_price_and_what_the_device_would_be_sent(api: httpx2.AsyncClient, isp: Isp) -> None:
    response = await api.post("/orders/dry-run", json=await add_body(api))
    assert response.status_code == 200, response.text
    shown = response.json()
    assert shown["price"]["monthly_difference"] == {"amount": "39.90", "currency": "EUR"}
    assert shown["plans"][0]["steps"][0]["rendered"] == "<edit-config>100m-20m</edit-config>"
    isp.network.unreachable = True
    assert (await api.post("/orders/dry-run", json=await add_body_again(api))).status_code == 503


async def add_body_again(api: httpx2.AsyncClient) -> dict[str, Any]:
    offering = (await api.get("/offerings")).json()["items"][0]
    customer = (await api.get("/customers")).json()["items"][0]
    return {
        "action": "add",
        "account_id": customer["account_id"],
        "version_id": offering["versions"][0]["version_id"],
        "attachments": [ONU],
    }


WRONG: list[dict[str, Any]] = [
    {"action": "swap"},
    {"offering_id": None},
    {"version_id": "0" * 32},
    {"password": "short"},
    {"password": "with a space"},
    {"username": "a b"},
    {"framed_ipv4": "192.0.2.300"},
    {"attachments": [ONU | {"subscriber_vlan": 4095}]},
    {"attachments": [ONU | {"kind": "satellite"}]},
    {"attachments": [ONU, {"kind": "router", "device_id": OLT, "interface": "Ethernet1"}]},
    {"colour": "red"},
]


async def test_a_wrong_body_is_refused_and_nothing_is_ordered(api: httpx2.AsyncClient, isp: Isp) -> None:
    right = await add_body(api)
    for change in WRONG:
        response = await api.post("/orders", json={**right, **change})
        assert response.status_code == 422, (change, response.text)
    assert await isp.orders.orders(limit=1) == []


async def test_stock_and_offerings_over_http(api: httpx2.AsyncClient) -> None:
    item = await created(api, "/stock-items", {"serial": "4E4F4B491234ABCD"})
    assert (item["serial"], item["state"], item["place"]) == ("NOKI1234ABCD", "in-stock", "warehouse/main")
    twice = await api.post("/stock-items", json={"serial": "NOKI1234ABCD"})
    assert (twice.status_code, twice.json()["code"]) == (409, "serial-taken")
    assert "warehouse/main" in twice.json()["detail"]
    history = (await api.get(f"/stock-items/{item['item_id']}")).json()
    assert [move["why"] for move in history["moves"]] == ["received"]

    offering = await created(api, "/offerings", {"name": "Fibre 100", **VERSION})
    dearer = {**VERSION, "effective_on": "2026-10-01", "prices": [{"model": "flat", "code": "fee", "amount": "44.90"}]}
    offering = await created(api, f"/offerings/{offering['offering_id']}/versions", dearer)
    assert [version["monthly_fee"]["amount"] for version in offering["versions"]] == ["39.90", "44.90"]
    assert (await api.get(f"/offerings/{offering['offering_id']}")).json() == offering


async def test_lists_are_read_page_by_page(api: httpx2.AsyncClient) -> None:
    names = [f"c{n}" for n in range(5)]
    for name in names:
        await created(api, "/customers", {"name": name})
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = (await api.get("/customers", params={"limit": 2, **after})).json()
        seen += [item["name"] for item in page["items"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert sorted(seen) == names
