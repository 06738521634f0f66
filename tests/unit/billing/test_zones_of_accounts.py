"""Accounts of one legal entity in zones of their own: each is billed by its own days, in the same run.

What is expected is worked out here from wall clocks alone, apart from how mediation cuts and billing counts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, insert, select

from billing_bridge.settings import BillingSettings
from billing_bridge.sources.identifiers import SERVICE, USERNAME
from billing_bridge.sources.intake import Intake
from billing_bridge.sources.model import Fact, Source
from billing_bridge.sources.tables import call
from billing_bridge.suspense.repository import Wanted as Waiting
from billing_bridge.tables import account_terms, usage_day, usage_interval
from controller.domain.events import ServiceOrdered
from controller.domain.identity import OfferingVersionId, OrderId, ServiceId, SubscriptionId, new_id
from controller.domain.price import Band, Flat, Free, Overage, PricePlan, ProductKind
from controller.domain.units import GB
from controller.store.engine import Database
from controller.store.usage_chain import FIRST_PREVIOUS
from erp.crm.errors import NoZone
from erp.crm.hierarchy import HierarchyService
from erp.finance.model import InvoiceLine, Wanted
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BillingWorld, Line
from tests.support.usage_sources import VOICE, cdr, owns, pbx, send, sources_api, voice_plan

PLAN, NIGHTS, EVERY = "a" * 32, "9" * 32, "8" * 32
ZONES = ["Pacific/Apia", "Australia/Lord_Howe", "Europe/Berlin", "America/St_Johns"]
"""13 hours ahead of UTC all year; 11, and 10:30 from 4 April on; 1, and 2 from 28 March on; 2:30 behind from 14 March
on, 3:30 before. In the order in which a day begins in them."""
MARCH, APRIL, MAY = date(2027, 3, 1), date(2027, 4, 1), date(2027, 5, 1)
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Held:
    zone: ZoneInfo
    line: Line

    def at(self, day: date, hour: int = 0, minute: int = 0) -> datetime:
        """The instant of a time on its own clock."""
        return datetime(day.year, day.month, day.day, hour, minute, tzinfo=self.zone).astimezone(UTC)


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    made = BillingWorld(
        database, tmp_path, [tariff(PLAN, "31.00", included=GB)], datetime(2027, 2, 27, 12, tzinfo=UTC), checked=True
    )
    await made.entity()
    await made.launch()
    try:
        yield made
    finally:
        await made.close()


async def held(world: BillingWorld, day: date, plan: str = PLAN) -> list[Held]:
    """A line for each zone, verified ten minutes after its own midnight."""
    found = []
    for name in ZONES:
        zone = ZoneInfo(name)
        account = await world.customer(f"Somebody in {name}", None if name == "Europe/Berlin" else name)
        world.clock.move_to(datetime(day.year, day.month, day.day, 0, 10, tzinfo=zone).astimezone(UTC))
        found.append(Held(zone, await world.activate(plan, account)))
    return found


async def lines(world: BillingWorld) -> dict[str, list[InvoiceLine]]:
    """What a run bills, by service; every line is explained, and the run's certificate was made."""
    run_id = await world.bill()
    run = await world.billing.bill_run(run_id)
    assert run.state == "done", run.error
    found: dict[str, list[InvoiceLine]] = {}
    for invoice in await world.finance.invoices(Wanted(bill_run_id=run_id), after=None, limit=99):
        for line in await world.finance.lines(invoice.invoice_id):
            explained = await world.explainer.explain(line.line_id)
            assert explained.intact, explained.faults
            found.setdefault(str(line.service_id), []).append(line)
    return found


async def days(database: Database, line: Line) -> dict[date, int]:
    query = select(usage_day).where(usage_day.c.service_id == line.service_id)
    async with database.read() as conn:
        rows = (await conn.execute(query)).all()
    return {r.day: n for r in rows if (n := r.upstream_octets + r.downstream_octets)}


async def test_each_account_is_billed_by_its_own_days_in_the_same_run(world: BillingWorld, database: Database) -> None:
    everybody = await held(world, MARCH)
    first = await lines(world)
    assert {len(found) for found in first.values()} == {1}
    for one in everybody:
        (fee,) = first[one.line.service_id]
        assert (fee.first_on, fee.until_on, fee.net.minor) == (MARCH, APRIL, 3100)
    for one in everybody:
        # Two minutes over its midnight, a quarter of the octets before it.
        begins = one.at(APRIL)
        await world.account_for(
            one.line, (begins - 5 * MINUTE, 0, 0), (begins + 15 * MINUTE, 0, 8 * GB), (one.at(APRIL, 12), 0, 11 * GB)
        )
    for one in everybody:
        world.clock.move_to(one.at(APRIL) - MINUTE)
        assert one.line.service_id not in await lines(world), "its month is not over"
        world.clock.move_to(one.at(APRIL))
        found = {n.kind: (n.first_on, n.until_on, n.net.minor) for n in (await lines(world))[one.line.service_id]}
        assert await days(database, one.line) == {date(2027, 3, 31): 2 * GB, APRIL: 9 * GB}
        # Of 2 GB before midnight 1 is included; the others are of the month that begins.
        assert found == {"recurring": (APRIL, MAY, 3100), "usage": (MARCH, APRIL, 50)}
    world.clock.move_to(everybody[-1].at(MAY, 13))
    again = await lines(world)
    for one in everybody:
        found = {n.kind: (n.first_on, n.until_on, n.net.minor) for n in again[one.line.service_id]}
        assert found == {"recurring": (MAY, date(2027, 6, 1), 3100), "usage": (APRIL, MAY, 400)}
    assert await lines(world) == {}, "nothing is left to bill"
    assert await world.sources.faults() == []


async def test_a_period_of_its_own_begins_on_the_day_that_it_is_there(world: BillingWorld, database: Database) -> None:
    for name in ZONES:
        account, here = await world.customer(zone=name), ZoneInfo(name)
        async with database.begin() as conn:
            terms = {"account_id": account, "anchor_day": 0, "changed_at": world.clock.now()}
            await conn.execute(insert(account_terms).values(terms))
        world.clock.move_to(datetime(2027, 3, 15, 0, 10, tzinfo=here).astimezone(UTC))
        line = await world.activate(PLAN, account)
        (fee,) = (await lines(world))[line.service_id]
        assert (fee.first_on, fee.until_on, fee.net.minor) == (date(2027, 3, 15), date(2027, 4, 15), 3100)


async def test_days_meet_without_gap_or_overlap_where_clocks_are_changed(
    world: BillingWorld, database: Database
) -> None:
    everybody = await held(world, MARCH)
    seconds = {}
    for one in everybody:
        since, until = one.at(date(2027, 3, 12)), one.at(date(2027, 4, 6))
        total = int((until - since).total_seconds())
        await world.account_for(one.line, (since, 0, 0), (until, 0, total))  # an octet a second
        seconds[one.line.service_id] = {
            day: int((one.at(day + timedelta(days=1)) - one.at(day)).total_seconds())
            for day in (date(2027, 3, 12) + timedelta(days=n) for n in range(25))
        }
    world.clock.move_to(everybody[-1].at(date(2027, 4, 7)))
    await world.mediation.catch_up(await world.usage.watermark())
    for one in everybody:
        assert await days(database, one.line) == seconds[one.line.service_id]
    lengths = {one.zone.key: sorted({n // 60 for n in seconds[one.line.service_id].values()}) for one in everybody}
    assert lengths == {
        "Pacific/Apia": [1440],
        "Australia/Lord_Howe": [1440, 1470],
        "Europe/Berlin": [1380, 1440],
        "America/St_Johns": [1380, 1440],
    }


async def order(world: BillingWorld, line: Line) -> None:
    now = world.clock.now()
    event = ServiceOrdered(
        event_id=new_id(now), at=now, actor="user:test", order_id=OrderId(new_id(now)),
        subscription_id=line.subscription_id, service_id=line.service_id, account_id=line.account_id,
        version_id=OfferingVersionId(PLAN), action="add",
    )  # fmt: skip
    await world.tell(event)


@pytest.mark.parametrize("ordered", [True, False])
async def test_what_was_used_before_a_service_was_known_is_put_on_its_own_days(
    world: BillingWorld, database: Database, ordered: bool
) -> None:
    """An order says in time in which zone; without one nobody knows until the service is verified."""
    zone = ZoneInfo("Pacific/Apia")
    account = await world.customer("Somebody in Apia", zone.key)
    now = world.clock.now()
    line = Line(account, SubscriptionId(new_id(now)), ServiceId(new_id(now)), new_id(now))
    one = Held(zone, line)
    if ordered:
        await order(world, line)
    day = date(2027, 3, 2)
    midnight = one.at(day)
    world.clock.move_to(midnight + 30 * MINUTE)
    await world.account_for(
        line, (midnight - 20 * MINUTE, 0, 0), (midnight + 10 * MINUTE, 1, 2 * GB), (midnight + 20 * MINUTE, 1, 5 * GB)
    )
    await world.mediation.catch_up(await world.usage.watermark())
    known = {date(2027, 3, 1): 4 * GB // 3, day: 11 * GB // 3 + 2}
    if ordered:
        assert sum((await days(database, line)).values()) == sum(known.values())
        assert await days(database, line) == known
    else:
        # By the usual days all of it is of one: in Berlin it was noon.
        assert list(await days(database, line)) == [date(2027, 3, 1)]
    assert await world.sources.faults() == []
    world.clock.move_to(midnight + 40 * MINUTE)
    await world.activate_as(PLAN, line)
    assert await days(database, line) == known
    assert await world.sources.faults() == []
    (total,) = [hour for hour in await world.sources.totals() if hour.source == "radius"]
    assert total.adds_up
    assert (total.rated[1], total.suspense[1]) == (known[day], known[date(2027, 3, 1)])
    world.clock.move_to(one.at(date(2027, 4, 1), 1))
    found = (await lines(world))[line.service_id]
    used = [n for n in found if n.kind == "usage"]
    assert [(n.first_on, n.until_on) for n in used] == [(day, APRIL)]
    assert await world.sources.faults() == []
    async with database.read() as conn:
        count = await conn.scalar(select(func.count()).select_from(usage_interval))
    assert count == (3 if ordered else 7), "two reversals, and the parts of both anew"


async def test_what_was_written_off_before_a_service_was_known_stays_written_off(
    world: BillingWorld, database: Database
) -> None:
    account = await world.customer("Somebody in Apia", "Pacific/Apia")
    now = world.clock.now()
    line = Line(account, SubscriptionId(new_id(now)), ServiceId(new_id(now)), new_id(now))
    midnight = Held(ZoneInfo("Pacific/Apia"), line).at(date(2027, 3, 2))
    world.clock.move_to(midnight + 30 * MINUTE)
    await world.account_for(line, (midnight - 20 * MINUTE, 0, 0), (midnight + 10 * MINUTE, 1, 2 * GB))
    await world.mediation.catch_up(await world.usage.watermark())
    (item,) = await world.suspense.page(Waiting(), 0, 10)
    await world.suspense.write_off(item.item.suspense_id, actor="user:test", reason="an installer's test")
    await world.account_for(line, (midnight + 20 * MINUTE, 1, 5 * GB))
    await world.mediation.catch_up(await world.usage.watermark())
    await world.activate_as(PLAN, line)
    assert await days(database, line) == {date(2027, 3, 1): 2 * GB + 1, date(2027, 3, 2): 3 * GB}
    (total,) = await world.sources.totals()
    assert (total.rated[1], total.unrated[1], total.suspense[1]) == (3 * GB, 2 * GB + 1, 0)
    assert await world.sources.faults() == []


@pytest.mark.parametrize("zone", ["Pacific/Apia", "America/St_Johns"])
async def test_what_is_only_compared_is_of_the_same_days(world: BillingWorld, zone: str) -> None:
    account, now = await world.customer(zone=zone), world.clock.now()
    one = Held(ZoneInfo(zone), await world.activate(PLAN, account))
    made = Source("flows", "Flows", "octets", SERVICE, False, False, None, None, None, 0, FIRST_PREVIOUS, now, "", None)
    await world.sources.register(made, actor="user:test")
    since, until = one.at(APRIL) - 15 * MINUTE, one.at(APRIL) + 45 * MINUTE
    world.clock.move_to(until + MINUTE)
    told = Fact("1", 1, one.line.service_id, since, until, "1", 0, 4 * GB)
    intake = Intake(world.database, world.clock, BillingSettings(zone=ZoneInfo("Europe/Berlin")))
    await intake.deliver("flows", [told], title="1", content=b"1", complete_until=None, actor="user:test")
    found = await world.sources.compared(one.line.service_id, MARCH, MAY)
    assert {said.day: said.downstream_octets for said in found} == {date(2027, 3, 31): GB, APRIL: 3 * GB}


@pytest.mark.parametrize("told", ["late", "before", "waiting"])
async def test_a_username_that_changes_hands_between_zones_is_cut_at_the_midnights_of_either(
    world: BillingWorld, database: Database, told: str
) -> None:
    """Late: what was booked is moved. Before: it is cut when it comes. Waiting: it is nobody's until somebody says."""
    world.prices.add(tariff(EVERY, "0.00", included=0, overage="1.00", unit="MB"))
    apia, lord_howe, _, _ = await held(world, MARCH, EVERY)
    since, until = datetime(2027, 3, 10, 5, 0, tzinfo=UTC), datetime(2027, 3, 13, 5, 0, 1, 7, tzinfo=UTC)
    handed = datetime(2027, 3, 11, 3, 17, 4, 11, tzinfo=UTC)
    world.clock.move_to(until + MINUTE)

    async def give(to: Held | None) -> None:
        service_id = None if to is None else to.line.service_id
        await world.suspense.give(
            USERNAME, "alice", handed, service_id, overrides=True, actor="user:test", reason="told late"
        )

    if told != "late":
        await give(lord_howe if told == "before" else None)
    await world.account_for(apia.line, (since, 0, 0), (until, 11, 1_000_003))
    await world.mediation.catch_up(await world.usage.watermark())
    if told == "late":
        await give(lord_howe)
    elif told == "waiting":
        await world.suspense.give(
            USERNAME, "alice", handed + timedelta(seconds=1), lord_howe.line.service_id, overrides=True,
            actor="user:test", reason="told late",
        )  # fmt: skip
    theirs, ours = await days(database, apia.line), await days(database, lord_howe.line)
    lost = 4 if told == "waiting" else 0  # octets of the second in which it is still nobody's
    assert 1_000_014 - lost <= sum([*theirs.values(), *ours.values()]) <= 1_000_014

    def share(a: datetime, b: datetime) -> float:
        return 1_000_014 * (b - a) / (until - since)

    of_apia = [since, apia.at(date(2027, 3, 11)), handed]
    assert list(theirs) == [date(2027, 3, 10), date(2027, 3, 11)]
    assert list(theirs.values()) == pytest.approx([share(*cut) for cut in pairwise(of_apia)], abs=2)
    of_howe = [handed, lord_howe.at(date(2027, 3, 12)), lord_howe.at(date(2027, 3, 13)), until]
    assert list(ours) == [date(2027, 3, 11), date(2027, 3, 12), date(2027, 3, 13)]
    assert list(ours.values()) == pytest.approx([share(*cut) for cut in pairwise(of_howe)], abs=5)
    assert await world.sources.faults() == []
    world.clock.move_to(lord_howe.at(APRIL, 23))
    found = await lines(world)
    assert {apia.line.service_id, lord_howe.line.service_id} <= found.keys(), "what was used is billed, and explained"


async def test_hours_are_those_of_the_clock_of_each_account(world: BillingWorld) -> None:
    week = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    night, rest = (Band(days=week, until_minute=360),), (Band(days=week, from_minute=360),)
    prices = (Flat(code="fee", amount=Decimal(20)), Overage(code="over", price=Decimal("0.50"), bands=rest),
              Free(code="night", bands=night))  # fmt: skip
    world.prices.add(replace(tariff(NIGHTS, "20.00"), plan=PricePlan(prices=prices)))
    everybody = await held(world, MARCH, NIGHTS)
    day = date(2027, 3, 28)  # on which clocks are put forward in Berlin
    for one in everybody:
        await world.account_for(
            one.line, (one.at(day, 4), 0, 0), (one.at(day, 5, 30), 0, 3 * GB), (one.at(day, 12), 0, 3 * GB),
            (one.at(day, 13), 0, 5 * GB),
        )  # fmt: skip
    world.clock.move_to(everybody[-1].at(APRIL, 1))
    found = await lines(world)
    for one in everybody:
        used = [n.net.minor for n in found[one.line.service_id] if n.kind == "usage"]
        assert [minor for minor in used if minor] == [100], "what was used at night is free"


@pytest.mark.parametrize("zone", ["Pacific/Apia", "America/St_Johns"])
async def test_calls_are_of_the_days_of_the_account(world: BillingWorld, database: Database, zone: str) -> None:
    world.prices.add(
        replace(tariff(VOICE, "5.00", name="Phone"), plan=voice_plan(), kind=ProductKind.VOICE, speed=None)
    )
    account = await world.customer(zone=zone)
    here = ZoneInfo(zone)
    world.clock.move_to(datetime(2027, 3, 1, 0, 10, tzinfo=here).astimezone(UTC))
    one = Held(here, await world.activate(VOICE, account))
    calls = [one.at(APRIL) - 2 * MINUTE, one.at(APRIL) + 2 * MINUTE, one.at(APRIL) + 3 * MINUTE]
    world.clock.move_to(one.at(APRIL, 12))
    async with sources_api(world, world.sources) as api:
        await pbx(api)
        await owns(api, "4930555100", one.line, world.clock.now() - timedelta(days=20))
        await send(api, *(cdr(n, at, 65, "0891234") for n, at in enumerate(calls)))
    async with database.read() as conn:
        booked = await conn.execute(select(call.c.at, call.c.day).order_by(call.c.at))
    assert [(row.at, row.day) for row in booked] == [
        (at, day) for at, day in zip(calls, (date(2027, 3, 31), APRIL, APRIL), strict=True)
    ]
    used = {n.first_on: n.net.minor for n in (await lines(world))[one.line.service_id] if n.kind == "usage"}
    assert used == {MARCH: 7}
    world.clock.move_to(one.at(MAY, 1))
    used = {n.first_on: n.net.minor for n in (await lines(world))[one.line.service_id] if n.kind == "usage"}
    assert used == {APRIL: 13}
    assert await world.sources.faults() == []


async def test_a_run_waits_for_usage_until_the_last_day_that_has_begun_anywhere(world: BillingWorld) -> None:
    at = datetime(2027, 3, 31, 12, tzinfo=UTC)
    assert await world.sources.needed(at) == datetime(2027, 3, 30, 22, tzinfo=UTC), "the day that it is in Berlin"
    await world.customer("Somebody in Apia", "Pacific/Apia")
    await world.customer("Somebody in St. John's", "America/St_Johns")
    await world.bus.drain()
    # In Apia it is the first of April since 11:00, and in Berlin from 22:00 on: that must be waited for, too.
    assert await world.sources.needed(at) == datetime(2027, 3, 31, 11, tzinfo=UTC)
    assert await world.sources.needed(at + timedelta(hours=11)) == datetime(2027, 3, 31, 22, tzinfo=UTC)


async def test_what_a_company_pays_for_is_of_the_days_of_who_has_it(world: BillingWorld) -> None:
    """One document, of the seller's day, with lines that begin and end by different clocks."""
    everybody = await held(world, MARCH)
    berlin = everybody[2]
    hierarchy = HierarchyService(world.database, world.clock)
    for one in everybody:
        if one is not berlin:
            await hierarchy.set_parent(one.line.account_id, berlin.line.account_id, since=MARCH, actor="user:test")
    await world.bus.drain()
    world.clock.move_to(berlin.at(APRIL, 12))
    run_id = await world.bill()
    (invoice,) = await world.finance.invoices(Wanted(bill_run_id=run_id), after=None, limit=99)
    assert (invoice.account_id, invoice.issued_on) == (berlin.line.account_id, APRIL)
    found = [(n.service_id, n.first_on) for n in await world.finance.lines(invoice.invoice_id)]
    assert sorted(found) == sorted((one.line.service_id, day) for one in everybody for day in (MARCH, APRIL))


async def test_an_account_is_not_opened_in_a_zone_that_there_is_not(world: BillingWorld) -> None:
    for name in ("Mars/Olympus_Mons", "localtime", "", "../etc/passwd", "EST"):
        with pytest.raises(NoZone, match="IANA"):
            await world.customer(zone=name)
