"""What waits in suspense comes out of it once: by the fact that was missing, or by the decision of a person."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path

import httpx2
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.errors import Decided, NotForThis, UnbilledService, UnknownSuspense
from billing_bridge.mediation.repository import lock_position
from billing_bridge.suspense.model import REASONS
from billing_bridge.suspense.repository import Item, Wanted
from billing_bridge.suspense.routes import endpoints
from controller.domain.identity import AccountId, OfferingVersionId
from controller.domain.money import Money
from controller.domain.tariff import TariffVersion
from controller.domain.units import GB
from controller.store import audit
from controller.store.engine import Database
from erp.finance.model import InvoiceLine
from erp.finance.model import Wanted as Invoices
from tests.support.api import api_client
from tests.support.billing_fakes import PriceList, tariff
from tests.support.billing_world import BillingWorld, Line, berlin

PLAN = "a" * 32
BY = {"actor": "user:anna", "reason": "the customer asked"}


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    made = BillingWorld(database, tmp_path, [tariff(PLAN, "30.00", included=10 * GB)], berlin(2026, 9, 10, 14))
    await made.entity()
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def api(world: BillingWorld) -> AsyncIterator[httpx2.AsyncClient]:
    async with api_client(endpoints(world.suspense), clock=world.clock, actor="user:anna") as client:
        yield client


async def bill(world: BillingWorld) -> str:
    await world.launch()
    return await world.bill()


async def mediated(world: BillingWorld) -> None:
    await world.mediation.catch_up(await world.usage.watermark())


async def waiting(world: BillingWorld, reason: str | None = None) -> list[Item]:
    await mediated(world)
    return [found.item for found in await world.suspense.page(Wanted(reason=reason), 0, 100)]


async def usage_lines(world: BillingWorld, line: Line, run_id: str) -> list[InvoiceLine]:
    found = []
    of_run = Invoices(account_ids=[line.account_id], bill_run_id=run_id)
    for invoice in await world.finance.invoices(of_run, after=None, limit=100):
        found += [row for row in await world.finance.lines(invoice.invoice_id) if row.kind == "usage"]
    return found


async def outlived(world: BillingWorld) -> Line:
    """A line that ended on 20 September, whose session carried 6 + 6 GB more on the 22nd; its month is billed."""
    line = await world.activate(PLAN)
    await world.account_for(line, (berlin(2026, 9, 11), 0, 0), (berlin(2026, 9, 12), GB, GB))
    world.clock.move_to(berlin(2026, 9, 20, 9))
    await world.terminate(line)
    await world.account_for(line, (berlin(2026, 9, 22, 1), GB, GB), (berlin(2026, 9, 22, 9), 7 * GB, 7 * GB))
    world.clock.move_to(berlin(2026, 10, 2, 6))
    assert await usage_lines(world, line, await bill(world)) == []
    return line


async def test_usage_after_the_end_of_a_line_waits_with_reason_age_octets_and_value(world: BillingWorld) -> None:
    line = await outlived(world)
    (found,) = await world.suspense.page(Wanted(), 0, 10)
    item = found.item
    assert (item.reason, item.detail) == ("not-entitled", "after-termination")
    assert (item.service_id, item.day) == (line.service_id, date(2026, 9, 22))
    assert (item.upstream_octets, item.downstream_octets) == (6 * GB, 6 * GB)
    assert found.value == Money(600, "EUR")
    assert item.entered_at == world.clock.now()


async def test_usage_after_the_end_is_charged_once_by_decision_as_a_line_that_names_its_period(
    world: BillingWorld,
) -> None:
    line = await outlived(world)
    (item,) = await waiting(world)
    released = await world.suspense.charge(item.suspense_id, **BY)
    assert released.items[0].counted_on == date(2026, 9, 19)
    assert await waiting(world) == []
    (row,) = await usage_lines(world, line, await bill(world))
    # 10 of 30 days of the month had a plan: 10 GB × 10 ÷ 30 are included, rounded up to the octet; 14 GB were used.
    assert (row.first_on, row.until_on, row.adjustment) == (date(2026, 9, 10), date(2026, 9, 20), True)
    assert row.net == Money(533, "EUR")
    explained = await world.explainer.explain(row.line_id)
    assert explained.intact, explained.faults
    assert any("by decision of a person" in step for step in explained.steps)
    assert await usage_lines(world, line, await bill(world)) == []
    # What is still told of that day goes the way that was decided.
    await world.account_for(line, (berlin(2026, 9, 22, 10), 7 * GB, 8 * GB))
    assert await waiting(world) == []
    (late,) = await usage_lines(world, line, await bill(world))
    assert (late.net, late.adjustment) == (Money(50, "EUR"), True)
    assert (await world.explainer.explain(late.line_id)).intact


async def test_what_is_written_off_stays_so_and_what_comes_after_waits_anew(world: BillingWorld) -> None:
    line = await outlived(world)
    (item,) = await waiting(world)
    await world.suspense.write_off(item.suspense_id, **BY)
    assert await waiting(world) == []
    await world.account_for(line, (berlin(2026, 9, 22, 10), 7 * GB, 8 * GB))
    (rest,) = await waiting(world)
    assert (rest.upstream_octets, rest.downstream_octets) == (0, GB)
    with pytest.raises(NotForThis, match="written off"):
        await world.suspense.charge(rest.suspense_id, **BY)
    assert await usage_lines(world, line, await bill(world)) == []
    async with world.database.read() as conn:
        entry = (await audit.entries(conn, before=None, limit=50))[1:]
        written = next(e for e in entry if e["action"] == "suspense.write-off")
    assert (written["actor"], written["reason"]) == ("user:anna", "the customer asked")
    assert written["object"] == f"suspense:{item.suspense_id}"


async def test_usage_before_its_activation_is_known_waits_and_is_then_taken_up(world: BillingWorld) -> None:
    line = await world.activate(PLAN, deliver=False)
    await world.account_for(line, (berlin(2026, 9, 10, 15), 0, 0), (berlin(2026, 9, 10, 16), 0, 50 * GB))
    (item,) = await waiting(world)
    assert (item.service_id, item.detail, item.octets) == (line.service_id, "never-entitled", 50 * GB)
    with pytest.raises(NotForThis, match="never had a plan"):
        await world.suspense.charge(item.suspense_id, **BY)
    await world.bus.drain()
    assert await waiting(world) == []
    assert (await world.suspense.item(item.suspense_id)).item.state == "entitled"
    world.clock.move_to(berlin(2026, 10, 1, 6))
    (row,) = await usage_lines(world, line, await bill(world))
    assert row.net == Money(2150, "EUR")  # 43 GB beyond 21/30 of 10 GB


async def test_a_terminated_line_gives_back_what_was_booked_and_a_late_activation_takes_it_up(
    world: BillingWorld,
) -> None:
    line = await world.activate(PLAN)
    # The day before the activation, then the day of it: the first has no plan, the second has.
    await world.account_for(line, (berlin(2026, 9, 9, 10), 0, 0), (berlin(2026, 9, 9, 11), 0, GB))
    await world.account_for(line, (berlin(2026, 9, 10, 1), 0, GB), (berlin(2026, 9, 10, 2), 0, 3 * GB))
    (item,) = await waiting(world)
    assert (item.detail, item.day, item.octets) == ("before-activation", date(2026, 9, 9), GB)
    # The line ended on the day on which it began: nothing of it is left, so all its usage waits.
    world.clock.move_to(berlin(2026, 9, 10, 18))
    await world.terminate(line)
    assert [(i.day, i.octets) for i in await waiting(world)] == [(date(2026, 9, 9), GB), (date(2026, 9, 10), 2 * GB)]
    world.clock.move_to(berlin(2026, 9, 10, 19))
    await world.change(line, PLAN, PLAN)
    assert [i.day for i in await waiting(world)] == [date(2026, 9, 9)]


async def unmapped(world: BillingWorld, line: Line) -> None:
    """10 + 10 GB of a session of 12 September that names no service."""
    stranger = Line(line.account_id, line.subscription_id, line.service_id, "d" * 32)
    at = berlin(2026, 9, 12)
    await world.account_for(stranger, (at, 0, 0), (at + timedelta(hours=1), 5 * GB, 5 * GB), unmapped=True)
    await world.account_for(stranger, (at + timedelta(hours=2), 10 * GB, 10 * GB), unmapped=True)


async def test_a_username_is_mapped_from_an_instant_and_its_usage_charged_once(world: BillingWorld) -> None:
    line = await world.activate(PLAN)
    await unmapped(world, line)
    world.clock.move_to(berlin(2026, 10, 1, 6))
    assert await usage_lines(world, line, await bill(world)) == []
    first, second = await waiting(world, "unknown-service")
    with pytest.raises(UnbilledService):
        await world.suspense.map_to_service(second.suspense_id, service_id="f" * 32, since=None, **BY)
    with pytest.raises(NotForThis, match="ended at"):
        await world.suspense.map_to_service(
            first.suspense_id, service_id=line.service_id, since=berlin(2026, 9, 13), **BY
        )
    released = await world.suspense.map_to_service(
        second.suspense_id, service_id=line.service_id, since=first.since, **BY
    )
    assert (len(released.items), released.octets) == (2, 20 * GB)
    assert await waiting(world) == []
    (row,) = await usage_lines(world, line, await bill(world))
    # 21 of 30 days, 7 GB included.
    assert (row.first_on, row.adjustment, row.net) == (date(2026, 9, 10), True, Money(650, "EUR"))
    explained = await world.explainer.explain(row.line_id)
    assert explained.intact, explained.faults
    stranger = Line(line.account_id, line.subscription_id, line.service_id, "d" * 32)
    await world.account_for(stranger, (berlin(2026, 9, 12, 3), 11 * GB, 10 * GB), unmapped=True)
    assert await waiting(world) == []
    (row,) = await usage_lines(world, line, await bill(world))
    assert row.net == Money(50, "EUR")


async def test_nothing_is_decided_twice_and_nothing_about_what_is_not_there(world: BillingWorld) -> None:
    line = await world.activate(PLAN)
    await unmapped(world, line)
    first, _ = await waiting(world)
    with pytest.raises(NotForThis):
        await world.suspense.charge(first.suspense_id, **BY)
    with pytest.raises(UnknownSuspense):
        await world.suspense.write_off(10**6, **BY)
    tries = [world.suspense.write_off(first.suspense_id, **BY) for _ in range(2)]
    answers = await asyncio.gather(*tries, return_exceptions=True)
    assert sorted(isinstance(answer, Decided) for answer in answers) == [False, True], answers
    with pytest.raises(Decided):
        await world.suspense.map_to_service(first.suspense_id, service_id=line.service_id, since=None, **BY)


async def test_an_activation_waits_for_mediation_and_never_misses_its_usage(world: BillingWorld) -> None:
    """Usage of a service without a subscription has no row to be locked: the position stands for it."""
    async with world.database.begin() as conn:
        await lock_position(conn)
        activating = asyncio.create_task(world.activate(PLAN, AccountId("9" * 32)))
        done, _ = await asyncio.wait({activating}, timeout=0.3)
        assert not done
    line = await activating
    await world.account_for(line, (berlin(2026, 9, 10, 15), 0, GB))
    assert await waiting(world) == []


async def test_a_tariff_is_read_over_the_connection_that_is_held(world: BillingWorld) -> None:
    held: list[object] = []

    class Asked(PriceList):
        async def tariff_in(self, conn: object, version_id: OfferingVersionId) -> TariffVersion:
            assert isinstance(conn, AsyncConnection)
            assert conn.in_transaction()
            held.append(conn)
            return await super().tariff_in(conn, version_id)

    world.billing._tariffs = Asked([tariff(PLAN, "30.00")])
    await world.activate(PLAN)
    await world.activate(PLAN)
    assert len(held) == 1, "a version never changes: the copy is enough for the second line"


async def test_suspense_over_http(world: BillingWorld, api: httpx2.AsyncClient) -> None:
    line = await outlived(world)
    stranger = Line(line.account_id, line.subscription_id, line.service_id, "d" * 32)
    for n in range(1, 4):
        await world.account_for(stranger, (berlin(2026, 9, 12, n), n * GB, 0), unmapped=True)
    await mediated(world)
    totals = {t["reason"]: t for t in (await api.get("/suspense/totals")).json()["totals"]}
    assert set(totals) == set(REASONS)
    assert (totals["unknown-service"]["items"], totals["unknown-service"]["upstream_octets"]) == (3, 3 * GB)
    assert totals["not-entitled"]["values"] == [{"amount": "6.00", "currency": "EUR"}]
    assert totals["unknown-service"]["values"] == [{"amount": "1.50", "currency": "EUR"}], "by the plan that most have"
    assert totals["altered-record"]["oldest_at"] is None

    seen, after = [], {}
    while True:
        page = (await api.get("/suspense", params={"limit": 3, **after})).json()
        seen += [item["suspense_id"] for item in page["items"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert len(seen) == len(set(seen)) == 4
    (item,) = (await api.get("/suspense", params={"reason": "not-entitled"})).json()["items"]
    assert (item["value"]["amount"], item["day"], item["record_ids"]) == ("6.00", "2026-09-22", [])
    world.clock.advance(timedelta(hours=1))
    assert (await api.get("/suspense", params={"min_age_s": 3601})).json()["items"] == []
    (item,) = (await api.get("/suspense", params={"min_age_s": 3600, "reason": "not-entitled"})).json()["items"]
    assert item["age_s"] == 3600

    where = f"/suspense/{item['suspense_id']}/release"
    for body in (
        {"action": "charge"},
        {"action": "charge", "reason": " "},
        {"action": "map", "reason": "x"},
        {"action": "charge", "reason": "x", "service_id": line.service_id},
        {"action": "map", "reason": "x", "service_id": line.service_id},
        {"action": "forgive", "reason": "x"},
    ):
        assert (await api.post(where, json=body)).status_code == 422, body
    assert (await api.post("/suspense/999999/release", json={"action": "charge", "reason": "x"})).status_code == 404
    answer = await api.post(where, json={"action": "charge", "reason": "agreed"})
    assert answer.json() == {"state": "charged", "items": 1, "octets": 12 * GB}
    assert (await api.post(where, json={"action": "charge", "reason": "agreed"})).status_code == 409
    shown = (await api.get(f"/suspense/{item['suspense_id']}")).json()
    assert (shown["state"], shown["counted_on"], shown["decided_by"]) == ("charged", "2026-09-19", "user:anna")
    found = (await api.get("/suspense", params={"username": "alice"})).json()["items"][0]
    answer = await api.post(
        f"/suspense/{found['suspense_id']}/release",
        json={"action": "map", "reason": "typing error", "service_id": line.service_id},
    )
    assert answer.json() == {"state": "mapped", "items": 3, "octets": 3 * GB}


async def test_who_may_only_read_releases_nothing(world: BillingWorld) -> None:
    async with api_client(endpoints(world.suspense), clock=world.clock, scopes={"billing:read"}) as api:
        assert (await api.get("/suspense")).status_code == 200
        answer = await api.post("/suspense/1/release", json={"action": "write-off", "reason": "x"})
        assert answer.status_code == 403
