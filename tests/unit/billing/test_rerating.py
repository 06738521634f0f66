"""A price or data corrected after the bill: shown first, issued as notes, the originals untouched, and nothing left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, update

from billing_bridge.billing.rerating import Rerating, Reratings
from billing_bridge.errors import NotTheSamePlan
from billing_bridge.settings import BillingSettings
from billing_bridge.tables import charge
from controller.domain.identity import OfferingVersionId
from controller.domain.units import GB
from controller.store.engine import Database
from erp.finance.model import CREDIT_NOTE, DEBIT_NOTE, Invoice, Wanted
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BERLIN, BillingWorld, Line, berlin
from tests.support.plans import plan_of

WRONG, RIGHT, DEARER = "a" * 32, "b" * 32, "c" * 32
SEPTEMBER = date(2026, 9, 1)
WRONG_PRICE = tariff(WRONG, "30.00", included=10 * GB)
RIGHT_PRICE = replace(
    WRONG_PRICE, version_id=OfferingVersionId(RIGHT), number=2, plan=plan_of("25.00", included=20 * GB)
)
DEARER_PRICE = replace(
    WRONG_PRICE, version_id=OfferingVersionId(DEARER), number=3, plan=plan_of("31.00", included=10 * GB)
)
ACTOR = "user:anna"


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    prices = [WRONG_PRICE, RIGHT_PRICE, DEARER_PRICE]
    made = BillingWorld(database, tmp_path, prices, berlin(2026, 9, 1, 9), checked=True)
    await made.entity()
    await made.launch()
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
def reratings(world: BillingWorld) -> Reratings:
    return Reratings(world.database, world.clock, BillingSettings(zone=BERLIN))


@pytest.fixture
async def line(world: BillingWorld) -> Line:
    """A line with 15 GB in September, billed until October."""
    made = await world.activate(WRONG)
    await world.account_for(made, (berlin(2026, 9, 1, 10), 0, 0), (berlin(2026, 9, 5, 10), 0, 15 * GB))
    await billed(world)
    world.clock.move_to(berlin(2026, 10, 2, 9))
    await billed(world)
    return made


async def billed(world: BillingWorld) -> list[Invoice]:
    run_id = await world.bill()
    return await world.finance.invoices(Wanted(bill_run_id=run_id), after=None, limit=99)


def said(found: Rerating) -> list[tuple[str, str]]:
    return [(delta.description, str(delta.net)) for delta in found.deltas]


async def test_a_price_that_was_too_high_is_credited_and_the_originals_stay(
    world: BillingWorld, reratings: Reratings, line: Line
) -> None:
    before = await world.finance.invoices(Wanted(), after=None, limit=99)
    prices = (WRONG_PRICE, RIGHT_PRICE)
    shown = await reratings.preview(WRONG_PRICE.offering_id, SEPTEMBER, prices)
    assert [net for _, net in said(shown)] == ["-5.00 EUR", "-2.50 EUR"]
    assert (shown.subscriptions, shown.count, shown.charged, shown.credited) == (1, 2, {}, {"EUR": -750})
    assert await billed(world) == [], "looking changes nothing"
    await reratings.apply(WRONG_PRICE.offering_id, SEPTEMBER, prices, reason="misprint", actor=ACTOR)
    (note,) = await billed(world)
    assert (note.kind, note.net.minor) == (CREDIT_NOTE, -750)
    for found in await world.finance.lines(note.invoice_id):
        explained = await world.explainer.explain(found.line_id)
        assert explained.intact, explained.faults
        assert explained.detail.tariff.version_id == RIGHT
    after = {i.invoice_id: i for i in await world.finance.invoices(Wanted(), after=None, limit=99)}
    for old in before:
        assert after[old.invoice_id].content_sha256 == old.content_sha256
        for found in await world.finance.lines(old.invoice_id):
            assert (await world.explainer.explain(found.line_id)).intact
    assert (await reratings.preview(WRONG_PRICE.offering_id, SEPTEMBER, prices)).count == 0
    await reratings.apply(WRONG_PRICE.offering_id, SEPTEMBER, prices, reason="misprint", actor=ACTOR)
    assert await billed(world) == []


async def test_an_explanation_counts_charges_that_stand_before_it_and_not_what_was_tried(
    world: BillingWorld, reratings: Reratings, line: Line
) -> None:
    prices = (WRONG_PRICE, RIGHT_PRICE)
    await reratings.apply(WRONG_PRICE.offering_id, SEPTEMBER, prices, reason="misprint", actor=ACTOR)
    (note,) = await billed(world)
    async with world.database.begin() as conn:
        # Two attempts between were withdrawn with the run that made them.
        await conn.execute(update(charge).where(charge.c.attempt == 1).values(attempt=3))
    for found in await world.finance.lines(note.invoice_id):
        explained = await world.explainer.explain(found.line_id)
        assert explained.intact, explained.faults
        assert [step for step in explained.steps if "charged before in 1 charge = " in step]


async def test_late_usage_of_a_corrected_month_is_priced_right_and_other_months_stay_wrong(
    world: BillingWorld, reratings: Reratings, line: Line
) -> None:
    prices = (WRONG_PRICE, RIGHT_PRICE)
    await reratings.apply(WRONG_PRICE.offering_id, SEPTEMBER, prices, reason="misprint", actor=ACTOR)
    await billed(world)
    world.clock.move_to(berlin(2026, 10, 20, 9))
    await world.account_for(line, (berlin(2026, 9, 28, 10), 0, 22 * GB))
    (late,) = await billed(world)
    assert late.net.minor == 100, "2 GB beyond the 20 GB of the right price"
    world.clock.move_to(berlin(2026, 11, 2, 9))
    (november,) = await billed(world)
    assert november.net.minor == 3000


async def test_a_price_that_was_too_low_is_charged_by_a_document_of_its_own(
    world: BillingWorld, reratings: Reratings, line: Line
) -> None:
    prices = (WRONG_PRICE, DEARER_PRICE)
    await reratings.apply(WRONG_PRICE.offering_id, SEPTEMBER, prices, reason="misprint", actor=ACTOR)
    (note,) = await billed(world)
    assert (note.kind, note.net.minor) == (DEBIT_NOTE, 100)
    assert (await world.finance.content(note.invoice_id))["regards"] == "INV-2026-000001"
    assert [found.adjustment for found in await world.finance.lines(note.invoice_id)] == [True]
    # Overruled: the first price was right after all.
    await reratings.apply(WRONG_PRICE.offering_id, SEPTEMBER, (WRONG_PRICE, WRONG_PRICE), reason="", actor=ACTOR)
    (back,) = await billed(world)
    assert (back.kind, back.net.minor) == (CREDIT_NOTE, -100)


async def test_data_that_was_corrected_is_shown_by_month_before_it_is_issued(
    world: BillingWorld, reratings: Reratings, line: Line
) -> None:
    await world.pause(line, date(2026, 9, 21), date(2026, 10, 11))
    shown = await reratings.preview(WRONG_PRICE.offering_id, SEPTEMBER)
    assert [net for _, net in said(shown)] == ["-10.00 EUR", "1.67 EUR"]  # ten days of fee, and of 10 GB
    october = await reratings.preview(WRONG_PRICE.offering_id, date(2026, 10, 9))
    assert [net for _, net in said(october)] == ["-9.68 EUR"]
    (note,) = await billed(world)
    assert note.net.minor == -1000 + 167 - 968
    assert (await reratings.preview(WRONG_PRICE.offering_id, SEPTEMBER)).count == 0


async def test_a_version_of_another_shape_corrects_nothing(world: BillingWorld, reratings: Reratings) -> None:
    others = {
        "prices by code": replace(RIGHT_PRICE, plan=plan_of("25.00")),
        "tax percent": replace(RIGHT_PRICE, tax_percent=Decimal(7)),
        "cycle": replace(RIGHT_PRICE, plan=replace(RIGHT_PRICE.plan, cycle="year")),
        "currency": replace(RIGHT_PRICE, currency="USD"),
    }
    for words, other in others.items():
        with pytest.raises(NotTheSamePlan, match=words):
            await reratings.preview(WRONG_PRICE.offering_id, SEPTEMBER, (WRONG_PRICE, other))
        with pytest.raises(NotTheSamePlan, match=words):
            await reratings.apply(WRONG_PRICE.offering_id, SEPTEMBER, (WRONG_PRICE, other), reason="", actor=ACTOR)


async def test_what_was_rated_again_is_told_newest_first(world: BillingWorld, reratings: Reratings) -> None:
    prices = (WRONG_PRICE, RIGHT_PRICE)
    await reratings.apply(WRONG_PRICE.offering_id, SEPTEMBER, prices, reason="misprint", actor=ACTOR)
    await reratings.apply(WRONG_PRICE.offering_id, SEPTEMBER, None, reason="late files", actor=ACTOR)
    newest, older = await reratings.applied(before=None, limit=9)
    assert [(done.reason, done.actor) for done in (newest, older)] == [("late files", ACTOR), ("misprint", ACTOR)]
    assert (older.offering_id, older.first_on, older.until_on) == (
        WRONG_PRICE.offering_id,
        SEPTEMBER,
        date(2026, 10, 1),
    )
    assert [(done.version_id, done.priced_as) for done in (newest, older)] == [(None, None), (WRONG, RIGHT)]
    assert await reratings.applied(before=newest.sequence, limit=9) == [older]


async def test_what_was_rated_again_is_found_without_reading_the_audit_log(
    world: BillingWorld, reratings: Reratings
) -> None:
    await reratings.apply(WRONG_PRICE.offering_id, SEPTEMBER, None, reason="late files", actor=ACTOR)
    asked: list[str] = []

    def note(conn: object, cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        assert len(await reratings.applied(before=None, limit=9)) == 1
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert asked
    assert not any("store_audit" in statement for statement in asked)
