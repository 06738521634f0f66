"""Dunning on a ledger, RADIUS and mail: each step once and in its time, and freedom as soon as nothing is owed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from controller.app.bus import Bus
from controller.domain.events import (
    DunningChanged,
    InvoiceIssued,
    PaymentReceived,
    PaymentReversed,
    ReceivablesChanged,
)
from controller.domain.identity import BillRunId, PaymentId, new_id
from controller.domain.money import Money
from controller.domain.restriction import Measure
from controller.store import audit, outbox
from controller.store.engine import Database
from erp.crm.hierarchy import HierarchyService
from erp.dunning.disputes import REJECTED, UPHELD, DisputeRequest, EvidenceAltered
from erp.dunning.errors import AlreadyEnded, DisputeRefused, NoticeSettled, PlanRefused, PolicyKnown, PolicyRefused
from erp.dunning.mail import Never, NotNow, Unclear
from erp.dunning.policy import DEFAULT
from erp.finance.chart import BANK
from erp.finance.settlement import MoneyBack
from erp.orders.pauses import PauseKind, PauseRequest
from radius.vendors.terms import GARDEN_PROFILE
from tests.support.dunning import ANNA, DunningWorld, dunning_world
from tests.support.radius import GOLD

DUE = date(2026, 11, 15)
"""Issued on 1 November, a Sunday; due on another, two weeks later."""
LADDER = [
    (date(2026, 11, 18), "reminder"),
    (date(2026, 11, 25), "warning"),
    (date(2026, 12, 2), "throttle"),
    (date(2026, 12, 9), "garden"),
    (date(2026, 12, 23), "suspension"),
]


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[DunningWorld]:
    async with dunning_world(database, tmp_path) as made:
        yield made


class Killed(BaseException):
    """What kill -9 does to whoever is sending."""


def bus(world: DunningWorld) -> Bus:
    """What wiring subscribes dunning to."""
    changes = (PaymentReceived, PaymentReversed, ReceivablesChanged, DunningChanged)
    heard = dict.fromkeys(changes, world.work.on_account_changed) | {InvoiceIssued: world.work.on_invoice_issued}
    return Bus(world.database, world.clock, {"dunning": heard})


async def deliver(world: DunningWorld) -> None:
    await bus(world).drain()
    await world.room.follower.refresh_subscribers()


async def steps(world: DunningWorld, account_id: str) -> list[tuple[date, str]]:
    return [(row.taken_on, row.name) for row in reversed(await world.dunning.steps(account_id))]  # type: ignore[arg-type]


async def test_an_unpaid_invoice_climbs_the_ladder_and_one_payment_takes_it_down_at_once(world: DunningWorld) -> None:
    account = await world.customer()
    await world.line(account, "anna")
    await world.invoice(account)
    seen = {}
    for night, name in LADDER:
        await world.nights(account, night - timedelta(days=1))
        before = world.login_gets("anna")
        await world.nights(account, night)
        seen[name] = (before, world.login_gets("anna"))
    assert await steps(world, account) == LADDER
    assert seen == {
        "reminder": (GOLD.name, GOLD.name),
        "warning": (GOLD.name, GOLD.name),
        "throttle": (GOLD.name, "arrears"),
        "garden": ("arrears", GARDEN_PROFILE),
        "suspension": (GARDEN_PROFILE, "rejected"),
    }
    assert [m.subject.split()[0] for m in world.mail.sent] == ["Zahlungserinnerung", "Mahnung", "Ihr", "Ihr", "Ihr"]
    assert "59,50\xa0€" in world.mail.sent[0].text
    assert "5,00\xa0€" in world.mail.sent[1].text, "what the letter costs"
    await world.pay(account, "59.50", "r1")
    await deliver(world)
    assert world.login_gets("anna") == GOLD.name
    standing = await world.standing(account)
    assert (standing.state.measure, standing.state.stage, standing.state.next_on) == (Measure.NONE, "", None)
    async with world.database.read() as conn:
        entries = await audit.entries(conn, before=None, limit=100)
    assert {e["actor"] for e in entries if e["action"].startswith(("dunning", "subscriber.re"))} == {"system:dunning"}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
async def test_payments_in_any_order_free_the_line_with_the_last_of_them(
    world: DunningWorld, order: tuple[int, ...]
) -> None:
    account = await world.customer()
    await world.line(account, "anna")
    await world.invoice(account)
    await world.nights(account, date(2026, 12, 23))
    amounts = ("40.00", "10.00", "9.50")
    for n in order:
        assert world.login_gets("anna") != GOLD.name
        await world.pay(account, amounts[n], f"r{n}")
        await deliver(world)
    assert world.login_gets("anna") == GOLD.name


async def test_crediting_to_zero_frees_the_line_as_paying_does(world: DunningWorld) -> None:
    account = await world.customer()
    await world.line(account, "anna")
    invoice_id = await world.invoice(account)
    await world.nights(account, date(2026, 12, 10))
    assert world.login_gets("anna") == GARDEN_PROFILE
    await world.books.corrections.void(invoice_id, reason="was never delivered", actor=ANNA)
    await deliver(world)
    assert world.login_gets("anna") == GOLD.name


async def test_nights_that_are_run_again_or_were_missed_repeat_and_skip_nothing(world: DunningWorld) -> None:
    account = await world.customer()
    await world.invoice(account)
    world.move_to(date(2027, 1, 11))
    for _ in range(3):
        await world.look(account)
        await world.notices.work()
    await world.nights(account, date(2027, 1, 18))
    assert await steps(world, account) == [(date(2027, 1, 11), "reminder"), (date(2027, 1, 18), "warning")]
    assert len(world.mail.sent) == 2


async def test_nobody_is_reminded_of_what_he_paid_while_the_reminder_waited(world: DunningWorld) -> None:
    account = await world.customer()
    await world.invoice(account)
    world.move_to(date(2026, 11, 18))
    assert (await world.look(account)).steps == 1
    await world.pay(account, "59.50", "r1")
    assert await world.notices.work()
    (notice,) = await world.notices.page(account_id=account, state=None, after=None, limit=9)
    assert (notice.state, world.mail.sent, await steps(world, account)) == ("withdrawn", [], [])


async def test_a_mail_server_that_is_away_is_tried_again_and_holds_the_ladder(world: DunningWorld) -> None:
    account = await world.customer()
    await world.invoice(account)
    world.move_to(date(2026, 11, 18))
    await world.look(account)
    world.mail.refuse = NotNow("421 busy")
    await world.notices.work()
    world.move_to(date(2026, 11, 27), hour=9)
    assert (await world.look(account)).steps == 0, "nobody is warned who was not reminded"
    await world.notices.work()
    assert len(world.mail.sent) == 1
    await world.nights(account, date(2026, 12, 2))
    assert [name for _, name in await steps(world, account)] == ["reminder", "warning"]


async def test_an_address_that_takes_no_mail_gets_a_letter(world: DunningWorld) -> None:
    account = await world.customer()
    await world.invoice(account)
    world.move_to(date(2026, 11, 18))
    await world.look(account)
    world.mail.refuse = Never("550 no such user")
    while await world.notices.work():
        pass
    (notice,) = await world.notices.page(account_id=account, state="sent", after=None, limit=9)
    assert (notice.channel, (await world.notices.pdf(notice.notice_id))[:5]) == ("letter", b"%PDF-")
    by_post = await world.customer("Ohne Adresse", email="", language="en")
    await world.invoice(by_post)
    world.move_to(date(2026, 12, 8))
    await world.look(by_post)
    await world.notices.work()
    (letter,) = await world.notices.page(account_id=by_post, state="sent", after=None, limit=9)
    _, content = await world.notices.show(letter.notice_id)
    assert content is not None
    assert (letter.channel, content["locale"]) == ("letter", "en")


async def test_a_program_that_dies_while_it_sends_leaves_the_notice_to_a_person(world: DunningWorld) -> None:
    account = await world.customer()
    await world.invoice(account)
    world.move_to(date(2026, 11, 18))
    await world.look(account)
    world.mail.refuse = Killed()
    with pytest.raises(Killed):
        await world.notices.work()
    again = world.sender()
    await again.start()
    assert not await again.work()
    (notice,) = await again.page(account_id=account, state="uncertain", after=None, limit=9)
    await world.nights(account, date(2026, 12, 4))
    assert [name for _, name in await steps(world, account)] == ["reminder"], "the ladder waits for the answer"
    await again.decide(notice.notice_id, arrived=True, actor=ANNA, reason="the customer called about it")
    with pytest.raises(NoticeSettled):
        await again.decide(notice.notice_id, arrived=False, actor=ANNA, reason="twice")
    await world.nights(account, date(2026, 12, 9))
    assert [name for _, name in await steps(world, account)] == ["reminder", "warning"]
    assert len(world.mail.sent) == 1


async def test_a_connection_that_broke_after_the_mail_leaves_it_uncertain_too(world: DunningWorld) -> None:
    account = await world.customer()
    await world.invoice(account)
    world.move_to(date(2026, 11, 18))
    await world.look(account)
    world.mail.refuse = Unclear("gone")
    await world.notices.work()
    (notice,) = await world.notices.page(account_id=account, state="uncertain", after=None, limit=9)
    await world.notices.decide(notice.notice_id, arrived=False, actor=ANNA, reason="the log of the server says no")
    await world.notices.work()
    assert len(world.mail.sent) == 1


async def test_two_processes_send_one_mail(world: DunningWorld) -> None:
    account = await world.customer()
    await world.invoice(account)
    world.move_to(date(2026, 11, 18))
    await world.look(account)
    await asyncio.gather(*(world.sender(f"headend-{n}").work() for n in range(4)))
    assert len(world.mail.sent) == 1


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
    await deliver(world)
    assert (made.amount, world.login_gets("anna")) == (Money.exact("59.50", "EUR"), GOLD.name)
    with pytest.raises(DisputeRefused, match=r"0\.00 EUR of it is open"):
        await world.disputes.open(request, {}, actor=ANNA)
    await world.nights(account, date(2027, 1, 10))
    assert len(await steps(world, account)) == 4, "no step while it is contested"
    ended = await world.disputes.reject(made.dispute_id, days=5, resolution="the line was used", actor=ANNA)
    await deliver(world)
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
    await deliver(world)
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


async def test_a_promise_lifts_until_its_day_has_passed_and_a_hold_by_hand_ends_by_hand(world: DunningWorld) -> None:
    account = await world.customer()
    await world.line(account, "anna")
    await world.invoice(account)
    await world.nights(account, date(2026, 12, 10))
    await world.dunning.promise(account, pays_on=date(2026, 12, 20), amount=None, reason="salary", actor=ANNA)
    await deliver(world)
    assert world.login_gets("anna") == GOLD.name
    await world.nights(account, date(2026, 12, 22))
    assert world.login_gets("anna") == GOLD.name
    await world.nights(account, date(2026, 12, 23))
    assert world.login_gets("anna") == "rejected"
    held = await world.dunning.hold(account, until_on=None, lifts=False, reason="under review", actor=ANNA)
    await deliver(world)
    assert world.login_gets("anna") == "rejected", "a hold that lifts nothing stops the ladder alone"
    await world.nights(account, date(2027, 4, 1))
    assert len(await steps(world, account)) == 5
    await world.dunning.resume(held.pause_id, actor=ANNA, reason="reviewed")
    await world.look(account)
    assert [name for _, name in await steps(world, account)][5:] == ["termination"]
    with pytest.raises(AlreadyEnded):
        await world.dunning.resume(held.pause_id, actor=ANNA, reason="reviewed")


async def test_a_plan_holds_while_its_instalments_arrive(world: DunningWorld) -> None:
    account = await world.customer()
    await world.line(account, "anna")
    await world.invoice(account)
    await world.nights(account, date(2026, 12, 10))
    parts = [(date(2026, 12, 20), "20.00"), (date(2027, 1, 20), "39.50")]
    instalments = [(day, Money.exact(amount, "EUR")) for day, amount in parts]
    with pytest.raises(PlanRefused, match=r"59\.50"):
        await world.dunning.agree(account, instalments[:1], reason="poor", actor=ANNA)
    await world.dunning.agree(account, instalments, reason="poor", actor=ANNA)
    await deliver(world)
    assert world.login_gets("anna") == GOLD.name
    await world.pay(account, "20.00", "r1")
    await world.nights(account, date(2027, 1, 22))
    assert world.login_gets("anna") == GOLD.name
    await world.nights(account, date(2027, 1, 24))
    assert world.login_gets("anna") == GOLD.name, "nothing is done to anybody on a Saturday or Sunday"
    await world.nights(account, date(2027, 1, 25))
    assert world.login_gets("anna") != GOLD.name
    await world.pay(account, "39.50", "r2")
    await deliver(world)
    assert world.login_gets("anna") == GOLD.name


async def test_a_vip_is_never_dunned_and_a_seasonal_pause_is_no_arrears(world: DunningWorld) -> None:
    vip, away = await world.customer("VIP"), await world.customer("Away")
    await world.line(away, "away")
    await world.invoice(vip)
    await world.invoice(away)
    with pytest.raises(PolicyRefused, match="write one first"):
        await world.dunning.assign(vip, "vip", since=None, reason="mayor", actor=ANNA)
    nothing = {**DEFAULT, "steps": []}
    await world.dunning.add_policy("vip", "EUR", date(2026, 1, 1), nothing, actor=ANNA)
    with pytest.raises(PolicyKnown):
        await world.dunning.add_policy("vip", "EUR", date(2026, 1, 1), nothing, actor=ANNA)
    await world.dunning.assign(vip, "vip", since=None, reason="mayor", actor=ANNA)
    (subscription,) = await world.orders.subscriptions(account_id=away, service_id=None, after=None, limit=9)
    days = (date(2026, 11, 10), date(2026, 12, 1))
    await world.pauses.place(PauseRequest(subscription.subscription_id, PauseKind.SEASONAL, *days), actor=ANNA)
    await world.nights(vip, date(2026, 11, 30))
    assert (await world.look(away)).steps == 0
    await world.nights(vip, date(2027, 3, 1))
    assert await steps(world, vip) == []
    assert (await world.look(away)).steps == 1


async def test_a_suspended_line_is_not_billed_where_the_policy_says_so(world: DunningWorld) -> None:
    account = await world.customer()
    await world.line(account, "anna")
    free = {**DEFAULT, "bill_suspended": False}
    await world.dunning.add_policy("standard", "EUR", date(2026, 1, 1), free, actor=ANNA)
    await world.invoice(account)
    await world.nights(account, date(2026, 12, 22))
    assert await world.pauses.pauses(account_id=account, limit=9) == []
    await world.nights(account, date(2026, 12, 23))
    (placed,) = await world.pauses.pauses(account_id=account, limit=9)
    assert (placed.kind, placed.first_on, placed.until_on) == (PauseKind.SUSPENSION, date(2026, 12, 23), None)
    world.move_to(date(2026, 12, 30))
    await world.pay(account, "59.50", "r1")
    await deliver(world)
    (ended,) = await world.pauses.pauses(account_id=account, limit=9)
    assert ended.until_on == date(2026, 12, 30)


async def test_a_chargeback_takes_the_line_back_to_the_foot_of_the_ladder(world: DunningWorld) -> None:
    account = await world.customer()
    await world.line(account, "anna")
    await world.invoice(account)
    await world.nights(account, date(2026, 12, 10))
    paid, _ = await world.books.pay(account, "59.50", "card-1")
    await deliver(world)
    assert world.login_gets("anna") == GOLD.name
    await charge_back(world, paid)
    await deliver(world)
    standing = await world.standing(account)
    assert (standing.state.claimed_minor, standing.state.measure) == (0, Measure.NONE), "owed again from today"
    await world.nights(account, date(2026, 12, 14))
    assert [name for _, name in await steps(world, account)][-1] == "reminder"
    assert len(await steps(world, account)) == 5


async def charge_back(world: DunningWorld, payment_id: str) -> None:
    back = MoneyBack(PaymentId(payment_id), Money.exact("59.50", "EUR"), "chargeback", "cb-1", BANK, "not mine")
    async with world.database.begin() as conn:
        await world.books.finance.settlement.reverse_in(conn, back, actor=ANNA)


async def test_a_fee_is_told_once_when_the_customer_was_told(world: DunningWorld) -> None:
    account = await world.customer()
    invoice_id = await world.invoice(account)
    await world.nights(account, date(2026, 12, 2))
    async with world.database.read() as conn:
        told = [d.event for d in await outbox.recent(conn, 99) if d.event.name == "dunning.step-told"]
    said = [(e.invoice_id, e.step, e.fee_minor) for e in reversed(told)]  # type: ignore[attr-defined]
    assert said == [(invoice_id, "reminder", 0), (invoice_id, "warning", 500), (invoice_id, "throttle", 0)]


async def test_a_notice_that_cannot_be_written_is_left_to_a_person_and_keeps_no_other(world: DunningWorld) -> None:
    broken, fine = await world.customer("Broken"), await world.customer("Fine")
    for account in (broken, fine):
        await world.invoice(account)
    world.move_to(date(2026, 11, 18))
    for account in (broken, fine):
        await world.look(account)
    async with world.database.begin() as conn:
        await conn.execute(text("UPDATE dunning_notice SET text = 'poem' WHERE account_id = :a"), {"a": broken})
    while await world.notices.work():
        pass
    (notice,) = await world.notices.page(account_id=broken, state="uncertain", after=None, limit=9)
    assert "KeyError" in (notice.words or "")
    assert len(world.mail.sent) == 1


async def test_a_site_is_restricted_with_its_parent_only_where_that_was_agreed(world: DunningWorld) -> None:
    company, bound, free = [await world.customer(name) for name in ("Company", "Bound", "Free")]
    for account, username in ((company, "company"), (bound, "bound"), (free, "free")):
        await world.line(account, username)
    family = HierarchyService(world.database, world.clock)
    for account, together in ((bound, True), (free, False)):
        await family.set_parent(account, company, blocked_with_parent=together, actor=ANNA)
    await world.invoice(company)
    await world.nights(company, date(2026, 12, 10))
    got = [world.login_gets(username) for username in ("company", "bound", "free")]
    assert got == [GARDEN_PROFILE, GARDEN_PROFILE, GOLD.name]
    assert (await world.look(bound)).changed == 0, "a look at the site alone frees nothing"
    await world.pay(company, "59.50", "r1")
    await deliver(world)
    assert [world.login_gets(username) for username in ("company", "bound", "free")] == [GOLD.name] * 3
