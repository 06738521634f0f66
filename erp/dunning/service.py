"""What dunning does and what people decide about it, one use case per method and transaction.

`advance_in` alone takes steps. Everything else changes what the state follows from, and tells it by DunningChanged: who
enforces measures (a workflow, for it needs RADIUS) looks anew at the account, within a second.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock, local_date
from controller.domain.identity import AccountId, new_id
from controller.domain.money import Money
from controller.domain.price import ProductKind
from controller.store import audit, outbox
from controller.store.engine import Database
from erp.crm.hierarchy import children_in
from erp.crm.service import CrmService
from erp.dunning import calendar, notice_rows, repository
from erp.dunning import policy as ladders
from erp.dunning.errors import AlreadyEnded, PlanRefused, PolicyKnown, PolicyRefused, UnknownPause, UnknownPlan
from erp.dunning.model import Due, Policy, Treatment, policy_on, working_day
from erp.dunning.notice_rows import Notice
from erp.dunning.records import changed, record_step, step_row, step_told
from erp.dunning.repository import PauseRow, PlanRow
from erp.dunning.standing import Standing, standings, stricter, versions_of
from erp.finance.issuing import entity_of
from erp.orders.served import Served, served

HOLD, PROMISE, COLLECTIONS = "hold", "promise", "collections"
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Advanced:
    """What a look at an account came to: where it stands now, and the steps that were taken."""

    standing: Standing
    taken: Sequence[Due] = ()


class DunningService:
    """Methods that take `conn` join the caller's transaction. Days are those of the account's legal entity."""

    def __init__(self, database: Database, clock: Clock, crm: CrmService) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm

    # --- where accounts stand

    async def today(self) -> date:
        """The day in the zone of the (first) legal entity."""
        return local_date(self._clock.now(), (await self._crm.entity()).zone_info)

    async def standing(self, account_id: AccountId, day: date | None = None) -> Standing:
        """Raises NoAccount."""
        async with self._database.read() as conn:
            return await self.standing_in(conn, account_id, day)

    async def standing_in(self, conn: AsyncConnection, account_id: AccountId, day: date | None = None) -> Standing:
        customer = await self._crm.customer_of_in(conn, account_id)
        if day is None:
            day = local_date(self._clock.now(), (await entity_of(conn, customer.entity_id)).zone_info)
        return (await standings(conn, [account_id], day))[account_id]

    async def lock_in(self, conn: AsyncConnection, account_id: AccountId) -> None:
        """Take turns with whoever else changes what is done to the account."""
        await repository.lock_account(conn, account_id)

    async def blocking_parent_in(self, conn: AsyncConnection, standing: Standing) -> Standing | None:
        """Whose arrears restrict this account too, where it belongs to another in that way."""
        day = standing.state.day
        parent_id = await repository.blocking_parent(conn, standing.account_id, day)
        return (
            None
            if parent_id is None
            else (await standings(conn, [AccountId(parent_id)], day)).get(AccountId(parent_id))
        )

    async def blocked_children_in(self, conn: AsyncConnection, standing: Standing) -> list[Standing]:
        """The accounts that are restricted with this one, in the order of their ids, their turns taken."""
        day = standing.state.day
        children = await children_in(conn, standing.account_id, day)
        ids = sorted(child.relation.account_id for child in children if child.relation.blocked_with_parent)
        for account_id in ids:
            await repository.lock_account(conn, account_id)
        found = await standings(conn, ids, day) if ids else {}
        return [found[account_id] for account_id in ids]

    async def services(self, found: Standing) -> list[tuple[Served, Treatment]]:
        """What the account has now, and what is taken of each by the standing: its own, or that of its parent."""
        async with self._database.read() as conn:
            above = await self.blocking_parent_in(conn, found)
            services = await self.served_in(conn, found.account_id)
        return [(s, stricter(found, above, s.kind).state.of(s.kind)) for s in services]

    async def served_in(self, conn: AsyncConnection, account_id: AccountId) -> list[Served]:
        """What the account has now."""
        return [s for s in await served(conn, [account_id], self._clock.now()) if not s.ended]

    async def kinds(self, account_ids: Collection[AccountId]) -> Mapping[AccountId, Collection[ProductKind]]:
        """Of what these accounts have now."""
        async with self._database.read() as conn:
            services = await served(conn, account_ids, self._clock.now())
        return {i: {s.kind for s in services if s.account_id == i} for i in account_ids}

    async def owing(self, day: date, *, after: str = "", limit: int) -> list[AccountId]:
        """Accounts with something overdue, by id."""
        async with self._database.read() as conn:
            return [AccountId(i) for i in await repository.owing(conn, day, after, limit)]

    async def standings(self, account_ids: Collection[AccountId], day: date) -> Mapping[AccountId, Standing]:
        async with self._database.read() as conn:
            return await standings(conn, account_ids, day)

    # --- steps

    async def advance_in(self, conn: AsyncConnection, account_id: AccountId) -> Advanced:
        """Take the steps that are due today, once, with one notice for all of them; then say how things stand.

        Steps whose account was told of something today already wait for tomorrow.
        """
        await repository.lock_account(conn, account_id)
        standing = await self.standing_in(conn, account_id)
        state, due = standing.state, standing.state.due
        if not due:
            return Advanced(standing)
        now, today = self._clock.now(), state.day
        top = max(due, key=lambda d: (bool(d.step.notice), d.number))
        notice_id = None
        if top.step.notice:
            if await notice_rows.exists(conn, account_id, today):
                return Advanced(standing)
            made = Notice.fresh(standing.customer, top.step.notice, today, now, await self._locale(conn, standing))
            await notice_rows.add(conn, made)
            notice_id = made.notice_id
        rows = [step_row(d, standing, notice_id if d.step.notice else None, now) for d in due]
        await repository.add_steps(conn, rows)
        for d in due:
            await record_step(conn, d, standing, now)
        told = [
            step_told(standing, d.debt.invoice_id, d.step.name, d.step.fee_minor, now) for d in due if not d.step.notice
        ]
        await outbox.append(conn, *told)
        return Advanced(await self.standing_in(conn, account_id), due)

    async def _locale(self, conn: AsyncConnection, standing: Standing) -> str:
        """The account's language, else that of its entity."""
        entity = await self._crm.entity(standing.customer.entity_id)
        return standing.customer.contact.language.replace("-", "_") or entity.locale

    async def steps(self, account_id: AccountId, limit: int = 100) -> Sequence[Any]:
        async with self._database.read() as conn:
            return await repository.steps_of(conn, account_id, limit)

    # --- nights

    async def begin_run(self, day: str) -> None:
        async with self._database.begin() as conn:
            await repository.begin_run(conn, date.fromisoformat(day), self._clock.now())

    async def count_run(self, day: str, *, accounts: int, steps: int, changed: int, failed: int) -> None:
        async with self._database.begin() as conn:
            await repository.count_run(
                conn, date.fromisoformat(day), accounts=accounts, steps=steps, changed=changed, failed=failed
            )

    async def finish_run(self, day: str) -> None:
        async with self._database.begin() as conn:
            await repository.finish_run(conn, date.fromisoformat(day), self._clock.now())

    async def runs(self, limit: int = 14) -> Sequence[Any]:
        """The nights, newest first."""
        async with self._database.read() as conn:
            return await repository.last_runs(conn, limit)

    # --- pauses

    async def hold(
        self, account_id: AccountId, *, until_on: date | None, lifts: bool, reason: str, actor: str
    ) -> PauseRow:
        """No step is taken from today until `until_on` (the first day on which it goes on), or for ever."""
        async with self._database.begin() as conn:
            standing = await self._locked(conn, account_id)
            return await self._pause(conn, standing, HOLD, until_on, lifts, None, reason, actor)

    async def hand_over(self, account_id: AccountId, *, reason: str, actor: str) -> PauseRow:
        """The claim is a collection agency's now: no further step, and what is restricted stays so. Raises NoAccount.

        Handing over what is handed over already changes nothing.
        """
        async with self._database.begin() as conn:
            standing = await self._locked(conn, account_id)
            for row in (await repository.pauses_of(conn, [account_id])).get(account_id, []):
                if row.kind == COLLECTIONS and (row.until_on is None or row.until_on > standing.state.day):
                    return row
            return await self._pause(conn, standing, COLLECTIONS, None, False, None, reason, actor)

    async def promise(
        self, account_id: AccountId, *, pays_on: date, amount: Money | None, reason: str, actor: str
    ) -> PauseRow:
        """The customer promises to pay by a day: measures are lifted until it has passed, and the grace after it."""
        async with self._database.begin() as conn:
            standing = await self._locked(conn, account_id)
            ladder = policy_on(standing.facts.policies, standing.state.day)
            until_on = pays_on + timedelta(days=0 if ladder is None else ladder.grace_days) + _ONE_DAY
            minor = None if amount is None else amount.minor
            return await self._pause(conn, standing, PROMISE, until_on, True, minor, reason, actor)

    async def resume(self, pause_id: str, *, actor: str, reason: str) -> PauseRow:
        """Dunning goes on from today. Raises UnknownPause, or AlreadyEnded for a pause that is over."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            found = await repository.get_pause(conn, pause_id)
            if found is None:
                raise UnknownPause(f"no pause {pause_id}")
            standing = await self._locked(conn, AccountId(found.account_id))
            today = standing.state.day
            if found.until_on is not None and found.until_on <= today:
                raise AlreadyEnded(f"the pause ended on {found.until_on}")
            await repository.end_pause(conn, pause_id, max(today, found.first_on), now, actor)
            await self._changed(
                conn, found.account_id, "pause.end", actor, reason, {"kind": found.kind, "until_on": found.until_on},
                {"until_on": today},
            )  # fmt: skip
            ended = await repository.get_pause(conn, pause_id)
        assert ended is not None
        return ended

    async def pauses(self, account_id: AccountId) -> Sequence[PauseRow]:
        async with self._database.read() as conn:
            return (await repository.pauses_of(conn, [account_id])).get(account_id, [])

    async def _pause(
        self,
        conn: AsyncConnection,
        standing: Standing,
        kind: str,
        until_on: date | None,
        lifts: bool,
        amount_minor: int | None,
        reason: str,
        actor: str,
    ) -> PauseRow:
        now, today = self._clock.now(), standing.state.day
        if until_on is not None and until_on <= today:
            raise AlreadyEnded(f"a pause until {until_on} would be over today, on {today}")
        if until_on is not None:
            # What is lifted comes back on a working day, as everything else that is done to customers.
            until_on = working_day(until_on, standing.facts.is_working)
        made = PauseRow(
            new_id(now), standing.account_id, kind, today, until_on, lifts, amount_minor, reason, now, actor
        )
        await repository.add_pause(conn, made)
        after = {"kind": kind, "until_on": until_on, "lifts": lifts, "amount_minor": amount_minor}
        await self._changed(conn, standing.account_id, "pause.begin", actor, reason, None, after)
        return made

    # --- payment plans

    async def agree(
        self,
        account_id: AccountId,
        instalments: Sequence[tuple[date, Money]],
        *,
        invoice_ids: Collection[str] = (),
        reason: str,
        actor: str,
    ) -> tuple[PlanRow, str]:
        """What is overdue, or of some invoices, is paid in parts that add up to it; the plan and its currency.

        Raises PlanRefused.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            standing = await self._locked(conn, account_id)
            today, facts = standing.state.day, standing.facts
            debts = {d.invoice_id: d for d in facts.debts if d.since < today or d.invoice_id in invoice_ids}
            covered = {i: debts[i] for i in (invoice_ids or debts) if i in debts}
            if not covered or set(invoice_ids) - set(covered):
                raise PlanRefused("a plan is about open invoices of this account; one of them is none, or none is")
            running = {i for plan in facts.agreements if plan.ended_on is None for i in plan.invoice_ids}
            if running & set(covered):
                raise PlanRefused("an invoice is in a plan already; end that one first")
            opening = sum(debt.open_minor for debt in covered.values())
            days = [day for day, _ in instalments]
            if sorted(set(days)) != days or not days or days[0] < today:
                raise PlanRefused("instalments are due on days one after the other, from today on")
            currency = standing.customer.account.currency
            if any(amount.currency != currency for _, amount in instalments):
                raise PlanRefused(f"the account is kept in {currency}")
            amounts = [amount.minor for _, amount in instalments]
            if sum(amounts) != opening or min(amounts) <= 0:
                raise PlanRefused(f"the instalments add up to what is owed, {standing.money(opening)}, each above 0")
            ladder = policy_on(facts.policies, today)
            grace = 0 if ladder is None else ladder.grace_days
            made = PlanRow(new_id(now), account_id, opening, today, grace, reason, now, actor)
            await repository.add_plan(conn, made, sorted(covered), list(zip(days, amounts, strict=True)))
            after = {"plan_id": made.plan_id, "opening": str(standing.money(opening)), "instalments": len(days)}
            await self._changed(conn, account_id, "plan.agree", actor, reason, None, after)
        return made, currency

    async def end_plan(self, plan_id: str, *, actor: str, reason: str) -> None:
        """Raises UnknownPlan or AlreadyEnded."""
        async with self._database.begin() as conn:
            found = await repository.get_plan(conn, plan_id)
            if found is None:
                raise UnknownPlan(f"no payment plan {plan_id}")
            standing = await self._locked(conn, AccountId(found.account_id))
            if found.ended_on is not None:
                raise AlreadyEnded(f"the plan ended on {found.ended_on}")
            await repository.end_plan(conn, plan_id, standing.state.day, actor)
            await self._changed(conn, found.account_id, "plan.end", actor, reason, None, {"plan_id": plan_id})

    # --- policies and segments

    async def add_policy(
        self, segment: str, currency: str, effective_on: date, written: Mapping[str, Any], *, actor: str
    ) -> Policy:
        """The next version of a segment's ladder. Raises PolicyRefused, RuleError for a calendar, or PolicyKnown."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            known = (await repository.policies(conn)).get((ladders.segment_name(segment), currency), [])
            if known and effective_on <= known[-1].effective_on:
                raise PolicyKnown(f"version {known[-1].version} holds from {known[-1].effective_on}; begin after that")
            made = ladders.read(
                written,
                policy_id=new_id(now),
                segment=segment,
                currency=currency,
                version=len(known) + 1,
                effective_on=effective_on,
            )
            calendar.check(made.country, made.subdivision)
            await repository.add_policy(conn, made, ladders.write(written), now, actor)
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="dunning.policy",
                subject=f"dunning-policy:{segment}",
                after={"version": made.version, "effective_on": effective_on, "currency": currency, **written},
            )
        return made

    async def policies(self) -> Sequence[Any]:
        """Rows of every version, newest first within their segment."""
        async with self._database.read() as conn:
            return await repository.written_policies(conn)

    async def assign(
        self, account_id: AccountId, segment: str, *, since: date | None, reason: str, actor: str
    ) -> Standing:
        """The account belongs to another segment from a day on, by default today. Raises NoAccount, PolicyRefused."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            standing = await self._locked(conn, account_id)
            name = ladders.segment_name(segment)
            known = await repository.policies(conn)
            if name != ladders.DEFAULT_SEGMENT and (name, standing.customer.account.currency) not in known:
                raise PolicyRefused(f"no ladder was written for segment {name}; write one first")
            since = since or standing.state.day
            await repository.assign(conn, account_id, name, since, reason, now, actor)
            after = {"segment": name, "since": since}
            await self._changed(conn, account_id, "segment", actor, reason, {"segment": standing.segment}, after)
            return await self.standing_in(conn, account_id)

    async def ladder(self, segment: str, currency: str) -> Sequence[Policy]:
        """What holds for a segment, its own or the standard one, oldest version first."""
        async with self._database.read() as conn:
            return versions_of(await repository.policies(conn), segment, currency)

    # --- shared

    async def _locked(self, conn: AsyncConnection, account_id: AccountId) -> Standing:
        """Raises NoAccount."""
        await self._crm.customer_of_in(conn, account_id)
        await repository.lock_account(conn, account_id)
        return await self.standing_in(conn, account_id)

    async def _changed(
        self,
        conn: AsyncConnection,
        account_id: str,
        cause: str,
        actor: str,
        reason: str | None,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any],
    ) -> None:
        await changed(conn, self._clock.now(), account_id, cause, actor, reason, before, after)
