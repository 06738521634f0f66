"""A telephone number that changed hands, entered late: its booked calls go to whose they were, bills are corrected."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from billing_bridge.settings import BillingSettings
from billing_bridge.sources import booked
from billing_bridge.sources.identifiers import PHONE
from billing_bridge.sources.intake import Intake
from billing_bridge.sources.model import Fact, Source
from billing_bridge.sources.moves import Moved
from billing_bridge.sources.tables import call
from billing_bridge.suspense.repository import Wanted
from controller.domain.money import Money
from controller.domain.price import Calls, Destination, Flat, PricePlan, ProductKind
from controller.store import audit
from controller.store.engine import Database
from controller.store.usage_chain import FIRST_PREVIOUS
from erp.finance.model import Invoice, InvoiceLine
from erp.finance.model import Wanted as Invoices
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BERLIN, BillingWorld, Line, berlin

VOICE, NARROW = "b" * 32, "c" * 32
NUMBER = "4930555100"
FIRST, NOON = berlin(2026, 9, 1, 8), berlin(2026, 9, 1, 12)


def plan(prefix: str) -> PricePlan:
    """65 s at 60/6 are 66 s, at 0.06 a minute 6.6 cents."""
    germany = Destination(prefix=prefix, price=Decimal("0.06"), first_s=60, next_s=6)
    return PricePlan(prices=(Flat(code="fee", amount=Decimal("5.00")), Calls(code="voice", destinations=(germany,))))


class Exchange:
    """A source of calls; NARROW has a price for calls to Berlin alone."""

    def __init__(self, world: BillingWorld) -> None:
        self.world = world
        self.intake = Intake(world.database, world.clock, BillingSettings(zone=BERLIN))
        self._sent = 0

    async def begin(self) -> None:
        now = self.world.clock.now()
        made = Source("pbx", "PBX", "calls", PHONE, True, False, None, None, None, 0, FIRST_PREVIOUS, now, "", None)
        await self.world.sources.register(made, actor="user:anna")

    async def send(self, *begins: datetime, seconds: int = 65, number: str = "49891234") -> None:
        """Calls that began then; each delivery comes an hour after its last one."""
        self.world.clock.move_to(max(self.world.clock.now(), max(begins) + timedelta(hours=1)))
        self._sent += 1
        facts = [
            Fact(f"{self._sent}/{n}", n, NUMBER, at, at + timedelta(seconds=seconds), f"{self._sent}/{n}", 0, 0,
                 seconds, number)
            for n, at in enumerate(begins, 1)
        ]  # fmt: skip
        title = f"file {self._sent}"
        await self.intake.deliver(
            "pbx", facts, title=title, content=title.encode(), complete_until=None, actor="user:anna"
        )

    async def give(self, to: Line | None, since: datetime) -> tuple[Moved, ...]:
        service_id = None if to is None else to.service_id
        _, released = await self.world.suspense.give(
            PHONE, NUMBER, since, service_id, overrides=False, actor="user:anna", reason="ported at noon, told late"
        )
        return released.moved

    async def calls(self, line: Line) -> int:
        async with self.world.database.read() as conn:
            found = await booked.all_of(conn, [line.service_id])
        said = await self.world.sources.compared(line.service_id, date(2026, 9, 1), date(2026, 10, 1))
        assert sum(s.calls for s in said if s.bills) == len(found)
        assert sum(s.duration_s for s in said if s.bills) == sum(c.duration_s for c in found)
        return len(found)

    async def counted(self) -> dict[str, tuple[int, int]]:
        """Of the ledger, by what it is: records and seconds."""
        assert await self.world.sources.faults() == []
        (totals,) = await self.world.sources.totals()
        assert totals.adds_up
        names = ("accepted", "rated", "unrated", "suspense")
        return {name: getattr(totals, name) for name in names if any(getattr(totals, name))}

    async def lines(self, line: Line) -> list[tuple[Invoice, InvoiceLine]]:
        """What a bill run makes of the calls of a line."""
        await self.world.launch()
        run_id = await self.world.bill()
        wanted = Invoices(account_ids=[line.account_id], bill_run_id=run_id)
        return [
            (invoice, row)
            for invoice in await self.world.finance.invoices(wanted, after=None, limit=9)
            for row in await self.world.finance.lines(invoice.invoice_id)
            if row.kind == "usage"
        ]


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    versions = [
        replace(tariff(version, "5.00", name="Phone"), plan=plan(prefix), kind=ProductKind.VOICE, speed=None)
        for version, prefix in ((VOICE, "49"), (NARROW, "4930"))
    ]
    made = BillingWorld(database, tmp_path, versions, FIRST)
    await made.entity()
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def exchange(world: BillingWorld) -> Exchange:
    made = Exchange(world)
    await made.begin()
    return made


async def test_calls_that_began_since_the_instant_are_the_new_ones_and_what_was_booked_stays_beside_its_reversal(
    world: BillingWorld, exchange: Exchange
) -> None:
    old, new = await world.activate(VOICE), await world.activate(VOICE)
    await exchange.give(old, FIRST)
    await exchange.send(NOON - timedelta(minutes=5), NOON, NOON + timedelta(hours=1))
    assert await exchange.counted() == {"accepted": (3, 195), "rated": (3, 195)}
    (moved,) = await exchange.give(new, NOON)
    assert (moved.from_service, moved.to_service) == (old.service_id, new.service_id)
    assert (moved.calls, moved.duration_s, moved.records, moved.adjusted) == (2, 130, 2, False)
    assert (await exchange.calls(old), await exchange.calls(new)) == (1, 2)
    shown = await world.sources.calls(old.service_id, None, 0, 9)
    assert [c.duration_s for c in shown] == [65, 65, 65, -65, -65]
    assert await exchange.counted() == {"accepted": (3, 195), "rated": (3, 195)}
    async with world.database.read() as conn:
        said = [e for e in await audit.entries(conn, before=None, limit=9) if e["action"] == "usage-identifier.move"]
    assert [(e["actor"], e["reason"]) for e in said] == [("user:anna", "ported at noon, told late")]
    assert json.loads(said[0]["after"])["duration_s"] == 130
    # The same said again moves nothing, and what comes from now on follows the decision.
    assert await exchange.give(new, NOON) == ()
    await exchange.send(NOON + timedelta(hours=3))
    assert (await exchange.calls(old), await exchange.calls(new)) == (1, 3)


async def test_calls_that_were_billed_are_credited_to_one_and_charged_to_the_other_with_their_period(
    world: BillingWorld, exchange: Exchange
) -> None:
    old, new = await world.activate(VOICE), await world.activate(VOICE)
    await exchange.give(old, FIRST)
    await exchange.send(*(berlin(2026, 9, 2 + n, 9) for n in range(10)))
    world.clock.move_to(berlin(2026, 10, 1, 2))
    ((invoice, billed),) = await exchange.lines(old)
    assert billed.net == Money(66, "EUR")
    world.clock.move_to(berlin(2026, 10, 9, 9))
    (moved,) = await exchange.give(new, berlin(2026, 9, 7))
    assert (moved.calls, moved.adjusted) == (5, True)
    step = await told_of(world, billed)
    assert "5 calls of 325 s were reversed (call 6 by 11" in step
    assert step.endswith("no bill knows of it yet: the next bill run corrects it")
    ((credit, taken_back),) = await exchange.lines(old)
    run_id = credit.bill_run_id
    charged = [
        row
        for document in await world.finance.invoices(
            Invoices(account_ids=[new.account_id], bill_run_id=run_id), after=None, limit=9
        )
        for row in await world.finance.lines(document.invoice_id)
        if row.kind == "usage"
    ]
    assert (credit.kind, taken_back.net) == ("credit-note", Money(-33, "EUR"))
    assert [row.net for row in charged] == [Money(33, "EUR")]
    for row in (taken_back, *charged):
        assert (row.first_on, row.until_on, row.adjustment) == (date(2026, 9, 1), date(2026, 10, 1), True)
        explained = await world.explainer.explain(row.line_id)
        assert explained.intact, explained.faults
    assert (await told_of(world, billed)).endswith(f"credited by {credit.number}")
    assert (await told_of(world, taken_back)).endswith(f"billed by {invoice.number} and taken back here")
    assert await exchange.lines(old) == []


async def told_of(world: BillingWorld, line: InvoiceLine) -> str:
    explained = await world.explainer.explain(line.line_id)
    assert explained.intact, explained.faults
    (step,) = [step for step in explained.steps if "were reversed" in step]
    assert "phone 4930555100 was given to service" in step
    return step


async def test_a_number_that_goes_back_and_forth_leaves_each_call_with_one_service(
    world: BillingWorld, exchange: Exchange
) -> None:
    lines = [await world.activate(VOICE) for _ in range(3)]
    await exchange.give(lines[0], FIRST)
    await exchange.send(NOON + timedelta(minutes=30))
    await exchange.give(lines[1], NOON)
    await exchange.give(lines[0], NOON + timedelta(minutes=10))
    await exchange.give(lines[2], NOON + timedelta(minutes=20))
    assert [await exchange.calls(line) for line in lines] == [0, 0, 1]
    assert await exchange.counted() == {"accepted": (1, 65), "rated": (1, 65)}
    async with world.database.read() as conn:
        (stands,) = await booked.all_of(conn, [lines[2].service_id])
    assert (stands.call_id, stands.turn) == (7, 6)
    with pytest.raises(IntegrityError):
        async with world.database.begin() as conn:
            twice = {name: getattr(stands, name) for name in booked._COLUMNS}
            await conn.execute(insert(call).values(twice | {"call_id": 99}))


async def test_what_is_nobodys_waits_and_is_taken_up_by_whoever_it_is_given_to(
    world: BillingWorld, exchange: Exchange
) -> None:
    old, new = await world.activate(VOICE), await world.activate(VOICE)
    await exchange.give(old, FIRST)
    await exchange.send(NOON, NOON + timedelta(hours=2))
    (moved,) = await exchange.give(None, NOON)
    assert (moved.to_service, moved.calls) == (None, 2)
    assert await exchange.counted() == {"accepted": (2, 130), "suspense": (2, 130)}
    await exchange.give(new, NOON + timedelta(hours=1))
    assert (await exchange.calls(old), await exchange.calls(new)) == (0, 1)
    assert await exchange.counted() == {"accepted": (2, 130), "rated": (1, 65), "suspense": (1, 65)}
    await exchange.give(new, NOON + timedelta(minutes=-1))
    assert await exchange.calls(new) == 1, "the entry of noon still says that it is nobody's"


async def test_a_call_without_a_price_waits_with_its_new_service_and_what_was_written_off_stays(
    world: BillingWorld, exchange: Exchange
) -> None:
    old, new = await world.activate(VOICE), await world.activate(NARROW)
    await exchange.give(old, FIRST)
    await exchange.send(NOON, number="49891234")
    await exchange.give(new, NOON)
    (waits,) = await world.suspense.page(Wanted(), 0, 9)
    assert (waits.item.reason, waits.item.service_id) == ("no-price", new.service_id)
    assert await exchange.counted() == {"accepted": (1, 65), "suspense": (1, 65)}
    await exchange.give(old, NOON + timedelta(seconds=-1))
    assert await world.suspense.page(Wanted(), 0, 9) != [], "noon is still the new one's"

    await world.suspense.write_off(waits.item.suspense_id, actor="user:anna", reason="a gift")
    assert await exchange.counted() == {"accepted": (1, 65), "unrated": (1, 65)}
    await exchange.give(old, NOON + timedelta(seconds=1))
    assert await exchange.counted() == {"accepted": (1, 65), "unrated": (1, 65)}


async def test_a_call_that_waited_for_a_price_is_charged_once_it_is_moved_to_who_has_one(
    world: BillingWorld, exchange: Exchange
) -> None:
    old, new = await world.activate(NARROW), await world.activate(VOICE)
    await exchange.give(old, FIRST)
    await exchange.send(NOON, number="49891234")
    assert await exchange.counted() == {"accepted": (1, 65), "suspense": (1, 65)}
    await exchange.give(new, NOON)
    assert await world.suspense.page(Wanted(), 0, 9) == []
    assert await exchange.counted() == {"accepted": (1, 65), "rated": (1, 65)}
    await world.terminate(old)
    assert (await exchange.calls(old), await exchange.calls(new)) == (0, 1)
    assert await world.suspense.page(Wanted(), 0, 9) == [], "what was taken back waits for no plan"
