"""Accounts that share a bill wait, and are let go one by one or together; on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from billing_bridge.billing import assessment
from billing_bridge.billing.again_rows import BLOCKED, CHANGED, HELD_AGAIN, UNCHANGED
from billing_bridge.billing.holds import PROOF, Hold
from billing_bridge.billing.model import DONE
from billing_bridge.billing.second_rating import Second
from controller.domain.identity import AccountId, BillRunId
from controller.store.engine import Database
from tests.support.billing_world import BillingWorld
from tests.support.waiting_bills import (
    Net,
    certified,
    correct_price,
    family,
    held_by_hand,
    intact,
    let_go,
    nets,
    waiting_world,
)


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    async with waiting_world(database, tmp_path) as made:
        yield made


async def test_who_shares_a_bill_and_is_let_go_in_between_is_drafted_too(
    world: BillingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, mine = await family(world)
    run = BillRunId(await held_by_hand(world, line.account_id, mine.account_id))
    for month in (9, 10):
        await correct_price(world, date(2026, month, 1))
    real, calls = world.runs.again.let_go, 0

    async def in_between(bill_run_id: BillRunId, *among: Any) -> dict[AccountId, Hold]:
        nonlocal calls
        calls += 1
        if calls == 2:  # its charges are others by now, and who is left to its own turn is asked for
            await world.book.release(run, mine.account_id, "person", reason="seen", actor="user:anna")
        return await real(bill_run_id, *among)

    monkeypatch.setattr(world.runs.again, "let_go", in_between)
    await let_go(world, run, line, 2, "person")
    assert (await nets(world, line, run), await nets(world, mine, run)) == ([2700], [2500])
    await certified(world, run)


async def test_who_shares_a_bill_and_has_another_one_by_now_is_checked_too(world: BillingWorld) -> None:
    line, mine = await family(world)
    run = BillRunId(await held_by_hand(world, line.account_id, mine.account_id))
    await correct_price(world, date(2026, 10, 1))
    await let_go(world, run, line, 2, "person")
    assert (await nets(world, line, run), await nets(world, mine, run)) == ([3200], [])
    assert world.net.seen[-1].again == {mine.account_id}  # type: ignore[attr-defined]
    (again,) = await world.runs.again.rated_again(run, None, 10)
    assert (again.account_id, again.outcome) == (line.account_id, UNCHANGED)


async def test_what_belongs_on_a_bill_that_has_left_is_not_put_on_another_one(world: BillingWorld) -> None:
    """The parent's bill waits and the child's has left; then the child's own period is corrected."""
    line, mine = await family(world)
    parent = mine.account_id
    run = BillRunId(await held_by_hand(world, parent))
    assert (await nets(world, line, run), await nets(world, mine, run)) == ([3200], [])
    await correct_price(world, date(2026, 9, 1))
    await let_go(world, run, mine, 2, "person")
    (hold,) = [h for h in await world.book.holds(run) if h.stands]
    assert (hold.account_id, hold.source) == (parent, PROOF)
    assert "document of account" in hold.reason
    await let_go(world, run, mine, 3, PROOF)
    assert (await nets(world, line, run), await nets(world, mine, run)) == ([3200], [3000])
    assert [a.outcome for a in await world.runs.again.rated_again(run, None, 10)] == [BLOCKED, UNCHANGED]
    await world.bill()
    assert sum(await nets(world, line)) == 2700
    await intact(world, line)


async def test_who_is_let_go_beside_another_and_held_before_its_turn_waits_with_the_drafts_of_its_new_charges(
    world: BillingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, mine = await family(world)
    run = BillRunId(await held_by_hand(world, line.account_id, mine.account_id))
    for month in (9, 10):
        await correct_price(world, date(2026, month, 1))
    let_go_now, set_now = world.runs.again.let_go, world.runs.again.set_rated_again
    asked, turns = 0, []

    async def in_between(bill_run_id: BillRunId, *among: Any) -> dict[AccountId, Hold]:
        nonlocal asked
        asked += 1
        if asked == 2:
            await world.book.release(run, mine.account_id, "person", reason="seen", actor="user:anna")
        return await let_go_now(bill_run_id, *among)

    async def then_held(bill_run_id: BillRunId, second: Second, *more: Any) -> None:
        await set_now(bill_run_id, second, *more)
        turns.append(second.turn)
        if len(turns) == 1:
            await world.runs.hold(run, mine.account_id, reason="a call", actor="user:anna")

    monkeypatch.setattr(world.runs.again, "let_go", in_between)
    monkeypatch.setattr(world.runs.again, "set_rated_again", then_held)
    await let_go(world, run, line, 2, "person")
    assert (await world.billing.bill_run(run)).state == DONE
    assert await world.book.waiting(run) == {mine.account_id}
    await certified(world, run)
    await let_go(world, run, mine, 3, "person")
    assert (await nets(world, line, run), await nets(world, mine, run)) == ([2700], [2500])
    assert turns == [(line.account_id,), (mine.account_id,)]
    was = {line.account_id: [3200], mine.account_id: [3000]}
    again = {a.account_id: a for a in await world.runs.again.rated_again(run, None, 10)}
    assert {i: [d.net.minor for d in a.before] for i, a in again.items()} == was
    assert {a.outcome for a in again.values()} == {CHANGED}, "each was looked at in its own turn"
    await certified(world, run)


async def test_who_shares_a_bill_and_is_let_go_together_is_rated_once(
    world: BillingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of many sites of one company would rate all of them."""
    line, mine = await family(world)
    run = BillRunId(await held_by_hand(world, line.account_id, mine.account_id))
    for month in (9, 10):
        await correct_price(world, date(2026, month, 1))
    net: Net = world.net  # type: ignore[attr-defined]
    net.limit, rated, real = 2600, [], assessment.assess

    async def noted(conn: Any, subscriptions: Any, *more: Any, **most: Any) -> Any:
        rated.append([s.subscription_id for s in subscriptions])
        return await real(conn, subscriptions, *more, **most)

    monkeypatch.setattr(assessment, "assess", noted)
    for each, actor in ((line, "user:anna"), (mine, "user:bert")):
        await world.book.release(run, each.account_id, "person", reason="seen", actor=actor)
    await world.runs.resume()
    await world.jobs.wait(f"bill-run.v1:{run}:2")
    assert rated == [[line.subscription_id]]
    assert net.seen[-1].again == {line.account_id, mine.account_id}, "both are other bills, and checked"
    assert (await nets(world, line, run), await nets(world, mine, run)) == ([], [2500])
    again = {a.account_id: a for a in await world.runs.again.rated_again(run, None, 10)}
    assert {(i, a.outcome, a.released_by) for i, a in again.items()} == {
        (line.account_id, HELD_AGAIN, "user:anna"),
        (mine.account_id, CHANGED, "user:bert"),
    }
    assert [d.content is None for a in again.values() for d in (*a.before, *a.after)] == [False] * 4
    await certified(world, run)
