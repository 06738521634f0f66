"""Columns of what subledgers were compared with: one row for each look, only ever added. Amounts are minor units."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Date, Index, String, Table

from controller.store.metadata import Id, Instant, metadata
from erp.finance import triggers

control_check = Table(
    "finance_control_check",
    metadata,
    Column("entity_id", Id, primary_key=True),
    Column("looked_at", Instant, primary_key=True),
    Column("name", String(32), primary_key=True),
    Column("currency", String(3), primary_key=True),
    Column("code", String(8), nullable=False),
    Column("as_of", Date),
    Column("subledger_minor", BigInteger, nullable=False),
    Column("by_hand_minor", BigInteger, nullable=False),
    Column("ledger_minor", BigInteger, nullable=False),
    Index("ix_finance_control_check_name", "entity_id", "name", "currency", "looked_at"),
)
"""What the rows of a subledger came to, what people booked by hand on its account, and what that amounted to.

At the end of the day `as_of`, or without one as things stood at `looked_at`."""

triggers.forbid_changes(control_check)
