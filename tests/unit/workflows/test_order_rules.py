"""Rules of orders that are the same on every database: tried on SQLite alone, the others run on both."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import select

from controller.domain.ports import Secret
from controller.domain.price import ProductKind
from controller.domain.service import OnuAttachment, SpeedProfile
from controller.domain.tariff import NoLine
from controller.store import audit
from controller.store.engine import Database
from erp.catalog.model import Product
from erp.orders import tables
from erp.orders.errors import NothingToChange, WrongCurrency
from erp.orders.model import Order, OrderState, SubscriptionState
from erp.orders.placement import ModifyRequest, Offer, Repeat
from tests.support.isp import ACTOR, TERMS, Isp, open_isp, sqlite_database
from tests.support.plans import plan_of


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await sqlite_database(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
async def isp(database: Database, tmp_path: Path) -> AsyncIterator[Isp]:
    async with open_isp(database, tmp_path) as opened:
        yield opened


async def active_line(isp: Isp) -> Order:
    placed = await isp.fulfilment.place(await isp.add_request(), actor=ACTOR)
    return (await isp.until_state(placed.order.order_id, OrderState.COMPLETED)).order


async def test_a_generated_password_reaches_radius_and_is_kept_nowhere_else(
    isp: Isp, database: Database, tmp_path: Path
) -> None:
    placed = await isp.fulfilment.place(await isp.add_request(), actor=ACTOR)
    await isp.until_state(placed.order.order_id, OrderState.COMPLETED)
    assert placed.password is not None
    word = placed.password.reveal()
    subscriber = isp.network.get("subscriber", placed.order.service_id)
    assert subscriber is not None
    assert subscriber["password"] == word
    async with database.read() as conn:
        assert (await conn.execute(select(tables.secret))).all() == []
        audited = [json.dumps(entry, default=str) for entry in await audit.entries(conn, before=None, limit=99)]
    assert not any(word in entry for entry in audited)
    if database.is_sqlite:
        await isp.jobs.close()
        for name in ("jobs.db", "headend.db"):
            with sqlite3.connect(tmp_path / name) as connection:
                assert word not in "".join(connection.iterdump())


async def test_what_is_read_back_differently_never_becomes_active(isp: Isp) -> None:
    isp.network.shows_instead = "downstream is 50 Mbit/s instead of 100 Mbit/s"
    placed = await isp.fulfilment.place(await isp.add_request(), actor=ACTOR)
    story = await isp.until_state(placed.order.order_id, OrderState.HELD)
    assert "downstream is 50 Mbit/s" in (story.order.cause or "")
    assert story.subscription.state is SubscriptionState.RESERVED
    assert await isp.events("service.activated") == []


async def test_a_bug_in_a_step_holds_the_order_and_its_words_stay_in_the_log(isp: Isp) -> None:
    async def broken(where: str) -> None:
        if where == "desired-":
            raise KeyError("secret detail")

    isp.network.at = broken
    placed = await isp.fulfilment.place(await isp.add_request(), actor=ACTOR)
    story = await isp.until_state(placed.order.order_id, OrderState.HELD)
    assert (story.order.owner_team, story.order.step) == ("engineering", "desired")
    assert "secret detail" not in (story.order.cause or "")


async def test_a_plan_change_without_evidence_is_held_with_what_the_nas_answered(isp: Isp) -> None:
    line = await active_line(isp)
    faster = await isp.offering("Fibre 300", 300, "49.90")
    isp.network.session_states = ["mismatch"]
    placed = await isp.fulfilment.place(ModifyRequest(line.subscription_id, Offer(faster)), actor=ACTOR)
    story = await isp.until_state(placed.order.order_id, OrderState.HELD)
    assert story.order.step == "sessions"
    assert "s1 is mismatch; s1 answered nak" in (story.order.cause or "")
    assert await isp.events("service.changed") == []
    isp.network.session_states = ["verified"]
    await isp.fulfilment.redrive(placed.order.order_id, actor=ACTOR)
    await isp.until_state(placed.order.order_id, OrderState.COMPLETED)
    assert len(await isp.events("service.changed")) == 1


async def test_a_plan_change_that_the_nas_refuses_is_held_at_once_with_its_words(isp: Isp) -> None:
    line = await active_line(isp)
    faster = await isp.offering("Fibre 300", 300, "49.90")
    isp.network.session_states = ["refused"]
    placed = await isp.fulfilment.place(ModifyRequest(line.subscription_id, Offer(faster)), actor=ACTOR)
    story = await isp.until_state(placed.order.order_id, OrderState.HELD)
    assert story.order.cause == "the NAS did not take the new speed: s1 is refused"


async def test_a_key_of_a_refused_order_may_be_used_again(isp: Isp) -> None:
    request = await isp.add_request()
    (attachment,) = request.attachments
    assert isinstance(attachment, OnuAttachment)
    wrong = replace(request, attachments=(replace(attachment, onu_serial="NOKI00000000"),))
    with pytest.raises(Exception, match="NOKI00000000"):
        await isp.fulfilment.place(wrong, actor=ACTOR, repeat=Repeat("k", "wrong"))
    assert not (await isp.fulfilment.place(request, actor=ACTOR, repeat=Repeat("k", "right"))).repeated


async def test_the_offer_must_be_another_one_in_the_accounts_currency(isp: Isp) -> None:
    line = await active_line(isp)
    with pytest.raises(NothingToChange):
        await isp.fulfilment.place(ModifyRequest(line.subscription_id, Offer(version_id=line.version_id)), actor=ACTOR)
    francs = replace(TERMS, currency="CHF")
    swiss = await isp.catalog.create_offering(Product("Fibre CH"), francs, actor=ACTOR)
    with pytest.raises(WrongCurrency, match="CHF"):
        await isp.fulfilment.place(ModifyRequest(line.subscription_id, Offer(swiss.offering_id)), actor=ACTOR)


async def test_what_has_no_speed_is_refused_when_it_is_ordered(isp: Isp) -> None:
    line = await active_line(isp)
    television = await isp.catalog.create_offering(
        Product("TV", kind=ProductKind.TV), replace(TERMS, speed=None, plan=plan_of("9.90")), actor=ACTOR
    )
    offer, asked = Offer(television.offering_id), await isp.add_request("NOKI00000002")
    for request in (replace(asked, offer=offer), ModifyRequest(line.subscription_id, offer)):
        with pytest.raises(NoLine, match=r"TV has no speed.*sell it as an item"):
            await isp.fulfilment.place(request, actor=ACTOR)
        with pytest.raises(NoLine):
            await isp.fulfilment.dry_run(request)
    story = await isp.fulfilment.place(asked, actor=ACTOR)
    assert not story.repeated, "nothing was kept of what was refused"


async def test_a_dry_run_shows_price_and_device_plan_and_changes_nothing(isp: Isp) -> None:
    line = await active_line(isp)
    faster = await isp.offering("Fibre 300", 300, "49.90")
    changes = isp.network.changes()
    found = await isp.fulfilment.dry_run(ModifyRequest(line.subscription_id, Offer(faster)))
    assert found.preview.tariff is not None
    assert found.preview.tariff_before is not None
    assert found.preview.tariff.monthly_fee - found.preview.tariff_before.monthly_fee == Decimal(10)
    assert found.plans[0].steps[0].rendered == "<edit-config>300m-20m</edit-config>"
    assert isp.network.changes() == changes
    assert len(await isp.orders.orders(limit=10)) == 1


async def test_a_new_version_does_not_touch_who_subscribed_before(isp: Isp) -> None:
    line = await active_line(isp)
    version = await isp.catalog.tariff(line.version_id)
    dearer = replace(TERMS, effective_on=date(2026, 10, 1), plan=plan_of("59"))
    await isp.catalog.add_version(version.offering_id, dearer, actor=ACTOR)
    isp.clock.advance(timedelta(days=60))
    (subscription,) = await isp.orders.subscriptions(account_id=None, service_id=line.service_id, after=None, limit=2)
    assert subscription.version_id == line.version_id
    second = await isp.add_request(serial="NOKI00000002")
    placed = await isp.fulfilment.place(replace(second, offer=Offer(version.offering_id)), actor=ACTOR)
    assert (await isp.catalog.tariff(placed.order.version_id)).monthly_fee == Decimal(59)


async def test_an_order_may_name_username_and_password(isp: Isp) -> None:
    request = replace(await isp.add_request(username="anna"), password=Secret("correct-horse"), framed_ipv4="192.0.2.7")
    placed = await isp.fulfilment.place(request, actor=ACTOR)
    await isp.until_state(placed.order.order_id, OrderState.COMPLETED)
    subscriber = isp.network.get("subscriber", placed.order.service_id)
    assert subscriber is not None
    assert (subscriber["username"], subscriber["password"]) == ("anna", "correct-horse")


async def test_an_order_accepted_but_never_started_is_found_by_the_sweep(isp: Isp) -> None:
    placed = await isp.placement.place(await isp.add_request(), actor=ACTOR)
    sweeping = asyncio.create_task(isp.fulfilment.run())
    await isp.until_state(placed.order.order_id, OrderState.COMPLETED)
    sweeping.cancel()
    assert len(await isp.events("service.activated")) == 1


async def test_an_order_placed_where_no_workflow_runs_is_answered_and_taken_up_later(
    database: Database, tmp_path: Path
) -> None:
    without_jobs = Isp(database, tmp_path)
    placed = await without_jobs.fulfilment.place(await without_jobs.add_request(), actor=ACTOR)
    assert placed.password is not None
    async with open_isp(database, tmp_path) as isp:
        await isp.fulfilment.sweep()
        await isp.until_state(placed.order.order_id, OrderState.COMPLETED)


async def test_profiles_of_the_desired_service_are_those_of_the_ordered_version(isp: Isp) -> None:
    line = await active_line(isp)
    work = await isp.orders.work(line.order_id)
    assert work.desired.profile == SpeedProfile("100m-20m", 100_000_000, 20_000_000)
    assert [found.subscriber_vlan for found in work.desired.attachments] == [0]
