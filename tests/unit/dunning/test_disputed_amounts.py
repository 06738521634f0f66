"""What is credited of a dispute over several lines is the contested amount, whatever the tax of each rounds to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from controller.domain.identity import BillRunId, new_id
from controller.domain.money import Money
from controller.store.engine import Database
from erp.dunning.disputes import DisputeRequest
from tests.support.dunning import ANNA, DunningWorld, dunning_world


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[DunningWorld]:
    async with dunning_world(database, tmp_path) as made:
        yield made


async def test_the_credit_of_several_lines_is_the_contested_amount_to_the_cent(world: DunningWorld) -> None:
    account = await world.customer()
    rates = {"0.33": 19, "7.77": 19, "0.05": 19, "12.49": 7, "3.11": 7, "9.99": 0}
    charges = [world.books.charge(account, net, tax_percent=Decimal(rate)) for net, rate in rates.items()]
    run = BillRunId(new_id(world.clock.now()))
    (invoice_id,) = await world.books.finance.issue(run, charges)
    total = (await world.books.finance.invoice(invoice_id)).total
    credited = Money.zero("EUR")
    for minor in (613, 317, 1009, 1, 702):
        part = Money(minor, "EUR")
        made = await world.disputes.open(DisputeRequest(invoice_id, None, part, "too much"), {}, actor=ANNA)
        ended = await world.disputes.uphold(made.dispute_id, resolution="so it was", actor=ANNA)
        assert ended.credit_note_id is not None
        note = await world.books.finance.invoice(ended.credit_note_id)
        lines = await world.books.finance.lines(note.invoice_id)
        assert note.total == -part
        assert Money.sum([line.net + line.tax for line in lines], "EUR") == note.net + note.tax == note.total
        credited -= note.total
    left = await world.books.corrections.creditable(invoice_id)
    assert Money.sum([c.gross_left for c in left], "EUR") == total - credited
