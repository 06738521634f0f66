"""Two years of four lines on a moving clock: every cent that was invoiced is what the day-by-day oracle owes.

Anchors 29 to 31, a leap day, both changes of the clock, plans changed up and down, a price that changes, pauses told in
time and too late, a yearly fee, a month rated again, usage that arrives months later, and bill runs on odd days. The
oracle shares no code with the engine; each run proves its own sums besides, or it would not have issued.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import insert

from billing_bridge.billing.rerating import Reratings
from billing_bridge.rating.proration import Change, DaySpan, Pause
from billing_bridge.settings import BillingSettings
from billing_bridge.tables import account_terms
from controller.domain.identity import OfferingVersionId
from controller.domain.price import Flat, PricePlan
from controller.domain.tariff import TariffVersion
from controller.domain.units import GB
from controller.store.engine import Database
from erp.finance.model import Wanted
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BERLIN, BillingWorld, Line, berlin
from tests.support.entitlement_oracle import Oracle, begins, half_up

A, A2, B, YEAR, DATA = (OfferingVersionId(c * 32) for c in "abcde")
PRICES: dict[OfferingVersionId, TariffVersion] = {
    A: tariff(A, "30.00"),
    A2: replace(tariff(A2, "33.30"), offering_id=tariff(A, "0").offering_id, number=2),
    B: tariff(B, "61.37", name="Fibre 250"),
    YEAR: replace(
        tariff(YEAR, "0", name="Hosting"),
        plan=PricePlan(prices=(Flat(code="fee", amount=Decimal("99.00")),), cycle="year"),
    ),
    DATA: tariff(DATA, "20.00", included=10 * GB, name="Metered"),
}
Step = tuple[datetime, Callable[[], Awaitable[object]]]


class Story:
    """Facts told to the world as time passes, and the same facts told to the oracle."""

    def __init__(self, world: BillingWorld) -> None:
        self.world = world
        self.oracles: dict[str, Oracle] = {}
        self.lines: dict[str, Line] = {}
        self.used: dict[date, int] = {}
        self.counter = 0

    async def begin(self, name: str, version: OfferingVersionId, anchor: int) -> None:
        account = await self.world.customer(name)
        now = self.world.clock.now()
        async with self.world.database.begin() as conn:
            await conn.execute(insert(account_terms).values(account_id=account, anchor_day=anchor, changed_at=now))
        self.lines[name] = await self.world.activate(version, account)
        on = now.astimezone(BERLIN).date()
        self.oracles[name] = Oracle(anchor, on, PRICES, [Change(on, version)])

    async def change(self, name: str, version: OfferingVersionId | None) -> None:
        oracle, line = self.oracles[name], self.lines[name]
        before = oracle.changes[-1].version_id
        assert before is not None
        if version is None:
            await self.world.terminate(line)
        else:
            await self.world.change(line, before, version)
        oracle.changes.append(Change(self.world.clock.now().astimezone(BERLIN).date(), version))

    async def pause(self, name: str, first_on: date, until_on: date, percent: int) -> None:
        await self.world.pause(self.lines[name], first_on, until_on, percent)
        pauses = self.oracles[name].pauses
        pauses[len(pauses)] = Pause(DaySpan(first_on, until_on), percent)

    async def use(self, at: datetime, octets: int) -> None:
        """A session of a minute, at a time that may have passed long ago."""
        line = self.lines["data"]
        one = replace(line, session_key=f"{self.counter:032x}")
        self.counter += 1
        await self.world.account_for(one, (at - timedelta(minutes=1), 0, 0), (at, 0, octets))
        day = at.astimezone(BERLIN).date()
        self.used[day] = self.used.get(day, 0) + octets

    def owed(self, name: str, until: date) -> int:
        return sum(self.oracles[name].owed(until).values())

    def overage(self, until: date) -> int:
        """Of every closed period of the metered line, day by day: what is beyond 10 GB of a whole period."""
        oracle = self.oracles["data"]
        firsts = sorted(begins(oracle.anchor, "month", oracle.phase))
        total = 0
        for first, end in pairwise(firsts):
            days = [first + timedelta(days=n) for n in range((end - first).days)]
            held = [day for day in days if day >= oracle.phase]
            if end <= until and held:
                included = -(-10 * GB * len(held) // len(days))
                total += half_up(Fraction(max(0, sum(self.used.get(d, 0) for d in days) - included), GB) / 2)
        return total


@pytest.fixture
async def story(database: Database, tmp_path: Path) -> AsyncIterator[Story]:
    made = BillingWorld(database, tmp_path, PRICES.values(), berlin(2027, 1, 31, 9), checked=True)
    await made.entity()
    await made.launch()
    try:
        yield Story(made)
    finally:
        await made.close()


def events(story: Story) -> list[Step]:
    s, at = story, berlin
    correct = Reratings(s.world.database, s.world.clock, BillingSettings(zone=BERLIN))
    cheaper = replace(PRICES[B], version_id=OfferingVersionId("f" * 32), number=9, plan=tariff(B, "59.00").plan)

    async def rerate() -> None:
        await correct.apply(PRICES[B].offering_id, date(2027, 6, 1), (PRICES[B], cheaper), reason="", actor="user:anna")

    return [
        (at(2027, 1, 31, 9), lambda: s.begin("changing", A, 31)),
        (at(2027, 2, 10, 9), lambda: s.begin("data", DATA, 29)),
        (at(2027, 2, 28, 23, 59), lambda: s.use(at(2027, 2, 28, 23, 58), 12 * GB)),
        (at(2027, 3, 28, 4), lambda: s.use(at(2027, 3, 28, 3, 30), 15 * GB)),  # the night of 23 hours
        (at(2027, 3, 30, 9), lambda: s.begin("yearly", YEAR, 30)),
        (at(2027, 5, 10, 12), lambda: s.use(at(2027, 5, 10, 12), 8 * GB)),
        (at(2027, 5, 17, 15), lambda: s.change("changing", B)),
        (at(2027, 5, 29, 0, 31), lambda: s.use(at(2027, 5, 29, 0, 31), 14 * GB)),  # in UTC of the period before
        (at(2027, 7, 1, 9), lambda: s.pause("changing", date(2027, 7, 10), date(2027, 8, 5), 0)),
        (at(2027, 8, 20, 9), rerate),
        (at(2027, 9, 3, 9), lambda: s.begin("paused", A, 1)),
        (at(2027, 10, 31, 2, 30), lambda: s.use(at(2027, 10, 31, 1, 30), 30 * GB)),  # the night of 25 hours
        (at(2027, 11, 29, 0, 0), lambda: s.use(at(2027, 11, 28, 23, 59), 3 * GB)),
        (at(2028, 1, 3, 9), lambda: s.change("paused", A2)),
        (at(2028, 1, 12, 9), lambda: s.pause("changing", date(2027, 11, 20), date(2027, 11, 25), 25)),  # told too late
        (at(2028, 2, 29, 0, 0), lambda: s.change("changing", A2)),
        (at(2028, 2, 29, 12), lambda: s.pause("paused", date(2028, 2, 29), date(2028, 3, 1), 0)),
        (at(2028, 3, 2, 9), lambda: s.use(at(2028, 2, 29, 12), 9 * GB)),
        (at(2028, 5, 5, 9), lambda: s.use(at(2028, 2, 29, 13), 8 * GB)),  # months later
        (at(2028, 6, 15, 9), lambda: s.change("paused", B)),
        (at(2028, 6, 15, 18), lambda: s.change("paused", A2)),
        (at(2028, 8, 31, 9), lambda: s.change("yearly", None)),
        (at(2028, 9, 28, 23, 50), lambda: s.use(at(2028, 9, 28, 23, 50), 11 * GB)),
        (at(2028, 10, 29, 2, 15), lambda: s.change("changing", None)),
        (at(2028, 12, 10, 12), lambda: s.use(at(2028, 12, 10, 12), 6 * GB)),
        (at(2028, 12, 29, 0, 20), lambda: s.use(at(2028, 12, 29, 0, 20), 7 * GB)),
    ]


async def live(story: Story, runs: list[datetime]) -> None:
    """Everything up to the last run, in the order of time; a run of an instant stands behind what happened at it."""
    told = [(at, 0, act) for at, act in events(story) if at <= runs[-1]]
    for at, _, act in sorted([*told, *((at, 1, story.world.bill) for at in runs)], key=lambda step: step[:2]):
        story.world.clock.move_to(at)
        await act()


async def check(story: Story, until: date, *, june_corrected: bool) -> set[str]:
    """The lines whose invoices come to what is owed, each explained."""
    world, right = story.world, set()
    for name, line in story.lines.items():
        invoices = await world.finance.invoices(Wanted(account_ids=[line.account_id]), after=None, limit=500)
        lines = [found for i in invoices for found in await world.finance.lines(i.invoice_id)]
        fees = sum(found.net.minor for found in lines if found.kind == "recurring")
        wanted = story.owed(name, until + timedelta(days=1))
        if name == "changing" and june_corrected:
            # The period of June, from the 30th: 10 of 31 days were not paused.
            wanted += half_up(Fraction(59 * 10, 31)) - half_up(Fraction(6137 * 10, 3100))
        assert fees == wanted, f"{name}: {fees} invoiced, {wanted} owed"
        usage = sum(found.net.minor for found in lines if found.kind == "usage")
        assert usage == (story.overage(until) if name == "data" else 0)
        for found in lines[:: max(1, len(lines) // 5)]:
            explained = await world.explainer.explain(found.line_id)
            assert explained.intact, (name, found.description, explained.faults)
        right.add(name)
    assert await story.world.finance.invoices(Wanted(bill_run_id=await world.bill()), after=None, limit=9) == []
    return right


async def test_half_a_year_is_billed_to_the_cent(story: Story) -> None:
    await live(story, [berlin(2027, 2, 1, 6), berlin(2027, 3, 29, 6), berlin(2027, 5, 20, 6), berlin(2027, 7, 31, 6)])
    assert await check(story, date(2027, 7, 31), june_corrected=False) == set(story.lines)


@pytest.mark.long
async def test_two_years_are_billed_to_the_cent(story: Story) -> None:
    runs, at = [], berlin(2027, 2, 3, 6)
    while at < berlin(2029, 3, 1):
        runs.append(at)
        at += timedelta(days=23, hours=5)
    await live(story, [*runs, berlin(2029, 3, 1, 6)])
    assert await check(story, date(2029, 3, 1), june_corrected=True) == set(story.lines)
