"""Columns of resellers: whose customer an account is, and what is owed for that.

Everything here is only ever added: the triggers of `triggers` refuse to change or delete posted rows. Amounts are
integer minor units.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Date, ForeignKey, String, Table

from controller.store.metadata import ExactDecimal, Id, Instant, metadata
from erp.finance import triggers

resale = Table(
    "finance_resale",
    metadata,
    Column("account_id", Id, primary_key=True),
    Column("since", Date, primary_key=True),
    Column("reseller_id", Id, index=True),
    Column("percent", ExactDecimal, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("changed_by", String(128), nullable=False),
)
"""Whose customer an account is from `since` until its next row, and which share of its net is the reseller's."""

commission = Table(
    "finance_commission",
    metadata,
    Column("reseller_id", Id, primary_key=True),
    Column("month", Date, primary_key=True),
    Column("currency", String(3), primary_key=True),
    Column("net_minor", BigInteger, nullable=False),
    Column("share_minor", BigInteger, nullable=False),
    Column("entry_id", Id, ForeignKey("finance_journal_entry.entry_id")),
    Column("settled_at", Instant, nullable=False),
    Column("settled_by", String(128), nullable=False),
)
"""What a reseller is owed for a month, as it was posted; without an entry where that is nothing."""

triggers.forbid_changes(resale)
triggers.forbid_changes(commission)
