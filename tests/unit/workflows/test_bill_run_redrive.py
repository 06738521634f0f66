"""A bill run that failed goes on once, and exactly once, whatever dies or is pressed twice in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from billing_bridge.billing.model import DONE, BillRun
from controller.domain.errors import Conflict, RuleError
from controller.domain.identity import BillRunId
from controller.store.audit import audit
from controller.store.engine import Database
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BillingWorld, berlin


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    made = BillingWorld(database, tmp_path, [tariff("a" * 32, "30.00")], berlin(2026, 9, 16, 14))
    await made.entity()
    await made.jobs.launch()
    await made.activate("a" * 32)
    try:
        yield made
    finally:
        await made.close()


async def failed(world: BillingWorld, monkeypatch: pytest.MonkeyPatch) -> BillRun:
    """A run whose documents could not be issued."""

    async def refuses(*_: object, **__: object) -> None:
        raise RuleError("the printer is on fire")

    with monkeypatch.context() as patch:
        patch.setattr(world.finance, "issue_proved", refuses)
        run = await world.runs.start(as_of=None, account_id=None, actor="user:test")
        with pytest.raises(RuleError):
            await world.jobs.wait(f"bill-run.v1:{run.bill_run_id}")
    return run


async def finishes(world: BillingWorld) -> int:
    """How often the audit log says that a run ended well."""
    ended = audit.c.action == "bill-run.finish"
    done = audit.c.after.contains('"done"')
    async with world.database.read() as conn:
        return int(await conn.scalar(select(func.count()).where(ended, done)) or 0)


async def done(world: BillingWorld, bill_run_id: BillRunId) -> BillRun:
    async with asyncio.timeout(30):
        while (run := await world.billing.bill_run(bill_run_id)).state != DONE:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return run


async def test_a_run_reopened_by_a_process_that_died_before_it_started_the_job_is_resumed(
    world: BillingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await failed(world, monkeypatch)
    await world.billing.reopen_run(run.bill_run_id, actor="user:test")  # and then the power went
    await world.runs.resume()
    assert (await done(world, run.bill_run_id)).documents == 1


async def test_a_run_that_fails_twice_is_redriven_twice(world: BillingWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await failed(world, monkeypatch)

    async def refuses(*_: object, **__: object) -> None:
        raise RuleError("the printer is still on fire")

    with monkeypatch.context() as patch:
        patch.setattr(world.finance, "issue_proved", refuses)
        await world.runs.redrive(run.bill_run_id, actor="user:test")
        with pytest.raises(RuleError):
            await world.jobs.wait(f"bill-run.v1:{run.bill_run_id}:1")
    await world.runs.redrive(run.bill_run_id, actor="user:test")
    assert (await done(world, run.bill_run_id)).documents == 1


async def test_a_run_at_work_is_not_redriven(world: BillingWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()
    issue = world.finance.issue_proved

    async def slow(*args: Any, **named: Any) -> Any:
        entered.set()
        await go_on.wait()
        return await issue(*args, **named)

    monkeypatch.setattr(world.finance, "issue_proved", slow)
    run = await world.runs.start(as_of=None, account_id=None, actor="user:test")
    async with asyncio.timeout(30):
        await entered.wait()
    with pytest.raises(Conflict, match="still at work"):
        await world.runs.redrive(run.bill_run_id, actor="user:test")
    go_on.set()
    await world.jobs.wait(f"bill-run.v1:{run.bill_run_id}")
    assert await world.jobs.status(f"bill-run.v1:{run.bill_run_id}:1") is None
    assert await finishes(world) == 1


async def test_two_redrives_at_once_start_one_job(world: BillingWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await failed(world, monkeypatch)
    again = [world.runs.redrive(run.bill_run_id, actor="user:test") for _ in range(2)]
    answers = await asyncio.gather(*again, return_exceptions=True)
    assert any(isinstance(answer, BillRun) for answer in answers)
    assert all(isinstance(answer, BillRun | Conflict) for answer in answers), answers
    await done(world, run.bill_run_id)
    await world.jobs.wait(f"bill-run.v1:{run.bill_run_id}:1")
    assert await world.jobs.status(f"bill-run.v1:{run.bill_run_id}:2") is None
    assert await finishes(world) == 1
