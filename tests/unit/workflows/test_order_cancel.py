"""An order in flight is turned back wherever it stands: undone, seen to be undone, and never completed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from controller.domain.events import OrderCancelled
from controller.domain.identity import OrderId
from controller.store import audit
from controller.store.engine import Database
from erp.inventory.model import StockState
from erp.orders.errors import NoOrder, NotAllowed
from erp.orders.model import Order, OrderState, SubscriptionState
from erp.orders.placement import DeleteRequest, ModifyRequest, Offer
from tests.support.isp import ACTOR, NOW, Isp, open_isp
from tests.support.orders import Controllers

CANCELLER = "user:bert"
FORWARDS = [f"{effect}{side}" for effect in ("subscriber", "desired", "converge", "enable") for side in ("-", "+")]
BACKWARDS = [f"{effect}{side}" for effect in ("withdraw", "undo-desired", "converge") for side in ("-", "+")]


@pytest.fixture
async def isp(database: Database, tmp_path: Path) -> AsyncIterator[Isp]:
    async with open_isp(database, tmp_path) as opened:
        yield opened


async def active_line(isp: Isp) -> Order:
    placed = await isp.fulfilment.place(await isp.add_request(), actor=ACTOR)
    return (await isp.until_state(placed.order.order_id, OrderState.COMPLETED)).order


async def cancelled(isp: Isp, order_id: OrderId) -> Order:
    await isp.fulfilment.cancel(order_id, actor=CANCELLER)
    return (await isp.until_state(order_id, OrderState.CANCELLED)).order


async def assert_nothing_is_left(isp: Isp, order_id: OrderId) -> None:
    """Of an order to add: no login, nothing on a device, stock and user name free, nothing charged."""
    story = await isp.orders.story(order_id)
    assert (story.order.state, story.order.cancelled_by) == (OrderState.CANCELLED, CANCELLER)
    assert (story.order.cause, story.order.waiting) == (None, False)
    assert story.subscription.state is SubscriptionState.TERMINATED
    assert story.subscription.activated_at is None
    service_id = story.order.service_id
    assert (isp.network.get("device", service_id) or {"present": False})["present"] is False
    assert (isp.network.get("subscriber", service_id) or {"withdrawn": True})["withdrawn"] is True
    (item,) = await isp.inventory.items(serial=None, state=None, after=None, limit=2)
    _, moves = await isp.inventory.item(item.item_id)
    assert [move.state for move in moves] == [StockState.IN_STOCK, StockState.RESERVED, StockState.IN_STOCK]
    assert await isp.events("service.activated") == []
    (told,) = await isp.events("order.cancelled")
    assert isinstance(told, OrderCancelled)
    assert (told.order_id, told.actor, told.action) == (order_id, CANCELLER, "add")
    with pytest.raises(NoOrder, match="no password"):
        await isp.orders.password(order_id)


@pytest.mark.parametrize("point", FORWARDS)
async def test_wherever_an_order_to_add_stands_nothing_is_left_of_it(isp: Isp, point: str) -> None:
    arrived, on = asyncio.Event(), asyncio.Event()

    async def at(where: str) -> None:
        if where == point:
            arrived.set()
            await on.wait()

    isp.network.at = at
    placed = await isp.fulfilment.place(await isp.add_request(), actor=ACTOR)
    async with asyncio.timeout(10):
        await arrived.wait()
    turned = await isp.fulfilment.cancel(placed.order.order_id, actor=CANCELLER)
    assert turned.state is OrderState.PENDING_CANCELLATION
    on.set()
    await isp.until_state(placed.order.order_id, OrderState.CANCELLED)
    await assert_nothing_is_left(isp, placed.order.order_id)


async def test_a_held_order_is_cancelled_and_what_it_reserved_can_be_ordered_again(isp: Isp) -> None:
    isp.network.shows_instead = "downstream is 50 Mbit/s"
    request = await isp.add_request(username="anna")
    placed = await isp.fulfilment.place(request, actor=ACTOR)
    await isp.until_state(placed.order.order_id, OrderState.HELD)
    isp.network.shows_instead = None
    await cancelled(isp, placed.order.order_id)
    await assert_nothing_is_left(isp, placed.order.order_id)
    history = (await isp.orders.story(placed.order.order_id)).history
    assert [entry.state.value for entry in history] == [
        "acknowledged", "inProgress", "held", "pendingCancellation", "cancelled",
    ]  # fmt: skip
    async with isp.database.read() as conn:
        entries = await audit.entries(conn, before=None, limit=99)
    assert [e["actor"] for e in entries if e["action"] == "order.cancel"] == [CANCELLER]
    with pytest.raises(NotAllowed, match="cancelled cannot redrive"):
        await isp.fulfilment.redrive(placed.order.order_id, actor=CANCELLER)
    again = await isp.fulfilment.place(request, actor=ACTOR)
    await isp.until_state(again.order.order_id, OrderState.COMPLETED)


async def test_cancelling_twice_is_cancelling_once(isp: Isp) -> None:
    isp.network.refusal = "no such PON port"
    placed = await isp.fulfilment.place(await isp.add_request(), actor=ACTOR)
    await isp.until_state(placed.order.order_id, OrderState.HELD)
    isp.network.refusal = None
    order_id = placed.order.order_id
    await asyncio.gather(*(isp.fulfilment.cancel(order_id, actor=CANCELLER) for _ in range(5)))
    await isp.until_state(order_id, OrderState.CANCELLED)
    assert (await isp.fulfilment.cancel(order_id, actor="user:late")).cancelled_by == CANCELLER
    await assert_nothing_is_left(isp, order_id)


async def test_an_order_that_waits_for_a_dark_olt_is_cancelled_once_the_olt_was_seen_without_it(isp: Isp) -> None:
    isp.network.unreachable = True
    placed = await isp.fulfilment.place(await isp.add_request(), actor=ACTOR)
    order_id = placed.order.order_id
    await isp.until(order_id, lambda story: story.order.waiting)
    await isp.fulfilment.cancel(order_id, actor=CANCELLER)
    story = await isp.until(order_id, lambda story: story.order.step == "undo-converge" and story.order.waiting)
    assert (story.order.state, story.order.cause) == (OrderState.PENDING_CANCELLATION, "olt-1 does not answer")
    isp.network.unreachable = False
    await isp.until_state(order_id, OrderState.CANCELLED)
    await assert_nothing_is_left(isp, order_id)


async def test_what_cannot_be_undone_holds_the_order_and_a_redrive_goes_on_undoing(isp: Isp) -> None:
    isp.network.refusal = "no such PON port"
    placed = await isp.fulfilment.place(await isp.add_request(), actor=ACTOR)
    order_id = placed.order.order_id
    await isp.until_state(order_id, OrderState.HELD)
    isp.network.refusal = "configuration is locked by hand"
    await isp.fulfilment.cancel(order_id, actor=CANCELLER)
    story = await isp.until(
        order_id, lambda story: story.order.state is OrderState.HELD and bool(story.order.cancelled_by)
    )
    assert (story.order.step, story.order.cause) == ("undo-converge", "configuration is locked by hand")
    assert story.order.owner_team == "network-operations"
    (item,) = await isp.inventory.items(serial=None, state=None, after=None, limit=2)
    assert item.state is StockState.RESERVED, "nobody knows what is on the OLT"
    isp.network.refusal = None
    again = await isp.fulfilment.redrive(order_id, actor=ACTOR)
    assert again.state is OrderState.PENDING_CANCELLATION, "it never goes forwards again"
    await isp.until_state(order_id, OrderState.CANCELLED)
    await assert_nothing_is_left(isp, order_id)


async def test_a_cancelled_plan_change_brings_back_the_old_speed_on_device_login_and_session(isp: Isp) -> None:
    line = await active_line(isp)
    faster = await isp.offering("Fibre 300", 300, "49.90")
    isp.network.session_states = ["pending"]
    placed = await isp.fulfilment.place(ModifyRequest(line.subscription_id, Offer(faster)), actor=ACTOR)
    await isp.until(placed.order.order_id, lambda story: story.order.waiting)
    assert isp.network.get("subscriber", line.service_id)["profile"] == "300m-20m"  # type: ignore[index]
    await isp.fulfilment.cancel(placed.order.order_id, actor=CANCELLER)
    await isp.until(placed.order.order_id, lambda story: story.order.step == "undo-sessions" and story.order.waiting)
    isp.network.session_states = ["verified"]
    story = await isp.until_state(placed.order.order_id, OrderState.CANCELLED)
    assert isp.network.get("device", line.service_id)["profile"]["name"] == "100m-20m"  # type: ignore[index]
    assert isp.network.get("subscriber", line.service_id)["profile"] == "100m-20m"  # type: ignore[index]
    assert (story.subscription.state, story.subscription.version_id) == (SubscriptionState.ACTIVE, line.version_id)
    assert await isp.events("service.changed") == []


async def test_a_plan_change_cancelled_before_a_session_was_asked_asks_none(isp: Isp) -> None:
    line = await active_line(isp)
    faster = await isp.offering("Fibre 300", 300, "49.90")
    isp.network.refusal, isp.network.session_states = "no licence", ["pending"]
    placed = await isp.fulfilment.place(ModifyRequest(line.subscription_id, Offer(faster)), actor=ACTOR)
    await isp.until_state(placed.order.order_id, OrderState.HELD)
    isp.network.refusal = None
    await cancelled(isp, placed.order.order_id)
    assert isp.network.get("device", line.service_id)["profile"]["name"] == "100m-20m"  # type: ignore[index]


async def test_the_end_of_a_line_that_is_cancelled_leaves_the_line_as_it_was(isp: Isp) -> None:
    line = await active_line(isp)
    isp.network.unreachable = True
    placed = await isp.fulfilment.place(DeleteRequest(line.subscription_id), actor=ACTOR)
    await isp.until(placed.order.order_id, lambda story: story.order.waiting)
    assert isp.network.get("subscriber", line.service_id)["enabled"] is False  # type: ignore[index]
    await isp.fulfilment.cancel(placed.order.order_id, actor=CANCELLER)
    isp.network.unreachable = False
    story = await isp.until_state(placed.order.order_id, OrderState.CANCELLED)
    assert story.subscription.state is SubscriptionState.ACTIVE
    assert isp.network.get("device", line.service_id)["present"] is True  # type: ignore[index]
    assert isp.network.get("subscriber", line.service_id)["enabled"] is True  # type: ignore[index]
    (item,) = await isp.inventory.items(serial=None, state=None, after=None, limit=2)
    assert item.state is StockState.INSTALLED
    assert await isp.events("service.terminated") == []


async def test_past_the_point_of_no_return_it_is_said_what_to_do_instead(isp: Isp) -> None:
    line = await active_line(isp)
    with pytest.raises(NotAllowed, match=f"end subscription {line.subscription_id} by an order to delete"):
        await isp.fulfilment.cancel(line.order_id, actor=CANCELLER)
    faster = await isp.offering("Fibre 300", 300, "49.90")
    change = await isp.fulfilment.place(ModifyRequest(line.subscription_id, Offer(faster)), actor=ACTOR)
    await isp.until_state(change.order.order_id, OrderState.COMPLETED)
    with pytest.raises(NotAllowed, match=f"back to version {line.version_id}"):
        await isp.fulfilment.cancel(change.order.order_id, actor=CANCELLER)

    arrived, refused = asyncio.Event(), asyncio.Event()

    async def at(where: str) -> None:
        if where == "withdraw-":
            arrived.set()
            await refused.wait()

    isp.network.at = at
    ending = await isp.fulfilment.place(DeleteRequest(line.subscription_id), actor=ACTOR)
    async with asyncio.timeout(10):
        await arrived.wait()
    with pytest.raises(NotAllowed, match="order a new line"):
        await isp.fulfilment.cancel(ending.order.order_id, actor=CANCELLER)
    refused.set()
    await isp.until_state(ending.order.order_id, OrderState.COMPLETED)


async def test_a_stop_at_every_point_of_the_way_back_still_cancels_the_order_once(
    database: Database, tmp_path: Path
) -> None:
    """One order, cancelled after its device was changed, and interrupted at all the points one after the other."""
    order_id: OrderId | None = None
    for point in ("enable-", *BACKWARDS):
        arrived = asyncio.Event()

        async def at(where: str, point: str = point, arrived: asyncio.Event = arrived) -> None:
            if where == point:
                arrived.set()
                await asyncio.Event().wait()

        async with open_isp(database, tmp_path, at) as isp:
            if order_id is None:
                order_id = (await isp.fulfilment.place(await isp.add_request(), actor=ACTOR)).order.order_id
            async with asyncio.timeout(10):
                await arrived.wait()
            if point == "enable-":
                await isp.fulfilment.cancel(order_id, actor=CANCELLER)
    async with open_isp(database, tmp_path) as isp:
        assert order_id is not None
        await isp.until_state(order_id, OrderState.CANCELLED)
        await assert_nothing_is_left(isp, order_id)
        assert isp.network.changes() == ["subscriber", "desired", "device", "subscriber", "desired", "device"]


async def test_kill_9_on_the_way_back_cancels_the_order_once(database: Database, tmp_path: Path) -> None:
    (tmp_path / "place").touch()
    isp = Isp(database, tmp_path)
    controllers = Controllers(database, tmp_path)
    await controllers.killed_at("enable-")
    (order,) = await isp.orders.orders(limit=2)
    isp.clock.advance(timedelta(seconds=1))
    turned = await isp.orders.cancel(order.order_id, actor=CANCELLER)  # where no workflow runs
    assert turned.changed_at == NOW + timedelta(seconds=1)
    for point in ("withdraw+", "undo-desired+", "converge+"):
        await controllers.killed_at(point)
    await controllers.completes()
    await assert_nothing_is_left(isp, order.order_id)
