"""Rows that the state of accounts follows from, as the model's frozen values, many accounts in one query each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Select, func, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.store.many import one_of
from erp.crm.tables import account as accounts
from erp.crm.tables import account_parent
from erp.dunning import policy as ladders
from erp.dunning.model import Agreement, Debt, Disputed, Pause, Policy, Taken
from erp.dunning.tables import dispute, instalment, notice, pause, plan, plan_invoice, policy, run, segment, step
from erp.finance.model import CLAIMS
from erp.finance.payment_tables import allocation
from erp.finance.tables import invoice
from erp.orders.tables import pause as line_pause

_ACCOUNT_LOCK = 0x4845_4144 << 32

SEASONAL = "seasonal"


async def lock_account(conn: AsyncConnection, account_id: str) -> None:
    """Who changes what dunning does to an account takes turns, until the transaction ends."""
    if conn.dialect.name == "postgresql":
        key = _ACCOUNT_LOCK | int(account_id[-8:], 16)
        await conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


# --- what is open


async def debts(conn: AsyncConnection, account_ids: Collection[str], day: date) -> dict[str, list[Debt]]:
    """The invoices of each account, in its currency, of which something was open at the end of a day, oldest first."""
    left = invoice.c.total_minor - _settled(day)
    query = (
        select(invoice.c.account_id, invoice.c.invoice_id, invoice.c.number, invoice.c.due_on, left.label("left"))
        .join(accounts, accounts.c.account_id == invoice.c.account_id)
        .where(
            one_of(conn, invoice.c.account_id, sorted(account_ids)),
            invoice.c.kind.in_(CLAIMS),
            invoice.c.currency == accounts.c.currency,
            invoice.c.issued_on <= day,
            left > 0,
        )
        .order_by(invoice.c.due_on, invoice.c.invoice_id)
    )
    rows = (await conn.execute(query)).all()
    reopened = await _reopened(conn, [row.invoice_id for row in rows], day)
    found = defaultdict(list)
    for row in rows:
        since = max(row.due_on, reopened.get(row.invoice_id, row.due_on))
        found[row.account_id].append(Debt(row.invoice_id, row.number, since, int(row.left)))
    return found


async def owing(conn: AsyncConnection, day: date, after: str, limit: int) -> list[str]:
    """Accounts with an invoice that was overdue and open at the end of a day, by id, those after `after`."""
    late = select(invoice.c.account_id).where(
        invoice.c.kind.in_(CLAIMS), invoice.c.due_on < day, invoice.c.account_id > after
    )
    query = late.where(invoice.c.total_minor > _settled(day)).distinct().order_by(invoice.c.account_id).limit(limit)
    return list(await conn.scalars(query))


def _settled(day: date) -> Any:
    found = select(func.coalesce(func.sum(allocation.c.amount_minor), 0)).where(
        allocation.c.invoice_id == invoice.c.invoice_id, allocation.c.applied_on <= day
    )
    return found.correlate(invoice).scalar_subquery()


async def _reopened(conn: AsyncConnection, invoice_ids: Collection[str], day: date) -> dict[str, date]:
    """Invoices that had been settled, and the day on which what settled them was taken back."""
    taken_back = select(allocation.c.invoice_id).where(
        one_of(conn, allocation.c.invoice_id, sorted(invoice_ids)), allocation.c.amount_minor < 0
    )
    query = (
        select(allocation.c.invoice_id, allocation.c.applied_on, allocation.c.amount_minor, invoice.c.total_minor)
        .join(invoice, invoice.c.invoice_id == allocation.c.invoice_id)
        .where(allocation.c.invoice_id.in_(taken_back), allocation.c.applied_on <= day)
        .order_by(allocation.c.invoice_id, allocation.c.allocation_id)
    )
    settled: dict[str, int] = defaultdict(int)
    found = {}
    for row in await conn.execute(query):
        before, settled[row.invoice_id] = settled[row.invoice_id], settled[row.invoice_id] + row.amount_minor
        if before >= row.total_minor > settled[row.invoice_id]:
            found[row.invoice_id] = row.applied_on
    return found


async def blocking_parent(conn: AsyncConnection, account_id: str, day: date) -> str | None:
    """The account whose arrears restrict this one too."""
    columns = account_parent.c
    query = select(columns.parent_id, columns.blocked_with_parent).where(
        columns.account_id == account_id, columns.since <= day
    )
    row = (await conn.execute(query.order_by(columns.since.desc()).limit(1))).one_or_none()
    return row.parent_id if row is not None and row.blocked_with_parent else None


# --- policies and segments


async def policies(conn: AsyncConnection) -> dict[tuple[str, str], list[Policy]]:
    """(segment, currency) → its versions, oldest first."""
    found = defaultdict(list)
    for row in await conn.execute(select(policy).order_by(policy.c.segment, policy.c.version)):
        found[row.segment, row.currency].append(ladders.stored(row))
    return found


async def add_policy(conn: AsyncConnection, made: Policy, written: str, now: datetime, actor: str) -> None:
    await conn.execute(
        insert(policy).values(
            policy_id=made.policy_id,
            segment=made.segment,
            currency=made.currency,
            version=made.version,
            effective_on=made.effective_on,
            written=written,
            created_at=now,
            actor=actor,
        )
    )


async def written_policies(conn: AsyncConnection) -> Sequence[Any]:
    """Rows as they stand, newest version of each segment first."""
    order = (policy.c.segment, policy.c.currency, policy.c.version.desc())
    return (await conn.execute(select(policy).order_by(*order))).all()


async def segments(conn: AsyncConnection, account_ids: Collection[str], day: date) -> dict[str, str]:
    """Account → segment on a day; those that nobody assigned are absent."""
    query = (
        select(segment.c.account_id, segment.c.segment)
        .where(one_of(conn, segment.c.account_id, sorted(account_ids)), segment.c.since <= day)
        .order_by(segment.c.since, segment.c.assignment_id)
    )
    return {row.account_id: row.segment for row in await conn.execute(query)}


async def assign(
    conn: AsyncConnection, account_id: str, name: str, since: date, reason: str, now: datetime, actor: str
) -> None:
    await conn.execute(
        insert(segment).values(
            account_id=account_id, segment=name, since=since, reason=reason, created_at=now, actor=actor
        )
    )


# --- steps


async def taken(conn: AsyncConnection, account_ids: Collection[str]) -> dict[str, list[Taken]]:
    query = (
        select(step, notice.c.settled_on)
        .outerjoin(notice, notice.c.notice_id == step.c.notice_id)
        .where(one_of(conn, step.c.account_id, sorted(account_ids)))
        .order_by(step.c.invoice_id, step.c.since_on, step.c.number)
    )
    found = defaultdict(list)
    for row in await conn.execute(query):
        told_on = row.taken_on if row.notice_id is None else row.settled_on
        found[row.account_id].append(Taken(row.invoice_id, row.since_on, row.number, row.taken_on, told_on))
    return found


async def add_steps(conn: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    await conn.execute(insert(step), rows)


async def steps_of(conn: AsyncConnection, account_id: str, limit: int) -> Sequence[Any]:
    """What was done, newest first, each with the state of its notice."""
    query = (
        select(
            step,
            notice.c.state,
            notice.c.channel,
            notice.c.recipient,
            notice.c.settled_at,
            invoice.c.number.label("invoice"),
        )
        .outerjoin(notice, notice.c.notice_id == step.c.notice_id)
        .join(invoice, invoice.c.invoice_id == step.c.invoice_id)
        .where(step.c.account_id == account_id)
        .order_by(step.c.taken_at.desc(), step.c.step_id.desc())
        .limit(limit)
    )
    return (await conn.execute(query)).all()


# --- pauses


@dataclass(frozen=True, slots=True)
class PauseRow:
    """A pause as a person made it. `amount_minor` is what was promised."""

    pause_id: str
    account_id: str
    kind: str
    first_on: date
    until_on: date | None
    lifts: bool
    amount_minor: int | None
    reason: str
    created_at: datetime
    actor: str
    ended_at: datetime | None = None
    ended_by: str | None = None


async def add_pause(conn: AsyncConnection, made: PauseRow) -> None:
    await conn.execute(insert(pause).values({name: getattr(made, name) for name in PauseRow.__slots__}))


async def get_pause(conn: AsyncConnection, pause_id: str) -> PauseRow | None:
    found = await _pauses(conn, select(pause).where(pause.c.pause_id == pause_id))
    return found[0] if found else None


async def end_pause(conn: AsyncConnection, pause_id: str, until_on: date, now: datetime, actor: str) -> None:
    values = {"until_on": until_on, "ended_at": now, "ended_by": actor}
    await conn.execute(update(pause).where(pause.c.pause_id == pause_id).values(**values))


async def pauses_of(conn: AsyncConnection, account_ids: Collection[str]) -> dict[str, list[PauseRow]]:
    """What people decided, oldest first."""
    query = select(pause).where(one_of(conn, pause.c.account_id, sorted(account_ids)))
    found = defaultdict(list)
    for row in await _pauses(conn, query.order_by(pause.c.first_on, pause.c.pause_id)):
        found[row.account_id].append(row)
    return found


async def seasonal(conn: AsyncConnection, account_ids: Collection[str]) -> dict[str, list[Pause]]:
    """Days on which a customer's line is out of use by his own wish: he is left alone meanwhile."""
    columns = line_pause.c
    query = select(columns.account_id, columns.first_on, columns.until_on, columns.reason).where(
        one_of(conn, columns.account_id, sorted(account_ids)),
        columns.kind == SEASONAL,
        or_(columns.until_on.is_(None), columns.until_on > columns.first_on),
    )
    found = defaultdict(list)
    for row in await conn.execute(query):
        found[row.account_id].append(Pause(SEASONAL, row.first_on, row.until_on, False, row.reason))
    return found


async def _pauses(conn: AsyncConnection, query: Select[Any]) -> list[PauseRow]:
    return [PauseRow(**row._mapping) for row in await conn.execute(query)]


# --- payment plans


@dataclass(frozen=True, slots=True)
class PlanRow:
    plan_id: str
    account_id: str
    opening_minor: int
    made_on: date
    grace_days: int
    reason: str
    created_at: datetime
    actor: str
    ended_on: date | None = None
    ended_by: str | None = None


async def add_plan(
    conn: AsyncConnection, made: PlanRow, invoice_ids: Iterable[str], instalments: Iterable[tuple[date, int]]
) -> None:
    await conn.execute(insert(plan).values({name: getattr(made, name) for name in PlanRow.__slots__}))
    await conn.execute(insert(plan_invoice), [{"plan_id": made.plan_id, "invoice_id": i} for i in invoice_ids])
    rows = [{"plan_id": made.plan_id, "due_on": day, "amount_minor": minor} for day, minor in instalments]
    await conn.execute(insert(instalment), rows)


async def get_plan(conn: AsyncConnection, plan_id: str) -> PlanRow | None:
    row = (await conn.execute(select(plan).where(plan.c.plan_id == plan_id))).one_or_none()
    return None if row is None else PlanRow(**row._mapping)


async def end_plan(conn: AsyncConnection, plan_id: str, on: date, actor: str) -> None:
    await conn.execute(update(plan).where(plan.c.plan_id == plan_id).values(ended_on=on, ended_by=actor))


async def agreements(conn: AsyncConnection, account_ids: Collection[str]) -> dict[str, list[Agreement]]:
    wanted = one_of(conn, plan.c.account_id, sorted(account_ids))
    rows = (await conn.execute(select(plan).where(wanted).order_by(plan.c.created_at))).all()
    ids = [row.plan_id for row in rows]
    covered = defaultdict(set)
    for row in await conn.execute(select(plan_invoice).where(one_of(conn, plan_invoice.c.plan_id, ids))):
        covered[row.plan_id].add(row.invoice_id)
    parts = defaultdict(list)
    by_day = select(instalment).where(one_of(conn, instalment.c.plan_id, ids)).order_by(instalment.c.due_on)
    for row in await conn.execute(by_day):
        parts[row.plan_id].append((row.due_on, row.amount_minor))
    found = defaultdict(list)
    for row in rows:
        found[row.account_id].append(
            Agreement(
                row.plan_id,
                frozenset(covered[row.plan_id]),
                row.opening_minor,
                tuple(parts[row.plan_id]),
                row.made_on,
                row.grace_days,
                row.ended_on,
            )
        )
    return found


# --- disputes, as far as they hold dunning


async def disputed(conn: AsyncConnection, account_ids: Collection[str]) -> dict[str, list[Disputed]]:
    found = defaultdict(list)
    for row in await conn.execute(select(dispute).where(one_of(conn, dispute.c.account_id, sorted(account_ids)))):
        found[row.account_id].append(Disputed(row.invoice_id, row.amount_minor, row.opened_on, row.until_on))
    return found


# --- nights


async def begin_run(conn: AsyncConnection, day: date, now: datetime) -> None:
    """A night that is run again counts on."""
    if await conn.scalar(select(run.c.day).where(run.c.day == day)) is None:
        await conn.execute(
            insert(run).values(day=day, accounts=0, steps=0, changed=0, failed=0, started_at=now, finished_at=None)
        )


async def count_run(conn: AsyncConnection, day: date, *, accounts: int, steps: int, changed: int, failed: int) -> None:
    columns = run.c
    await conn.execute(
        update(run)
        .where(columns.day == day)
        .values(
            accounts=columns.accounts + accounts,
            steps=columns.steps + steps,
            changed=columns.changed + changed,
            failed=columns.failed + failed,
        )
    )


async def finish_run(conn: AsyncConnection, day: date, now: datetime) -> None:
    await conn.execute(update(run).where(run.c.day == day).values(finished_at=now))


async def last_runs(conn: AsyncConnection, limit: int) -> Sequence[Any]:
    return (await conn.execute(select(run).order_by(run.c.day.desc()).limit(limit))).all()
