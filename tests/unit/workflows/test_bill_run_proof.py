"""What a bill run shows before it issues, who waits in it, what it proves, and what stops it; on both databases."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from billing_bridge.billing import assessment
from billing_bridge.billing.holds import CHECK, PROOF, WHOLE_RUN
from billing_bridge.billing.model import DONE, FAILED, HELD, RUNNING, BillRun, RatedCharge
from billing_bridge.billing.run_book import PREVIEWS_KEPT
from billing_bridge.errors import UnknownHold
from billing_bridge.sources import ledger
from billing_bridge.sources.tables import usage_hour
from billing_bridge.tables import charge, recurring
from controller.domain.errors import Conflict
from controller.domain.identity import AccountId, BillRunId
from controller.domain.money import Money
from controller.domain.ports import RatedBatch, Waiting
from controller.domain.units import GB
from controller.store.engine import Database
from controller.workflows import certificate
from controller.workflows.bill_run import NoPreview
from controller.workflows.certificate import BadCertificate, Unproven
from controller.workflows.preview import Previews
from erp.finance.tables import invoice, series
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BillingWorld, Line, berlin

FIBRE, FASTER = "a" * 32, "b" * 32
RUN = BillRun(
    bill_run_id=BillRunId("run"),
    as_of=berlin(2026, 10, 1, 6),
    account_id=None,
    state=RUNNING,
    usage_watermark=0,
    event_watermark=0,
    accounts=0,
    batches=0,
    batches_done=0,
    charges=0,
    documents=0,
    actor="user:anna",
    created_at=berlin(2026, 10, 1, 6),
    finished_at=None,
    error=None,
)


class Suspicious:
    """A ChargeChecker that lets the accounts wait which it is told to, and can do something else meanwhile."""

    def __init__(self) -> None:
        self.suspects: set[AccountId] = set()
        self.tamper: str | None = None
        self.database: Database | None = None
        self.seen: list[RatedBatch] = []

    async def check(self, batch: RatedBatch) -> Sequence[Waiting]:
        self.seen.append(batch)
        if self.tamper is not None:
            assert self.database is not None
            async with self.database.begin() as conn:
                await conn.execute(text(self.tamper))
        return [Waiting(a, "Ten times the usual.") for a in batch.account_ids if a in self.suspects]


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    prices = [tariff(FIBRE, "30.00", included=10 * GB), tariff(FASTER, "60.00", name="Fibre 500")]
    checker = Suspicious()
    made = BillingWorld(database, tmp_path, prices, berlin(2026, 9, 1, 10), accounts_per_batch=2, checker=checker)
    checker.database = database
    made.suspicious = checker  # type: ignore[attr-defined]
    await made.entity()
    await made.jobs.launch()
    try:
        yield made
    finally:
        await made.close()


async def used(world: BillingWorld, lines: int = 3) -> list[Line]:
    """Lines with a month of usage, on the first of October."""
    made = [await world.activate(FIBRE, await world.customer(f"Customer {n}")) for n in range(lines)]
    for n, line in enumerate(made):
        at = world.clock.now() + timedelta(hours=1)
        await world.account_for(line, (at, 0, 0), (at + timedelta(days=3), n * GB, (8 + 4 * n) * GB))
    world.clock.advance(berlin(2026, 10, 1, 6) - world.clock.now())
    return made


async def bill(world: BillingWorld, **wanted: Any) -> BillRunId:
    run = await world.runs.start(**{"as_of": None, "account_id": None, "actor": "user:anna"} | wanted)
    await world.jobs.wait(f"bill-run.v1:{run.bill_run_id}")
    return run.bill_run_id


async def count(world: BillingWorld, table: Any) -> int:
    async with world.database.read() as conn:
        return int(await conn.scalar(select(func.count()).select_from(table)) or 0)


async def signed(world: BillingWorld, bill_run_id: BillRunId, number: int = -1) -> dict[str, Any]:
    return certificate.read((await world.certifier.certificates(bill_run_id))[number])[0]


async def test_a_dry_run_leaves_nothing_and_what_is_issued_then_has_its_digests(world: BillingWorld) -> None:
    await used(world)
    preview_id = await bill(world, dry=True)
    assert (await world.billing.bill_run(preview_id)).documents == 3
    assert [await count(world, t) for t in (charge, invoice, series, recurring)] == [0, 0, 0, 0]
    run_id = await bill(world, preview_id=preview_id, hold_changed=True)
    shown, drafted = [await world.book.draft_page(i, None, 10) for i in (preview_id, run_id)]
    assert [d.sha256 for d in shown] == [d.sha256 for d in drafted]
    issued = await world.finance.documents_of(run_id)
    assert [d.draft_sha256 for d in issued] == [d.sha256 for d in shown]
    run = await world.billing.bill_run(run_id)
    assert await Previews(world.billing, world.book, world.finance).differences(run, None, 10) == []
    assert await world.book.waiting(run_id) == set()


async def test_what_differs_from_the_preview_is_shown_by_account_and_waits(world: BillingWorld) -> None:
    lines = await used(world)
    preview_id = await bill(world, dry=True)
    late = world.clock.now() - timedelta(days=2)
    await world.account_for(lines[1], (late, 6 * GB, 40 * GB))
    run_id = await bill(world, preview_id=preview_id, hold_changed=True)
    previews = Previews(world.billing, world.book, world.finance)
    (found,) = await previews.differences(await world.billing.bill_run(run_id), None, 10)
    assert found.account_id == lines[1].account_id
    assert found.shown is not None
    assert found.now is not None
    assert found.now.minor > found.shown.minor
    assert "total_minor" in [c.where for c in found.changes]
    assert await world.book.waiting(run_id) == {lines[1].account_id}
    assert await count(world, invoice) == 2
    with pytest.raises(NoPreview):
        await bill(world, preview_id=run_id)
    with pytest.raises(Conflict, match="not started from a preview"):
        await previews.differences(await world.billing.bill_run(preview_id), None, 10)


async def contents(world: BillingWorld, bill_run_id: BillRunId) -> list[bool]:
    """Of each draft, whether it is known what it says."""
    return [d.content is not None for d in await world.book.draft_page(bill_run_id, None, 10)]


async def test_a_newer_dry_run_takes_the_place_of_an_older_one_that_nothing_was_issued_from(
    world: BillingWorld,
) -> None:
    lines = await used(world)
    of_one = await bill(world, dry=True, account_id=lines[0].account_id)
    first = await bill(world, dry=True)
    totals = [d.total for d in await world.book.draft_page(first, None, 10)]
    assert await contents(world, first) == [True] * 3
    world.clock.advance(timedelta(minutes=1))
    named = await bill(world, dry=True)
    assert await contents(world, first) == [False] * 3
    assert [d.total for d in await world.book.draft_page(first, None, 10)] == totals
    with pytest.raises(NoPreview, match="start the bill run from a newer one"):
        await bill(world, preview_id=first)
    await bill(world, preview_id=named)
    world.clock.advance(timedelta(minutes=1))
    await bill(world, dry=True)
    assert [await contents(world, i) for i in (named, of_one)] == [[True] * 3, [True]]


async def test_a_preview_is_kept_for_a_month_and_of_an_older_one_only_the_totals_are_compared(
    world: BillingWorld,
) -> None:
    lines = await used(world, 1)
    preview_id = await bill(world, dry=True)
    late = world.clock.now() - timedelta(days=2)
    await world.account_for(lines[0], (late, 6 * GB, 40 * GB))
    run_id = await bill(world, preview_id=preview_id)
    previews = Previews(world.billing, world.book, world.finance)
    run = await world.billing.bill_run(run_id)
    (found,) = await previews.differences(run, None, 10)
    assert found.changes
    world.clock.advance(PREVIEWS_KEPT - timedelta(minutes=1))
    await bill(world)
    assert await contents(world, preview_id) == [True]
    world.clock.advance(timedelta(minutes=2))
    await bill(world)
    assert await contents(world, preview_id) == [False]
    assert await previews.differences(run, None, 10) == [replace(found, changes=())]


async def test_the_preview_of_an_account_is_what_it_gets(world: BillingWorld) -> None:
    lines = await used(world, 1)
    await world.mediation.catch_up(await world.usage.watermark())
    (shown,) = await Previews(world.billing, world.book, world.finance).of_account(lines[0].account_id)
    run_id = await bill(world)
    (issued,) = await world.finance.documents_of(run_id)
    assert (issued.draft_sha256, issued.net, issued.tax) == (shown.sha256, shown.net, shown.tax)


async def test_an_account_with_a_finding_waits_and_is_issued_when_it_is_let_go(world: BillingWorld) -> None:
    lines = await used(world)
    world.suspicious.suspects = {lines[0].account_id}  # type: ignore[attr-defined]
    run_id = await bill(world)
    assert await count(world, invoice) == 2
    first = await signed(world, run_id)
    assert first["waiting"]["listed"] == [
        {"account_id": lines[0].account_id, "source": CHECK, "reason": "Ten times the usual."}
    ]
    with pytest.raises(UnknownHold):
        await world.runs.release(run_id, lines[0].account_id, reason="I say so", actor="user:anna")
    await world.runs.release(run_id, lines[0].account_id, CHECK, reason="a school", actor="user:anna")
    await world.jobs.wait(f"bill-run.v1:{run_id}:1")
    assert await count(world, invoice) == 3
    second = await signed(world, run_id)
    assert (second["number"], second["waiting"]["accounts"], second["issued"][0]["documents"]) == (2, 0, 3)
    assert [n["complete"] if "complete" in n else n["ever"] for n in second["numbers"]] == [3]


async def test_a_run_that_is_held_takes_no_number_until_it_is_released(world: BillingWorld) -> None:
    await used(world)
    run_id = await bill(world, hold="the board wants to see it")
    assert (await world.billing.bill_run(run_id)).state == HELD
    assert (await count(world, charge) > 0, await count(world, invoice), await count(world, series)) == (True, 0, 0)
    await world.runs.release(run_id, WHOLE_RUN, reason="seen", actor="user:bert")
    await world.jobs.wait(f"bill-run.v1:{run_id}:1")
    run = await world.billing.bill_run(run_id)
    assert (run.state, run.documents) == (DONE, 3)


async def test_an_account_let_go_by_a_process_that_died_is_gone_on_with(world: BillingWorld) -> None:
    lines = await used(world)
    world.suspicious.suspects = {lines[0].account_id}  # type: ignore[attr-defined]
    run_id = await bill(world)
    await world.book.release(run_id, lines[0].account_id, CHECK, reason="a school", actor="user:anna")
    await world.runs.resume()
    await world.jobs.wait(f"bill-run.v1:{run_id}:1")
    assert await count(world, invoice) == 3


async def test_a_run_of_many_batches_calls_other_processes_for_help(world: BillingWorld) -> None:
    if world.database.is_sqlite:
        pytest.skip("one process alone writes to SQLite")
    await used(world, 17)
    run_id = await bill(world)
    assert (await world.billing.bill_run(run_id)).documents == 17
    for phase in ("rating", "issuing"):
        await world.jobs.wait(f"bill-run-help.v1:{run_id}:{phase}:1")
    issued = [d.number for d in await world.finance.documents_of(run_id)]
    assert sorted(issued) == [f"INV-2026-{n:06d}" for n in range(1, 18)]


async def test_recurring_lines_are_the_opening_and_its_movements(world: BillingWorld) -> None:
    lines = await used(world)
    october = await signed(world, await bill(world))
    euro = october["recurring"]["EUR"]
    assert (euro["opening"], euro["movements"]["new"], euro["closing"]) == (0, 9000, 9000)
    assert (euro["lines_before_proration"], euro["earlier_periods"]) == (9000, "9000")
    world.clock.advance(berlin(2026, 10, 11, 9) - world.clock.now())
    await world.change(lines[0], FIBRE, FASTER)
    await world.terminate(lines[1])
    await world.activate(FIBRE)
    world.clock.advance(berlin(2026, 11, 1, 6) - world.clock.now())
    november = await signed(world, await bill(world))
    euro = november["recurring"]["EUR"]
    assert euro["opening"] == october["recurring"]["EUR"]["closing"]
    assert euro["movements"] == {"new": 3000, "up": 3000, "down": 0, "churn": -3000, "price": 0}
    assert euro["closing"] == euro["lines_before_proration"] == 12000
    assert euro["recurring_lines"] == round(12000 + float(euro["earlier_periods"]) + float(euro["rounding"]))
    again = (await signed(world, await bill(world)))["recurring"]["EUR"]
    assert (again["lines_before_proration"], again["billed_by_earlier_runs"], again["recurring_lines"]) == (0, 12000, 0)


async def test_usage_is_conserved_by_fate(world: BillingWorld) -> None:
    await used(world)
    found = await signed(world, await bill(world))
    octets = found["usage_octets"]
    assert octets["read"] == (8 + 13 + 18) * GB
    assert (octets["included"], octets["charged"]) == (8 * GB, 31 * GB)
    assert octets["read"] == sum(octets[fate] for fate in octets if fate != "read")


@pytest.mark.parametrize(
    "tamper",
    [
        "UPDATE billing_bridge_charge SET net_minor = net_minor + 1 WHERE kind = 'usage'",
        "DELETE FROM billing_bridge_charge WHERE kind = 'recurring'",
    ],
)
async def test_a_run_whose_sums_do_not_agree_issues_nothing(world: BillingWorld, tamper: str) -> None:
    await used(world)
    world.suspicious.tamper, check = tamper, "charges-drafted"  # type: ignore[attr-defined]
    with pytest.raises(Unproven, match=check):
        await bill(world)
    (run,) = await world.billing.bill_runs(None, 10)
    assert (run.state, run.documents, check in (run.error or "")) == (FAILED, 0, True)
    assert [await count(world, t) for t in (invoice, series)] == [0, 0]


async def test_every_source_is_conserved_in_the_certificate(world: BillingWorld) -> None:
    await used(world)
    tally = ledger.Tally()
    at = world.clock.now()
    for fate in (ledger.RATED, ledger.UNRATED, ledger.SUSPENSE, ledger.DUPLICATE, ledger.DUPLICATE):
        tally.accept("pbx", at, fate, 60)
    async with world.database.begin() as conn:
        await tally.write(conn)
    content = await signed(world, await bill(world))
    told = {s["source"]: s for s in content["usage_sources"]}
    assert sorted(told) == ["pbx", "radius"]
    assert {name: told["pbx"][name] for name in ("accepted", *ledger.DISPOSITIONS)} == {
        "accepted": {"records": 5, "amount": 300}, "rated": {"records": 1, "amount": 60},
        "unrated": {"records": 1, "amount": 60}, "suspense": {"records": 1, "amount": 60},
        "duplicate": {"records": 2, "amount": 120},
    }  # fmt: skip
    assert told["radius"]["accepted"]["records"] > 0
    held = {c["name"]: c["holds"] for c in content["checks"] if c["name"].startswith("usage-conserved-")}
    assert held == {"usage-conserved-pbx": True, "usage-conserved-radius": True}


async def test_a_source_whose_hours_do_not_add_up_stops_the_run(world: BillingWorld) -> None:
    """One hour lacks what another has too much of: their sum agrees, and they do not."""
    await used(world)
    tally, at = ledger.Tally(), world.clock.now()
    for n in (0, 1):
        tally.accept("pbx", at - timedelta(hours=n), ledger.RATED, 60)
    async with world.database.begin() as conn:
        await tally.write(conn)
        for n, by in ((0, 5), (1, -5)):
            this = usage_hour.c.source == "pbx", usage_hour.c.hour == ledger.hour_of(at - timedelta(hours=n))
            more = usage_hour.c.rated_amount + by
            await conn.execute(update(usage_hour).where(*this).values(rated_amount=more))
    with pytest.raises(Unproven, match=r"usage-conserved-pbx.*do not add up"):
        await bill(world)
    assert await count(world, invoice) == 0


async def test_an_engine_that_counts_a_day_too_many_is_found_before_the_first_number(
    world: BillingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await used(world)
    real = assessment.assess

    async def wrong(*args: Any) -> list[RatedCharge]:
        rated = await real(*args)
        dearer = replace(rated[0].charge, net=Money(rated[0].charge.net.minor + 100, "EUR"))
        return [replace(rated[0], charge=dearer), *rated[1:]]

    monkeypatch.setattr(assessment, "assess", wrong)
    with pytest.raises(Unproven, match="every-period-by-the-day"):
        await bill(world)
    assert await count(world, invoice) == 0


async def test_a_document_that_would_come_to_something_else_than_was_proved_waits(world: BillingWorld) -> None:
    lines = await used(world)
    run_id = await bill(world, hold="first look")
    async with world.database.begin() as conn:
        changed = "UPDATE billing_bridge_bill_draft SET net_minor = net_minor - 100, tax_minor = tax_minor + 100"
        await conn.execute(text(f"{changed} WHERE account_id = '{lines[2].account_id}'"))
    await world.runs.release(run_id, WHOLE_RUN, reason="seen", actor="user:anna")
    await world.jobs.wait(f"bill-run.v1:{run_id}:1")
    assert await count(world, invoice) == 2
    (hold,) = [h for h in await world.book.holds(run_id) if h.source == PROOF]
    assert (hold.account_id, "proved before the first number" in hold.reason) == (lines[2].account_id, True)
    await world.runs.release(run_id, lines[2].account_id, PROOF, reason="the new sum is right", actor="user:anna")
    await world.jobs.wait(f"bill-run.v1:{run_id}:2")
    assert await count(world, invoice) == 3


async def test_a_certificate_is_checked_without_a_controller(world: BillingWorld) -> None:
    await used(world)
    run_id = await bill(world)
    (file,) = await world.certifier.certificates(run_id)
    key = await world.certifier.public_key()
    content, key_id = certificate.read(file, public_key=key)
    assert (content["bill_run_id"], len(key_id)) == (run_id, 16)
    assert all(check["holds"] for check in content["checks"])
    parsed = json.loads(file)
    for altered in (
        json.dumps(parsed | {"signed": parsed["signed"].replace('"documents":3', '"documents":4')}),
        json.dumps(parsed | {"signature": parsed["signature"] | {"value": "AAAA"}}),
        json.dumps({"signed": parsed["signed"]}),
        "[]",
        "no JSON at all",
    ):
        with pytest.raises(BadCertificate):
            certificate.read(altered, public_key=key)
    with pytest.raises(BadCertificate):
        certificate.read(file, public_key="A" * 43 + "=")
