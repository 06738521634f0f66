"""Pauses of a line: told to billing at once, kept by the clock on the network, and never a login for an ended line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from controller.domain.errors import NotFound
from controller.domain.events import ServicePaused
from controller.domain.identity import ServiceId
from controller.domain.ports import CoaOutcome
from controller.domain.price import ProductKind
from controller.store.engine import Database
from controller.workflows.line_pauses import LinePauses
from erp.catalog.model import Product
from erp.orders.errors import BadTime, NoPause, NotAllowed
from erp.orders.items import ItemRequest, ItemService
from erp.orders.model import Order, OrderState
from erp.orders.pause_model import PauseKind, PauseRequest
from erp.orders.pauses import PauseService
from erp.orders.placement import AddRequest, DeleteRequest, ModifyRequest, Offer
from tests.support.isp import ACTOR, TERMS, Isp, open_isp


class World:
    """An ISP with one active line since 1 September, and the loop that follows pauses."""

    def __init__(self, isp: Isp) -> None:
        self.isp = isp
        self.pauses = PauseService(isp.database, isp.clock, crm=isp.crm)
        self.loop = LinePauses(self.pauses, isp.network, isp.network)
        self.line: Order

    def request(self, first: int, until: int | None, kind: PauseKind = PauseKind.SEASONAL) -> PauseRequest:
        return PauseRequest(
            self.line.subscription_id, kind, date(2026, 9, first), None if until is None else date(2026, 9, until)
        )

    async def on(self, day: int, hour: int = 10) -> None:
        self.isp.clock.move_to(datetime(2026, 9, day, hour, tzinfo=UTC))
        await self.loop.sweep()

    @property
    def enabled(self) -> bool:
        login = self.isp.network.get("subscriber", self.line.service_id)
        assert login is not None
        return bool(login["enabled"]) and not login.get("withdrawn")

    async def told(self) -> list[tuple[str, str, str | None]]:
        events = [e for e in await self.isp.events("service.paused") if isinstance(e, ServicePaused)]
        return [(e.subscription_id, e.first_on.isoformat(), e.until_on and e.until_on.isoformat()) for e in events]


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    async with open_isp(database, tmp_path) as isp:
        made = World(isp)
        placed = await isp.fulfilment.place(await isp.add_request(), actor=ACTOR)
        made.line = (await isp.until_state(placed.order.order_id, OrderState.COMPLETED)).order
        yield made


async def test_a_seasonal_hold_refuses_the_login_on_its_days_and_gives_it_back(world: World) -> None:
    made = await world.pauses.place(world.request(10, 22), actor=ACTOR)
    assert await world.told() == [(world.line.subscription_id, "2026-09-10", "2026-09-22")]
    await world.on(9)
    assert world.enabled
    world.isp.network.live = ["session-1"]
    await world.on(10)
    assert not world.enabled
    assert (await world.pauses.pause(made.pause_id)).off_since is None, "its session was only asked to end"
    await world.on(10, 11)
    assert (await world.pauses.pause(made.pause_id)).off_since is not None
    await world.on(21)
    assert not world.enabled
    await world.on(22)
    assert world.enabled
    assert (await world.pauses.pause(made.pause_id)).off_since is None


async def test_a_session_that_does_not_end_is_asked_again_and_the_line_not_called_off(world: World) -> None:
    made = await world.pauses.place(world.request(1, 5), actor=ACTOR)
    world.isp.network.live, world.isp.network.survives = ["session-1"], CoaOutcome("timeout")
    await world.on(2)
    await world.on(3)
    assert (await world.pauses.pause(made.pause_id)).off_since is None
    world.isp.network.survives = None
    await world.on(4)
    await world.on(4, 11)
    assert (await world.pauses.pause(made.pause_id)).off_since is not None


async def test_ending_moves_the_last_day_and_before_the_first_calls_it_off(world: World) -> None:
    made = await world.pauses.place(world.request(10, None), actor=ACTOR)
    await world.on(12)
    ended = await world.pauses.end(made.pause_id, None, actor=ACTOR)
    assert (ended.until_on, ended.state(date(2026, 9, 12))) == (date(2026, 9, 12), "over")
    await world.on(12, 11)
    assert world.enabled
    again = await world.pauses.place(world.request(20, 25), actor=ACTOR)
    off = await world.pauses.end(again.pause_id, None, actor=ACTOR)
    assert off.state(date(2026, 9, 12)) == "called-off"
    await world.on(21)
    assert world.enabled
    with pytest.raises(NotAllowed, match="called off"):
        await world.pauses.end(again.pause_id, None, actor=ACTOR)
    assert [until for _, _, until in await world.told()] == [None, "2026-09-12", "2026-09-25", "2026-09-20"]


async def test_a_pause_that_began_years_ago_can_be_ended(world: World) -> None:
    made = await world.pauses.place(world.request(10, None), actor=ACTOR)
    world.isp.clock.move_to(datetime(2029, 3, 1, 10, tzinfo=UTC))
    ended = await world.pauses.end(made.pause_id, None, actor=ACTOR)
    assert ended.until_on == date(2029, 3, 1)
    with pytest.raises(BadTime, match="more than a year"):
        await world.pauses.end(made.pause_id, date(2031, 1, 1), actor=ACTOR)


async def test_a_line_that_cannot_be_switched_keeps_no_other_waiting(world: World) -> None:
    isp = world.isp
    placed = await isp.fulfilment.place(
        AddRequest(world.line.account_id, Offer(version_id=world.line.version_id)), actor=ACTOR
    )
    other = (await isp.until_state(placed.order.order_id, OrderState.COMPLETED)).order
    stuck = await world.pauses.place(world.request(2, 4), actor=ACTOR)
    fine = await world.pauses.place(replace(world.request(2, 4), subscription_id=other.subscription_id), actor=ACTOR)
    await world.on(2)
    set_enabled = isp.network.set_enabled

    async def refuses(*, service_id: ServiceId, enabled: bool, actor: str) -> None:
        if service_id == world.line.service_id:
            raise NotFound("the service has no RADIUS login")
        await set_enabled(service_id=service_id, enabled=enabled, actor=actor)

    isp.network.set_enabled = refuses  # type: ignore[method-assign]
    await world.on(4)
    assert (await world.pauses.pause(stuck.pause_id)).off_since is not None
    assert (await world.pauses.pause(fine.pause_id)).off_since is None


async def test_two_pauses_of_a_kind_do_not_overlap_and_of_two_kinds_the_line_waits_for_both(world: World) -> None:
    await world.pauses.place(world.request(10, 15), actor=ACTOR)
    with pytest.raises(NotAllowed, match="2026-09-14"):
        await world.pauses.place(world.request(14, 20), actor=ACTOR)
    await world.pauses.place(world.request(12, 20, PauseKind.SUSPENSION), actor=ACTOR)
    await world.on(13)
    await world.on(15)
    assert not world.enabled
    await world.on(20)
    assert world.enabled


async def test_days_that_cannot_be_are_refused(world: World) -> None:
    for first, until, words in ((10, 10, "has a day"), (10, 9, "has a day")):
        with pytest.raises(BadTime, match=words):
            await world.pauses.place(world.request(first, until), actor=ACTOR)
    before = PauseRequest(world.line.subscription_id, PauseKind.SEASONAL, date(2026, 8, 31), None)
    with pytest.raises(BadTime, match="begins on 2026-09-01"):
        await world.pauses.place(before, actor=ACTOR)
    far = PauseRequest(world.line.subscription_id, PauseKind.SEASONAL, date(2027, 9, 10), None)
    with pytest.raises(BadTime, match="more than a year"):
        await world.pauses.place(far, actor=ACTOR)
    with pytest.raises(NoPause):
        await world.pauses.pause("0" * 32)  # type: ignore[arg-type]


async def test_the_items_of_a_line_pause_with_it(world: World) -> None:
    isp = world.isp
    items = ItemService(isp.database, isp.clock, crm=isp.crm, catalog=isp.catalog)
    router = await isp.catalog.create_offering(
        Product("Router", kind=ProductKind.RENTAL), replace(TERMS, speed=None), actor=ACTOR
    )
    request = ItemRequest(
        world.line.account_id, "r1", Offer(router.offering_id), subscription_id=world.line.subscription_id
    )
    item = await items.add(request, actor=ACTOR)
    made = await world.pauses.place(world.request(10, 22), actor=ACTOR)
    await world.pauses.end(made.pause_id, date(2026, 9, 15), actor=ACTOR)
    assert await world.told() == [
        (world.line.subscription_id, "2026-09-10", "2026-09-22"),
        (item.item_id, "2026-09-10", "2026-09-22"),
        (world.line.subscription_id, "2026-09-10", "2026-09-15"),
        (item.item_id, "2026-09-10", "2026-09-15"),
    ]
    assert [p.pause_id for p in await world.pauses.pauses(account_id=world.line.account_id, limit=9)] == [made.pause_id]


async def test_a_line_that_ends_while_it_is_paused_never_gets_its_login_back(world: World) -> None:
    await world.pauses.place(world.request(2, 5), actor=ACTOR)
    await world.on(3)
    placed = await world.isp.fulfilment.place(DeleteRequest(world.line.subscription_id), actor=ACTOR)
    await world.isp.until_state(placed.order.order_id, OrderState.COMPLETED)
    await world.on(6)
    assert not world.enabled
    assert await world.pauses.due() == []


async def test_a_change_of_plan_during_a_pause_leaves_the_line_out_of_use(world: World) -> None:
    await world.pauses.place(world.request(2, 5), actor=ACTOR)
    await world.on(3)
    offer = Offer(await world.isp.offering("Fibre 200", 200))
    placed = await world.isp.fulfilment.place(ModifyRequest(world.line.subscription_id, offer), actor=ACTOR)
    await world.isp.until_state(placed.order.order_id, OrderState.COMPLETED)
    await world.on(4)
    assert not world.enabled
    await world.on(5)
    assert world.enabled


async def test_an_end_that_is_under_way_keeps_a_paused_line_out_of_use(world: World) -> None:
    isp = world.isp
    await world.pauses.place(world.request(2, 5), actor=ACTOR)
    await world.on(3)
    isp.network.unreachable = True
    placed = await isp.fulfilment.place(DeleteRequest(world.line.subscription_id), actor=ACTOR)
    await isp.until(placed.order.order_id, lambda story: story.order.waiting)
    await world.on(5)
    assert not world.enabled
    isp.network.unreachable = False
    await isp.until_state(placed.order.order_id, OrderState.COMPLETED)
    await world.on(6)
    assert not world.enabled


async def test_an_end_that_is_turned_back_does_not_free_a_paused_line(world: World) -> None:
    isp = world.isp
    await world.pauses.place(world.request(2, 5), actor=ACTOR)
    await world.on(3)
    isp.network.refusal = "the device refuses"
    placed = await isp.fulfilment.place(DeleteRequest(world.line.subscription_id), actor=ACTOR)
    await isp.until_state(placed.order.order_id, OrderState.HELD)
    isp.network.refusal = None
    await isp.fulfilment.cancel(placed.order.order_id, actor=ACTOR)
    await isp.until_state(placed.order.order_id, OrderState.CANCELLED)
    await world.on(4)
    assert not world.enabled
    await world.on(5)
    assert world.enabled
