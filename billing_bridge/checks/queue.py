"""Rows of bills that wait, and of the limits of this site."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, and_, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing.holds import CHECK
from billing_bridge.billing.repository import upsert
from billing_bridge.checks.case import By, Finding, Record
from billing_bridge.checks.tables import check_limit, exception
from billing_bridge.tables import bill_hold
from controller.domain.identity import AccountId, BillRunId
from controller.domain.money import Money

HELD, RELEASED, GONE = "held", "released", "gone"
STATES = (HELD, RELEASED, GONE)


@dataclass(frozen=True, slots=True)
class Waiter:
    """A bill of a run that waits, or waited. `net` is what it comes to, `at_stake` what it may be wrong by."""

    exception_id: str
    bill_run_id: BillRunId
    account_id: AccountId
    batch: int
    state: str
    net: Money
    at_stake: Money
    findings: tuple[Finding, ...]
    found_at: datetime
    created_by: str
    number: int = 1
    assigned_to: str | None = None
    released_by: str | None = None
    released_at: datetime | None = None
    release_reason: str | None = None
    approved_by: str | None = None
    approved_at: datetime | None = None
    approval_reason: str | None = None

    @property
    def checks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(f.check for f in self.findings))


@dataclass(frozen=True, slots=True)
class SiteLimits:
    """Major units. Above `four_eyes` two people release a bill; `usage` and `other` are the limits of the checks."""

    currency: str
    four_eyes: Decimal
    usage: Decimal
    other: Decimal
    changed_by: str = ""
    changed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of them a page holds; None is any."""

    state: str | None = HELD
    assigned_to: str | None = None
    account_id: str | None = None
    bill_run_id: str | None = None
    check: str | None = None


async def add(conn: AsyncConnection, waiters: Sequence[Waiter]) -> None:
    await conn.execute(
        upsert(conn)(exception).on_conflict_do_nothing(),
        [
            {
                "exception_id": w.exception_id,
                "bill_run_id": w.bill_run_id,
                "account_id": w.account_id,
                "number": w.number,
                "batch": w.batch,
                "state": w.state,
                "currency": w.net.currency,
                "net_minor": w.net.minor,
                "at_stake_minor": w.at_stake.minor,
                "checks": f" {' '.join(w.checks)} ",
                "findings": json.dumps([_to_json(f) for f in w.findings]),
                "found_at": w.found_at,
                "created_by": w.created_by,
            }
            for w in waiters
        ],
    )


async def put_instead(conn: AsyncConnection, w: Waiter) -> bool:
    """What a bill that waits has become, to be decided anew; False when it does not wait any more."""
    changed = await conn.execute(
        update(exception)
        .where(exception.c.exception_id == w.exception_id, exception.c.state != GONE)
        .values(
            state=HELD,
            currency=w.net.currency,
            net_minor=w.net.minor,
            at_stake_minor=w.at_stake.minor,
            checks=f" {' '.join(w.checks)} ",
            findings=json.dumps([_to_json(f) for f in w.findings]),
            released_by=None,
            released_at=None,
            release_reason=None,
        )
    )
    return bool(changed.rowcount)


async def of_accounts(
    conn: AsyncConnection, bill_run_id: BillRunId, accounts: Sequence[AccountId]
) -> dict[AccountId, Waiter]:
    """What the run has found of these accounts last."""
    query = select(exception).where(exception.c.bill_run_id == bill_run_id, exception.c.account_id.in_(accounts))
    rows = await conn.execute(query.order_by(exception.c.number))
    return {AccountId(row.account_id): _waiter(row) for row in rows}


async def asked_before(
    conn: AsyncConnection, account_id: AccountId, but_run: BillRunId
) -> set[tuple[str, date | None]]:
    """Subscriptions and periods of an account that other runs have asked about, whether that was decided or waits."""
    query = select(exception.c.findings).where(exception.c.account_id == account_id, exception.c.bill_run_id != but_run)
    found = [_finding(one) for text in await conn.scalars(query) for one in json.loads(text)]
    return {(one.subscription_id, one.period_first_on) for one in found}


async def get(conn: AsyncConnection, exception_id: str, *, lock: bool = False) -> Waiter | None:
    query = select(exception).where(exception.c.exception_id == exception_id)
    row = (await conn.execute(query.with_for_update() if lock else query)).one_or_none()
    return _waiter(row) if row else None


async def page(conn: AsyncConnection, wanted: Wanted, after: str, limit: int) -> list[Waiter]:
    """In the order in which they were found; `after` is the id of the last one seen."""
    query = select(exception).where(exception.c.exception_id > after).order_by(exception.c.exception_id).limit(limit)
    for column, value in (
        (exception.c.state, wanted.state),
        (exception.c.assigned_to, wanted.assigned_to),
        (exception.c.account_id, wanted.account_id),
        (exception.c.bill_run_id, wanted.bill_run_id),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.check is not None:
        query = query.where(exception.c.checks.contains(f" {wanted.check} ", autoescape=True))
    return [_waiter(row) for row in await conn.execute(query)]


async def totals(conn: AsyncConnection) -> list[tuple[str, str, int, Money]]:
    """(state, check names, bills, at stake) of what waits."""
    query = (
        select(
            exception.c.state,
            exception.c.checks,
            exception.c.currency,
            func.count().label("bills"),
            func.sum(exception.c.at_stake_minor).label("minor"),
        )
        .where(exception.c.state != GONE)
        .group_by(exception.c.state, exception.c.checks, exception.c.currency)
    )
    return [(r.state, r.checks.strip(), r.bills, Money(int(r.minor), r.currency)) for r in await conn.execute(query)]


async def undone(conn: AsyncConnection) -> list[Waiter]:
    """Bills that were let go and whose hold still stands."""
    later = exception.alias()
    looked_at_since = select(later.c.number).where(
        later.c.bill_run_id == exception.c.bill_run_id,
        later.c.account_id == exception.c.account_id,
        later.c.number > exception.c.number,
    )
    query = (
        select(exception)
        .join(
            bill_hold,
            and_(
                bill_hold.c.bill_run_id == exception.c.bill_run_id,
                bill_hold.c.account_id == exception.c.account_id,
                bill_hold.c.source == CHECK,
            ),
        )
        .where(exception.c.state == GONE, bill_hold.c.released_at.is_(None), ~looked_at_since.exists())
    )
    return [_waiter(row) for row in await conn.execute(query)]


async def change(conn: AsyncConnection, exception_id: str, **values: Any) -> None:
    await conn.execute(update(exception).where(exception.c.exception_id == exception_id).values(**values))


async def limits(conn: AsyncConnection) -> dict[str, SiteLimits]:
    """By currency, where this site has said something."""
    rows = await conn.execute(select(check_limit).order_by(check_limit.c.currency))
    return {r.currency: SiteLimits(r.currency, r.four_eyes, r.usage, r.other, r.changed_by, r.changed_at) for r in rows}


async def put_limits(conn: AsyncConnection, limits: SiteLimits, now: datetime, actor: str) -> None:
    values = {
        "four_eyes": limits.four_eyes,
        "usage": limits.usage,
        "other": limits.other,
        "changed_by": actor,
        "changed_at": now,
    }
    changed = await conn.execute(update(check_limit).where(check_limit.c.currency == limits.currency).values(values))
    if not changed.rowcount:
        await conn.execute(insert(check_limit).values(currency=limits.currency, **values))


def _to_json(f: Finding) -> dict[str, Any]:
    return {
        "check": f.check,
        "by": f.by.value,
        "text": f.text,
        "low_minor": None if f.low is None else f.low.minor,
        "high_minor": None if f.high is None else f.high.minor,
        "actual_minor": f.actual.minor,
        "at_stake_minor": f.at_stake.minor,
        "currency": f.actual.currency,
        "stake_currency": f.at_stake.currency,
        "subscription_id": f.subscription_id,
        "service_id": f.service_id,
        "records": [[r.what, r.ref, r.detail] for r in f.records],
        "period_first_on": None if f.period_first_on is None else f.period_first_on.isoformat(),
    }


def _finding(found: dict[str, Any]) -> Finding:
    currency, low, high = found["currency"], found["low_minor"], found["high_minor"]
    first_on = found.get("period_first_on")
    return Finding(
        found["check"],
        By(found["by"]),
        found["text"],
        None if low is None else Money(low, currency),
        None if high is None else Money(high, currency),
        Money(found["actual_minor"], currency),
        Money(found["at_stake_minor"], found["stake_currency"]),
        found["subscription_id"],
        found["service_id"],
        tuple(Record(*record) for record in found["records"]),
        None if first_on is None else date.fromisoformat(first_on),
    )


def _waiter(row: Row[Any]) -> Waiter:
    return Waiter(
        row.exception_id,
        BillRunId(row.bill_run_id),
        AccountId(row.account_id),
        row.batch,
        row.state,
        Money(row.net_minor, row.currency),
        Money(row.at_stake_minor, row.currency),
        tuple(_finding(f) for f in json.loads(row.findings)),
        row.found_at,
        row.created_by,
        row.number,
        row.assigned_to,
        row.released_by,
        row.released_at,
        row.release_reason,
        row.approved_by,
        row.approved_at,
        row.approval_reason,
    )
