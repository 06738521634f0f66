"""Bills that wait: found by the checks, looked at by a person, let go by one or, where much is at stake, by two.

    check ──▶ held ──release──▶ gone                       up to the limit of the site
               ▲ └──release──▶ released ──approve──▶ gone   above it, by another person than released it or ran the bill
               └────refuse────────┘

Implements ports.ChargeChecker. What was found once in a run stays found: a batch that is checked again after a crash
makes no second exception. A bill that is gone is rated again before it leaves; when it is another one by then and has
findings of its own, it waits once more, as an exception of its own. One that still waits and is rated again with who
shares its bill is decided anew by what it has become. Every step is in the audit log with the money that
was at stake; who may approve is decided by who did what with this bill, not by rank.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing import runs
from billing_bridge.checks import queue
from billing_bridge.checks.case import Case, Finding, Limits
from billing_bridge.checks.detect import at_stake, detect
from billing_bridge.checks.errors import FourEyes, UnknownException
from billing_bridge.checks.facts import Facts, largest_intervals
from billing_bridge.checks.queue import GONE, HELD, RELEASED, SiteLimits, Waiter, Wanted
from billing_bridge.errors import UnknownHold
from billing_bridge.settings import BillingSettings
from controller.domain.clock import Clock
from controller.domain.errors import Conflict
from controller.domain.identity import AccountId, BillRunId, new_id
from controller.domain.money import Money
from controller.domain.ports import RatedBatch, SalesBook, TariffSource, Waiting
from controller.store import audit
from controller.store.engine import Database
from controller.store.many import by_keys
from controller.store.turns import in_turns

log = structlog.get_logger()

_CHECKED = Counter("headend_billing_bridge_bills_checked", "Bills that were checked before they left")
_HELD = Counter("headend_billing_bridge_bills_held", "Bills that wait for a person", ["check"])
_WAITING = Gauge("headend_billing_bridge_exceptions", "Bills that wait, by state", ["state"])
_ACTOR = "system:billing_bridge"

_CHANGE, _MOST_CHANGES = "check-limit.change", 1000
DEFAULTS = SiteLimits("", four_eyes=Decimal(100), usage=Limits().usage, other=Limits().other)
"""Where the site has said nothing: a hundred of the currency is what one person may let go."""


LetGo = Callable[[BillRunId, AccountId, str, str], Awaitable[None]]
"""(run, account, actor, reason): ends the hold of the checks, and the run goes on with the account's documents."""


class ChecksService:
    """`let_go` is the bill run's. What was decided stands before it is called, and is called again until done."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settings: BillingSettings,
        *,
        catalog: TariffSource[AsyncConnection],
        sales: SalesBook[AsyncConnection],
    ) -> None:
        self._database = database
        self._clock = clock
        self._facts = Facts(settings.zone, catalog, sales)
        self._watch_s = settings.count_every_s
        self.let_go: LetGo | None = None

    async def check(self, batch: RatedBatch) -> Sequence[Waiting]:
        """ports.ChargeChecker. A dry batch is looked at and leaves no trace."""
        async with self._database.read() as conn:
            await by_keys(conn)
            known = await queue.of_accounts(conn, batch.bill_run_id, batch.account_ids)
            site = await queue.limits(conn)
            cases = await self._facts.cases(conn, batch, lambda currency: _limits(site, currency))
            run = await runs.get(conn, batch.bill_run_id)
            created_by, found = run.actor if run else _ACTOR, []
            async for case in in_turns(cases):
                before = known.get(case.account_id)
                if case.account_id not in batch.again and (batch.again or before is not None):
                    continue
                waiter = await self._look(conn, batch, case)
                if before is not None and before.state != GONE:  # what was held, or released by one, is another bill
                    found.append(_instead(before, waiter, case))
                elif waiter is not None:
                    number = before.number + 1 if before else 1
                    found.append(replace(waiter, created_by=created_by, number=number))
        if not batch.dry:
            _CHECKED.inc(len(cases))
            await self._hold(found)
        standing = [w for w in {**known, **{w.account_id: w for w in found}}.values() if w.state != GONE]
        return [Waiting(w.account_id, _sentence(w)) for w in standing]

    async def watch(self) -> None:
        """Background task: let go what was decided and not carried out, and keep the gauges at what waits."""
        while True:
            try:
                await self.carry_out()
                await self.totals()
            except (DBAPIError, PoolTimeout) as error:
                log.warning("exceptions.not_counted", error=str(error))
            await asyncio.sleep(self._watch_s)

    async def carry_out(self) -> int:
        """Let go the bills that are decided and still held: the process died in between. Returns how many."""
        async with self._database.read() as conn:
            left = await queue.undone(conn)
        for waiter in left:
            await self._go(waiter)
        return len(left)

    async def page(self, wanted: Wanted, after: str, limit: int) -> list[Waiter]:
        async with self._database.read() as conn:
            return await queue.page(conn, wanted, after, limit)

    async def exception(self, exception_id: str) -> Waiter:
        """Raises UnknownException."""
        async with self._database.read() as conn:
            return await _get(conn, exception_id)

    async def totals(self) -> list[tuple[str, str, int, Money]]:
        """(state, check, bills, at stake) of what waits; a bill with several checks counts for each of them."""
        async with self._database.read() as conn:
            found = await queue.totals(conn)
        sums: dict[tuple[str, str, str], tuple[int, int]] = {}
        for state, checks, bills, stake in found:
            for check in checks.split():
                before = sums.get((state, check, stake.currency), (0, 0))
                sums[state, check, stake.currency] = (before[0] + bills, before[1] + stake.minor)
        for state in (HELD, RELEASED):
            _WAITING.labels(state).set(sum(bills for s, _, bills, _ in found if s == state))
        return [(s, check, bills, Money(minor, c)) for (s, check, c), (bills, minor) in sorted(sums.items())]

    async def assign(self, exception_id: str, *, to: str | None, actor: str) -> Waiter:
        """Say who looks at it; None gives it back to all. Raises UnknownException, Conflict."""
        async with self._database.begin() as conn:
            waiter = await _get(conn, exception_id, lock=True)
            if waiter.state == GONE:
                raise Conflict(f"exception {exception_id} is done: its bill has left")
            await queue.change(conn, exception_id, assigned_to=to)
            await self._audit(conn, waiter, "assign", actor, {"assigned_to": to})
        return replace(waiter, assigned_to=to)

    async def release(self, exception_id: str, *, actor: str, reason: str) -> Waiter:
        """Let the bill go, or, above the limit, ask another person to. Raises UnknownException, Conflict.

        It leaves as it is, but for what was mended since: it is rated again, and what is another bill is checked again.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            waiter = await _get(conn, exception_id, lock=True)
            if waiter.state != HELD:
                raise Conflict(f"exception {exception_id} is {waiter.state}: nothing to release")
            limit = (await queue.limits(conn)).get(waiter.net.currency, DEFAULTS).four_eyes
            alone = waiter.at_stake.amount <= limit
            after = replace(
                waiter,
                state=GONE if alone else RELEASED,
                released_by=actor,
                released_at=now,
                release_reason=reason,
            )
            await queue.change(
                conn, exception_id, state=after.state, released_by=actor, released_at=now, release_reason=reason
            )
            await self._audit(conn, waiter, "release", actor, {"state": after.state, "limit": str(limit)}, reason)
        if alone:
            await self._go(after)
        return after

    async def approve(self, exception_id: str, *, actor: str, reason: str) -> Waiter:
        """The second pair of eyes. Raises UnknownException, Conflict, FourEyes."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            waiter = await _second(conn, exception_id, actor)
            after = replace(waiter, state=GONE, approved_by=actor, approved_at=now, approval_reason=reason)
            await queue.change(
                conn, exception_id, state=GONE, approved_by=actor, approved_at=now, approval_reason=reason
            )
            await self._audit(conn, waiter, "approve", actor, {"state": GONE, "by": waiter.released_by}, reason)
        await self._go(after)
        return after

    async def refuse(self, exception_id: str, *, actor: str, reason: str) -> Waiter:
        """Send it back to the queue. Raises UnknownException, Conflict, FourEyes."""
        async with self._database.begin() as conn:
            waiter = await _second(conn, exception_id, actor)
            gone = {"released_by": None, "released_at": None, "release_reason": None}
            await queue.change(conn, exception_id, state=HELD, **gone)
            await self._audit(conn, waiter, "refuse", actor, {"state": HELD, "by": waiter.released_by}, reason)
        return replace(waiter, state=HELD, released_by=None, released_at=None, release_reason=None)

    async def site_limits(self, currency: str | None = None) -> list[SiteLimits]:
        """Those of the site, and where it said nothing of `currency` the defaults."""
        async with self._database.read() as conn:
            known = await queue.limits(conn)
        if currency is not None and currency not in known:
            known[currency] = replace(DEFAULTS, currency=currency)
        return [known[c] for c in sorted(known)]

    async def limits_of(self, currency: str) -> tuple[SiteLimits, list[dict[str, Any]]]:
        """What holds in one currency, and how it came about: entries of the audit log, newest first."""
        async with self._database.read() as conn:
            found = (await queue.limits(conn)).get(currency, replace(DEFAULTS, currency=currency))
            changes = await audit.about(conn, f"check-limit:{currency}", _CHANGE, limit=_MOST_CHANGES)
        return found, changes

    async def put_limits(self, limits: SiteLimits, *, actor: str, reason: str | None = None) -> SiteLimits:
        """For bills that are looked at or released from now on; the same again changes nothing."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            before = (await queue.limits(conn)).get(limits.currency)
            if before is not None and _shown(before) == _shown(limits):
                return before
            await queue.put_limits(conn, limits, now, actor)
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action=_CHANGE,
                subject=f"check-limit:{limits.currency}",
                before=_shown(before or DEFAULTS),
                after=_shown(limits),
                reason=reason,
            )
        return replace(limits, changed_by=actor, changed_at=now)

    async def _look(self, conn: AsyncConnection, batch: RatedBatch, case: Case) -> Waiter | None:
        findings = detect(case)
        if findings and not case.charges:
            # No document takes the question along: it is asked once, not in every run until the next period.
            asked = await queue.asked_before(conn, case.account_id, batch.bill_run_id)
            findings = [f for f in findings if (f.subscription_id, f.period_first_on) not in asked]
        if not findings:
            return None
        now = self._clock.now()
        net = sum(c.net.minor for c in case.charges if c.net.currency == case.currency)
        return Waiter(
            new_id(now),
            batch.bill_run_id,
            case.account_id,
            batch.batch,
            HELD,
            Money(net, case.currency),
            at_stake(findings, case.currency),
            tuple([await _with_intervals(conn, finding) for finding in findings]),
            now,
            _ACTOR,
        )

    async def _hold(self, found: Sequence[Waiter]) -> None:
        if not found:
            return
        async with self._database.begin() as conn:
            # Another process may have checked the same batch meanwhile: what it wrote stands.
            known = await queue.of_accounts(conn, found[0].bill_run_id, [w.account_id for w in found])
            rewritten, new = [], []
            for waiter in found:
                before = known.get(waiter.account_id)
                if before is None or before.number < waiter.number:
                    new.append(waiter)
                elif before.exception_id == waiter.exception_id:
                    if await queue.put_instead(conn, waiter):
                        rewritten.append(waiter)
                    else:  # let go in this moment, as the bill that it was
                        new.append(replace(waiter, exception_id=new_id(waiter.found_at), number=waiter.number + 1))
            if new:
                await queue.add(conn, new)
            new += rewritten
            for waiter in new:
                await self._audit(conn, waiter, "hold", _ACTOR, {"checks": list(waiter.checks)})
        for waiter in new:
            for check in waiter.checks:
                _HELD.labels(check).inc()
            log.warning("bill.held", account_id=waiter.account_id, checks=waiter.checks, at_stake=str(waiter.at_stake))

    async def _go(self, waiter: Waiter) -> None:
        """Have the documents made. A hold that is not there yet, or has ended, is looked for again by `watch`."""
        if self.let_go is None:
            return
        actor, reason = waiter.approved_by or waiter.released_by, waiter.approval_reason or waiter.release_reason
        assert actor is not None
        assert reason is not None
        try:
            await self.let_go(waiter.bill_run_id, waiter.account_id, actor, reason)
        except UnknownHold as error:
            log.info("exception.hold_not_there", exception_id=waiter.exception_id, detail=str(error))

    async def _audit(
        self,
        conn: AsyncConnection,
        waiter: Waiter,
        verb: str,
        actor: str,
        after: dict[str, object],
        reason: str | None = None,
    ) -> None:
        await audit.record(
            conn,
            now=self._clock.now(),
            actor=actor,
            action=f"exception.{verb}",
            subject=f"exception:{waiter.exception_id}",
            before={"state": waiter.state, "account_id": waiter.account_id, "bill_run_id": waiter.bill_run_id},
            after={**after, "net": str(waiter.net), "at_stake": str(waiter.at_stake)},
            reason=reason,
        )


def _instead(before: Waiter, waiter: Waiter | None, case: Case) -> Waiter:
    """The same exception, of the bill that it is by now; without a finding what was found before is to be decided."""
    net = Money(sum(c.net.minor for c in case.charges if c.net.currency == case.currency), case.currency)
    now = replace(before, net=net) if waiter is None else waiter
    return replace(
        before,
        state=HELD,
        net=now.net,
        at_stake=now.at_stake,
        findings=now.findings,
        released_by=None,
        released_at=None,
        release_reason=None,
    )


def _limits(site: dict[str, SiteLimits], currency: str) -> Limits:
    limits = site.get(currency, DEFAULTS)
    return Limits(usage=limits.usage, other=limits.other)


async def _get(conn: AsyncConnection, exception_id: str, *, lock: bool = False) -> Waiter:
    found = await queue.get(conn, exception_id, lock=lock)
    if found is None:
        raise UnknownException(f"no exception {exception_id}")
    return found


async def _second(conn: AsyncConnection, exception_id: str, actor: str) -> Waiter:
    """One that waits for a second person, and `actor` is one."""
    waiter = await _get(conn, exception_id, lock=True)
    if waiter.state != RELEASED:
        raise Conflict(f"exception {exception_id} is {waiter.state}: it waits for nobody's approval")
    if actor == waiter.released_by:
        raise FourEyes("you have released this bill yourself: another person must decide about it")
    if actor == waiter.created_by:
        raise FourEyes("you have started the run that made this bill: another person must decide about it")
    return waiter


async def _with_intervals(conn: AsyncConnection, finding: Finding) -> Finding:
    """With the intervals of its heaviest day, where it is about usage."""
    heaviest = next((r for r in finding.records if r.what == "usage-day"), None)
    if heaviest is None:
        return finding
    service_id, _, day = heaviest.ref.partition("/")
    more = await largest_intervals(conn, service_id, date.fromisoformat(day))
    return replace(finding, records=(*finding.records, *more))


def _sentence(waiter: Waiter) -> str:
    first = waiter.findings[0]
    more = f" and {len(waiter.findings) - 1} more" if len(waiter.findings) > 1 else ""
    return f"{first.check}: {first.text}{more}; {waiter.at_stake} at stake"


def _shown(limits: SiteLimits) -> dict[str, object]:
    """As the audit log and the API write them: 5 is what 5.0000 is."""
    return {name: as_written(getattr(limits, name)) for name in ("four_eyes", "usage", "other")}


def as_written(limit: Decimal) -> str:
    """Without the zeros that the database adds: 5, 0.02."""
    return f"{limit.normalize():f}"
