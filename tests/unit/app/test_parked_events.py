"""An event nobody could handle is seen, redelivered by hand, and until then no bill run passes over it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from billing_bridge.billing.model import DONE, FAILED
from controller.app import bus as bus_module
from controller.app.record_routes import endpoints
from controller.domain.errors import RuleError
from controller.store import outbox
from controller.store.engine import Database
from tests.support.api import api_client
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BillingWorld, berlin

PLAN = "a" * 32
"""A plan the catalogue does not know at first: billing cannot handle its events."""


@pytest.fixture
async def world(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BillingWorld]:
    monkeypatch.setattr(bus_module, "MAX_ATTEMPTS", 1)
    made = BillingWorld(database, tmp_path, [], berlin(2026, 9, 16, 14))
    await made.entity()
    await made.jobs.launch()
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def api(world: BillingWorld) -> AsyncIterator[httpx2.AsyncClient]:
    async with api_client(endpoints(world.database, world.bus), clock=world.clock) as client:
        yield client


async def test_a_parked_event_is_listed_redelivered_once_and_audited(
    world: BillingWorld, api: httpx2.AsyncClient
) -> None:
    await world.activate(PLAN)
    (parked,) = (await api.get("/parked-events")).json()["items"]
    assert (parked["subscriber"], parked["name"], parked["attempts"]) == ("billing", "service.activated", 1)
    path = f"/parked-events/billing/{parked['position']}/redeliver"

    refused = await api.post(path)
    assert (refused.status_code, refused.json()["code"]) == (409, "still-refused")
    assert (await api.get("/parked-events")).json()["items"] == [parked]

    world.prices.add(tariff(PLAN, "30.00"))
    delivered = await api.post(path)
    assert delivered.status_code == 200, delivered.text
    assert delivered.json()["event_id"] == parked["event_id"]
    assert (await api.get("/parked-events")).json()["items"] == []
    assert (await api.post(path)).status_code == 404
    assert (await api.post("/parked-events/no%00body/1/redeliver")).status_code == 404
    newest = (await api.get("/audit-log")).json()["items"][0]
    assert (newest["action"], newest["actor"]) == ("parked-event.redeliver", "user:test")


async def test_parked_events_are_paged(world: BillingWorld, api: httpx2.AsyncClient) -> None:
    for _ in range(3):
        await world.activate(PLAN)
    first = (await api.get("/parked-events", params={"limit": 2})).json()
    second = (await api.get("/parked-events", params={"limit": 2, "after": first["next"]})).json()
    positions = [item["position"] for item in first["items"] + second["items"]]
    assert len(first["items"]) == 2
    assert second["next"] is None
    assert positions == sorted(set(positions))
    assert len(positions) == 3


async def test_only_an_administrator_sees_and_redelivers_parked_events(world: BillingWorld) -> None:
    async with api_client(endpoints(world.database, world.bus), scopes={"admin:read"}) as reader:
        assert (await reader.get("/parked-events")).status_code == 200
        assert (await reader.post("/parked-events/billing/1/redeliver")).status_code == 403
    async with api_client(endpoints(world.database, world.bus), scopes={"billing:write"}) as clerk:
        assert (await clerk.get("/parked-events")).status_code == 403


async def test_a_bill_run_fails_while_an_entitlement_is_parked_and_goes_on_once_it_is_redelivered(
    world: BillingWorld, api: httpx2.AsyncClient
) -> None:
    await world.activate(PLAN)
    run = await world.runs.start(as_of=None, account_id=None, actor="user:test")
    with pytest.raises(RuleError):
        await world.jobs.wait(f"bill-run.v1:{run.bill_run_id}")
    failed = await world.billing.bill_run(run.bill_run_id)
    assert failed.state == FAILED
    assert failed.error is not None
    assert "/api/v1/parked-events" in failed.error

    world.prices.add(tariff(PLAN, "30.00"))
    async with world.database.read() as conn:
        (parked,) = await outbox.list_parked(conn)
    assert (await api.post(f"/parked-events/billing/{parked['position']}/redeliver")).status_code == 200
    await world.runs.redrive(run.bill_run_id, actor="user:test")
    await world.jobs.wait(f"bill-run.v1:{run.bill_run_id}:1")
    done = await world.billing.bill_run(run.bill_run_id)
    assert (done.state, done.charges, done.documents) == (DONE, 1, 1)
