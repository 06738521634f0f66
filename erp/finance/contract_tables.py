"""Columns of revenue: contracts, what they promise, and when it was earned.

Everything here is only ever added: the triggers of `triggers` refuse to change or delete posted rows. Amounts are
integer minor units.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
)

from controller.store.metadata import BigId, Id, Instant, metadata
from erp.finance import triggers

contract = Table(
    "finance_contract",
    metadata,
    Column("contract_id", Id, primary_key=True),
    Column("entity_id", Id, nullable=False),
    Column("account_id", Id, nullable=False, index=True),
    Column("subscription_id", Id, index=True),
    Column("reference", String(60), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
    UniqueConstraint("entity_id", "reference"),
    UniqueConstraint("subscription_id"),
)
"""What was sold as one: what is billed for `subscription_id` is billed on it, and earned as its promises are kept."""

contract_change = Table(
    "finance_contract_change",
    metadata,
    Column("contract_id", Id, ForeignKey("finance_contract.contract_id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("at_on", Date, nullable=False),
    Column("added_minor", BigInteger, nullable=False),
    Column("reason", String(200), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
)
"""Version 1 is the contract as it was signed, with its price; each later one ends the plan before it on its day."""

promise = Table(
    "finance_promise",
    metadata,
    Column("promise_id", Id, primary_key=True),
    Column("contract_id", Id, nullable=False),
    Column("version", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("name", String(120), nullable=False),
    Column("role", String(32), nullable=False),
    Column("stand_alone_minor", BigInteger, nullable=False),
    Column("share_minor", BigInteger, nullable=False),
    Column("first_on", Date, nullable=False),
    Column("until_on", Date),
    ForeignKeyConstraint(
        ["contract_id", "version"], ["finance_contract_change.contract_id", "finance_contract_change.version"]
    ),
    UniqueConstraint("contract_id", "version", "position"),
)

earning = Table(
    "finance_earning",
    metadata,
    Column("earning_id", BigId, primary_key=True, autoincrement=True),
    Column("entity_id", Id, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("code", String(8), nullable=False),
    Column("month", Date, nullable=False),
    Column("first_on", Date, nullable=False),
    Column("until_on", Date, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("line_id", Id, ForeignKey("finance_invoice_line.line_id"), index=True),
    Column("promise_id", Id, ForeignKey("finance_promise.promise_id"), index=True),
    Column("contract_id", Id, ForeignKey("finance_contract.contract_id"), index=True),
    CheckConstraint("(line_id IS NULL) <> (promise_id IS NULL)", name="one_source"),
    CheckConstraint("until_on > first_on", name="days"),
    ForeignKeyConstraint(["entity_id", "code"], ["finance_account.entity_id", "finance_account.code"]),
    Index("ix_finance_earning_entity_id", "entity_id", "month"),
    sqlite_autoincrement=True,
)
"""What is to be earned in a month. A change of plan adds rows that take back what it ends: the sum is the plan."""

recognition = Table(
    "finance_recognition",
    metadata,
    Column("recognition_id", BigId, primary_key=True, autoincrement=True),
    Column("entity_id", Id, nullable=False),
    Column("month", Date, nullable=False),
    Column("upto", BigInteger, nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
    Index("ix_finance_recognition_entity_id", "entity_id", "recognition_id"),
    sqlite_autoincrement=True,
)
"""Everything of `month` and before it, up to the earning `upto`, was posted. Later rows of those months come later."""

contract_movement = Table(
    "finance_contract_movement",
    metadata,
    Column("contract_id", Id, ForeignKey("finance_contract.contract_id"), primary_key=True),
    Column("entry_id", Id, ForeignKey("finance_journal_entry.entry_id"), primary_key=True),
    Column("billed_minor", BigInteger, nullable=False),
    Column("earned_minor", BigInteger, nullable=False),
)
"""What an entry moved of a contract: billed less earned is what it owes in service, or, below zero, is owed for it."""

for table in (contract_change, promise, earning, recognition, contract_movement):
    triggers.forbid_changes(table)
triggers.forbid_changes(contract, ("entity_id", "reference"), ("subscription_id",))
