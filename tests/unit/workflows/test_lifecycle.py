"""From sign-up to the end by random roads: whoever can log in has an active subscription that is not out of use.

Orders are placed, refused by devices, re-driven, cancelled on the way; lines are paused, resumed, changed and ended, in
any order, and time passes. Whenever nothing is under way, logins and subscriptions must agree, both ways round.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from controller.domain.clock import local_date
from controller.domain.errors import RuleError
from controller.domain.identity import OrderId, SubscriptionId
from controller.workflows.line_pauses import LinePauses
from erp.orders.model import AT_WORK, Order, OrderState, SubscriptionState
from erp.orders.pause_model import PauseKind, PauseRequest
from erp.orders.pauses import PauseService
from erp.orders.placement import AddRequest, DeleteRequest, ModifyRequest, Offer, Request
from tests.support.isp import ACTOR, Isp, open_isp, sqlite_database


class Walk:
    def __init__(self, isp: Isp, seed: int) -> None:
        self.isp = isp
        self.random = random.Random(seed)
        self.pauses = PauseService(isp.database, isp.clock, crm=isp.crm)
        self.loop = LinePauses(self.pauses, isp.network, isp.network)
        self.offers: list[Offer] = []
        self.taken: list[str] = []

    async def prepare(self) -> None:
        customer = await self.isp.customer()
        self.account = customer.account.account_id
        self.offers = [Offer(await self.isp.offering(f"Fibre {mbps}", mbps)) for mbps in (100, 200, 300)]

    async def step(self) -> None:
        """One thing that somebody does, or that time does."""
        actions = [self.add, self.add, self.modify, self.end, self.pause, self.pause, self.resume, self.time, self.time]
        actions += [self.break_devices, self.mend_devices, self.mend_devices, self.redrive, self.cancel]
        action = self.random.choice(actions)
        self.taken.append(action.__name__)
        try:
            await action()
        except RuleError as refused:
            self.taken[-1] += f" ({refused.code})"

    async def add(self) -> None:
        await self._order(AddRequest(self.account, self.random.choice(self.offers)))

    async def modify(self) -> None:
        if line := await self._line():
            await self._order(ModifyRequest(line, self.random.choice(self.offers)))

    async def end(self) -> None:
        if line := await self._line():
            await self._order(DeleteRequest(line))

    async def pause(self) -> None:
        if line := await self._line():
            first = self._today() + timedelta(days=self.random.randint(-1, 1))
            until = first + timedelta(days=self.random.randint(1, 4)) if self.random.random() < 0.8 else None
            kind = self.random.choice(list(PauseKind))
            await self.pauses.place(PauseRequest(line, kind, first, until), actor=ACTOR)

    async def resume(self) -> None:
        found = await self.pauses.pauses(limit=99)
        if found:
            on = self._today() + timedelta(days=self.random.randint(-1, 2))
            await self.pauses.end(self.random.choice(found).pause_id, on, actor=ACTOR)

    async def time(self) -> None:
        self.isp.clock.advance(timedelta(hours=self.random.choice((1, 24, 24, 48))))

    async def break_devices(self) -> None:
        self.isp.network.refusal = "the device refuses"

    async def mend_devices(self) -> None:
        self.isp.network.refusal = None

    async def redrive(self) -> None:
        if order := await self._held():
            await self.isp.fulfilment.redrive(order, actor=ACTOR)
            await self._settled(order)

    async def cancel(self) -> None:
        if order := await self._held():
            await self.isp.fulfilment.cancel(order, actor=ACTOR)
            await self._settled(order)

    async def rest(self) -> None:
        """What is under way comes to its end, and the clock is looked at."""
        for _ in range(3):
            await self.loop.sweep()

    async def agreed(self) -> None:
        """Logins and subscriptions, whatever the road was."""
        open_orders = await self.isp.orders.orders(states=(OrderState.HELD,), limit=500)
        unfinished = {order.subscription_id for order in open_orders}
        off = [p for p in await self.pauses.pauses(limit=500) if p.in_force(self._today())]
        for line in await self.isp.orders.subscriptions(account_id=None, service_id=None, after=None, limit=500):
            login = self.isp.network.get("subscriber", line.service_id)
            can_log_in = bool(login and login["enabled"] and not login.get("withdrawn"))
            active = line.state is SubscriptionState.ACTIVE
            paused = any(p.subscription_id == line.subscription_id for p in off)
            road = " → ".join(self.taken)
            if can_log_in and line.subscription_id not in unfinished:
                assert active, f"a login without a subscription: {road}"
                assert not paused, f"a login of a line that is out of use: {road}"
            if line.state is SubscriptionState.TERMINATED:
                assert not can_log_in, f"a login of a line that has ended: {road}"
            if active and not paused and line.subscription_id not in unfinished:
                assert can_log_in, f"an active line without a login: {road}"

    async def _order(self, request: Request) -> None:
        placed = await self.isp.fulfilment.place(request, actor=ACTOR)
        await self._settled(placed.order.order_id)

    async def _settled(self, order_id: OrderId) -> Order:
        busy = AT_WORK | {OrderState.ACKNOWLEDGED}
        return (await self.isp.until(order_id, lambda story: story.order.state not in busy)).order

    async def _line(self) -> SubscriptionId | None:
        """Mostly a living one, and of those one that is paused as often as not."""
        lines = await self.isp.orders.subscriptions(account_id=None, service_id=None, after=None, limit=500)
        found = [line.subscription_id for line in lines]
        living = [line.subscription_id for line in lines if line.state is SubscriptionState.ACTIVE]
        paused = [line for line in living if await self.pauses.is_off(line)]
        for pool, chance in ((paused, 0.5), (living, 0.9), (found, 1.0)):
            if pool and self.random.random() < chance:
                return self.random.choice(pool)
        return None

    async def _held(self) -> OrderId | None:
        found = await self.isp.orders.orders(states=(OrderState.HELD,), limit=500)
        return self.random.choice(found).order_id if found else None

    def _today(self) -> date:
        return local_date(self.isp.clock.now(), ZoneInfo("Europe/Berlin"))


@pytest.fixture
async def isp(tmp_path: Path) -> AsyncIterator[Isp]:
    database = await sqlite_database(tmp_path)
    async with open_isp(database, tmp_path) as opened:
        yield opened
    await database.close()


@pytest.mark.parametrize("seed", range(4))
async def test_no_road_leaves_a_login_without_a_subscription(isp: Isp, seed: int) -> None:
    walk = Walk(isp, seed)
    await walk.prepare()
    for _ in range(60):
        await walk.step()
        await walk.rest()
        await walk.agreed()
    assert len({name.partition(" ")[0] for name in walk.taken}) >= 8, "the road went hardly anywhere"
