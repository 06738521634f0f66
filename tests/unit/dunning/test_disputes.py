"""Disputes: what is contested is not dunned, what is upheld is credited to the cent and once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from controller.domain.identity import BillRunId, new_id
from controller.domain.money import Money
from controller.http.models import MoneyOut
from controller.store.engine import Database
from erp.dunning.dispute_answers import DisputeOut
from erp.dunning.disputes import REJECTED, UPHELD, DisputeRequest, EvidenceAltered
from erp.dunning.errors import AlreadyEnded, DisputeRefused
from radius.vendors.terms import GARDEN_PROFILE
from tests.support.dunning import ANNA, DunningWorld, dunning_world
from tests.support.radius import GOLD


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[DunningWorld]:
    async with dunning_world(database, tmp_path) as made:
        yield made


async def test_a_dispute_frees_the_line_at_once_and_its_rejection_restricts_it_after_the_days_given(
    world: DunningWorld,
) -> None:
    account = await world.customer()
    await world.line(account, "anna")
    invoice_id = await world.invoice(account)
    await world.nights(account, date(2026, 12, 10))
    (line,) = await world.books.finance.lines(invoice_id)
    request = DisputeRequest(invoice_id, line.line_id, None, "I was away")
    made = await world.disputes.open(request, {line.line_id: '{"steps":["30 days"]}'}, actor=ANNA)
    await world.deliver()
    assert (made.amount, world.login_gets("anna")) == (Money.exact("59.50", "EUR"), GOLD.name)
    with pytest.raises(DisputeRefused, match=r"0\.00 EUR of it is open"):
        await world.disputes.open(request, {}, actor=ANNA)
    await world.nights(account, date(2027, 1, 10))
    assert len(await world.steps(account)) == 4, "no step while it is contested"
    ended = await world.disputes.reject(made.dispute_id, days=5, resolution="the line was used", actor=ANNA)
    await world.deliver()
    assert (ended.state, ended.until_on, world.login_gets("anna")) == (REJECTED, date(2027, 1, 15), GOLD.name)
    await world.nights(account, date(2027, 1, 14))
    assert world.login_gets("anna") == GOLD.name
    await world.nights(account, date(2027, 1, 15))
    assert world.login_gets("anna") == "rejected", "the garden again, and the step that had waited"
    with pytest.raises(AlreadyEnded):
        await world.disputes.uphold(made.dispute_id, resolution="after all", actor=ANNA)
    (_, (evidence,)) = await world.disputes.dispute(made.dispute_id)
    assert evidence.content == '{"steps":["30 days"]}'


async def test_a_dispute_that_is_upheld_is_credited_to_the_cent_once(world: DunningWorld) -> None:
    account = await world.customer()
    await world.line(account, "anna")
    invoice_id = await world.invoice(account)
    await world.nights(account, date(2026, 12, 10))
    part = Money.exact("10.00", "EUR")
    made = await world.disputes.open(DisputeRequest(invoice_id, None, part, "too much"), {}, actor=ANNA)
    standing = await world.standing(account)
    assert (standing.state.disputed_minor, standing.state.claimed_minor) == (1_000, 4_950)
    ended = await world.disputes.uphold(made.dispute_id, resolution="so it was", actor=ANNA)
    assert ended.state == UPHELD
    assert ended.credit_note_id is not None
    note = await world.books.finance.invoice(ended.credit_note_id)
    assert note.total == -part
    await world.deliver()
    after = await world.standing(account)
    assert (after.state.claimed_minor, after.state.disputed_minor, world.login_gets("anna")) == (
        4_950,
        0,
        GARDEN_PROFILE,
    )


async def test_a_dispute_whose_decision_was_cut_off_after_the_credit_note_is_upheld_with_that_one(
    world: DunningWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of each line has changed by then: shared anew, it would be another credit note, and be refused."""
    account = await world.customer()
    run = BillRunId(new_id(world.clock.now()))
    charges = [world.books.charge(account, net) for net in ("0.33", "7.77", "0.05")]
    (invoice_id,) = await world.books.finance.issue(run, charges)
    part = Money.exact("9.60", "EUR")
    made = await world.disputes.open(DisputeRequest(invoice_id, None, part, "too much"), {}, actor=ANNA)
    real = world.disputes._resolve

    async def dies(*_: object) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr(world.disputes, "_resolve", dies)
    with pytest.raises(RuntimeError):
        await world.disputes.uphold(made.dispute_id, resolution="so it was", actor=ANNA)
    monkeypatch.setattr(world.disputes, "_resolve", real)
    ended = await world.disputes.uphold(made.dispute_id, resolution="so it was", actor=ANNA)
    assert ended.state == UPHELD
    notes = [i for i in await world.books.finance.invoices(limit=9) if i.kind == "credit-note"]
    assert [note.invoice_id for note in notes] == [ended.credit_note_id]


async def test_an_upheld_dispute_says_that_its_credit_was_taken_back_and_the_amount_may_be_contested_anew(
    world: DunningWorld,
) -> None:
    account = await world.customer()
    invoice_id = await world.invoice(account)
    part, corrections = Money.exact("10.00", "EUR"), world.books.finance.corrections
    request = DisputeRequest(invoice_id, None, part, "too much")
    made = await world.disputes.open(request, {}, actor=ANNA)
    ended = await world.disputes.uphold(made.dispute_id, resolution="so it was", actor=ANNA)
    assert ended.credit_note_id is not None
    shown, _ = await world.disputes.dispute(made.dispute_id)
    assert (shown.taken_back, shown.taken_back_by) == (None, None)
    (line,) = await world.books.finance.lines(ended.credit_note_id)
    most = {line.line_id: line.net + Money(1, "EUR")}
    await corrections.credit(ended.credit_note_id, most, reason="so it was not", reference="1", actor="user:bert")
    world.clock.advance(timedelta(minutes=1))
    debit = await corrections.void(ended.credit_note_id, reason="nor the cent", actor="user:bert")
    shown, _ = await world.disputes.dispute(made.dispute_id)
    assert shown == replace(ended, taken_back=part, taken_back_by=debit.invoice_id), "upheld it was, and stays"
    assert await world.disputes.page(account_id=account, state=UPHELD, after=None, limit=9) == [shown]
    said = DisputeOut.of(shown)
    assert (said.state, said.taken_back, said.taken_back_by) == (UPHELD, MoneyOut.of(part), debit.invoice_id)
    world.clock.advance(timedelta(minutes=1))
    again = await world.disputes.uphold(
        (await world.disputes.open(request, {}, actor=ANNA)).dispute_id, resolution="it was not", actor=ANNA
    )
    newest, oldest = await world.disputes.page(account_id=account, state=UPHELD, after=None, limit=9)
    assert (newest, oldest) == (again, shown)


async def test_evidence_that_was_altered_is_not_shown(sqlite_database: Database, tmp_path: Path) -> None:
    async with dunning_world(sqlite_database, tmp_path) as world:
        account = await world.customer()
        invoice_id = await world.invoice(account)
        (line,) = await world.books.finance.lines(invoice_id)
        made = await world.disputes.open(
            DisputeRequest(invoice_id, line.line_id, None, "no"), {line.line_id: "{}"}, actor=ANNA
        )
        async with sqlite_database.begin() as conn:
            await conn.execute(text("UPDATE dunning_evidence SET content = '{ }'"))
        with pytest.raises(EvidenceAltered):
            await world.disputes.dispute(made.dispute_id)
