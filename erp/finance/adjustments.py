"""An adjustment as it is asked for, and the rows of those that are noted and not issued yet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, func, literal, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import AccountId
from controller.domain.money import Money
from erp.finance.ledger import upsert
from erp.finance.tables import adjustment_due as due

_WAITS = due.c.withdrawn_at.is_(None)


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What is charged (or, negative, given) beside all lines. `net` has the tax in it where `tax_included`."""

    account_id: AccountId
    net: Money
    tax_percent: Decimal
    item: str
    reason: str
    reference: str
    tax_category: str = "S"
    tax_included: bool = False
    first_on: date | None = None
    subscription_id: str = ""
    names: tuple[tuple[str, str], ...] = ()
    """Translations of `item`: (language, name)."""


@dataclass(frozen=True, slots=True)
class Noted:
    """`attempts` failed so far, the last with `detail`."""

    wanted: Adjustment
    actor: str
    noted_at: datetime
    next_at: datetime
    attempts: int
    detail: str


async def note(conn: AsyncConnection, wanted: Adjustment, now: datetime, actor: str) -> None:
    """Keep it until it is issued; the same account and reference again is the same."""
    fresh = upsert(conn)(due).values(
        account_id=wanted.account_id,
        reference=wanted.reference,
        net_minor=wanted.net.minor,
        currency=wanted.net.currency,
        tax_percent=wanted.tax_percent,
        item=wanted.item,
        reason=wanted.reason,
        tax_category=wanted.tax_category,
        tax_included=wanted.tax_included,
        first_on=wanted.first_on,
        subscription_id=wanted.subscription_id,
        names=json.dumps(wanted.names, ensure_ascii=False),
        actor=actor,
        noted_at=now,
        next_at=now,
        attempts=0,
        detail="",
    )
    await conn.execute(fresh.on_conflict_do_nothing())


async def noted(
    conn: AsyncConnection, limit: int, *, at: datetime | None = None, after: Noted | None = None
) -> list[Noted]:
    """The longest waiting first, those behind `after`; with `at`, those whose next attempt is due by then."""
    query = select(due).where(_WAITS).order_by(due.c.noted_at, due.c.account_id, due.c.reference).limit(limit)
    if at is not None:
        query = query.where(due.c.next_at <= at)
    if after is not None:
        last = tuple_(literal(after.noted_at, due.c.noted_at.type), after.wanted.account_id, after.wanted.reference)
        query = query.where(tuple_(due.c.noted_at, due.c.account_id, due.c.reference) > last)
    return [_noted(row) for row in await conn.execute(query)]


async def waiting(conn: AsyncConnection) -> int:
    """How many are noted and not issued."""
    return int(await conn.scalar(select(func.count()).select_from(due).where(_WAITS)) or 0)


async def find(conn: AsyncConnection, account_id: str, reference: str) -> Noted | None:
    """One that waits, kept from anybody else's hands until the transaction ends."""
    this = (due.c.account_id == account_id, due.c.reference == reference, _WAITS)
    row = (await conn.execute(select(due).where(*this).with_for_update())).one_or_none()
    return None if row is None else _noted(row)


async def withdraw(conn: AsyncConnection, found: Noted, now: datetime) -> None:
    """It is not issued any more. The row stays: the same noted again is known."""
    await conn.execute(update(due).where(_this(found.wanted)).values(withdrawn_at=now))


async def is_withdrawn(conn: AsyncConnection, wanted: Adjustment) -> bool:
    """Whether it was noted once and is not to be issued any more."""
    query = select(func.count()).select_from(due).where(_this(wanted), due.c.withdrawn_at.is_not(None))
    return bool(await conn.scalar(query))


async def issued(conn: AsyncConnection, found: Noted) -> None:
    """Forget the note: the document stands."""
    await conn.execute(delete(due).where(_this(found.wanted)))


async def failed(conn: AsyncConnection, found: Noted, why: str, next_at: datetime) -> None:
    values = {"attempts": found.attempts + 1, "detail": why[:300], "next_at": next_at}
    await conn.execute(update(due).where(_this(found.wanted)).values(values))


def _this(wanted: Adjustment) -> ColumnElement[bool]:
    return and_(due.c.account_id == wanted.account_id, due.c.reference == wanted.reference)


def _noted(row: Row[Any]) -> Noted:
    names: Sequence[tuple[str, str]] = json.loads(row.names)
    wanted = Adjustment(
        AccountId(row.account_id),
        Money(row.net_minor, row.currency),
        row.tax_percent,
        row.item,
        row.reason,
        row.reference,
        row.tax_category,
        row.tax_included,
        row.first_on,
        row.subscription_id,
        tuple((language, name) for language, name in names),
    )
    return Noted(wanted, row.actor, row.noted_at, row.next_at, row.attempts, row.detail)
