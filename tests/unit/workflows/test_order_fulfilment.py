import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from controller.domain.events import OrderHeld, ServiceActivated, ServiceChanged, ServiceOrdered, ServiceTerminated
from controller.domain.ports import CoaOutcome
from controller.store import audit
from controller.store.engine import Database
from erp.inventory.errors import NotAvailable
from erp.inventory.model import StockState
from erp.orders.errors import KeyReused, NotAllowed, OrderOpen, UsernameTaken
from erp.orders.model import Order, OrderState, StepState, SubscriptionState
from erp.orders.placement import DeleteRequest, ModifyRequest, Offer, Repeat
from tests.support.isp import ACTOR, NOW, Isp, open_isp


@pytest.fixture
async def isp(database: Database, tmp_path: Path) -> AsyncIterator[Isp]:
    async with open_isp(database, tmp_path) as opened:
        yield opened


async def active_line(isp: Isp) -> Order:
    placed = await isp.fulfilment.place(await isp.add_request(), actor=ACTOR)
    return (await isp.until_state(placed.order.order_id, OrderState.COMPLETED)).order


async def test_an_ordered_line_becomes_an_active_service_with_its_onu_installed(isp: Isp) -> None:
    request = await isp.add_request()
    placed = await isp.fulfilment.place(request, actor=ACTOR)
    assert placed.order.state is OrderState.ACKNOWLEDGED
    isp.clock.advance(timedelta(seconds=5))
    story = await isp.until_state(placed.order.order_id, OrderState.COMPLETED)

    assert [entry.state.value for entry in story.history] == ["acknowledged", "inProgress", "completed"]
    assert [step.name for step in story.steps] == ["subscriber", "desired", "converge", "enable", "complete"]
    assert all(step.state is StepState.DONE for step in story.steps)
    assert story.subscription.state is SubscriptionState.ACTIVE
    assert story.subscription.activated_at == NOW + timedelta(seconds=5)
    (item,) = await isp.inventory.items(serial="NOKI1234ABCD", state=None, after=None, limit=2)
    assert (item.state, item.holder) == (StockState.INSTALLED, "Anna Muster")
    subscriber = isp.network.get("subscriber", placed.order.service_id)
    assert subscriber is not None
    assert (subscriber["enabled"], subscriber["profile"]) == (True, "100m-20m")
    ordered, activated = await isp.events("service.ordered", "service.activated")
    assert isinstance(ordered, ServiceOrdered)
    assert isinstance(activated, ServiceActivated)
    assert (activated.at, activated.version_id) == (NOW + timedelta(seconds=5), placed.order.version_id)
    async with isp.database.read() as conn:
        assert await audit.verify(conn) == []


async def test_an_unreachable_olt_leaves_the_order_waiting_and_its_return_lets_it_go_on(isp: Isp) -> None:
    isp.network.unreachable = True
    placed = await isp.fulfilment.place(await isp.add_request(), actor=ACTOR)
    story = await isp.until(placed.order.order_id, lambda story: story.order.waiting)
    assert (story.order.state, story.order.step) == (OrderState.IN_PROGRESS, "converge")
    assert story.order.cause == "olt-1 does not answer"
    assert await isp.events("order.held", "service.activated") == []
    await isp.until(placed.order.order_id, lambda story: story.steps[-1].tries >= 3)
    isp.network.unreachable = False
    story = await isp.until_state(placed.order.order_id, OrderState.COMPLETED)
    assert (story.order.waiting, story.order.cause) == (False, None)
    assert len(await isp.events("service.activated")) == 1


async def test_a_refusal_holds_the_order_and_a_redrive_completes_it_without_doing_a_step_twice(isp: Isp) -> None:
    isp.network.refusal = "no such PON port"
    placed = await isp.fulfilment.place(await isp.add_request(), actor=ACTOR)
    order_id = placed.order.order_id
    story = await isp.until_state(order_id, OrderState.HELD)
    assert (story.order.step, story.order.cause) == ("converge", "no such PON port")
    assert story.order.owner_team == "network-operations"
    (held,) = await isp.events("order.held")
    assert isinstance(held, OrderHeld)
    assert (held.step, held.cause, held.owner_team) == ("converge", "no such PON port", "network-operations")
    assert isp.network.get("subscriber", placed.order.service_id)["enabled"] is False  # type: ignore[index]

    isp.network.refusal = None
    await isp.fulfilment.redrive(order_id, actor="user:bert")
    story = await isp.until_state(order_id, OrderState.COMPLETED)
    assert story.order.attempt == 2
    assert {step.name: step.tries for step in story.steps} == {
        "subscriber": 1,
        "desired": 1,
        "converge": 2,
        "enable": 1,
        "complete": 1,
    }
    assert isp.network.changes() == ["subscriber", "desired", "device", "subscriber"]
    assert len(await isp.events("service.activated")) == 1
    with pytest.raises(NotAllowed, match="completed cannot redrive"):
        await isp.fulfilment.redrive(order_id, actor="user:bert")


async def test_a_plan_change_is_complete_only_when_a_live_session_was_seen_at_the_new_speed(isp: Isp) -> None:
    line = await active_line(isp)
    faster = await isp.offering("Fibre 300", 300, "49.90")
    isp.network.session_states = ["pending"]
    placed = await isp.fulfilment.place(ModifyRequest(line.subscription_id, Offer(faster)), actor=ACTOR)
    story = await isp.until(placed.order.order_id, lambda story: story.order.waiting)
    assert story.order.step == "sessions"
    assert story.subscription.version_id == line.version_id
    assert await isp.events("service.changed") == []

    isp.clock.advance(timedelta(minutes=3))
    isp.network.session_states = ["verified"]
    story = await isp.until_state(placed.order.order_id, OrderState.COMPLETED)
    assert story.subscription.version_id == placed.order.version_id
    (changed,) = await isp.events("service.changed")
    assert isinstance(changed, ServiceChanged)
    assert (changed.from_version_id, changed.at) == (line.version_id, NOW + timedelta(minutes=3))
    assert isp.network.get("device", line.service_id)["profile"]["name"] == "300m-20m"  # type: ignore[index]
    assert isp.network.get("subscriber", line.service_id)["profile"] == "300m-20m"  # type: ignore[index]


async def test_an_ended_subscription_is_absent_disabled_and_its_onu_awaited(isp: Isp) -> None:
    line = await active_line(isp)
    isp.network.live = ["s1", "s2"]
    placed = await isp.fulfilment.place(DeleteRequest(line.subscription_id), actor=ACTOR)
    story = await isp.until_state(placed.order.order_id, OrderState.COMPLETED)
    assert story.subscription.state is SubscriptionState.TERMINATED
    assert story.subscription.ended_at == NOW
    assert isp.network.live == []
    assert isp.network.get("subscriber", line.service_id)["enabled"] is False  # type: ignore[index]
    assert isp.network.get("device", line.service_id)["present"] is False  # type: ignore[index]
    (item,) = await isp.inventory.items(serial="NOKI1234ABCD", state=None, after=None, limit=2)
    assert item.state is StockState.AWAITING_RETURN
    (ended,) = await isp.events("service.terminated")
    assert isinstance(ended, ServiceTerminated)
    with pytest.raises(NotAllowed, match="terminated"):
        await isp.fulfilment.place(DeleteRequest(line.subscription_id), actor=ACTOR)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (CoaOutcome("timeout"), "session s1 has not ended; its NAS answered timeout"),
        (CoaOutcome("ack"), "session s1 has not ended; its NAS answered ack"),
        (CoaOutcome("nak", 503), "does not know the session, and no Stop came"),
    ],
)
async def test_a_line_whose_session_lives_on_is_not_ended_but_held(isp: Isp, answer: CoaOutcome, cause: str) -> None:
    line = await active_line(isp)
    isp.network.live, isp.network.survives = ["s1"], answer
    placed = await isp.fulfilment.place(DeleteRequest(line.subscription_id), actor=ACTOR)
    story = await isp.until_state(placed.order.order_id, OrderState.HELD)
    assert story.order.step == "disconnect"
    assert cause in (story.order.cause or "")
    assert await isp.events("service.terminated") == []

    isp.network.live = []  # its Stop has come
    await isp.fulfilment.redrive(placed.order.order_id, actor=ACTOR)
    await isp.until_state(placed.order.order_id, OrderState.COMPLETED)
    assert len(await isp.events("service.terminated")) == 1


async def test_a_session_that_began_while_the_line_was_taken_down_is_ended_too(isp: Isp) -> None:
    line = await active_line(isp)

    async def at(where: str) -> None:
        if where == "converge+":
            isp.network.live = ["accepted-just-before"]

    isp.network.at = at
    isp.network.survives = CoaOutcome("timeout")
    placed = await isp.fulfilment.place(DeleteRequest(line.subscription_id), actor=ACTOR)
    story = await isp.until_state(placed.order.order_id, OrderState.HELD)
    assert story.order.step == "disconnect-late"
    isp.network.survives = None
    await isp.fulfilment.redrive(placed.order.order_id, actor=ACTOR)
    await isp.until_state(placed.order.order_id, OrderState.COMPLETED)
    assert isp.network.live == []


async def test_a_repeated_idempotency_key_is_the_same_order_and_tells_no_password_again(isp: Isp) -> None:
    request = await isp.add_request()
    first = await isp.fulfilment.place(request, actor=ACTOR, repeat=Repeat("k-1", "body"))
    again = await isp.fulfilment.place(request, actor=ACTOR, repeat=Repeat("k-1", "body"))
    assert (again.order.order_id, again.repeated, again.password) == (first.order.order_id, True, None)
    assert again.subscription.username == first.subscription.username
    with pytest.raises(KeyReused):
        await isp.fulfilment.place(request, actor=ACTOR, repeat=Repeat("k-1", "other body"))
    with pytest.raises(NotAvailable):
        await isp.fulfilment.place(request, actor="user:other", repeat=Repeat("k-1", "body"))
    assert len(await isp.orders.orders(limit=10)) == 1


async def test_of_ten_requests_at_once_with_one_key_one_order_is_made(isp: Isp) -> None:
    request = await isp.add_request()
    placed = await asyncio.gather(
        *(isp.fulfilment.place(request, actor=ACTOR, repeat=Repeat("k", "b")) for _ in range(10))
    )
    assert len({answer.order.order_id for answer in placed}) == 1
    assert sum(answer.password is not None for answer in placed) == 1
    assert len(await isp.events("service.ordered")) == 1


async def test_a_refused_order_leaves_nothing_behind(isp: Isp) -> None:
    first = await isp.add_request(username="anna")
    await isp.fulfilment.place(first, actor=ACTOR)
    second = await isp.add_request(serial="NOKI00000002", username="anna")
    with pytest.raises(UsernameTaken):
        await isp.fulfilment.place(second, actor=ACTOR)
    with pytest.raises(NotAvailable, match="Anna Muster has it"):
        await isp.fulfilment.place(replace(first, username="bert"), actor=ACTOR)
    assert len(await isp.orders.orders(limit=10)) == 1
    assert len(await isp.orders.subscriptions(account_id=None, service_id=None, after=None, limit=9)) == 1
    assert len(await isp.events("service.ordered")) == 1


async def test_a_subscription_has_one_open_order_at_a_time(isp: Isp) -> None:
    line = await active_line(isp)
    faster = await isp.offering("Fibre 300", 300, "49.90")
    isp.network.unreachable = True
    change = ModifyRequest(line.subscription_id, Offer(faster))
    results = await asyncio.gather(
        *(isp.fulfilment.place(change, actor=ACTOR) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(result, OrderOpen) for result in results) == 4, results
