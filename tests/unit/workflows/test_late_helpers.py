"""A helper of a bill run that is late meets an account that is rated again beside what it has read; on both databases.

Such a helper has read drafts and charges while the run was held as a whole and let go, and stands still: a tax service
answers late, say. Its batch is the run's again after a while, and the run goes on without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from billing_bridge.billing import taking
from billing_bridge.billing.again_rows import UNCHANGED
from billing_bridge.billing.holds import WHOLE_RUN
from billing_bridge.billing.model import DONE, ISSUING
from controller.domain.identity import BillRunId, OfferingVersionId
from controller.store.engine import Database
from erp.finance.model import Wanted
from tests.support.billing_world import BillingWorld, Line
from tests.support.waiting_bills import (
    FIBRE,
    PRICES,
    RIGHT,
    certified,
    correct_price,
    family,
    intact,
    nets,
    waiting_world,
)


@pytest.fixture
async def world(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BillingWorld]:
    monkeypatch.setattr(taking, "TAKEN_FOR", timedelta(0))
    async with waiting_world(database, tmp_path) as made:
        yield made


class Late:
    """The first call of an async method stands still until it is told to go on; later ones are let through."""

    def __init__(self, patch: pytest.MonkeyPatch, of: object, name: str) -> None:
        self.has_come, self.goes_on = asyncio.Event(), asyncio.Event()
        self._real = getattr(of, name)
        patch.setattr(of, name, self)

    async def __call__(self, *args: Any, **more: Any) -> Any:
        if not self.has_come.is_set():
            self.has_come.set()
            await self.goes_on.wait()
        return await self._real(*args, **more)


@asynccontextmanager
async def helped(world: BillingWorld, run: BillRunId, late: Late) -> AsyncIterator[asyncio.Task[None]]:
    """A helper that is in the middle of issuing a run whose own job has not begun again."""
    await world.book.release(run, WHOLE_RUN, "person", reason="go", actor="user:anna")
    async with asyncio.timeout(20), asyncio.TaskGroup() as beside:
        helper = beside.create_task(world.runs._work._help(run, ISSUING, 1))
        await late.has_come.wait()
        yield helper
        late.goes_on.set()


async def held_as_a_whole(world: BillingWorld) -> BillRunId:
    run = await world.runs.start(as_of=None, account_id=None, actor="user:test", hold="wait")
    await world.jobs.wait(f"bill-run.v1:{run.bill_run_id}")
    return run.bill_run_id


async def let_go_by_hand(world: BillingWorld, run: BillRunId, line: Line) -> None:
    await world.runs.hold(run, line.account_id, reason="a call", actor="user:anna")
    await world.book.release(run, line.account_id, "person", reason="mended", actor="user:anna")


@pytest.mark.parametrize("reads", ["charges", "issue_proved"])
async def test_who_shares_a_bill_does_not_leave_between_its_new_charges_and_its_new_draft(
    world: BillingWorld, monkeypatch: pytest.MonkeyPatch, reads: str
) -> None:
    """The helper has read the drafts alone, or the charges too; nobody holds the account that shares the bill."""
    line, mine = await family(world)
    run = await held_as_a_whole(world)
    of = world.billing if reads == "charges" else world.finance
    async with helped(world, run, late := Late(monkeypatch, of, reads)) as helper:
        for month in (9, 10):
            await correct_price(world, date(2026, month, 1))
        await let_go_by_hand(world, run, line)
        real = world.runs.again.set_rated_again

        async def in_between(*args: Any) -> None:
            late.goes_on.set()
            await helper
            await real(*args)

        monkeypatch.setattr(world.runs.again, "set_rated_again", in_between)
        await world.runs.resume()
        await world.jobs.wait(f"bill-run.v1:{run}:1")
    assert (await nets(world, line, run), await nets(world, mine, run)) == ([2700], [2500])
    assert [h for h in await world.book.holds(run) if h.stands] == []
    assert (await world.billing.bill_run(run)).state == DONE
    for each in (line, mine):
        await intact(world, each)
    await certified(world, run)


async def test_a_document_is_not_made_of_charges_that_others_have_replaced_though_it_would_say_the_same(
    world: BillingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From October on the line has a version of the same name and price: the paper is the same to the letter."""
    world.prices.add(replace(PRICES[0], version_id=OfferingVersionId(RIGHT), number=2))
    line, mine = await family(world)
    run = await held_as_a_whole(world)
    async with helped(world, run, late := Late(monkeypatch, world.finance, "issue_proved")) as helper:
        await world.change(line, FIBRE, RIGHT)
        await let_go_by_hand(world, run, line)
        issue = Late(monkeypatch, world.runs._work._batches, "issue")  # all turns are over when the run itself issues
        await world.runs.resume()
        await issue.has_come.wait()
        late.goes_on.set()
        await helper
        issue.goes_on.set()
        await world.jobs.wait(f"bill-run.v1:{run}:1")
    (again,) = await world.runs.again.rated_again(run, None, 10)
    assert again.outcome == UNCHANGED
    charged = await world.billing.charges_of_accounts(run, [mine.account_id])
    (document,) = await world.finance.invoices(Wanted(account_ids=[mine.account_id]), limit=10)
    assert [c.version_id for c in charged] == [RIGHT]
    assert [n.charge_id for n in await world.finance.lines(document.invoice_id)] == [c.charge_id for c in charged]
    assert (await nets(world, line, run), await nets(world, mine, run)) == ([3200], [3000])
    for each in (line, mine):
        await intact(world, each)
    assert (await world.billing.bill_run(run)).documents == 2
    await certified(world, run)
