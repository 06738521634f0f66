"""Bills with a finding wait for a person, or for two; all others leave with their run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest

from billing_bridge.billing import holds
from billing_bridge.checks.errors import FourEyes
from billing_bridge.checks.queue import GONE, HELD, RELEASED, SiteLimits, Waiter
from billing_bridge.checks.routes import endpoints
from controller.domain.errors import Conflict
from controller.domain.identity import AccountId, BillRunId
from controller.domain.money import Money
from controller.domain.units import GB
from controller.store import audit
from controller.store.engine import Database
from erp.crm.hierarchy import HierarchyService
from tests.support.api import api_client
from tests.support.billing_fakes import tariff
from tests.support.billing_world import berlin
from tests.support.exceptions import BY, PLAN, RIGHT, Office, office_of

OTHER = {"actor": "user:bert", "reason": "I have called the customer"}


@pytest.fixture
async def office(database: Database, tmp_path: Path) -> AsyncIterator[Office]:
    async with office_of(database, tmp_path) as made:
        yield made


@pytest.fixture
async def api(office: Office) -> AsyncIterator[httpx2.AsyncClient]:
    async with api_client(endpoints(office.checks, "EUR"), clock=office.clock, actor="user:anna") as client:
        yield client


async def one_wrong_of_two(office: Office) -> tuple[BillRunId, Waiter]:
    """Two accounts are billed; orders say that one of them has something else."""
    right, wrong = await office.world.activate(PLAN), await office.world.activate(PLAN)
    office.sales.add(right, PLAN, office.clock.now())
    office.sales.add(wrong, "b" * 32, office.clock.now())
    office.line = wrong
    run = await office.bill()
    (waiter,) = await office.waiting()
    assert waiter.account_id == wrong.account_id
    return run, waiter


async def test_only_the_bill_with_a_finding_waits(office: Office) -> None:
    run, waiter = await one_wrong_of_two(office)
    assert await office.documents(run) == 1
    assert waiter.checks == ("contract-plan",)
    assert waiter.net == Money(3000, "EUR")
    assert waiter.findings[0].actual == Money(3000, "EUR")
    assert waiter.findings[0].records[0].what == "charge"
    assert await office.waits(run) == {waiter.account_id}


async def test_a_price_that_is_not_the_catalogues_holds_the_bill(office: Office) -> None:
    await office.world.activate(PLAN)
    office.agree("25.00")
    await office.bill()
    (waiter,) = await office.waiting()
    assert "contract-price" in waiter.checks
    price = next(f for f in waiter.findings if f.check == "contract-price")
    assert (price.low, price.actual, price.at_stake) == (Money(2500, "EUR"), Money(3000, "EUR"), Money(500, "EUR"))


async def test_a_batch_that_is_checked_again_finds_what_it_found(office: Office) -> None:
    run, waiter = await one_wrong_of_two(office)
    batch = office.batches[-1]
    assert [w.account_id for w in await office.checks.check(batch)] == [waiter.account_id]
    assert len(await office.waiting(None)) == 1
    await office.checks.release(waiter.exception_id, **BY)
    assert not await office.checks.check(batch), "what was let go does not wait again"
    await office.run_again(run)
    assert not await office.waits(run)


async def test_a_preview_names_who_would_wait_and_leaves_no_trace(office: Office) -> None:
    line = await office.world.activate(PLAN)
    await office.bill()
    assert not await office.waiting(None)
    office.sales.add(line, "b" * 32, office.clock.now())
    (waiting,) = await office.checks.check(replace(office.batches[-1], dry=True))
    assert waiting.account_id == line.account_id
    assert not await office.waiting(None)


async def test_one_person_lets_go_what_is_below_the_limit(office: Office) -> None:
    run, waiter = await one_wrong_of_two(office)
    released = await office.checks.release(waiter.exception_id, **BY)
    assert released.state == GONE
    await office.run_again(run)
    assert await office.documents(run) == 2
    async with office.world.database.read() as conn:
        (hold,) = await holds.of_run(conn, run)
        assert (hold.released_by, hold.release_reason) == (BY["actor"], BY["reason"])
        actions = [e["action"] for e in await audit.entries(conn, before=None, limit=20)]
    assert actions.count("exception.hold") == 1
    assert actions.count("exception.release") == 1
    with pytest.raises(Conflict):
        await office.checks.release(waiter.exception_id, **BY)


async def test_above_the_limit_a_second_person_decides_who_had_no_part_in_it(office: Office) -> None:
    run, waiter = await one_wrong_of_two(office)
    limits = SiteLimits("EUR", Decimal(1), Decimal(3), Decimal("0.02"))
    await office.checks.put_limits(limits, actor="user:root")
    released = await office.checks.release(waiter.exception_id, **BY)
    assert released.state == RELEASED
    assert await office.waits(run) == {waiter.account_id}, "it still waits"
    with pytest.raises(FourEyes):
        await office.checks.approve(waiter.exception_id, **BY)
    with pytest.raises(FourEyes):  # who started the run that made the bill
        await office.checks.approve(waiter.exception_id, actor="user:test", reason="it is mine")
    refused = await office.checks.refuse(waiter.exception_id, **OTHER)
    assert (refused.state, refused.released_by) == (HELD, None)
    await office.checks.release(waiter.exception_id, **BY)
    approved = await office.checks.approve(waiter.exception_id, **OTHER)
    assert (approved.state, approved.released_by, approved.approved_by) == (GONE, BY["actor"], OTHER["actor"])
    await office.run_again(run)
    assert await office.documents(run) == 2


async def test_a_decision_is_carried_out_though_the_process_died_right_after_it(office: Office) -> None:
    run, waiter = await one_wrong_of_two(office)
    office.checks.let_go = None
    await office.checks.release(waiter.exception_id, **BY)
    assert await office.waits(run) == {waiter.account_id}
    office.checks.let_go = office.let_go
    assert await office.checks.carry_out() == 1
    await office.run_again(run)
    assert await office.documents(run) == 2
    assert await office.checks.carry_out() == 0


@pytest.mark.parametrize(
    ("zone", "ends"),
    [(None, berlin(2027, 3, 1, 9)), ("Pacific/Tongatapu", berlin(2027, 2, 28, 15))],
    ids=["here", "+13"],
)
async def test_history_holds_a_bill_whose_usage_is_ten_times_the_usual(
    office: Office, zone: str | None, ends: datetime
) -> None:
    """In March as it has begun for the account: where the seller is it may be February still."""
    world, start = office.world, berlin(2026, 9, 1, 9)
    line = await world.activate(PLAN, await world.customer(zone=zone))
    office.sales.add(line, PLAN, office.clock.now())
    days = (berlin(2027, 2, 1, 9) - start).days

    def totals(first: int, last: int, a_day: int, before: int = 0) -> list[tuple[datetime, int, int]]:
        return [(start + timedelta(days=day), 0, before + (day - first + 1) * a_day) for day in range(first, last)]

    world.clock.move_to(berlin(2027, 2, 1, 9))
    await world.account_for(line, *totals(1, days, GB))
    await office.bill()
    assert not await office.waiting()
    world.clock.move_to(ends)
    await world.account_for(line, *totals(days, days + 28, 10 * GB, (days - 1) * GB))
    run = await office.bill()
    (waiter,) = await office.waiting()
    assert waiter.bill_run_id == run
    (finding,) = waiter.findings
    assert finding.check == "usage-jump"
    assert finding.high is not None
    assert finding.high.minor < finding.actual.minor
    kinds = {record.what for record in finding.records}
    assert kinds == {"charge", "usage-day", "interval"}


async def test_a_line_that_another_account_pays_for_is_one_of_its_bill(office: Office) -> None:
    world, hierarchy = office.world, HierarchyService(office.world.database, office.clock)
    company, site = await world.customer("Holding AG"), await world.customer("Site 1")
    await hierarchy.set_parent(site, company, billed_to_parent=True, heading="Site 1", actor="user:anna")
    await world.bus.drain()
    line = await world.activate(PLAN, site)
    office.sales.add(line, PLAN, office.clock.now())
    await office.bill()
    assert not await office.waiting()
    (batch,) = office.batches
    stranger = [replace(charge, account_id=AccountId("f" * 32)) for charge in batch.charges]
    (waiting,) = await office.checks.check(replace(batch, bill_run_id=BillRunId("c" * 32), charges=stranger, dry=True))
    assert "foreign-line" in waiting.reason


async def test_a_bill_that_has_become_another_one_waits_as_an_exception_of_its_own(office: Office) -> None:
    """Two people let it go; meanwhile it is ten times as much: both are asked again, and neither decision is lost."""
    run, waiter = await one_wrong_of_two(office)
    line = office.line
    office.world.prices.add(replace(tariff(RIGHT, "300.00"), offering_id=office.version.offering_id, number=2))
    await office.world.change(line, PLAN, RIGHT)
    await office.checks.release(waiter.exception_id, **BY)
    await office.run_again(run)
    assert await office.documents(run) == 1
    (second,) = await office.waiting()
    assert (second.number, second.net) == (2, Money(30_000, "EUR"))
    (first,) = await office.waiting(GONE)
    assert (first.number, first.released_by) == (1, BY["actor"])
    assert await office.checks.carry_out() == 0, "the first decision does not let the second bill go"
    assert await office.waits(run) == {line.account_id}
    assert (await office.checks.release(second.exception_id, **BY)).state == RELEASED
    await office.checks.approve(second.exception_id, **OTHER)
    await office.world.jobs.wait(f"bill-run.v1:{run}:2")
    assert await office.documents(run) == 2


async def test_one_who_waits_and_has_become_another_bill_is_decided_anew_by_what_it_is_now(office: Office) -> None:
    """Who shares a bill with it was let go. One person has released it for the old sum: that is no word on this one."""
    run, waiter = await one_wrong_of_two(office)
    await office.checks.put_limits(SiteLimits("EUR", Decimal(1), Decimal(3), Decimal("0.02")), actor="user:root")
    assert (await office.checks.release(waiter.exception_id, **BY)).state == RELEASED
    batch = office.batches[-1]
    dearer = [replace(c, net=Money(c.net.minor * 10, "EUR")) for c in batch.charges]
    others = frozenset(batch.account_ids) - {waiter.account_id}
    await office.checks.check(replace(batch, again=others))
    assert await office.waiting(RELEASED), "its own bill is as it was"
    again = replace(batch, charges=dearer, again=frozenset({waiter.account_id}))
    assert [w.account_id for w in await office.checks.check(again)] == [waiter.account_id]
    (now,) = await office.waiting(None)
    assert (now.exception_id, now.state, now.released_by) == (waiter.exception_id, HELD, None)
    assert (now.net.minor, now.at_stake.minor > waiter.at_stake.minor) == (waiter.net.minor * 10, True)
    assert await office.waits(run) == {waiter.account_id}


async def test_the_queue_over_http(office: Office, api: httpx2.AsyncClient) -> None:
    _, waiter = await one_wrong_of_two(office)
    (item,) = (await api.get("/exceptions")).json()["items"]
    assert item["checks"] == ["contract-plan"]
    assert item["findings"][0]["actual"] == {"amount": "30.00", "currency": "EUR"}
    assert (await api.get("/exceptions?check=usage-jump")).json()["items"] == []
    totals = (await api.get("/exceptions/totals")).json()["totals"]
    assert totals == [
        {
            "state": "held",
            "check": "contract-plan",
            "bills": 1,
            "at_stake": {"amount": "30.00", "currency": "EUR"},
        }
    ]
    one = f"/exceptions/{waiter.exception_id}"
    assert (await api.post(f"{one}/assign", json={"to": "user:anna"})).json()["assigned_to"] == "user:anna"
    assert len((await api.get("/exceptions?assigned_to=user:anna")).json()["items"]) == 1
    put = await api.put("/check-limits/EUR", json={"four_eyes": "5", "usage": "3", "other": "0.02"})
    assert put.json()["changed_by"] == "user:anna"
    assert (await api.post(f"{one}/release", json={"reason": "agreed"})).json()["state"] == "released"
    refused = await api.post(f"{one}/approve", json={"reason": "by myself"})
    assert refused.status_code == 422, refused.text
    assert refused.json()["code"] == "four-eyes"
    assert (await api.get("/exceptions/" + "0" * 32)).status_code == 404
    (limit,) = (await api.get("/check-limits")).json()["limits"]
    assert limit["four_eyes"] == "5"
    again = {"four_eyes": "7.50", "usage": "3", "other": "0.02", "reason": "two of us are ill"}
    for _ in range(2):  # the same twice is one change
        assert (await api.put("/check-limits/EUR", json=again)).json()["four_eyes"] == "7.5"
    told = (await api.get("/check-limits/EUR")).json()
    assert [(c["before"]["four_eyes"], c["after"]["four_eyes"], c["reason"]) for c in told["changes"]] == [
        ("5", "7.5", "two of us are ill"),
        ("100", "5", ""),
    ]
    assert (await api.get("/check-limits/CHF")).json()["changes"] == []
    for currency in ("eur", "EURO", "€€€"):
        assert (await api.put(f"/check-limits/{currency}", json=again)).json()["code"] == "currency"
