"""Dunning put into force: what holds of an account's services is led to what should hold, whenever anything changes.

    event (payment, credit note, chargeback, hold, dispute) ─► look at that account, within a second
    every night from the hour set on ─► job dunning.v1:<day> ─► look at each account that owes, and take due steps

A look is one transaction: steps with their notice, what RADIUS gives to the next login and asks of live sessions, which
items are kept from their customer, and whether billing goes on. What is taken of each service is decided by its kind.
So nothing is done without being recorded, or recorded without being done, whenever the program
dies; and looking twice does nothing the second time. A night that was missed needs no repair: the next one looks at how
things are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import count
from zoneinfo import ZoneInfo

import structlog
from prometheus_client import Counter, Histogram
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock, local_date
from controller.domain.events import (
    AccountParentSet,
    DunningChanged,
    InvoiceIssued,
    ItemHeld,
    PaymentReceived,
    PaymentReversed,
    ReceivablesChanged,
    ServiceActivated,
)
from controller.domain.identity import AccountId, SubscriptionId
from controller.domain.price import ProductKind
from controller.domain.restriction import FREE, SERVICES, Measure
from controller.store.engine import Database
from controller.store.jobs import Jobs, RetryPolicy
from controller.workflows.device_measures import DeviceMeasures
from erp.dunning.model import Treatment
from erp.dunning.records import ACTOR
from erp.dunning.service import DunningService
from erp.dunning.standing import Standing, stricter
from erp.orders.pause_model import PauseKind, PauseRequest
from erp.orders.pauses import PauseService
from erp.orders.served import Served, served
from erp.orders.service import OrderService
from erp.orders.suspensions import Suspensions
from radius.restricting import Restricting

log = structlog.get_logger()

WORKFLOW = "dunning.v1"
LOOKS = Counter("headend_dunning_looks", "Looks at accounts, by what they came to.", ["came_to"])
RESTORED_S = Histogram(
    "headend_dunning_restore_seconds", "From the event that frees a service until its restoring is committed."
)
_BATCH = 100
_LOOK_S = 20.0
_NO_SERVICES = frozenset(ProductKind) - SERVICES
"""A rented box or a discount of a line: nothing is taken of it, and it is billed as its line is."""
_DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeout)


async def _waiting(attempt: int, error: Exception) -> None:
    log.warning("dunning.database_unavailable", attempt=attempt, error=str(error))


_PATIENT = RetryPolicy(on=_DATABASE_AWAY, first_wait_s=0.2, longest_wait_s=30.0, waiting=_waiting)

AccountChanged = (
    PaymentReceived | PaymentReversed | ReceivablesChanged | DunningChanged | ServiceActivated | AccountParentSet
)


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at an account came to: steps that were taken, services whose measure changed."""

    steps: int
    changed: int


class DunningWork:
    """`hour` is when the night's work begins, in `zone`."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        jobs: Jobs,
        *,
        dunning: DunningService,
        restricting: Restricting,
        orders: OrderService,
        pauses: PauseService,
        suspensions: Suspensions,
        zone: ZoneInfo,
        hour: int = 6,
        devices: DeviceMeasures | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._jobs = jobs
        self._dunning = dunning
        self._restricting = restricting
        self._orders = orders
        self._pauses = pauses
        self._suspensions = suspensions
        self._zone = zone
        self._hour = hour
        self._devices = devices

    def register(self) -> None:
        """Make the workflow known; before `jobs.launch()`."""
        self._jobs.register(WORKFLOW, self.night)

    # --- by event

    async def on_account_changed(self, conn: AsyncConnection, event: AccountChanged) -> None:
        look = await self.look(conn, event.account_id, advance=False)
        if look.changed:
            RESTORED_S.observe(max(0.0, (self._clock.now() - event.at).total_seconds()))

    async def on_invoice_issued(self, conn: AsyncConnection, event: InvoiceIssued) -> None:
        """A credit note settles something; an invoice is due in some weeks."""
        if event.total_minor < 0:
            await self.look(conn, event.account_id, advance=False)

    async def on_item_held(self, conn: AsyncConnection, event: ItemHeld) -> None:
        """An item that is added to an account in arrears is treated as those that were there, and one that ended is let
        go."""
        await self.look(conn, event.account_id, advance=False)

    # --- one account

    async def look(self, conn: AsyncConnection, account_id: AccountId, *, advance: bool) -> Look:
        """Lead the account's services to what should hold; with `advance`, take the steps that are due first.

        Accounts that are blocked with their parent have the stricter of both measures, and are led there with it.
        """
        await self._dunning.lock_in(conn, account_id)
        standing = await self._dunning.standing_in(conn, account_id)
        parent = await self._dunning.blocking_parent_in(conn, standing)
        children = await self._dunning.blocked_children_in(conn, standing)
        advance = advance and bool(standing.state.due)
        if not advance and await self._rests(conn, [standing, *children], parent):
            LOOKS.labels("as-it-was").inc()
            return Look(0, 0)
        await self._take_turns(conn, [standing, *children])
        taken = 0
        if advance:
            advanced = await self._dunning.advance_in(conn, account_id)
            standing, taken = advanced.standing, len(advanced.taken)
        changed = await self._enforce(conn, standing, parent)
        for child in children:
            changed += await self._enforce(conn, child, standing)
        LOOKS.labels("changed" if changed else "steps" if taken else "as-it-was").inc()
        return Look(taken, changed)

    async def _rests(self, conn: AsyncConnection, standings: Sequence[Standing], parent: Standing | None) -> bool:
        """Whether nothing is taken of any service of these accounts, and nothing shall be."""
        if any(of.state.restricts for of in (*standings, *([parent] if parent else []))):
            return False
        return not await self._held(conn, await self._served(conn, *standings))

    async def _served(self, conn: AsyncConnection, *standings: Standing) -> list[Served]:
        return await served(conn, [of.account_id for of in standings], self._clock.now())

    async def _held(self, conn: AsyncConnection, services: Sequence[Served]) -> bool:
        """Whether anything is taken of these services: by RADIUS, on their devices, or as an item."""
        service_ids = [service.service_id for service in services if service.subscription_id is not None]
        if any(service.suspension for service in services) or await self._restricting.in_force(conn, service_ids):
            return True
        return self._devices is not None and bool(await self._devices.in_force(conn, service_ids))

    async def _take_turns(self, conn: AsyncConnection, standings: Sequence[Standing]) -> None:
        """Of everything that is written after this, in the order in which every other writer takes it.

        Accounts (taken before) ─ lines ─ items ─ logins ─ services ─ audit log ─ events: who holds one waits for later
        ones.
        """
        lines = {s.subscription_id: s.service_id for s in await self._served(conn, *standings) if s.subscription_id}
        await self._pauses.take_turn(conn, list(lines))
        await self._suspensions.take_turn(conn, [of.account_id for of in standings])
        await self._restricting.take_turn(conn)
        if self._devices is not None:
            await self._devices.take_turns(conn, list(lines.values()))

    async def _enforce(self, conn: AsyncConnection, standing: Standing, above: Standing | None) -> int:
        """Put in force on an account's services what its standing, or the stricter one `above`, says of their kind; how
        many changed."""
        services = await self._served(conn, standing)
        restricts = standing.state.restricts or (above is not None and above.state.restricts)
        if not restricts and not await self._held(conn, services):
            return 0
        changed = 0
        for service in services:
            of = stricter(standing, above, service.kind)
            changed += await self._put(conn, service, of, of.state.of(service.kind), standing.state.day)
        if changed:
            log.info(
                "dunning.measure", account_id=standing.account_id, measure=standing.state.measure.value,
                services=changed, stage=standing.state.stage,
            )  # fmt: skip
        return changed

    async def _put(self, conn: AsyncConnection, service: Served, of: Standing, wanted: Treatment, day: date) -> bool:
        reason = _reason(of, wanted)
        if service.subscription_id is None:
            return await self._suspensions.put(
                conn, service, wanted.measure, billed=wanted.billed, day=day, actor=ACTOR, reason=reason
            )
        line, restriction = service.service_id, wanted.restriction
        taken = await self._restricting.put(conn, line, restriction, actor=ACTOR, reason=reason)
        if self._devices is not None:
            taken |= await self._devices.put(conn, line, restriction, actor=ACTOR, reason=reason)
        await self._bill_or_not(conn, service.subscription_id, of, wanted)
        return taken

    async def _bill_or_not(
        self, conn: AsyncConnection, subscription_id: SubscriptionId, standing: Standing, wanted: Treatment
    ) -> None:
        """By policy, days on which a line is suspended are not billed, nor what belongs to it and is no service."""
        rests = wanted.measure is Measure.SUSPEND and not wanted.billed
        placed = await self._pauses.in_force_in(conn, subscription_id, PauseKind.SUSPENSION)
        if rests and placed is None:
            request = PauseRequest(
                subscription_id,
                PauseKind.SUSPENSION,
                standing.state.day,
                None,
                reason=_reason(standing, wanted),
                service_off=False,
                item_kinds=_NO_SERVICES,
            )
            await self._pauses.place_in(conn, request, actor=ACTOR)
        elif not rests and placed is not None and placed.agreed_by == ACTOR:
            await self._pauses.end_in(conn, placed.pause_id, standing.state.day, actor=ACTOR)

    # --- by night

    async def run(self) -> None:
        """Start each night's job once its hour has come, for ever."""
        while True:
            try:
                local = self._clock.now().astimezone(self._zone)
                if local.hour >= self._hour and await self._jobs.status(_job_id(local.date(), 0)) is None:
                    await self._start(local.date(), 0)
            except SQLAlchemyError as error:
                log.warning("dunning.night_not_started", error=str(error))
            await asyncio.sleep(_LOOK_S)

    async def begin(self) -> str:
        """Look at everybody now; the job's id. One that is at work already is not begun again."""
        today = local_date(self._clock.now(), self._zone)
        for n in count():
            job_id = _job_id(today, n)
            status = await self._jobs.status(job_id)
            if status is None:
                await self._start(today, n)
            if status is None or status.state == "running":
                return job_id
        raise AssertionError("unreachable: count() does not end")

    async def _start(self, day: date, n: int) -> None:
        await self._jobs.start(WORKFLOW, _job_id(day, n), day.isoformat())

    async def night(self, day: str) -> int:
        """The workflow; returns how many accounts were looked at."""
        looked, after = 0, ""
        await self._jobs.step("begin", self._dunning.begin_run, day, retry=_PATIENT)
        while True:
            last, accounts = await self._jobs.step("accounts", self._batch, day, after, retry=_PATIENT)
            looked += accounts
            if not last:
                break
            after = last
        looked += await self._jobs.step("restricted", self._restricted, day, retry=_PATIENT)
        await self._jobs.step("finish", self._dunning.finish_run, day, retry=_PATIENT)
        log.info("dunning.night", day=day, accounts=looked)
        return looked

    async def _batch(self, day: str, after: str) -> tuple[str, int]:
        """Look at the next accounts that owe; (the last of them or "", how many)."""
        found = await self._dunning.owing(date.fromisoformat(day), after=after, limit=_BATCH)
        await self._look_at(day, await self._moving(found), of=len(found))
        return (found[-1] if len(found) == _BATCH else ""), len(found)

    async def _restricted(self, day: str) -> int:
        """Accounts that are restricted and should not be: what no event told us of is put right here."""
        async with self._database.read() as conn:
            held = await self._restricting.in_force(conn)
            accounts = await self._orders.accounts_in(conn, list(held)) | await self._suspensions.accounts_in(conn)
        standings = await self._dunning.standings(accounts, local_date(self._clock.now(), self._zone))
        strays = sorted(account_id for account_id, found in standings.items() if not found.state.restricts)
        await self._look_at(day, strays)
        return len(strays)

    async def _moving(self, accounts: list[AccountId]) -> list[AccountId]:
        """Those at which a look can come to anything: most only wait for the day of their next step."""
        standings = await self._dunning.standings(accounts, local_date(self._clock.now(), self._zone))
        moving = {i for i, found in standings.items() if found.state.due or found.state.restricts}
        return [account_id for account_id in accounts if account_id in moving]

    async def _look_at(self, day: str, accounts: list[AccountId], *, of: int | None = None) -> None:
        steps = changed = failed = 0
        for account_id in accounts:
            await self._jobs.ready()
            try:
                async with self._database.begin() as conn:
                    look = await self.look(conn, account_id, advance=True)
            except _DATABASE_AWAY:
                raise
            except Exception as error:
                # One account must not keep the night from all others; it is looked at again in the next.
                log.error("dunning.account_failed", account_id=account_id, exc_info=error)
                LOOKS.labels("failed").inc()
                failed += 1
                continue
            steps, changed = steps + look.steps, changed + look.changed
        await self._dunning.count_run(
            day, accounts=len(accounts) if of is None else of, steps=steps, changed=changed, failed=failed
        )


def _job_id(day: date, n: int) -> str:
    """The night of a day (0), or the n-th time it was asked for."""
    return f"{WORKFLOW}:{day}:{n}" if n else f"{WORKFLOW}:{day}"


def _reason(standing: Standing, wanted: Treatment) -> str:
    state = standing.state
    if wanted.restriction == FREE:
        return f"nothing is claimed that restricts: {standing.money(state.claimed_minor)} overdue"
    return f"{state.stage}: {standing.money(state.claimed_minor)} overdue, since {state.oldest_on}"
