"""What is live and not billed, and billed and not live, by RADIUS, OLTs and stock; and the three counts of a night."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from billing_bridge.checks import compared, leak_rows
from billing_bridge.checks.billed import BilledLines
from billing_bridge.checks.compared import Wanted
from billing_bridge.checks.leakage import BILLED_NOT_LIVE, LIVE_NOT_BILLED, Leak
from billing_bridge.checks.reconcile import DIFFERS, EXPLAINED, MOVED_AWAY, MOVED_HERE
from billing_bridge.checks.recount import Recount
from billing_bridge.checks.tables import leak
from billing_bridge.settings import BillingSettings
from billing_bridge.sources.identifiers import USERNAME
from billing_bridge.sources.tables import compared as usage_compared
from billing_bridge.tables import usage_day
from collectors.netconf.model import OnuState
from collectors.onus import OnuSightings
from controller.domain.identity import ServiceId, new_id
from controller.domain.money import Money
from controller.domain.price import Band, Flat, Free, Overage, PricePlan
from controller.domain.service import SpeedProfile
from controller.domain.units import GB
from controller.domain.usage import CounterSample
from controller.store.engine import Database
from controller.store.metadata import to_micros
from controller.workflows import reconciliation
from controller.workflows.assurance_nights import AssuranceNights
from controller.workflows.leakage import Leakage
from controller.workflows.reconciliation import NotOver, Reconciliation
from controller.workflows.routes_assurance import endpoints
from erp.catalog.model import Product, VersionTerms
from erp.catalog.service import CatalogService
from erp.inventory.model import StockState
from erp.inventory.service import InventoryService
from erp.inventory.tables import item
from radius.accounting.tables import sessions
from radius.live import LiveAccess
from radius.tables import subscriber
from tests.support.api import api_client
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BERLIN, BillingWorld, Line, berlin
from tests.support.plans import plan_of
from tests.support.series import FakeTimeSeries

PLAN, NIGHTS = "a" * 32, "9" * 32


class Access:
    """An AccessMap of what a test says."""

    def __init__(self) -> None:
        self.services: dict[str, ServiceId] = {}

    async def services_by_onu(self) -> Mapping[str, ServiceId]:
        return self.services


class Network:
    """A billing world beside what RADIUS, OLTs and stock of a test show."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.database = database
        self.world = BillingWorld(database, directory, [tariff(PLAN, "30.00", included=10 * GB)], berlin(2026, 9, 1, 9))
        self.clock = self.world.clock
        self.catalog = CatalogService(database, self.clock)
        self.inventory = InventoryService(database, self.clock)
        self.onus, self.access, self.series = OnuSightings(database), Access(), FakeTimeSeries()
        self.leakage = Leakage(
            database,
            self.clock,
            BERLIN,
            "EUR",
            billed=BilledLines(database),
            catalog=self.catalog,
            inventory=self.inventory,
            radius=LiveAccess(database),
            onus=self.onus,
            access=self.access,
        )
        self.reconciliation = Reconciliation(
            database,
            self.clock,
            BERLIN,
            recount=Recount(database, self.world.usage, BillingSettings(zone=BERLIN)),
            mediation=self.world.mediation,
            usage=self.world.usage,
            series=self.series,
            access=self.access,
        )

    async def login(self, username: str, service_id: str, *, bps: int = 100_000_000, enabled: bool = True) -> None:
        values: dict[str, Any] = {
            "username": username,
            "service_id": service_id,
            "password": b"sealed",
            "profile_name": "p100",
            "downstream_bps": bps,
            "upstream_bps": bps // 2,
            "enabled": enabled,
            "withdrawn": False,
            "revision": 1,
            "updated_at": self.clock.now(),
        }
        async with self.database.begin() as conn:
            await conn.execute(insert(subscriber).values(values))

    async def session(self, username: str, service_id: str | None, at: datetime, *, live: bool = True) -> None:
        us = to_micros(at)
        values: dict[str, Any] = {
            "session_key": new_id(at),
            "revision": 1,
            "last_event_us": us,
            "last_seen_us": us,
            "upstream_octets": GB,
            "downstream_octets": 9 * GB,
            "recent": b"",
            "state": "live" if live else "ended",
            "started_us": us,
            "start_seen": True,
            "provisional": False,
            "final_unknown": False,
            "counter_fell": False,
            "service_id": service_id,
            "nas_id": "n" * 32,
            "acct_session_id": f"{username}/{us}".encode(),
            "life": 1,
            "username": username,
            "interim_s": 300,
        }
        async with self.database.begin() as conn:
            await conn.execute(insert(sessions).values(values))

    async def sells(self, name: str, fee: str, bps: int) -> None:
        terms = VersionTerms(
            effective_on=self.clock.now().date(),
            currency="EUR",
            tax_percent=Decimal(19),
            plan=plan_of(fee),
            speed=SpeedProfile(f"p-{bps // 10**6}", bps, bps // 2),
        )
        await self.catalog.create_offering(Product(name), terms, actor="user:t")

    async def sees(self, *serials: str) -> None:
        states = [OnuState(s, "v-ani", True, "pon-1", None, None, None, None) for s in serials]
        await self.onus.note("d" * 32, states, self.clock.now())

    async def leaks(self, side: str) -> dict[str, Leak]:
        return {leak.key: leak for leak in await self.leakage.look() if leak.side == side}

    async def live_line(self, username: str) -> Line:
        """A line as it should be: billed, with a login and a session."""
        line = await self.world.activate(PLAN)
        await self.login(username, line.service_id)
        await self.session(username, line.service_id, self.clock.now())
        return line


@pytest.fixture
async def network(database: Database, tmp_path: Path) -> AsyncIterator[Network]:
    made = Network(database, tmp_path)
    await made.world.entity()
    try:
        yield made
    finally:
        await made.world.close()


async def test_lines_as_they_should_be_are_on_no_list(network: Network) -> None:
    await network.live_line("erika")
    assert not await network.leakage.look()


async def test_a_user_made_by_hand_appears_at_once_with_the_fee_of_its_speed(network: Network) -> None:
    await network.live_line("erika")
    await network.sells("Fibre 100", "39.90", 100_000_000)
    await network.sells("Fibre 500", "59.90", 500_000_000)
    await network.login("by-hand", "f" * 32, bps=500_000_000)
    network.clock.advance(timedelta(days=10))
    await network.session("erika-2", None, network.clock.now(), live=False)
    found = await network.leaks(LIVE_NOT_BILLED)
    by_hand = found["f" * 32]
    assert by_hand.monthly == Money(5990, "EUR")
    assert by_hand.per_day == Money(197, "EUR")
    assert (by_hand.days, by_hand.lost) == (10, Money(1969, "EUR"))
    assert "Fibre 500" in by_hand.price_from
    unknown = found["session:erika-2"]
    assert unknown.monthly == Money(3000, "EUR"), "the median of what is billed"


async def test_an_onu_made_by_hand_appears_and_one_that_is_sold_does_not(network: Network) -> None:
    line = await network.live_line("erika")
    network.access.services["NOKI00000001"] = line.service_id
    await network.sees("NOKI00000001", "NOKI0000BAD1")
    (leak,) = (await network.leaks(LIVE_NOT_BILLED)).values()
    assert (leak.title, leak.monthly) == ("NOKI0000BAD1", Money(3000, "EUR"))
    assert leak.evidence[0].detail == "at pon-1"
    network.clock.advance(timedelta(days=3))
    assert not await network.leaks(LIVE_NOT_BILLED), "it is not seen any more"


async def test_a_terminated_line_that_still_carries_traffic_appears_with_its_old_fee(network: Network) -> None:
    line = await network.live_line("erika")
    network.clock.advance(timedelta(days=20))
    await network.world.terminate(line)
    network.clock.advance(timedelta(days=5))
    await network.session("erika", line.service_id, network.clock.now())
    (leak,) = (await network.leaks(LIVE_NOT_BILLED)).values()
    assert (leak.monthly, leak.days, leak.account_id) == (Money(3000, "EUR"), 5, line.account_id)
    assert {sight.what for sight in leak.evidence} == {"login", "session"}


async def test_a_device_at_a_customers_without_a_line_appears(network: Network) -> None:
    made = await network.inventory.receive(kind="onu", model="G-010", serial="NOKI00000009", why="new", actor="user:t")
    async with network.database.begin() as conn:
        gone = {"state": StockState.AWAITING_RETURN.value, "service_id": "e" * 32, "holder": "Erika"}
        await conn.execute(update(item).where(item.c.item_id == made.item_id).values(gone))
    (leak,) = (await network.leaks(LIVE_NOT_BILLED)).values()
    assert leak.evidence[0].detail == "G-010, awaiting-return, with Erika"
    assert leak.monthly == Money(0, "EUR"), "nothing is sold as its rent"


async def test_a_billed_line_that_is_refused_or_silent_appears(network: Network) -> None:
    silent, refused = await network.live_line("silent"), await network.world.activate(PLAN)
    await network.login("refused", refused.service_id, enabled=False)
    never = await network.world.activate(PLAN)
    network.clock.advance(timedelta(days=9))
    async with network.database.begin() as conn:
        await conn.execute(update(sessions).values(state="ended"))
    found = await network.leaks(BILLED_NOT_LIVE)
    assert found.keys() == {silent.service_id, refused.service_id, never.service_id}
    assert "its login is refused" in found[refused.service_id].title
    assert "nothing heard since 2026-09-01" in found[silent.service_id].title
    assert found[never.service_id].lost == Money(888, "EUR")
    await network.world.pause(silent, network.clock.now().date(), None)
    assert silent.service_id not in await network.leaks(BILLED_NOT_LIVE), "a pause is no leak"


async def test_the_lists_over_http_and_the_sums_of_a_night(network: Network) -> None:
    await network.login("by-hand", "f" * 32)
    nights = AssuranceNights(network.clock, BERLIN, network.leakage, network.reconciliation)
    assert await nights.once()
    assert not await nights.once()
    async with api_client(endpoints(network.leakage, network.reconciliation), clock=network.clock) as api:
        (leak,) = (await api.get("/leakage")).json()["items"]
        assert leak["evidence"][0]["ref"] == "by-hand"
        assert (await api.get("/leakage?side=billed-not-live")).json()["items"] == []
        await network.login("later", "e" * 32)
        assert len((await api.get("/leakage")).json()["items"]) == 1, "a page does not look"
        network.clock.advance(timedelta(minutes=1))
        looked = (await api.post("/leakage", json={})).json()["days"]
        assert [(d["side"], d["items"]) for d in looked] == [("billed-not-live", 0), ("live-not-billed", 2)]
        first = (await api.get("/leakage?limit=1")).json()
        second = (await api.get("/leakage", params={"limit": 1, "after": first["next"]})).json()
        assert {first["items"][0]["key"], second["items"][0]["key"]} == {"e" * 32, "f" * 32}
        assert second["next"] is None
        async with network.database.begin() as conn:
            await conn.execute(update(subscriber).where(subscriber.c.username == "later").values(withdrawn=True))
        await api.post("/leakage", json={})
        assert len((await api.get("/leakage")).json()["items"]) == 1, "a look leaves nothing of the one before"
        days = (await api.get("/leakage/days")).json()["days"]
        assert [(d["side"], d["items"]) for d in days] == [("billed-not-live", 0), ("live-not-billed", 1)]
        assert (await api.post("/reconciliation", json={})).json() == {"days": []}
        refused = await api.post("/reconciliation", json={"day": "2026-09-01"})
        assert refused.json()["code"] == "day-not-over"


async def test_the_first_reader_looks_where_nobody_ever_did(network: Network) -> None:
    await network.login("by-hand", "f" * 32)
    (found,) = await network.leakage.page(LIVE_NOT_BILLED, 0, 10)
    (looked,) = (await network.leaks(LIVE_NOT_BILLED)).values()
    assert found.leak == looked, "what is kept is what was found"
    assert found.looked_at == network.clock.now()


async def test_a_look_that_a_crash_cut_off_is_never_read_and_goes_with_a_later_one(network: Network) -> None:
    await network.login("by-hand", "f" * 32)
    await network.leakage.note()
    cut_off_at = network.clock.now() + timedelta(minutes=1)
    async with network.database.begin() as conn:
        await leak_rows.add(conn, cut_off_at, [(LIVE_NOT_BILLED, rank, "cut off") for rank in range(1, 2502)])
    (found,) = await network.leakage.page(LIVE_NOT_BILLED, 0, 10)
    assert (found.leak.title, found.looked_at) == ("by-hand", network.clock.now())
    network.clock.advance(timedelta(hours=2))
    await network.leakage.note()
    async with network.database.read() as conn:
        kept = (await conn.execute(select(leak.c.looked_at, leak.c.rank))).all()
    assert [tuple(row) for row in kept] == [(network.clock.now(), 1)], "of the two before nothing is left"


async def test_a_look_by_hand_before_the_night_does_not_spare_the_night(network: Network) -> None:
    await network.leakage.note()
    nights = AssuranceNights(network.clock, BERLIN, network.leakage, network.reconciliation)
    network.clock.move_to(berlin(2026, 9, 2, 1))
    await network.leakage.note()
    network.clock.move_to(berlin(2026, 9, 2, 3))
    assert await nights.once()
    assert await network.leakage.looked_at() == network.clock.now()


async def carry(network: Network, line: Line, *, counter_share: float = 1.031, days: int = 9) -> None:
    """Interims of every hour, and an OLT that counts the same in frames."""
    world, total, start = network.world, 0, berlin(2026, 9, 1, 9)
    totals, samples = [], []
    tags = (("service", str(line.service_id)), ("direction", "downstream"))
    for hour in range(24 * days):
        at = start + timedelta(hours=hour + 1)
        grown = 500_000_000 + hour % 7 * 10_000_000
        total += grown
        totals.append((at, 0, total))
        # A sample is of the hour that ends with it.
        samples.append(CounterSample("olt_onu", tags, "octets", at - timedelta(seconds=30), int(grown * counter_share)))
    network.clock.move_to(start + timedelta(days=days))
    await world.account_for(line, *totals)
    await network.series.write(samples)
    network.access.services["NOKI00000001"] = line.service_id


async def test_three_counts_agree_by_night_and_one_per_cent_of_loss_is_found(network: Network) -> None:
    line = await network.world.activate(PLAN)
    await carry(network, line)
    last = date(2026, 9, 9)
    totals = await network.reconciliation.run(last, 8)
    assert [t.differing for t in totals] == [0] * len(totals)
    assert all(t.radius == t.billed for t in totals)
    (row,) = await network.reconciliation.page(Wanted(last), None, 10)
    assert (row.verdict, row.unexplained) == (EXPLAINED, 0)
    assert "the days before" in row.reasons[0].text
    # One per cent of the records of a day is lost between RADIUS and the bill.
    async with network.database.begin() as conn:
        lost = usage_day.c.downstream_octets // 100
        await conn.execute(
            update(usage_day)
            .where(usage_day.c.day == last)
            .values(downstream_octets=usage_day.c.downstream_octets - lost)
        )
    (total,) = await network.reconciliation.run(last, 1)
    assert total.differing == 1
    (row,) = await network.reconciliation.page(Wanted(last, verdict=DIFFERS), None, 10)
    assert row.unexplained == row.radius - row.billed == row.radius // 100


async def test_a_look_that_ends_in_the_next_night_is_not_the_one_of_that_night(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    network.clock.move_to(berlin(2026, 9, 10, 22))
    real = network.reconciliation._compare

    async def slow(*args: Any) -> None:
        network.clock.move_to(berlin(2026, 9, 11, 3))
        await real(*args)

    monkeypatch.setattr(network.reconciliation, "_compare", slow)
    await network.reconciliation.run(days=1)
    assert await network.reconciliation.looked_at() is None
    await network.reconciliation.run(days=1)
    assert await network.reconciliation.looked_at() == network.clock.now()


async def test_one_per_cent_of_accounting_that_never_came_is_found_by_the_counter(network: Network) -> None:
    line = await network.world.activate(PLAN)
    await carry(network, line)
    last = date(2026, 9, 9)
    await network.reconciliation.run(last - timedelta(days=1), 7)
    since = berlin(2026, 9, 9, 0)
    for (series, at_ms), value in list(network.series.points.items()):
        if at_ms >= since.timestamp() * 1000:
            network.series.points[series, at_ms] = value * 1.01
    await network.reconciliation.run(last, 1)
    (row,) = await network.reconciliation.page(Wanted(last), None, 10)
    assert row.verdict == DIFFERS
    assert 0.008 < row.unexplained / row.radius < 0.013


async def test_usage_of_nobody_known_is_explained_by_suspense_and_by_who_got_it(network: Network) -> None:
    line, world = await network.world.activate(PLAN), network.world
    network.clock.move_to(berlin(2026, 9, 2, 9))
    await world.account_for(line, (berlin(2026, 9, 1, 12), 0, 3 * GB), unmapped=True)
    day = date(2026, 9, 1)
    await network.reconciliation.run(day, 1)
    (row,) = await network.reconciliation.page(Wanted(day), None, 10)
    assert (row.service_id, row.unexplained, row.verdict) == ("", 0, EXPLAINED)
    assert (row.reasons[0].text, row.reasons[0].octets) == ("waits in suspense", 3 * GB)
    await world.suspense.map_to_service(1, service_id=line.service_id, since=None, actor="user:t", reason="it is hers")
    await network.reconciliation.run(day, 1)
    rows = {r.service_id: r for r in await network.reconciliation.page(Wanted(day), None, 10)}
    assert rows[""].reasons[0].text == "given to another service by hand"
    assert rows[line.service_id].reasons[0].text == "taken over from another service by hand"
    assert all(r.unexplained == 0 for r in rows.values())


async def test_octets_in_free_hours_are_explained_as_such(network: Network) -> None:
    week = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    night, rest = (Band(days=week, until_minute=360),), (Band(days=week, from_minute=360),)
    fee, over = Flat(code="fee", amount=Decimal(20)), Overage(code="over", price=Decimal("0.50"), bands=rest)
    plan = PricePlan(prices=(fee, over, Free(code="night", bands=night)))
    network.world.prices.add(replace(tariff(NIGHTS, "20.00"), plan=plan))
    line, world = await network.world.activate(NIGHTS), network.world
    at = [berlin(2026, 9, 2, 4), berlin(2026, 9, 2, 5), berlin(2026, 9, 2, 12), berlin(2026, 9, 2, 13)]
    network.clock.move_to(berlin(2026, 10, 1, 9))
    await world.account_for(line, (at[0], 0, 0), (at[1], 0, 3 * GB), (at[2], 0, 3 * GB), (at[3], 0, 5 * GB))
    day = date(2026, 9, 2)
    await network.reconciliation.run(day, 1)
    (open_period,) = await network.reconciliation.page(Wanted(day), None, 10)
    assert [(r.text, r.octets) for r in open_period.reasons] == [
        ("in hours that the plan gives away", 3 * GB),
        ("not charged: the period is open, or the plan has no price for it", 2 * GB),
    ]
    await world.launch()
    await world.bill()
    await network.reconciliation.run(day, 1)
    (closed,) = await network.reconciliation.page(Wanted(day), None, 10)
    assert (closed.billed, closed.charged, closed.unexplained) == (5 * GB, 2 * GB, 0)
    assert [(r.text, r.octets) for r in closed.reasons] == [("in hours that the plan gives away", 3 * GB)]


async def test_usage_moved_after_the_bill_is_a_reason_until_the_next_run_has_corrected_it(network: Network) -> None:
    world, clock, day = network.world, network.clock, date(2026, 9, 29)
    old, new = await world.activate(PLAN), await world.activate(PLAN)
    at = [berlin(2026, 9, 29, 10), berlin(2026, 9, 29, 12), berlin(2026, 9, 29, 14), berlin(2026, 9, 29, 16)]
    clock.move_to(at[-1])
    await world.account_for(old, (at[0], 0, 0), (at[1], 0, 12 * GB), (at[2], 0, 16 * GB), (at[3], 0, 30 * GB))
    clock.move_to(berlin(2026, 10, 1, 2))
    await world.launch()
    await world.bill()

    async def looked() -> dict[str, tuple[int, int, list[tuple[str, int]]]]:
        await network.reconciliation.run(day, 1)
        found = await network.reconciliation.page(Wanted(day), None, 10)
        assert not [r for r in found if r.unexplained]
        own = "billed and charged"
        return {r.service_id: (r.billed, r.charged, [(w.text, w.octets) for w in r.reasons if w.between == own])
                for r in found}  # fmt: skip

    assert await looked() == {old.service_id: (30 * GB, 30 * GB, [])}
    clock.move_to(berlin(2026, 10, 1, 9))
    await world.suspense.give(
        USERNAME, "alice", berlin(2026, 9, 29, 13), new.service_id, overrides=True, actor="user:anna", reason="late",
    )  # fmt: skip
    assert await looked() == {
        old.service_id: (14 * GB, 30 * GB, [(MOVED_AWAY, -16 * GB)]),
        new.service_id: (16 * GB, 0, [(MOVED_HERE, 16 * GB)]),
    }
    await world.bill()
    assert await looked() == {
        old.service_id: (14 * GB, 14 * GB, []),
        new.service_id: (16 * GB, 16 * GB, []),
    }


async def test_the_counter_of_a_port_is_the_third_count_of_a_service_without_an_onu(network: Network) -> None:
    line = await network.world.activate(PLAN)
    network.clock.move_to(berlin(2026, 9, 3, 9))
    await network.world.account_for(line, (berlin(2026, 9, 2, 8), 0, 0), (berlin(2026, 9, 2, 20), 0, 4 * GB))
    day, counted = date(2026, 9, 2), 4 * GB + GB // 10
    told = {"calls": 0, "duration_s": 0, "records": 48, "upstream_octets": 0}
    row = {"service_id": line.service_id, "day": day, "downstream_octets": counted, **told}
    async with network.database.begin() as conn:
        flows = row | {"downstream_octets": 9 * GB, "source": "ipfix"}
        await conn.execute(insert(usage_compared), [row | {"source": "interfaces"}, flows])
    await network.reconciliation.run(day, 1)
    (found,) = await network.reconciliation.page(Wanted(day), None, 10)
    assert (found.counter, found.radius, found.billed, found.verdict) == (counted, 4 * GB, 4 * GB, EXPLAINED)


async def test_a_day_that_is_not_over_is_not_compared(network: Network) -> None:
    with pytest.raises(NotOver):
        await network.reconciliation.run(network.clock.now().date())


async def test_a_comparison_that_was_cut_off_is_made_up_for_in_the_same_night(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are written piece by piece: those of the first piece are of tonight, and the night is not done."""
    lines = [await network.world.activate(PLAN), await network.world.activate(PLAN)]
    for n, line in enumerate(lines):
        at = berlin(2026, 9, 1, 10) + timedelta(hours=n)
        await network.world.account_for(line, (at, 0, 0), (at + timedelta(hours=1), 0, 10**9))
    network.clock.move_to(berlin(2026, 9, 2, 3))
    monkeypatch.setattr(reconciliation, "_WRITTEN", 1)
    real, written = compared.put, 0

    async def dies(*args: Any) -> None:
        nonlocal written
        written += 1
        if written == 2:
            raise RuntimeError("killed")
        await real(*args)

    monkeypatch.setattr(compared, "put", dies)
    with pytest.raises(RuntimeError, match="killed"):
        await AssuranceNights(network.clock, BERLIN, network.leakage, network.reconciliation).once()
    day = date(2026, 9, 1)
    assert len(await network.reconciliation.page(Wanted(day), None, 10)) == 1
    assert await AssuranceNights(network.clock, BERLIN, network.leakage, network.reconciliation).once()
    assert len(await network.reconciliation.page(Wanted(day), None, 10)) == 2
    assert not await AssuranceNights(network.clock, BERLIN, network.leakage, network.reconciliation).once()
