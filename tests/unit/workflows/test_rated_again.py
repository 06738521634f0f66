"""An account that waited is rated again when it is let go: what is issued is what is true then; on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text

from billing_bridge.billing import runs
from billing_bridge.billing.again_rows import CHANGED, HELD_AGAIN, UNCHANGED
from billing_bridge.billing.holds import CHECK, PROOF, WHOLE_RUN
from billing_bridge.billing.model import DONE, HELD
from billing_bridge.billing.run_book import RunBook
from billing_bridge.sources.identifiers import USERNAME
from billing_bridge.tables import bill_batch, charge
from controller.domain.identity import BillRunId
from controller.domain.units import GB
from controller.store import audit
from controller.store.engine import Database
from tests.support.billing_world import BillingWorld, berlin
from tests.support.waiting_bills import (
    FASTER,
    FIBRE,
    Net,
    certified,
    correct_price,
    held,
    intact,
    let_go,
    nets,
    two,
    waiting_world,
)


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    async with waiting_world(database, tmp_path) as made:
        yield made


async def test_usage_that_was_somebody_elses_is_not_on_the_bill_that_waited_for_it(world: BillingWorld) -> None:
    other = await world.activate(FASTER)
    run, dear = await held(world)
    (draft,) = [d for d in await world.book.draft_page(run, None, 10) if not d.issued]
    assert draft.net.minor == 3000 + 3000 + 10_000
    await world.suspense.give(
        USERNAME, "alice", berlin(2026, 9, 9), other.service_id, overrides=True, actor="user:anna", reason="told late"
    )
    await let_go(world, run, dear)
    assert await nets(world, dear, run) == [3000 + 3000]
    (again,) = await world.runs.again.rated_again(run, None, 10)
    assert (again.outcome, again.released_by, again.release_reason) == (CHANGED, "user:bert", "it was mended")
    assert ([d.net.minor for d in again.before], [d.net.minor for d in again.after]) == ([16_000], [6000])
    assert (again.before[0].sha256, again.before[0].content is None) == (draft.sha256, False)
    (issued,) = await world.finance.documents_of(run, [dear.account_id])
    assert issued.draft_sha256 == again.after[0].sha256
    await intact(world, dear)
    async with world.database.read() as conn:
        told = [e for e in await audit.entries(conn, before=None, limit=50) if e["action"] == "bill-run.rate-again"]
    assert [(e["actor"], e["reason"]) for e in told] == [("user:bert", "it was mended")]
    assert await nets(world, dear, await world.bill()) == [], "nothing is left for the next run"


async def test_the_certificate_says_who_let_go_what_and_its_sums_are_those_of_what_is_issued(
    world: BillingWorld,
) -> None:
    run, dear = await held(world)
    await correct_price(world, date(2026, 9, 1))
    await let_go(world, run, dear)
    content = await certified(world, run)
    assert content["number"] == 2
    (again,) = content["rated_again"]
    assert (again["account_id"], again["released_by"], again["outcome"]) == (dear.account_id, "user:bert", CHANGED)
    assert again["before"] == {"EUR": {"net": 16_000, "tax": 3040}}
    assert again["after"] == {"EUR": {"net": 15_500, "tax": 2945}}, "September at 25.00, October at 30.00"
    euro = content["recurring"]["EUR"]
    assert (euro["opening"], euro["movements"]["new"], euro["closing"]) == (0, 6000, 6000)
    assert (euro["lines_before_proration"], euro["recurring_lines"]) == (6000, 3000 * 3 + 2500)
    octets = content["usage_octets"]
    assert octets["read"] == 122 * GB == sum(octets[fate] for fate in octets if fate != "read")
    assert content["issued"][0]["net"] == 15_500 + 6200
    assert content["waiting"]["accounts"] == 0


async def test_late_usage_and_a_change_of_plan_are_on_the_bill_that_waited_meanwhile(world: BillingWorld) -> None:
    run, dear = await held(world)
    world.clock.move_to(berlin(2026, 10, 3, 9))
    await world.account_for(dear, (berlin(2026, 9, 20, 9), 0, 111 * GB))
    await world.change(dear, FIBRE, FASTER)
    world.net.limit = 10**9  # type: ignore[attr-defined]
    await let_go(world, run, dear)
    october = -(-3000 * 2 // 31) + round(6000 * 29 / 31)  # 2 days of the old plan, 29 of the new
    (net,) = await nets(world, dear, run)
    assert abs(net - (3000 + 10_100 + october)) <= 1
    await intact(world, dear)
    await certified(world, run)


async def test_a_bill_that_is_as_it_was_leaves_with_the_digest_that_was_looked_at(world: BillingWorld) -> None:
    run, dear = await held(world)
    (draft,) = [d for d in await world.book.draft_page(run, None, 10) if not d.issued]
    looked = len(world.net.seen)  # type: ignore[attr-defined]
    await let_go(world, run, dear)
    assert len(world.net.seen) == looked, "somebody has seen this very bill"  # type: ignore[attr-defined]
    (issued,) = await world.finance.documents_of(run, [dear.account_id])
    assert issued.draft_sha256 == draft.sha256
    (again,) = await world.runs.again.rated_again(run, None, 10)
    assert again.outcome == UNCHANGED
    async with world.database.read() as conn:
        assert await conn.scalar(select(func.count()).where(bill_batch.c.parts.is_not(None))) == 0


async def test_another_bill_that_is_wrong_too_waits_once_more(world: BillingWorld) -> None:
    run, dear = await held(world)
    await world.account_for(dear, (berlin(2026, 9, 20, 9), 0, 210 * GB))
    await let_go(world, run, dear)
    assert await nets(world, dear, run) == []
    (hold,) = [h for h in await world.book.holds(run) if h.stands]
    assert (hold.source, hold.reason) == (CHECK, "It comes to 26000.")
    assert (await world.billing.bill_run(run)).state == DONE
    await let_go(world, run, dear, 2)
    assert await nets(world, dear, run) == [26_000]
    assert [a.outcome for a in await world.runs.again.rated_again(run, None, 10)] == [HELD_AGAIN, UNCHANGED]
    assert [a["outcome"] for a in (await certified(world, run))["rated_again"]] == [HELD_AGAIN, UNCHANGED]


async def test_what_another_run_has_credited_meanwhile_is_not_credited_twice(world: BillingWorld) -> None:
    """The next run charges the difference to the bill that waits; both documents together say what is true."""
    run, dear = await held(world)
    await correct_price(world, date(2026, 9, 1))
    world.net.limit = 10**9  # type: ignore[attr-defined]
    world.clock.move_to(berlin(2026, 11, 1, 6))
    second = await world.bill()
    assert await nets(world, dear, second) == [3000 - 500]
    await let_go(world, run, dear)
    assert sum(await nets(world, dear)) == 2500 + 10_000 + 3000 + 3000
    await intact(world, dear)
    await certified(world, run)
    assert await nets(world, dear, await world.bill()) == []


async def test_a_later_change_is_not_lost_between_the_bill_that_waited_and_the_next_run(world: BillingWorld) -> None:
    run, dear = await held(world)
    world.net.limit = 10**9  # type: ignore[attr-defined]
    world.clock.move_to(berlin(2026, 11, 1, 6))
    await world.bill()
    await correct_price(world, date(2026, 9, 1))
    await correct_price(world, date(2026, 11, 1))
    await let_go(world, run, dear)
    await world.bill()
    assert sum(await nets(world, dear)) == 2500 + 10_000 + 3000 + 2500
    await intact(world, dear)


async def test_of_a_run_that_waited_as_a_whole_those_are_rated_again_of_whom_something_has_changed(
    world: BillingWorld,
) -> None:
    cheap, dear = await two(world)
    other = await world.activate(FASTER)
    world.net.limit = 10**9  # type: ignore[attr-defined]
    run = await world.runs.start(as_of=None, account_id=None, actor="user:test", hold="the board wants to see it")
    await world.jobs.wait(f"bill-run.v1:{run.bill_run_id}")
    await correct_price(world, date(2026, 9, 1))
    await world.runs.release(run.bill_run_id, WHOLE_RUN, reason="seen", actor="user:anna")
    await world.jobs.wait(f"bill-run.v1:{run.bill_run_id}:1")
    assert [await nets(world, line) for line in (cheap, dear, other)] == [[5700], [15_500], [6000]]
    again = await world.runs.again.rated_again(run.bill_run_id, None, 10)
    assert {(a.account_id, a.outcome, a.released_by) for a in again} == {
        (line.account_id, CHANGED, "user:anna") for line in (cheap, dear)
    }
    await certified(world, run.bill_run_id)
    for line in (cheap, dear, other):
        await intact(world, line)


async def test_what_is_done_twice_after_a_crash_doubles_nothing(
    world: BillingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies after the charges were replaced, and after the checks: both are gone through again."""
    run, dear = await held(world)
    await correct_price(world, date(2026, 9, 1))
    real, deaths = world.runs.again.set_rated_again, [1, 2]

    async def dies(*args: Any) -> None:
        if deaths:
            deaths.pop()
            raise RuntimeError("killed")
        await real(*args)

    monkeypatch.setattr(world.runs.again, "set_rated_again", dies)
    await world.runs.release(run, dear.account_id, CHECK, reason="it was mended", actor="user:bert")
    for n in (1, 2):
        with pytest.raises(RuntimeError, match="killed"):
            await world.jobs.wait(f"bill-run.v1:{run}:{n}")
        assert dear.account_id in await world.book.waiting(run)
        await world.runs.redrive(run, actor="user:bert")
    await world.jobs.wait(f"bill-run.v1:{run}:3")
    assert await nets(world, dear, run) == [15_500]
    (again,) = await world.runs.again.rated_again(run, None, 10)
    assert ([d.net.minor for d in again.before], [d.net.minor for d in again.after]) == ([16_000], [15_500])
    async with world.database.read() as conn:
        assert await conn.scalar(select(func.sum(charge.c.net_minor))) == 15_500 + 6200
    await certified(world, run)


@pytest.mark.parametrize("whole", [False, True])
async def test_who_is_held_while_it_is_rated_again_waits_with_the_drafts_of_its_new_charges(
    world: BillingWorld, whole: bool
) -> None:
    run, dear = await held(world)
    await correct_price(world, date(2026, 9, 1))
    account_id = WHOLE_RUN if whole else dear.account_id
    net: Net = world.net  # type: ignore[attr-defined]
    net.limit = 10**9

    async def hold() -> None:
        net.meanwhile = None
        await world.runs.hold(run, account_id, reason="a call", actor="user:anna")

    net.meanwhile = hold
    await let_go(world, run, dear)
    assert (await world.billing.bill_run(run)).state == (HELD if whole else DONE)
    assert (await nets(world, dear, run), await world.book.waiting(run)) == ([], {account_id, dear.account_id})
    await world.runs.release(run, account_id, reason="seen", actor="user:anna")
    await world.jobs.wait(f"bill-run.v1:{run}:2")
    assert await nets(world, dear, run) == [15_500]
    (again,) = await world.runs.again.rated_again(run, None, 10)
    assert ([d.net.minor for d in again.before], [d.net.minor for d in again.after]) == ([16_000], [15_500])
    assert again.outcome == CHANGED
    await certified(world, run)


async def test_who_is_let_go_while_the_others_are_issued_is_not_forgotten(
    world: BillingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch is at work when the hold ends: it would be called done, and the account would wait for ever."""
    _, dear = await two(world)
    real = RunBook.set_invoiced
    released = False

    async def slow(self: RunBook, bill_run_id: BillRunId, *args: Any) -> None:
        nonlocal released
        if not released:
            released = True
            await world.runs.book.release(
                bill_run_id, dear.account_id, CHECK, reason="it was mended", actor="user:bert"
            )
        await real(self, bill_run_id, *args)

    monkeypatch.setattr(RunBook, "set_invoiced", slow)
    run = BillRunId(await world.bill())
    assert await nets(world, dear, run) == [16_000]
    assert (await world.billing.bill_run(run)).state == DONE
    await certified(world, run)


async def test_a_process_that_is_behind_issues_nothing_that_was_rated_again(
    world: BillingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between what it has read of a batch and its documents, an account of it is held, let go and rated again."""
    cheap, _ = await two(world)
    world.net.limit = 10**9  # type: ignore[attr-defined]
    real = world.finance.issue_proved
    run_id = ""

    async def behind(bill_run_id: BillRunId, *args: Any, **more: Any) -> Any:
        nonlocal run_id
        if not run_id:
            run_id = bill_run_id
            await world.runs.hold(bill_run_id, cheap.account_id, reason="a call", actor="user:anna")
            await world.book.release(bill_run_id, cheap.account_id, "person", reason="mended", actor="user:anna")
            await correct_price(world, date(2026, 9, 1))
            await world.runs._work._batches.again(  # what the process of the run does meanwhile
                await world.billing.bill_run(bill_run_id), cheap.account_id
            )
        return await real(bill_run_id, *args, **more)

    monkeypatch.setattr(world.finance, "issue_proved", behind)
    await world.bill()
    assert await nets(world, cheap) == [2500 + 3000 + 200]
    await intact(world, cheap)


async def test_a_bill_that_differs_again_after_it_was_let_go_waits_again(
    world: BillingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waited for its proof before: the run would try to issue it for ever."""
    run, dear = await held(world)
    await world.book.hold(run, dear.account_id, PROOF, reason="it would come to less", actor="system:test")
    await world.book.release(run, dear.account_id, PROOF, reason="it is right", actor="user:anna")
    real = world.finance.issue_proved

    async def differs(bill_run_id: BillRunId, charges: Any, proved: Any, **more: Any) -> Any:
        other = {key: (replace(net, minor=net.minor - 100), tax) for key, (net, tax) in proved.items()}
        return await real(bill_run_id, charges, other, **more)

    monkeypatch.setattr(world.finance, "issue_proved", differs)
    async with asyncio.timeout(20):
        await let_go(world, run, dear)
    (hold,) = [h for h in await world.book.holds(run) if h.stands]
    assert (hold.source, "proved before the first number" in hold.reason) == (PROOF, True)
    monkeypatch.undo()
    await let_go(world, run, dear, 2, PROOF)
    assert await nets(world, dear, run) == [16_000]
    await certified(world, run)


async def test_a_run_that_is_about_to_charge_the_difference_is_waited_for(
    world: BillingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was built upon is read when the other run is done with the subscriptions, and not before."""
    run, dear = await held(world)
    await correct_price(world, date(2026, 9, 1))
    world.net.limit = 10**9  # type: ignore[attr-defined]
    world.clock.move_to(berlin(2026, 11, 1, 6))
    real, charged, go_on = runs.set_rated, asyncio.Event(), asyncio.Event()

    async def slow(*args: Any) -> None:
        charged.set()
        await go_on.wait()
        await real(*args)

    monkeypatch.setattr(runs, "set_rated", slow)
    async with asyncio.timeout(60), asyncio.TaskGroup() as both:
        both.create_task(world.bill())
        await charged.wait()
        both.create_task(let_go(world, run, dear))
        while not world.database.is_sqlite and not await _waits_for_subscriptions(world):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        go_on.set()
    assert sum(await nets(world, dear)) == 2500 + 10_000 + 3000 + 3000
    await intact(world, dear)
    await certified(world, run)
    assert await nets(world, dear, await world.bill()) == []


async def _waits_for_subscriptions(world: BillingWorld) -> bool:
    """Whether somebody waits for the lock of subscriptions; SQLite lets only one transaction write."""
    query = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%FROM billing_bridge_subs%'"
    async with world.database.read() as conn:
        return await conn.scalar(text(query)) is not None
