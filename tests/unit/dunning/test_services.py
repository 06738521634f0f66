"""Each service of an account in arrears by its own policy: what is taken of it, told, billed, and given back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from billing_bridge.billing.service import BillingService
from billing_bridge.settings import BillingSettings
from controller.app.bus import Bus
from controller.domain.events import ItemHeld, ItemRestricted, ServicePaused, ServiceTerminated
from controller.domain.identity import AccountId, ItemId, OrderId, ServiceId, new_id
from controller.domain.price import ProductKind
from controller.store import audit, outbox
from controller.store.engine import Database
from erp.crm.hierarchy import HierarchyService
from erp.dunning.policy import DEFAULT
from radius.vendors.terms import GARDEN_PROFILE
from tests.support.dunning import ANNA, DunningWorld, dunning_world
from tests.support.radius import GOLD

VOICE, TV, HOSTING, RENTAL = ProductKind.VOICE, ProductKind.TV, ProductKind.HOSTING, ProductKind.RENTAL
THROTTLED, GARDEN, SUSPENDED, ENDING = date(2026, 12, 2), date(2026, 12, 9), date(2026, 12, 23), date(2027, 1, 14)
"""Days on which the steps of an invoice are taken that is issued on 1 November."""
NOTHING = {"voice": "none", "tv": "none", "hosting": "none", "rental": "none"}


def by_service(bill_suspended: bool = True, **services: dict[str, str]) -> dict[str, Any]:
    """The built-in ladder, with what its steps say of some services."""
    steps = [{**step, "services": services.get(step["name"], {})} for step in DEFAULT["steps"]]
    return {**DEFAULT, "steps": steps, "bill_suspended": bill_suspended}


TV_FIRST = {"throttle": {"tv": "suspend", "voice": "none"}, "termination": {"voice": "suspend"}}


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[DunningWorld]:
    async with dunning_world(database, tmp_path) as made:
        yield made


async def furnished(world: DunningWorld, **policy: Any) -> tuple[AccountId, ServiceId, dict[str, ItemId]]:
    """An account with a line and an item of each kind, one of them the line's, that owes an invoice."""
    await world.dunning.add_policy("standard", "EUR", date(2026, 1, 1), by_service(**policy), actor=ANNA)
    account = await world.customer()
    line = await world.line(account, "anna")
    items = {kind.value: await world.item(account, kind) for kind in (VOICE, TV, HOSTING)}
    items["rental"] = await world.item(account, RENTAL, line=line)
    await world.deliver()
    await world.invoice(account)
    return account, line, items


async def told(world: DunningWorld) -> list[tuple[str, str]]:
    """(kind, measure) of what platforms were told, in order."""
    async with world.database.read() as conn:
        found = [d.event for d in await outbox.recent(conn, 500)]
    return [(e.kind, e.measure) for e in reversed(found) if isinstance(e, ItemRestricted)]


async def test_television_goes_first_the_telephone_last_and_one_payment_gives_all_back_in_one_look(
    world: DunningWorld,
) -> None:
    account, _, items = await furnished(world, **TV_FIRST)
    seen = {}
    for night in (THROTTLED - timedelta(days=1), THROTTLED, GARDEN, SUSPENDED, ENDING):
        await world.nights(account, night)
        seen[night] = (world.login_gets("anna"), await world.item_measures(account))
    assert list(seen.values()) == [
        (GOLD.name, NOTHING),
        ("arrears", NOTHING | {"tv": "suspend"}),
        (GARDEN_PROFILE, NOTHING | {"tv": "suspend"}),
        ("rejected", NOTHING | {"tv": "suspend", "hosting": "suspend"}),
        ("rejected", NOTHING | {"tv": "suspend", "hosting": "suspend", "voice": "suspend"}),
    ]
    await world.pay(account, "59.50", "r1")
    look = await world.look(account, advance=False)
    assert (look.changed, world.login_gets("anna"), await world.item_measures(account)) == (4, GOLD.name, NOTHING)
    assert (await world.look(account)).changed == 0, "looking twice does nothing"
    off = [("tv", "suspend"), ("hosting", "suspend"), ("voice", "suspend")]
    on = [("hosting", "none"), ("tv", "none"), ("voice", "none")]
    events = await told(world)
    assert (events[:3], sorted(events[3:])) == (off, on)
    async with world.database.read() as conn:
        entries = await audit.entries(conn, before=None, limit=200)
    mine = [e for e in entries if e["object"] == f"item:{items['tv']}" and e["action"] != "item.add"]
    assert [(e["action"], e["actor"]) for e in mine] == [
        ("item.restore", "system:dunning"), ("item.suspend", "system:dunning"),
    ]  # fmt: skip
    assert "overdue" in mine[1]["reason"]


async def test_by_the_built_in_ladder_the_telephone_works_until_the_contract_is_to_end(world: DunningWorld) -> None:
    account = await world.customer()
    for kind in (VOICE, TV, ProductKind.BUNDLE, ProductKind.DISCOUNT):
        if kind is not ProductKind.BUNDLE:
            await world.item(account, kind)
    await world.invoice(account)
    await world.nights(account, SUSPENDED)
    assert await world.item_measures(account) == {"voice": "none", "tv": "suspend", "discount": "none"}
    await world.nights(account, ENDING)
    assert await world.item_measures(account) == {"voice": "suspend", "tv": "suspend", "discount": "none"}


async def test_an_item_that_is_added_or_ends_while_the_account_is_suspended_is_right_after_the_same_event(
    world: DunningWorld,
) -> None:
    account, line, items = await furnished(world, **TV_FIRST)
    await world.nights(account, SUSPENDED)
    second = await world.item(account, TV)
    async with world.database.read() as conn:
        assert await world.suspensions.barred_in(conn, second) is None
    await world.deliver()
    async with world.database.read() as conn:
        assert "overdue" in (await world.suspensions.barred_in(conn, second) or "")
    before = await told(world)
    await world.items.end(items["tv"], None, actor=ANNA)
    await world.deliver()
    async with world.database.read() as conn:
        assert await world.suspensions.barred_in(conn, items["tv"]) is None
    assert await told(world) == before, "who serves it was told that it is over, and is not told to serve it again"
    hosted = await world.item(account, HOSTING, line=line)
    await world.deliver()
    await end_line(world, account, line)
    async with world.database.read() as conn:
        assert await world.suspensions.barred_in(conn, hosted) is None
        assert await world.suspensions.accounts_in(conn) == {account}, "what is no part of the line stays suspended"


async def end_line(world: DunningWorld, account: AccountId, line: ServiceId) -> None:
    now = world.clock.now()
    (known,) = await world.orders.subscriptions(account_id=account, service_id=line, after=None, limit=9)
    event = ServiceTerminated(
        event_id=new_id(now), at=now, actor=ANNA, order_id=OrderId(new_id(now)),
        subscription_id=known.subscription_id, service_id=line, account_id=account,
    )  # fmt: skip
    async with world.database.begin() as conn:
        await outbox.append(conn, event)
    await world.deliver()


async def test_a_process_that_dies_in_a_look_leaves_nothing_of_it(world: DunningWorld) -> None:
    account, _, _ = await furnished(world, bill_suspended=False, **TV_FIRST)
    await world.nights(account, SUSPENDED - timedelta(days=1))
    before = (world.login_gets("anna"), await world.item_measures(account), await told(world))
    world.move_to(SUSPENDED)
    with pytest.raises(KeyboardInterrupt):
        async with world.database.begin() as conn:
            assert (await world.work.look(conn, account, advance=True)).changed == 2
            raise KeyboardInterrupt
    await world.room.follower.refresh_subscribers()
    assert (world.login_gets("anna"), await world.item_measures(account), await told(world)) == before
    assert await world.pauses.pauses(account_id=account, limit=9) == []
    assert (await world.look(account)).changed == 2


async def test_holds_promises_disputes_and_plans_lift_items_as_they_lift_lines(world: DunningWorld) -> None:
    account, _, _ = await furnished(world, **TV_FIRST)
    await world.nights(account, SUSPENDED)
    promised = await world.dunning.promise(
        account, pays_on=SUSPENDED + timedelta(days=5), amount=None, reason="salary", actor=ANNA
    )
    await world.deliver()
    assert (world.login_gets("anna"), await world.item_measures(account)) == (GOLD.name, NOTHING)
    await world.dunning.resume(promised.pause_id, actor=ANNA, reason="he has none")
    await world.deliver()
    assert (world.login_gets("anna"), (await world.item_measures(account))["tv"]) == ("rejected", "suspend")
    held = await world.dunning.hold(account, until_on=None, lifts=True, reason="ill", actor=ANNA)
    await world.deliver()
    assert await world.item_measures(account) == NOTHING
    await world.dunning.resume(held.pause_id, actor=ANNA, reason="well again")
    await world.deliver()
    assert (await world.item_measures(account))["hosting"] == "suspend"


async def test_what_is_taken_of_a_parent_is_taken_of_its_children_by_kind(world: DunningWorld) -> None:
    company, _, _ = await furnished(world, **TV_FIRST)
    site = await world.customer("Site")
    await world.line(site, "site")
    await world.item(site, TV)
    await world.item(site, VOICE)
    family = HierarchyService(world.database, world.clock)
    await family.set_parent(site, company, blocked_with_parent=True, actor=ANNA)
    await world.nights(company, THROTTLED)
    assert (world.login_gets("site"), await world.item_measures(site)) == (
        "arrears",
        {"tv": "suspend", "voice": "none"},
    )
    assert (await world.look(site)).changed == 0, "a look at the site alone frees nothing"
    shown = await world.dunning.services(await world.standing(site))
    assert {s.kind.value: taken.measure.value for s, taken in shown} == {
        "internet": "throttle", "tv": "suspend", "voice": "none",
    }  # fmt: skip
    await world.pay(company, "59.50", "r1")
    await world.deliver()
    assert (world.login_gets("site"), await world.item_measures(site)) == (GOLD.name, {"tv": "none", "voice": "none"})


async def test_the_night_puts_an_item_right_that_no_event_told_of(world: DunningWorld) -> None:
    account, _, _ = await furnished(world, **TV_FIRST)
    await world.nights(account, THROTTLED)
    await world.pay(account, "59.50", "r1")
    assert (await world.item_measures(account))["tv"] == "suspend"
    assert await world.work._restricted(world.today.isoformat()) == 1
    assert await world.item_measures(account) == NOTHING


async def test_what_belongs_to_a_line_rests_with_its_fee_and_every_other_service_once_by_itself(
    world: DunningWorld,
) -> None:
    account, line, items = await furnished(world, bill_suspended=False, **TV_FIRST)
    items["add-on"] = await world.item(account, ProductKind.ADD_ON, line=line)
    await world.nights(account, SUSPENDED)
    async with world.database.read() as conn:
        found = [d.event for d in await outbox.recent(conn, 500)]
    paused = {e.subscription_id: e for e in found if isinstance(e, ServicePaused)}
    names = {item_id: name for name, item_id in items.items()}
    days = {names[i]: (e.first_on, e.until_on, e.percent) for i, e in paused.items() if i in names}
    today = (SUSPENDED, None, 0)
    assert days == {"tv": (THROTTLED, None, 0), "hosting": today, "add-on": today, "rental": today}
    assert sum(isinstance(e, ServicePaused) for e in found) == 5, "the line's, and one for each of these"
    listed = await world.items.items(account, None, 50, suspended=True)
    assert {names[i.item_id] for i in listed} == {"tv", "hosting", "add-on"}, "a rented box is not kept from anybody"
    await world.pay(account, "59.50", "r1")
    await world.deliver()
    assert await world.items.items(account, None, 50, suspended=True) == []


async def test_days_on_which_an_item_is_suspended_cost_nothing_where_the_policy_says_so(world: DunningWorld) -> None:
    account, _, items = await furnished(world, bill_suspended=False, **TV_FIRST)
    billing = BillingService(
        world.database, world.clock, world.catalog, BillingSettings(zone=ZoneInfo("Europe/Berlin"))
    )
    bus = Bus(
        world.database, world.clock,
        {"billing": {ItemHeld: billing.on_item_held, ServicePaused: billing.on_service_paused}},
    )  # fmt: skip
    await world.nights(account, date(2026, 12, 12))
    await world.pay(account, "59.50", "r1")
    await world.deliver()
    await bus.drain()
    world.move_to(date(2027, 1, 2))
    run = await billing.open_run(as_of=None, account_id=None, usage_watermark=0, event_watermark=0, actor=ANNA)
    assert await billing.plan_run(run.bill_run_id) == 1
    await billing.rate_batch(run.bill_run_id, 0)
    sums: dict[str, Decimal] = {}
    for charge in await billing.charges(run.bill_run_id, 0):
        kind = next(name for name, item_id in items.items() if item_id == charge.subscription_id)
        sums[kind] = sums.get(kind, Decimal(0)) + charge.net.amount
    # From 2 to 11 December, and 10.00 for 31 days: 21/31 of a fee in December.
    assert sums["hosting"] == sums["voice"] == sums["rental"]
    assert sums["hosting"] - sums["tv"] == Decimal("3.23")
