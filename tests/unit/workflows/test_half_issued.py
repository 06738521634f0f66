"""An account of two currencies, one document of which has left while the other waits; on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from billing_bridge.billing.again_rows import BLOCKED, CHANGED, UNCHANGED
from billing_bridge.billing.holds import PROOF
from billing_bridge.billing.model import DONE
from controller.domain.identity import BillRunId
from controller.domain.units import GB
from controller.store.engine import Database
from erp.finance.model import Wanted
from tests.support.billing_world import BillingWorld, Line, berlin
from tests.support.waiting_bills import DOLLARS, FIBRE, certified, correct_price, intact, let_go, nets, waiting_world


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    async with waiting_world(database, tmp_path) as made:
        yield made


async def half_issued(world: BillingWorld, monkeypatch: pytest.MonkeyPatch) -> tuple[BillRunId, Line]:
    """The euros have left; the dollars would have come to something else than was proved. The line is theirs."""
    at = berlin(2026, 9, 1, 10)
    euros = await world.activate(FIBRE)
    dollars = await world.activate(DOLLARS, euros.account_id)
    await world.account_for(dollars, (at, 0, 0), (at + timedelta(days=3), 0, 12 * GB))
    world.clock.move_to(berlin(2026, 10, 1, 6))
    real = world.finance.issue_proved

    async def differs(bill_run_id: BillRunId, charges: Any, proved: Any, **more: Any) -> Any:
        other = {
            key: (replace(net, minor=net.minor - 100) if key[1] == "USD" else net, tax)
            for key, (net, tax) in proved.items()
        }
        return await real(bill_run_id, charges, other, **more)

    monkeypatch.setattr(world.finance, "issue_proved", differs)
    run = BillRunId(await world.bill())
    monkeypatch.undo()
    return run, dollars


async def issued(world: BillingWorld, line: Line, run: BillRunId) -> dict[str, int]:
    wanted = Wanted(account_ids=[line.account_id], bill_run_id=run)
    return {i.net.currency: i.net.minor for i in await world.finance.invoices(wanted, limit=100)}


async def test_what_differs_in_one_currency_waits_alone_and_leaves_when_it_is_let_go(
    world: BillingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, line = await half_issued(world, monkeypatch)
    assert (await world.billing.bill_run(run)).state == DONE
    assert await issued(world, line, run) == {"EUR": 6000}
    assert [(d.net.currency, d.issued) for d in await world.book.draft_page(run, None, 10)] == [
        ("EUR", True),
        ("USD", False),
    ]
    (waits,) = (await certified(world, run))["waiting"]["drafts"]
    assert (waits["currency"], waits["documents"], waits["net"]) == ("USD", 1, 4200)
    await let_go(world, run, line, 1, PROOF)
    assert await issued(world, line, run) == {"EUR": 6000, "USD": 4200}
    assert (await world.billing.bill_run(run)).state == DONE
    content = await certified(world, run)
    assert (content["waiting"]["accounts"], content["waiting"]["drafts"]) == (0, [])
    (again,) = content["rated_again"]
    assert (again["outcome"], [*again["before"]], [*again["after"]]) == (UNCHANGED, ["USD"], ["USD"])
    await intact(world, line)
    assert await nets(world, line, await world.bill()) == [], "nothing is left for the next run"


async def test_what_waits_in_one_currency_is_what_is_true_when_it_is_let_go(
    world: BillingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, line = await half_issued(world, monkeypatch)
    await world.account_for(line, (berlin(2026, 9, 20, 9), 0, 15 * GB))
    await let_go(world, run, line, 1, PROOF)
    assert await issued(world, line, run) == {"EUR": 6000, "USD": 4500}
    (again,) = await world.runs.again.rated_again(run, None, 10)
    assert (again.outcome, [d.net.minor for d in again.before], [d.net.minor for d in again.after]) == (
        CHANGED,
        [4200],
        [4500],
    )
    await certified(world, run)
    await intact(world, line)


async def test_a_correction_in_the_currency_that_has_left_is_charged_by_the_next_run(
    world: BillingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, line = await half_issued(world, monkeypatch)
    await correct_price(world, date(2026, 9, 1))
    await let_go(world, run, line, 1, PROOF)
    (hold,) = [h for h in await world.book.holds(run) if h.stands]
    assert "which has left" in hold.reason
    await let_go(world, run, line, 2, PROOF)
    assert await issued(world, line, run) == {"EUR": 6000, "USD": 4200}
    assert [a.outcome for a in await world.runs.again.rated_again(run, None, 10)] == [BLOCKED, UNCHANGED]
    await certified(world, run)
    assert await issued(world, line, BillRunId(await world.bill())) == {"EUR": -500}
    await intact(world, line)
