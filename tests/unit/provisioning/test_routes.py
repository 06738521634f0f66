"""Devices and services over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from controller.provisioning.routes import endpoints
from controller.store.engine import Database
from tests.support.api import api_client
from tests.support.provisioning import ACTOR, THREE_HUNDRED, MemoryDevice, Provisioning, provisioning_on, service_id


@pytest.fixture
async def isp(database: Database, tmp_path: Path) -> Provisioning:
    return await provisioning_on(database, tmp_path, MemoryDevice())


@pytest.fixture
async def api(isp: Provisioning) -> AsyncIterator[httpx2.AsyncClient]:
    async with api_client(endpoints(isp.service), clock=isp.clock) as client:
        yield client


async def test_a_device_is_registered_shown_and_moved_without_its_secrets(api: httpx2.AsyncClient) -> None:
    body = {
        "name": "olt-2", "host": "127.0.0.1", "driver": "bbf-olt", "port": 8300, "username": "headend",
        "password": "hidden-1", "snmp": {"port": 1161, "community": "hidden-2"},
    }  # fmt: skip
    made = await api.post("/devices", json=body)
    assert made.status_code == 201
    device_id = made.json()["device_id"]
    moved = await api.patch(f"/devices/{device_id}", json={"port": 8301})
    assert moved.json()["port"] == 8301
    shown = await api.get(f"/devices/{device_id}")
    listed = await api.get("/devices")
    assert [item["name"] for item in listed.json()["items"]] == ["olt-1", "olt-2"]
    for response in (made, moved, shown, listed):
        assert "hidden" not in response.text
    assert (await api.post("/devices", json=body)).status_code == 409
    assert (await api.post("/devices", json={**body, "name": "olt-3", "driver": "nobody"})).status_code == 422
    assert (await api.get("/devices/" + "0" * 32)).status_code == 404


@pytest.mark.parametrize("host", ["a..b", ".olt", "x" * 64 + ".example.net", "1:2:3"])
async def test_a_host_that_nothing_can_look_up_is_refused(api: httpx2.AsyncClient, host: str) -> None:
    made = await api.post("/devices", json={"name": "olt-9", "host": host, "driver": "bbf-olt"})
    assert made.status_code == 422
    assert "no name that can be looked up" in made.text


@pytest.mark.parametrize("host", ["olt-1.example.net", "olt-1.example.net.", "192.0.2.1", "2001:db8::1", "olt_1"])
async def test_addresses_and_names_are_taken(api: httpx2.AsyncClient, host: str) -> None:
    assert (await api.post("/devices", json={"name": "olt-9", "host": host, "driver": "bbf-olt"})).status_code == 201


async def test_devices_come_page_by_page(api: httpx2.AsyncClient) -> None:
    for n in range(2, 5):
        await api.post("/devices", json={"name": f"olt-{n}", "host": "127.0.0.1", "driver": "bbf-olt"})
    names, after = [], ""
    while after is not None:
        page = (await api.get(f"/devices?limit=3{after and '&after=' + after}")).json()
        names += [item["name"] for item in page["items"]]
        after = page["next"]
    assert names == ["olt-1", "olt-2", "olt-3", "olt-4"]


async def test_a_service_shows_what_is_desired_and_what_was_seen(isp: Provisioning, api: httpx2.AsyncClient) -> None:
    await isp.service.set_desired(isp.desired(1), actor=ACTOR)
    await isp.service.converge(service_id(1), actor=ACTOR)
    isp.sessions.live[service_id(1)] = ["s1"]
    await isp.service.change_live_sessions(service_id(1))
    shown = (await api.get(f"/services/{service_id(1)}")).json()
    assert shown["standing"] == "verified"
    (attached,) = shown["attachments"]
    assert shown["downstream_bps"] == attached["observed"]["downstream_bps"] == 100_000_000
    assert (attached["kind"], attached["device_id"], attached["subscriber_vlan"]) == ("onu", isp.olt_id, 100)
    assert [change["result"] for change in shown["session_changes"]] == ["ack"]
    assert (await api.get("/services?standing=verified")).json()["items"] == [
        {k: v for k, v in shown.items() if k != "session_changes"}
    ]
    assert (await api.get("/services?standing=drift")).json()["items"] == []


async def test_the_plan_is_shown_and_not_carried_out(isp: Provisioning, api: httpx2.AsyncClient) -> None:
    await isp.service.set_desired(isp.desired(1), actor=ACTOR)
    await isp.service.converge(service_id(1), actor=ACTOR)
    await isp.service.set_desired(isp.desired(1, THREE_HUNDRED), actor=ACTOR)
    (plan,) = (await api.get(f"/services/{service_id(1)}/plan")).json()["plans"]
    assert not plan["is_empty"]
    assert plan["steps"][0]["rendered"] == "<rpc/>"
    seen = (await api.post(f"/services/{service_id(1)}/observe")).json()
    assert seen["attachments"][0]["observed"]["downstream_bps"] == 100_000_000


async def test_reading_needs_a_scope_and_writing_another(isp: Provisioning) -> None:
    async with api_client(endpoints(isp.service), scopes={"devices:read"}) as api:
        assert (await api.get("/devices")).status_code == 200
        assert (await api.post("/devices", json={"name": "x", "host": "h"})).status_code == 403
        assert (await api.get("/services")).status_code == 403
