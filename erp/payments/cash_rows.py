"""Tills, shifts and receipts as values, and their rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select

from controller.domain.identity import EntityId
from controller.domain.money import Money
from erp.payments.tables import shift, till


@dataclass(frozen=True, slots=True)
class Till:
    """`shift_id` is the open one; `holds` what should be in it."""

    till_id: str
    entity_id: EntityId
    name: str
    holds: Money
    shift_id: str | None


@dataclass(frozen=True, slots=True)
class Shift:
    """`difference` is what was counted less what should have been there; None while it is open."""

    shift_id: str
    till_id: str
    opened_at: datetime
    opened_by: str
    opening: Money
    closed_at: datetime | None
    closed_by: str | None
    expected: Money | None
    counted: Money | None
    reason: str

    @property
    def difference(self) -> Money | None:
        return None if self.counted is None or self.expected is None else self.counted - self.expected


@dataclass(frozen=True, slots=True)
class Receipt:
    """Cash that came in (positive) or went out. `kind` is payment, refund or transfer (from or to the bank)."""

    receipt_id: str
    till_id: str
    shift_id: str
    number: str
    kind: str
    amount: Money
    account_id: str | None
    payment_id: str | None
    refund_id: str | None
    note: str
    at: datetime
    actor: str


def shifts() -> Any:
    """Shifts with the currency of their till."""
    return select(shift, till.c.currency).join(till, till.c.till_id == shift.c.till_id)


def of_shift(row: Row[Any]) -> Shift:
    return Shift(
        row.shift_id,
        row.till_id,
        row.opened_at,
        row.opened_by,
        Money(row.opening_minor, row.currency),
        row.closed_at,
        row.closed_by,
        None if row.expected_minor is None else Money(row.expected_minor, row.currency),
        None if row.counted_minor is None else Money(row.counted_minor, row.currency),
        row.reason,
    )


def of_receipt(row: Row[Any]) -> Receipt:
    return Receipt(
        row.receipt_id,
        row.till_id,
        row.shift_id,
        row.number,
        row.kind,
        Money(row.amount_minor, row.currency),
        row.account_id,
        row.payment_id,
        row.refund_id,
        row.note,
        row.at,
        row.actor,
    )
