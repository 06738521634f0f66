"""A username that changed hands, entered late: booked usage goes to whose it was, and bills are corrected by notes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from billing_bridge.checks.facts import largest_intervals
from billing_bridge.mediation import moving
from billing_bridge.settings import BillingSettings
from billing_bridge.sources import ledger
from billing_bridge.sources.identifiers import USERNAME
from billing_bridge.sources.intake import Intake
from billing_bridge.sources.model import Fact, Source
from billing_bridge.suspense import service
from billing_bridge.suspense.repository import Wanted
from billing_bridge.suspense.service import Released
from controller.domain.money import Money
from controller.domain.units import GB
from controller.store import audit
from controller.store.engine import Database
from controller.store.usage_chain import FIRST_PREVIOUS
from erp.finance.model import Invoice, InvoiceLine
from erp.finance.model import Wanted as Invoices
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BERLIN, BillingWorld, Line, berlin

DATA = "a" * 32
NOON = berlin(2026, 9, 1, 12)


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    made = BillingWorld(database, tmp_path, [tariff(DATA, "30.00", included=10 * GB)], berlin(2026, 9, 1, 8))
    await made.entity()
    try:
        yield made
    finally:
        await made.close()


async def give(world: BillingWorld, to: Line | None, since: datetime, *, overrides: bool = True) -> Released:
    _, released = await world.suspense.give(
        USERNAME, "alice", since, None if to is None else to.service_id, overrides=overrides, actor="user:anna",
        reason="moved at noon, told late",
    )  # fmt: skip
    return released


async def used(world: BillingWorld, line: Line, day: date = date(2026, 9, 1)) -> tuple[int, int]:
    said = await world.sources.compared(line.service_id, day, date.fromordinal(day.toordinal() + 1))
    return sum(s.upstream_octets for s in said if s.bills), sum(s.downstream_octets for s in said if s.bills)


async def counted(world: BillingWorld) -> dict[str, tuple[int, int]]:
    """Of the ledger, by what it is: records and octets; each hour adds up."""
    assert await world.sources.faults() == []
    async with world.database.read() as conn:
        assert all(hour.adds_up for hour in await ledger.page(conn, None, None, None, None, 1000))
        (totals,) = await ledger.sums(conn)
    return {
        name: getattr(totals, name)
        for name in ("accepted", "rated", "unrated", "suspense")
        if any(getattr(totals, name))
    }


async def mediated(world: BillingWorld, line: Line, *totals: tuple[datetime, int, int]) -> None:
    await world.account_for(line, *totals)
    await world.mediation.catch_up(await world.usage.watermark())


async def usage_lines(world: BillingWorld, line: Line, run_id: str) -> list[tuple[Invoice, InvoiceLine]]:
    wanted = Invoices(account_ids=[line.account_id], bill_run_id=run_id)
    return [
        (invoice, row)
        for invoice in await world.finance.invoices(wanted, after=None, limit=9)
        for row in await world.finance.lines(invoice.invoice_id)
        if row.kind == "usage"
    ]


async def moves(world: BillingWorld) -> list[Any]:
    async with world.database.read() as conn:
        return [e for e in await audit.entries(conn, before=None, limit=50) if e["action"] == "usage-identifier.move"]


async def test_what_was_booked_since_the_instant_is_the_new_ones_and_what_spans_it_is_cut_there(
    world: BillingWorld,
) -> None:
    old, new = await world.activate(DATA), await world.activate(DATA)
    await mediated(
        world, old, (berlin(2026, 9, 1, 11, 30), 0, 0), (berlin(2026, 9, 1, 13), 100, 1000),
        (berlin(2026, 9, 1, 14), 150, 1500),
    )  # fmt: skip
    assert await counted(world) == {"accepted": (3, 1650), "rated": (2, 1650), "unrated": (1, 0)}
    world.clock.move_to(berlin(2026, 9, 3, 9))
    (moved,) = (await give(world, new, NOON)).moved
    assert (moved.from_service, moved.to_service) == (old.service_id, new.service_id)
    assert (moved.octets, moved.records, moved.adjusted) == (67 + 667 + 50 + 500, 2, False)
    assert await used(world, old) == (33, 333)
    assert await used(world, new) == (67 + 50, 667 + 500)
    async with world.database.read() as conn:  # what a finding names as the most that was used
        (named,) = await largest_intervals(conn, old.service_id, date(2026, 9, 1))
    assert named.detail.startswith("2026-09-01 09:30 to 10:00 UTC: 366 ")
    assert await counted(world) == {"accepted": (3, 1650), "rated": (2, 1650), "unrated": (1, 0)}
    (entry,) = await moves(world)
    assert (entry["actor"], entry["reason"]) == ("user:anna", "moved at noon, told late")
    assert json.loads(entry["after"])["octets"] == 1284
    # What comes from now on follows the decision, and the same said again moves nothing.
    await mediated(world, old, (berlin(2026, 9, 1, 15), 160, 1500))
    assert await used(world, new) == (127, 1167)
    assert (await give(world, new, NOON)).moved == ()


async def test_usage_that_was_billed_is_credited_to_one_and_charged_to_the_other_with_its_period(
    world: BillingWorld,
) -> None:
    old, new = await world.activate(DATA), await world.activate(DATA)
    carried = ((berlin(2026, 9, 1, 12), 0, 0), (berlin(2026, 9, 10), 0, 12 * GB), (berlin(2026, 9, 20), 0, 26 * GB))
    for told in carried:
        world.clock.move_to(told[0])
        await mediated(world, old, told)
    world.clock.move_to(berlin(2026, 10, 1, 2))
    await world.launch()
    first_run = await world.bill()
    ((_, billed),) = await usage_lines(world, old, first_run)
    assert billed.net == Money(800, "EUR")  # 16 GB beyond the 10 included, at 0.50
    world.clock.move_to(berlin(2026, 10, 9, 9))
    (moved,) = (await give(world, new, berlin(2026, 9, 10))).moved
    assert (moved.octets, moved.adjusted) == (14 * GB, True)
    run_id = await world.bill()
    ((credit, taken_back),) = await usage_lines(world, old, run_id)
    ((_, charged),) = await usage_lines(world, new, run_id)
    assert (credit.kind, taken_back.net) == ("credit-note", Money(-700, "EUR"))  # 2 GB beyond are left
    assert charged.net == Money(200, "EUR")  # 4 GB beyond
    for row in (taken_back, charged):
        assert (row.first_on, row.until_on, row.adjustment) == (date(2026, 9, 1), date(2026, 10, 1), True)
    for row in (billed, taken_back, charged):
        explained = await world.explainer.explain(row.line_id)
        assert explained.intact, explained.faults
    assert await usage_lines(world, old, await world.bill()) == []
    assert await counted(world) == {"accepted": (3, 26 * GB), "rated": (2, 26 * GB), "unrated": (1, 0)}


async def test_a_line_is_judged_by_what_held_when_it_was_billed_and_names_what_was_moved_since(
    world: BillingWorld,
) -> None:
    """alice's records name `old`; `new` was billed by a decision that another one overrode afterwards."""
    old, new, last = [await world.activate(DATA) for _ in range(3)]
    await give(world, new, berlin(2026, 9, 5))
    for told in ((berlin(2026, 9, 6), 0, 0), (berlin(2026, 9, 10), 0, 12 * GB), (berlin(2026, 9, 20), 0, 26 * GB)):
        world.clock.move_to(told[0])
        await mediated(world, old, told)
    world.clock.move_to(berlin(2026, 10, 1, 2))
    await world.launch()
    ((invoice, billed),) = await usage_lines(world, new, await world.bill())
    world.clock.move_to(berlin(2026, 10, 9, 9))
    (moved,) = (await give(world, last, berlin(2026, 9, 10))).moved
    assert (moved.from_service, moved.octets, moved.adjusted) == (new.service_id, 14 * GB, True)
    said = (
        f"username alice was given to service {last.service_id} from 2026-09-09T22:00:00+00:00 on by user:anna "
        "at 2026-10-09T07:00:00+00:00"
    )

    async def told_of(line: InvoiceLine) -> str:
        explained = await world.explainer.explain(line.line_id)
        assert explained.intact, explained.faults
        (step,) = [step for step in explained.steps if "were reversed" in step]
        assert f"{14 * GB} octets were reversed (interval " in step
        return step

    assert (await told_of(billed)).endswith(f"{said}; no bill knows of it yet: the next bill run corrects it")
    run_id = await world.bill()
    ((credit, taken_back),) = await usage_lines(world, new, run_id)
    ((_, charged),) = await usage_lines(world, last, run_id)
    assert (await told_of(billed)).endswith(f"{said}; credited by {credit.number}")
    assert (await told_of(taken_back)).endswith(f"{said}; billed by {invoice.number} and taken back here")
    explained = await world.explainer.explain(charged.line_id)
    assert explained.intact, explained.faults
    assert not [step for step in explained.steps if "reversed" in step]


async def test_of_several_decisions_the_one_is_named_that_moved_what_was_billed(world: BillingWorld) -> None:
    """The first only fills in where RADIUS knew nobody, and moved nothing; the last ones moved other usage."""
    old, wrong, new = [await world.activate(DATA) for _ in range(3)]
    for told in ((berlin(2026, 9, 6), 0, 0), (berlin(2026, 9, 10), 0, 12 * GB), (berlin(2026, 9, 20), 0, 26 * GB)):
        world.clock.move_to(told[0])
        await mediated(world, old, told)
    world.clock.move_to(berlin(2026, 10, 1, 2))
    await world.launch()
    ((_, billed),) = await usage_lines(world, old, await world.bill())
    at = berlin(2026, 10, 9, 9)
    for hours, (to, since, overrides) in enumerate((
        (wrong, berlin(2026, 9, 8), False), (new, berlin(2026, 9, 10), True), (old, berlin(2026, 9, 9), True),
        (wrong, berlin(2026, 9, 15), True),
    )):  # fmt: skip
        world.clock.move_to(at + timedelta(hours=hours))
        await give(world, to, since, overrides=overrides)
    explained = await world.explainer.explain(billed.line_id)
    assert explained.intact, explained.faults
    (step,) = [step for step in explained.steps if "were reversed" in step]
    assert f"{14 * GB} octets" in step
    assert f"given to service {new.service_id} from 2026-09-09T22:00:00+00:00 on by user:anna at 2026-10-09T08" in step


async def test_what_is_nobodys_from_an_instant_on_waits_and_is_taken_up_by_whoever_it_is_given_to(
    world: BillingWorld,
) -> None:
    old, new = await world.activate(DATA), await world.activate(DATA)
    await mediated(world, old, (berlin(2026, 9, 1, 11), 0, 0), (berlin(2026, 9, 1, 13), 0, 1000))
    (moved,) = (await give(world, None, NOON)).moved
    assert (moved.to_service, moved.octets) == (None, 500)
    assert await counted(world) == {"accepted": (2, 1000), "rated": (0, 500), "unrated": (1, 0), "suspense": (1, 500)}
    (waits,) = await world.suspense.page(Wanted(), 0, 9)
    assert (waits.item.since, waits.item.octets) == (NOON, 500)
    released = await give(world, new, berlin(2026, 9, 1, 12, 30))
    assert released.octets == 500
    assert await used(world, new) == (0, 250)
    assert await counted(world) == {"accepted": (2, 1000), "rated": (0, 750), "unrated": (1, 0), "suspense": (1, 250)}


async def test_usage_moved_to_a_service_without_a_plan_is_counted_once_and_waits(world: BillingWorld) -> None:
    old, new = await world.activate(DATA), await world.activate(DATA)
    await world.terminate(new)
    await mediated(world, old, (berlin(2026, 9, 1, 13), 0, 0), (berlin(2026, 9, 1, 14), 0, 1000))
    await give(world, new, NOON)
    assert await counted(world) == {"accepted": (2, 1000), "unrated": (1, 0), "suspense": (1, 1000)}
    (waits,) = await world.suspense.page(Wanted(), 0, 9)
    assert (waits.item.reason, waits.item.service_id, waits.item.octets) == ("not-entitled", new.service_id, 1000)
    await give(world, old, berlin(2026, 9, 1, 12, 30))
    assert await world.suspense.page(Wanted(), 0, 9) == []
    assert await counted(world) == {"accepted": (2, 1000), "rated": (1, 1000), "unrated": (1, 0)}


async def test_a_mapping_that_only_fills_in_leaves_what_radius_knew_where_it_is(world: BillingWorld) -> None:
    old, new = await world.activate(DATA), await world.activate(DATA)
    await mediated(world, old, (berlin(2026, 9, 1, 13), 0, 0), (berlin(2026, 9, 1, 14), 0, 1000))
    assert (await give(world, new, NOON, overrides=False)).moved == ()
    assert await used(world, old) == (0, 1000)


async def test_what_is_mediated_while_the_log_is_read_is_moved_once_with_what_was_before(
    world: BillingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = await world.activate(DATA), await world.activate(DATA)
    await mediated(
        world, old, (berlin(2026, 9, 1, 13), 0, 0), (berlin(2026, 9, 1, 14), 0, 1000),
        (berlin(2026, 9, 1, 15), 0, 1500),
    )  # fmt: skip
    monkeypatch.setattr(moving, "_AT_ONCE", 1)
    seen: list[int] = []

    async def reading(*args: Any) -> moving.Ahead:
        ahead = await moving.read_ahead(*args)
        assert ahead is not None
        await mediated(world, old, (berlin(2026, 9, 1, 16), 0, 1800))
        seen.append(len(ahead.records))
        return ahead

    monkeypatch.setattr(service, "read_ahead", reading)
    (moved,) = (await give(world, new, NOON)).moved
    assert (seen, moved.octets, moved.records) == ([3], 1800, 3)
    assert (await used(world, old), await used(world, new)) == ((0, 0), (0, 1800))
    assert await counted(world) == {"accepted": (4, 1800), "rated": (3, 1800), "unrated": (1, 0)}


async def test_octets_of_another_source_are_moved_too(world: BillingWorld) -> None:
    sources, intake = world.sources, Intake(world.database, world.clock, BillingSettings(zone=BERLIN))
    old, new = await world.activate(DATA), await world.activate(DATA)
    now = world.clock.now()
    made = Source(
        "wifi", "Hotspots", "octets", USERNAME, True, False, None, None, None, 0, FIRST_PREVIOUS, now, "", None
    )
    await sources.register(made, actor="user:anna")
    await sources.assign(None, "octets", berlin(2026, 9, 1), "wifi", actor="user:anna", reason="no RADIUS there")
    await give(world, old, berlin(2026, 9, 1))
    world.clock.move_to(berlin(2026, 9, 1, 14))
    fact = Fact("e1", 1, "alice", berlin(2026, 9, 1, 11, 30), berlin(2026, 9, 1, 13), "{}", 100, 1000)
    await intake.deliver("wifi", [fact], title="hour", content=fact.digest, complete_until=None, actor="user:anna")
    (moved,) = (await give(world, new, NOON)).moved
    assert (moved.octets, moved.records) == (67 + 667, 1)
    assert (await used(world, old), await used(world, new)) == ((33, 333), (67, 667))
    assert await counted(world) == {"accepted": (1, 1100), "rated": (1, 1100)}


async def test_a_day_without_a_plan_is_counted_once_whatever_is_decided_about_it(world: BillingWorld) -> None:
    line = await world.activate(DATA)
    await world.terminate(line)
    await mediated(world, line, (berlin(2026, 9, 1, 23), 0, 0), (berlin(2026, 9, 2, 1), 0, 1000))
    assert await counted(world) == {"accepted": (2, 1000), "unrated": (1, 0), "suspense": (1, 1000)}
    first, second = [v.item for v in await world.suspense.page(Wanted(), 0, 9)]
    await world.suspense.write_off(first.suspense_id, actor="user:anna", reason="a gift")
    assert await counted(world) == {"accepted": (2, 1000), "unrated": (1, 500), "suspense": (1, 500)}
    await world.suspense.write_off(second.suspense_id, actor="user:anna", reason="a gift")
    assert await counted(world) == {"accepted": (2, 1000), "unrated": (2, 1000)}


async def test_a_part_that_waited_and_is_cut_again_is_shared_as_its_record_says(world: BillingWorld) -> None:
    """6 octets in four hours: the second hour has 2 of them, and not a third of the 5 of the last three."""
    first, last = await world.activate(DATA), await world.activate(DATA)
    await give(world, first, berlin(2026, 9, 1, 9), overrides=False)
    await give(world, None, berlin(2026, 9, 1, 11), overrides=False)
    await world.account_for(first, (berlin(2026, 9, 1, 10), 0, 0), (berlin(2026, 9, 1, 14), 0, 6), unmapped=True)
    await world.mediation.catch_up(await world.usage.watermark())
    assert await used(world, first) == (0, 1)
    await give(world, last, NOON, overrides=False)
    (waits,) = await world.suspense.page(Wanted(), 0, 9)
    assert (await used(world, last), waits.item.octets) == ((0, 3), 2)
    assert await counted(world) == {"accepted": (2, 6), "rated": (0, 4), "unrated": (1, 0), "suspense": (1, 2)}
