"""Rows of what a gateway's balance was moved by, and of its payouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.money import Money
from erp.finance.ledger import upsert
from erp.payments.gateway import BalanceTransaction
from erp.payments.tables import balance_transaction as moved
from erp.payments.tables import gateway, payout

ASKED, KNOWN, BY_HAND = "asked", "known", "by-hand"
SENT, ARRIVED, FAILED = "sent", "arrived", "failed"
AGREES, DIFFERS = "agrees", "differs"
_AROUND = timedelta(days=7)
"""How far from its expected day a payout may be credited."""


@dataclass(frozen=True, slots=True)
class Payout:
    """`state` is sent, arrived or failed; `checked` is asked until its transactions are known, agrees or differs."""

    gateway: str
    payout_id: str
    amount: Money
    arrival_on: date
    trace: str
    state: str
    line_id: str | None
    checked: str
    difference: Money
    detail: str
    told_at: datetime


async def ask(conn: AsyncConnection, name: str, transaction_id: str, source: str, now: datetime) -> None:
    """A transaction of which only the id is known; what is known of it stays."""
    fresh = upsert(conn)(moved).values(
        gateway=name, transaction_id=transaction_id, source=source, kind="", amount_minor=0, fee_minor=0, currency="",
        state=ASKED, detail="", told_at=now,
    )  # fmt: skip
    await conn.execute(fresh.on_conflict_do_nothing())


async def asked(conn: AsyncConnection, limit: int) -> list[tuple[str, str]]:
    """(gateway, transaction), oldest first."""
    query = select(moved.c.gateway, moved.c.transaction_id).where(moved.c.state == ASKED)
    rows = await conn.execute(query.order_by(moved.c.told_at, moved.c.transaction_id).limit(limit))
    return [(row.gateway, row.transaction_id) for row in rows]


async def is_known(conn: AsyncConnection, name: str, transaction_id: str) -> bool:
    """Whether it was read and, where it costs anything, booked."""
    where = moved.c.gateway == name, moved.c.transaction_id == transaction_id, moved.c.state != ASKED
    return await conn.scalar(select(moved.c.transaction_id).where(*where)) is not None


async def put(
    conn: AsyncConnection,
    name: str,
    found: BalanceTransaction,
    state: str,
    entry_id: str | None,
    detail: str,
    now: datetime,
) -> None:
    values = {
        "source": found.source[:255], "kind": found.kind[:64], "amount_minor": found.amount.minor,
        "fee_minor": found.fee.minor, "currency": found.amount.currency, "state": state, "entry_id": entry_id,
        "detail": detail[:300], "told_at": now,
    }  # fmt: skip
    fresh = upsert(conn)(moved).values(gateway=name, transaction_id=found.transaction_id, **values)
    await conn.execute(fresh.on_conflict_do_update(index_elements=["gateway", "transaction_id"], set_=values))


async def note_failure(conn: AsyncConnection, name: str, transaction_id: str, detail: str) -> None:
    where = moved.c.gateway == name, moved.c.transaction_id == transaction_id
    await conn.execute(update(moved).where(*where).values(detail=detail[:300]))


async def add_payout(conn: AsyncConnection, made: Payout) -> None:
    row = {
        "gateway": made.gateway, "payout_id": made.payout_id, "amount_minor": made.amount.minor,
        "currency": made.amount.currency, "arrival_on": made.arrival_on, "trace": made.trace[:255], "state": made.state,
        "line_id": made.line_id, "checked": made.checked, "difference_minor": made.difference.minor,
        "detail": made.detail[:300], "told_at": made.told_at,
    }  # fmt: skip
    await conn.execute(insert(payout).values(row))


async def change_payout(conn: AsyncConnection, name: str, payout_id: str, **values: Any) -> None:
    where = payout.c.gateway == name, payout.c.payout_id == payout_id
    await conn.execute(update(payout).where(*where).values(values))


async def payouts(conn: AsyncConnection, *, checked: str | None = None, limit: int) -> list[Payout]:
    """The latest expected first."""
    query = select(payout).order_by(payout.c.arrival_on.desc(), payout.c.payout_id).limit(limit)
    if checked is not None:
        query = query.where(payout.c.checked == checked, payout.c.state != FAILED)
    return [_payout(row) for row in await conn.execute(query)]


async def credited(conn: AsyncConnection, entity_id: str, amount: Money, on: date, said: str) -> Payout | None:
    """The payout that a line of a statement credits: by what it quotes, else by amount, day and the gateway's name."""
    query = (
        select(payout, gateway.c.kind)
        .join(gateway, gateway.c.name == payout.c.gateway)
        .where(
            gateway.c.entity_id == entity_id,
            payout.c.state == SENT,
            payout.c.amount_minor == amount.minor,
            payout.c.currency == amount.currency,
            payout.c.arrival_on.between(on - _AROUND, on + _AROUND),
        )
        .order_by(payout.c.arrival_on, payout.c.payout_id)
    )
    rows = (await conn.execute(query)).all()
    quoted = [row for row in rows if row.payout_id in said or (row.trace and row.trace in said)]
    named = [row for row in rows if row.kind in said.lower()]
    return next((_payout(row) for row in (*quoted, *named)), None)


def _payout(row: Row[Any]) -> Payout:
    return Payout(
        row.gateway,
        row.payout_id,
        Money(row.amount_minor, row.currency),
        row.arrival_on,
        row.trace,
        row.state,
        row.line_id,
        row.checked,
        Money(row.difference_minor, row.currency),
        row.detail,
        row.told_at,
    )


def net(transactions: Sequence[BalanceTransaction], currency: str) -> Money:
    """What transactions left of each other."""
    return sum((t.amount - t.fee for t in transactions), Money.zero(currency))
