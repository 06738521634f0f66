"""An order survives the death of its process at every point: nothing lost, nothing twice."""

import asyncio
from pathlib import Path

from controller.domain.events import ServiceActivated
from controller.store.engine import Database
from erp.inventory.model import StockState
from erp.orders.model import OrderState, SubscriptionState
from tests.support.isp import ACTOR, Isp, open_isp
from tests.support.orders import Controllers

POINTS = [f"{effect}{side}" for effect in ("subscriber", "desired", "converge", "enable") for side in ("-", "+")]
"""Before and after each effect outside of the order's own database."""


async def assert_done_once(isp: Isp) -> None:
    (order,) = await isp.orders.orders(limit=2)
    story = await isp.orders.story(order.order_id)
    assert (story.order.state, story.subscription.state) == (OrderState.COMPLETED, SubscriptionState.ACTIVE)
    assert [entry.state.value for entry in story.history] == ["acknowledged", "inProgress", "completed"]
    assert all(step.tries == 1 for step in story.steps), story.steps
    (activated,) = await isp.events("service.activated")
    assert isinstance(activated, ServiceActivated)
    assert len(await isp.events("service.ordered")) == 1
    (item,) = await isp.inventory.items(serial=None, state=None, after=None, limit=2)
    _, moves = await isp.inventory.item(item.item_id)
    assert [move.state for move in moves] == [StockState.IN_STOCK, StockState.RESERVED, StockState.INSTALLED]
    assert isp.network.changes() == ["subscriber", "desired", "device", "subscriber"]


async def test_a_stop_at_every_point_in_turn_still_completes_the_order_once(database: Database, tmp_path: Path) -> None:
    """One order, interrupted at all the points one after the other, in one process."""
    placed = False
    for point in POINTS:
        arrived = asyncio.Event()

        async def at(where: str, point: str = point, arrived: asyncio.Event = arrived) -> None:
            if where == point:
                arrived.set()
                await asyncio.Event().wait()

        async with open_isp(database, tmp_path, at) as isp:
            if not placed:
                await isp.fulfilment.place(await isp.add_request(), actor=ACTOR)
                placed = True
            async with asyncio.timeout(10):
                await arrived.wait()
    async with open_isp(database, tmp_path) as isp:
        (order,) = await isp.orders.orders(limit=2)
        await isp.until_state(order.order_id, OrderState.COMPLETED)
        await assert_done_once(isp)
        assert [found.order_id for found in await isp.orders.orders(limit=2)] == [order.order_id]


async def test_kill_9_at_every_step_and_between_order_and_workflow_completes_the_order_once(
    database: Database, tmp_path: Path
) -> None:
    (tmp_path / "place").touch()
    controllers = Controllers(database, tmp_path)
    for point in ("placed", "subscriber+", "desired+", "converge+", "enable+"):
        await controllers.killed_at(point)
    await controllers.completes()
    isp = Isp(database, tmp_path)
    await assert_done_once(isp)
    assert len(await isp.events("service.activated")) == 1
