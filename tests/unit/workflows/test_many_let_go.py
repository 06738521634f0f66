"""Many accounts are let go at once: what one of them costs does not grow with the others; on both databases."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from billing_bridge.billing import again_rows, holds
from billing_bridge.billing.again_rows import UNCHANGED, RatedAgain
from billing_bridge.billing.holds import CHECK, Hold
from billing_bridge.billing.model import DONE
from controller.domain.identity import AccountId, BillRunId
from controller.store.engine import Database
from tests.support.billing_world import BillingWorld, berlin
from tests.support.waiting_bills import FIBRE, Net, certified, waiting_world

ACCOUNTS = 12


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    async with waiting_world(database, tmp_path) as made:
        yield made


async def all_held(world: BillingWorld) -> BillRunId:
    """Twelve accounts, five to a batch."""
    net: Net = world.net  # type: ignore[attr-defined]
    net.limit = 0
    for _ in range(ACCOUNTS):
        await world.activate(FIBRE)
    world.clock.move_to(berlin(2026, 10, 1, 6))
    run = BillRunId(await world.bill())
    assert len(await world.book.waiting(run)) == ACCOUNTS
    return run


async def let_all_go(world: BillingWorld, run: BillRunId) -> None:
    for account_id in sorted(await world.book.waiting(run)):
        await world.book.release(run, account_id, CHECK, reason="they are right", actor="user:bert")
    await world.runs.resume()
    await world.jobs.wait(f"bill-run.v1:{run}:1")


async def test_holds_of_others_are_not_read_for_each_account_that_is_let_go(
    world: BillingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await all_held(world)
    read: list[AccountId] = []
    real = holds.to_rate

    async def noted(*args: Any) -> dict[AccountId, Hold]:
        found = await real(*args)
        read.extend(found)
        return found

    monkeypatch.setattr(holds, "to_rate", noted)
    await let_all_go(world, run)
    assert (await world.billing.bill_run(run)).documents == ACCOUNTS
    assert len(read) <= ACCOUNTS * 4, "all of them once, and each with itself a few times"
    await certified(world, run)


async def test_a_batch_is_issued_without_reading_the_holds_of_the_others(
    world: BillingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await all_held(world)

    async def of_all(*_: Any) -> set[AccountId]:
        raise AssertionError("the holds of the whole run were read")

    read: list[set[AccountId]] = []
    real = holds.standing_of

    async def noted(*args: Any) -> set[AccountId]:
        read.append(await real(*args))
        return read[-1]

    (first, *others) = sorted(await world.book.waiting(run))
    monkeypatch.setattr(holds, "standing", of_all)
    monkeypatch.setattr(holds, "standing_of", noted)
    await world.book.release(run, first, CHECK, reason="it is right", actor="user:bert")
    await world.runs.resume()
    await world.jobs.wait(f"bill-run.v1:{run}:1")
    run_now = await world.billing.bill_run(run)
    assert (run_now.state, run_now.documents) == (DONE, 1)
    assert read
    assert all(len(found) <= 5 for found in read), "no more than those of one batch"
    monkeypatch.undo()
    assert await world.book.waiting(run) == set(others)


async def test_others_have_their_turn_while_a_certificate_lists_who_was_rated_again(
    world: BillingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = BillRunId(await world.bill())
    now = world.clock.now()
    async with world.database.begin() as conn:
        for n in range(120):
            let_go = Hold(run, AccountId(f"{n:032d}"), CHECK, "", now, "", now, "user:bert", "it is right")
            await again_rows.begin(conn, let_go, [], now)
            await again_rows.end(conn, run, let_go.account_id, [], UNCHANGED)
    turns, read = 0, Counter[int]()
    real = again_rows._read

    def noted(row: Any) -> RatedAgain:
        read[turns] += 1
        return real(row)

    async def somebody_else() -> None:
        nonlocal turns
        while read.total() < 120:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(again_rows, "_read", noted)
    other = asyncio.create_task(somebody_else())
    assert len(await world.runs.again.rated_again(run, None, 1000)) == 120
    await other
    assert max(read.values()) <= 25
