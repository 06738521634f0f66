"""Dunning on a ledger and RADIUS: each step once and in its time, and freedom as soon as nothing is owed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from controller.domain.identity import PaymentId
from controller.domain.money import Money
from controller.domain.restriction import Measure
from controller.store import audit, outbox
from controller.store.engine import Database
from erp.crm.hierarchy import HierarchyService
from erp.dunning.errors import AlreadyEnded, PlanRefused, PolicyKnown, PolicyRefused
from erp.dunning.policy import DEFAULT
from erp.finance.chart import BANK
from erp.finance.settlement import MoneyBack
from erp.orders.pause_model import PauseKind, PauseRequest
from radius.vendors.terms import GARDEN_PROFILE
from tests.support.dunning import ANNA, DunningWorld, dunning_world
from tests.support.radius import GOLD

LADDER = [
    (date(2026, 11, 18), "reminder"),
    (date(2026, 11, 25), "warning"),
    (date(2026, 12, 2), "throttle"),
    (date(2026, 12, 9), "garden"),
    (date(2026, 12, 23), "suspension"),
]
"""Of an invoice that is issued on 1 November, a Sunday, and due on another, two weeks later."""


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[DunningWorld]:
    async with dunning_world(database, tmp_path) as made:
        yield made


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
    assert await world.steps(account) == LADDER
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
    await world.deliver()
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
        await world.deliver()
    assert world.login_gets("anna") == GOLD.name


async def test_crediting_to_zero_frees_the_line_as_paying_does(world: DunningWorld) -> None:
    account = await world.customer()
    await world.line(account, "anna")
    invoice_id = await world.invoice(account)
    await world.nights(account, date(2026, 12, 10))
    assert world.login_gets("anna") == GARDEN_PROFILE
    await world.books.corrections.void(invoice_id, reason="was never delivered", actor=ANNA)
    await world.deliver()
    assert world.login_gets("anna") == GOLD.name


async def test_nights_that_are_run_again_or_were_missed_repeat_and_skip_nothing(world: DunningWorld) -> None:
    account = await world.customer()
    await world.invoice(account)
    world.move_to(date(2027, 1, 11))
    for _ in range(3):
        await world.look(account)
        await world.notices.work()
    await world.nights(account, date(2027, 1, 18))
    assert await world.steps(account) == [(date(2027, 1, 11), "reminder"), (date(2027, 1, 18), "warning")]
    assert len(world.mail.sent) == 2


async def test_a_promise_lifts_until_its_day_has_passed_and_a_hold_by_hand_ends_by_hand(world: DunningWorld) -> None:
    account = await world.customer()
    await world.line(account, "anna")
    await world.invoice(account)
    await world.nights(account, date(2026, 12, 10))
    await world.dunning.promise(account, pays_on=date(2026, 12, 20), amount=None, reason="salary", actor=ANNA)
    await world.deliver()
    assert world.login_gets("anna") == GOLD.name
    await world.nights(account, date(2026, 12, 22))
    assert world.login_gets("anna") == GOLD.name
    await world.nights(account, date(2026, 12, 23))
    assert world.login_gets("anna") == "rejected"
    held = await world.dunning.hold(account, until_on=None, lifts=False, reason="under review", actor=ANNA)
    await world.deliver()
    assert world.login_gets("anna") == "rejected", "a hold that lifts nothing stops the ladder alone"
    await world.nights(account, date(2027, 4, 1))
    assert len(await world.steps(account)) == 5
    await world.dunning.resume(held.pause_id, actor=ANNA, reason="reviewed")
    await world.look(account)
    assert [name for _, name in await world.steps(account)][5:] == ["termination"]
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
    await world.deliver()
    assert world.login_gets("anna") == GOLD.name
    await world.pay(account, "20.00", "r1")
    await world.nights(account, date(2027, 1, 22))
    assert world.login_gets("anna") == GOLD.name
    await world.nights(account, date(2027, 1, 24))
    assert world.login_gets("anna") == GOLD.name, "nothing is done to anybody on a Saturday or Sunday"
    await world.nights(account, date(2027, 1, 25))
    assert world.login_gets("anna") != GOLD.name
    await world.pay(account, "39.50", "r2")
    await world.deliver()
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
    assert await world.steps(vip) == []
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
    await world.deliver()
    (ended,) = await world.pauses.pauses(account_id=account, limit=9)
    assert ended.until_on == date(2026, 12, 30)


async def test_a_chargeback_takes_the_line_back_to_the_foot_of_the_ladder(world: DunningWorld) -> None:
    account = await world.customer()
    await world.line(account, "anna")
    await world.invoice(account)
    await world.nights(account, date(2026, 12, 10))
    paid, _ = await world.books.pay(account, "59.50", "card-1")
    await world.deliver()
    assert world.login_gets("anna") == GOLD.name
    await charge_back(world, paid)
    await world.deliver()
    standing = await world.standing(account)
    assert (standing.state.claimed_minor, standing.state.measure) == (0, Measure.NONE), "owed again from today"
    await world.nights(account, date(2026, 12, 14))
    assert [name for _, name in await world.steps(account)][-1] == "reminder"
    assert len(await world.steps(account)) == 5


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
    await world.deliver()
    assert [world.login_gets(username) for username in ("company", "bound", "free")] == [GOLD.name] * 3
