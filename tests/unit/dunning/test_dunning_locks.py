"""Dunning and whoever else writes about the same lines take their turns in one order: there is no deadlock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import text

from controller.domain.identity import AccountId, SubscriptionId
from controller.domain.price import ProductKind
from controller.domain.restriction import Measure
from controller.store import audit
from controller.store.engine import Database
from erp.crm.hierarchy import HierarchyService
from erp.dunning.policy import DEFAULT
from erp.orders.pause_model import PauseKind, PauseRequest
from tests.support.dunning import ANNA, DunningWorld, dunning_world
from tests.support.radius import GOLD

pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[DunningWorld]:
    async with dunning_world(database, tmp_path) as made:
        days_off = {**DEFAULT, "bill_suspended": False}
        await made.dunning.add_policy("standard", "EUR", date(2026, 1, 1), days_off, actor=ANNA)
        yield made


async def wait_for(world: DunningWorld, count: int) -> None:
    """Until so many transactions wait for a lock."""
    async with asyncio.timeout(20):
        while True:
            async with world.database.read() as conn:
                if (await conn.scalar(text(_WAITING)) or 0) >= count:
                    return


async def behind_the_audit_log(world: DunningWorld, *writers: Callable[[], Awaitable[object]]) -> None:
    """Let each come to its first wait, in this order, while another writes to the audit log; then let all go on."""
    tasks = []
    async with world.database.begin() as conn:
        await audit.record(conn, now=world.clock.now(), actor=ANNA, action="a.b", subject="x:y")
        for writer in writers:
            tasks.append(asyncio.ensure_future(writer()))
            await wait_for(world, len(tasks))
    async with asyncio.timeout(20):
        await asyncio.gather(*tasks)


async def subscription(world: DunningWorld, account_id: AccountId) -> SubscriptionId:
    (found,) = await world.orders.subscriptions(account_id=account_id, service_id=None, after=None, limit=9)
    return found.subscription_id


async def test_a_pause_that_is_agreed_while_dunning_suspends_the_line(world: DunningWorld) -> None:
    account = await world.customer()
    await world.line(account, "anna")
    await world.invoice(account)
    await world.nights(account, date(2026, 12, 22))
    world.move_to(date(2026, 12, 23))
    days = (date(2026, 12, 24), date(2027, 1, 6))
    request = PauseRequest(await subscription(world, account), PauseKind.SEASONAL, *days)
    await behind_the_audit_log(world, lambda: world.look(account), lambda: world.pauses.place(request, actor=ANNA))
    standing = await world.standing(account)
    assert standing.state.measure is Measure.SUSPEND
    kinds = sorted(p.kind for p in await world.pauses.pauses(account_id=account, limit=9))
    assert kinds == [PauseKind.SEASONAL, PauseKind.SUSPENSION]


async def test_a_pause_that_is_ended_while_a_payment_frees_the_line(world: DunningWorld) -> None:
    account = await world.customer()
    await world.line(account, "anna")
    await world.invoice(account)
    await world.nights(account, date(2026, 12, 23))
    (placed,) = await world.pauses.pauses(account_id=account, limit=9)
    world.move_to(date(2026, 12, 26))
    await world.pay(account, "59.50", "r1")
    ending = date(2026, 12, 28)
    await behind_the_audit_log(
        world,
        lambda: world.look(account, advance=False),
        lambda: world.pauses.end(placed.pause_id, ending, actor=ANNA),
    )
    assert world.login_gets("anna") == GOLD.name
    (ended,) = await world.pauses.pauses(account_id=account, limit=9)
    assert ended.until_on == ending


async def test_an_item_that_ends_while_dunning_suspends_it(world: DunningWorld) -> None:
    account = await world.customer()
    item_id = await world.item(account, ProductKind.TV)
    await world.invoice(account)
    await world.nights(account, date(2026, 12, 22))
    world.move_to(date(2026, 12, 23))
    await behind_the_audit_log(world, lambda: world.look(account), lambda: world.items.end(item_id, None, actor=ANNA))
    await world.deliver()
    assert (await world.items.item(item_id)).ended_at is not None
    async with world.database.read() as conn:
        assert await world.suspensions.accounts_in(conn) == set()


async def test_a_company_and_its_site_are_looked_at_at_once(world: DunningWorld) -> None:
    company, site = await world.customer("Company"), await world.customer("Site")
    await world.line(company, "company")
    await world.line(site, "site")
    family = HierarchyService(world.database, world.clock)
    await family.set_parent(site, company, blocked_with_parent=True, actor=ANNA)
    await world.invoice(company)
    await world.invoice(site)
    await world.nights(company, date(2026, 12, 8))
    world.move_to(date(2026, 12, 9))
    await behind_the_audit_log(world, lambda: world.look(company), lambda: world.look(site))
    assert (await world.standing(company)).state.measure is Measure.GARDEN
