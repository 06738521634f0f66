"""Two months in under a minute: the same orders, packets and bill runs as in real life, on a clock that is moved.

    per day, local time   02:00  records; on the 1st also the bill run
                          08:00  records; the day's orders, each until it is settled
                          14:00  records; on the 6th most customers pay; on one day a plan change
                          20:00  records; some sessions end and begin again; who pays in advance tops up what is low

Accounting carries Event-Timestamps spread over the step before, so that no two sessions report at the same instant.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

from lab.bras.nas import Bras
from lab.bras.session import Session
from lab.clock import DemoClock
from lab.console import Bar
from lab.office import Office
from lab.world import RUNS_DRY, TOPPED_UP, Subscriber, World

ZONE = ZoneInfo("Europe/Berlin")
HOURS = (2, 8, 14, 20)
RECONNECTS_PER_DAY = 0.03
PAYING_SHARE = 0.85
PAID_ON_DAY = 6
AT_ONCE = 8
FIRST_TOP_UP = {TOPPED_UP: "59.50", RUNS_DRY: "23.80"}
TOP_UP, LOW_CENTS, TOP_UP_DAYS = "59.50", 2_500, 3
T = TypeVar("T")


def first_day(today: date, days: int) -> date:
    return today - timedelta(days=days)


def steps(first: date, until: datetime) -> list[datetime]:
    """The instants the clock is moved to: four a day by the local clock, and `until` itself.

    In UTC: between two instants of one local zone Python counts what clocks on the wall show, and loses the hour by
    which they are put back in October.
    """
    days = (first + timedelta(days=n) for n in range((until.astimezone(ZONE).date() - first).days + 1))
    at = (datetime.combine(day, time(hour), tzinfo=ZONE).astimezone(UTC) for day in days for hour in HOURS)
    return [*(instant for instant in at if instant < until - timedelta(minutes=10)), until]


@dataclass(slots=True)
class History:
    """Makes the history of `world` between `first` and `until`."""

    world: World
    office: Office
    bras: Bras
    clock: DemoClock
    first: date
    until: datetime
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    held: list[str] = field(default_factory=list)
    _changed: bool = False

    async def make(self, bar: Bar) -> None:
        """Raises ApiRefused when the controller refuses what it should not."""
        all_steps = steps(self.first, self.until)
        await self._open_shop()
        before = self.clock.at
        for number, at in enumerate(all_steps):
            bar.to(number, f"{at:%d %B %Y}")
            await self.clock.move_to(at)
            await self._account(before, at, number)
            await self._events(at)
            before = at
        await self._stragglers()
        self.world.notes["usage_line"] = await self.office.usage_line() or ""

    async def _events(self, at: datetime) -> None:
        local = at.astimezone(ZONE)
        if local.hour == HOURS[0] and local.day == 1:
            await self.office.bill()
        elif local.hour == HOURS[1]:
            day = (local.date() - self.first).days
            await self._orders([s for s in self.world.subscribers if s.ordered_on_day == day and not s.order_id])
        elif local.hour == HOURS[2] and local.day == PAID_ON_DAY:
            await self._payments()
        elif local.hour == HOURS[2] and not self._changed and at - timedelta(days=9) > self._start():
            await self._plan_change()
        elif local.hour == HOURS[3]:
            await self._reconnect()
            await self._top_ups(local.date())

    def _start(self) -> datetime:
        return datetime.combine(self.first, time(0), tzinfo=ZONE).astimezone(UTC)

    # -- what happens -----------------------------------------------------------------------------------------------

    async def _open_shop(self) -> None:
        await self.office.create_offerings(self.first.isoformat())
        await each(self.world.subscribers, self.office.create_customer)
        await each(self.world.subscribers, self.office.receive_onu)

    async def _orders(self, due: list[Subscriber]) -> None:
        """Order lines and wait until each is settled; whose line works connects."""
        await each(due, self.office.order_line)
        by_order = {subscriber.order_id: subscriber for subscriber in due}
        for order in await self.office.all_settled(list(by_order)):
            subscriber = by_order[order["order_id"]]
            subscriber.active = order["state"] == "completed"
            if not subscriber.active:
                self.held.append(f"{subscriber.name}: {order['cause'] or order['state']}")
        await each([s for s in due if s.active and s.prepaid], self._begin_prepaid)
        connecting = [s.username for s in due if s.active and not s.experiment]
        await each(connecting, lambda username: self.bras.login(username, wait_for_start=True))

    async def _begin_prepaid(self, subscriber: Subscriber) -> None:
        await self.office.make_prepaid(subscriber)
        await self.office.top_up(subscriber, FIRST_TOP_UP[subscriber.prepaid], "shop 1")

    async def _top_ups(self, today: date) -> None:
        """Every few days: nobody looks at a balance more often."""
        day = (today - self.first).days
        own = [s for s in self.world.subscribers if s.prepaid == TOPPED_UP and s.active]
        if day % TOP_UP_DAYS or not own:
            return
        balances = await self.office.balances()
        for subscriber in own:
            if balances.get(subscriber.service_id, LOW_CENTS) < LOW_CENTS:
                await self.office.top_up(subscriber, TOP_UP, f"shop {day + 1}")

    async def _plan_change(self) -> None:
        """One subscriber gets faster in the middle of a session; its next record is the evidence."""
        subscriber = next(
            (s for s in self.world.subscribers if s.offering == "fibre-100" and self.bras.session_of(s.username)), None
        )
        if subscriber is None:
            return
        self._changed = True
        order = await self.office.change_plan(subscriber, "fibre-300")
        settling = asyncio.ensure_future(self.office.settled(order["order_id"]))
        while not settling.done():
            await asyncio.wait({settling}, timeout=0.3)
            session = self.bras.session_of(subscriber.username)
            await self.clock.move_to(self.clock.at + timedelta(seconds=5))
            if session is not None and not settling.done():
                await self.bras.interim(session)
        settled = await settling
        if settled["state"] != "completed":
            self.held.append(f"{subscriber.name}: {settled.get('cause') or settled['state']}")

    async def _account(self, before: datetime, at: datetime, number: int) -> None:
        """One interim record of every other session, each at its own instant of the step; the others' turn is next.

        A session that would time out soon is renewed instead, as routers do at a quiet moment of their own.
        """

        async def report(session: Session) -> None:
            share = 0.05 + 0.9 * (self.bras.lines[session.username].port * 0.618 % 1)
            when = max(session.started_at + timedelta(seconds=1), before + (at - before) * share)
            ends = session.times_out_at()
            if when > at:
                return
            if ends is not None and ends <= at + (at - before):
                await self._renew(session.username, min(when, ends))
            elif (number + self.bras.lines[session.username].port) % 2 == 0 or at == self.until:
                await self.bras.interim(session, when)

        await asyncio.gather(*[report(session) for session in list(self.bras.sessions.values())])

    async def _renew(self, username: str, when: datetime) -> None:
        await self.bras.logout(username, at=when)
        await self.bras.login(username, at=when + timedelta(seconds=5), wait_for_start=True)

    async def _reconnect(self) -> None:
        leaving = [s.username for s in self.bras.sessions.values() if self.chance.random() < RECONNECTS_PER_DAY]
        await each(leaving, lambda username: self._renew(username, self.clock.at - timedelta(seconds=10)))

    async def _payments(self) -> None:
        unpaid = [i for i in await self.office.invoices() if float(i["open"]["amount"]) > 0]
        unpaid = [invoice for invoice in unpaid if self.chance.random() < PAYING_SHARE]
        await each(unpaid, lambda invoice: self.office.pay(invoice, f"transfer {invoice['number']}"))

    async def _stragglers(self) -> None:
        """Whoever was to be ordered at an hour that has not come yet today."""
        await self._orders([s for s in self.world.subscribers if not s.order_id])


async def each(items: Iterable[T], work: Callable[[T], Awaitable[object]], at_once: int = AT_ONCE) -> None:
    """`work` on every item, `at_once` at a time. The first exception ends all."""
    slots = asyncio.Semaphore(at_once)

    async def one(item: T) -> None:
        async with slots:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for item in items:
            group.create_task(one(item))
