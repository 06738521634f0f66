"""Columns of money that came and went: payments, what they settle, deposits, prepayments.

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
    Index,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from controller.store.metadata import BigId, ExactDecimal, Id, Instant, metadata
from erp.finance import triggers
from erp.finance.tables import invoice

payment = Table(
    "finance_payment",
    metadata,
    Column("payment_id", Id, primary_key=True),
    Column("entity_id", Id, nullable=False),
    Column("account_id", Id, nullable=False, index=True),
    Column("kind", String(16), CheckConstraint("kind IN ('payment', 'write-off')", name="kind"), nullable=False),
    Column("amount_minor", BigInteger, CheckConstraint("amount_minor > 0", name="positive"), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("method", String(32), nullable=False),
    Column("reference", String(140), nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    Column("entry_id", Id, ForeignKey("finance_journal_entry.entry_id"), nullable=False),
    Column("actor", String(128), nullable=False),
    UniqueConstraint("method", "reference"),
    Index("ix_finance_payment_recorded_at", "recorded_at", "payment_id"),
)
"""The same money told twice, by the same method and reference, is one payment. A write-off settles like one."""

payment_reversal = Table(
    "finance_payment_reversal",
    metadata,
    Column("reversal_id", Id, primary_key=True),
    Column("payment_id", Id, ForeignKey("finance_payment.payment_id"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("reference", String(140), nullable=False),
    Column("amount_minor", BigInteger, CheckConstraint("amount_minor <> 0", name="not_zero"), nullable=False),
    Column("at", Instant, nullable=False),
    Column("booked_on", Date, nullable=False),
    Column("entry_id", Id, ForeignKey("finance_journal_entry.entry_id"), nullable=False),
    Column("reason", String(300), nullable=False),
    Column("actor", String(128), nullable=False),
    UniqueConstraint("kind", "reference"),
)
"""Money of a payment that went back (refund, chargeback, return), or, below zero, came again. The payment stays."""

allocation = Table(
    "finance_allocation",
    metadata,
    Column("allocation_id", BigId, primary_key=True, autoincrement=True),
    Column("invoice_id", Id, ForeignKey("finance_invoice.invoice_id"), nullable=False, index=True),
    Column("payment_id", Id, ForeignKey("finance_payment.payment_id"), index=True),
    Column("credit_note_id", Id, ForeignKey("finance_invoice.invoice_id"), index=True),
    Column("amount_minor", BigInteger, nullable=False),
    Column("at", Instant, nullable=False),
    Column("applied_on", Date, nullable=False),
    Column("reverses", BigId, ForeignKey("finance_allocation.allocation_id"), unique=True),
    Column("actor", String(128)),
    Column("reason", String(300)),
    CheckConstraint("(payment_id IS NULL) <> (credit_note_id IS NULL)", name="one_source"),
    CheckConstraint("amount_minor <> 0 AND (amount_minor < 0) = (reverses IS NOT NULL)", name="sign"),
    sqlite_autoincrement=True,
)
"""Which credit settles which invoice. What an invoice is still owed is its total less its allocations.

`applied_on` is the day of `at` in the legal entity's zone: what was open at the end of any past day is known by it. A
match is taken back, once, by a row of the opposite amount that names it; `actor` is empty where the program matched.
"""

reservation = Table(
    "finance_reservation",
    metadata,
    Column("reservation_id", BigId, primary_key=True, autoincrement=True),
    Column("payment_id", Id, ForeignKey("finance_payment.payment_id"), nullable=False, index=True),
    Column("reference", String(64), nullable=False, index=True),
    Column("amount_minor", BigInteger, nullable=False),
    Column("ends", BigId, ForeignKey("finance_reservation.reservation_id"), unique=True),
    Column("at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("reason", String(300), nullable=False),
    CheckConstraint("amount_minor <> 0 AND (amount_minor < 0) = (ends IS NOT NULL)", name="sign"),
    sqlite_autoincrement=True,
)
"""What of a payment waits to go back, and is not to be spent meanwhile. One `ends`, once, by the opposite amount."""

deposit = Table(
    "finance_deposit",
    metadata,
    Column("deposit_id", Id, primary_key=True),
    Column("entity_id", Id, nullable=False),
    Column("account_id", Id, nullable=False),
    Column("amount_minor", BigInteger, CheckConstraint("amount_minor > 0", name="positive"), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("reference", String(60), nullable=False),
    Column("entry_id", Id, ForeignKey("finance_journal_entry.entry_id"), nullable=False),
    Column("taken_at", Instant, nullable=False),
    Column("taken_by", String(128), nullable=False),
    UniqueConstraint("account_id", "reference"),
)
"""Money held for a customer as security."""

deposit_release = Table(
    "finance_deposit_release",
    metadata,
    Column("deposit_id", Id, ForeignKey("finance_deposit.deposit_id"), primary_key=True),
    Column("payment_id", Id, ForeignKey("finance_payment.payment_id"), nullable=False),
    Column("released_at", Instant, nullable=False),
    Column("released_by", String(128), nullable=False),
    Column("reason", String(200), nullable=False),
)
"""A deposit that was given back, as a payment of its account."""

prepayment = Table(
    "finance_prepayment",
    metadata,
    Column("prepayment_id", Id, primary_key=True),
    Column("entity_id", Id, nullable=False),
    Column("account_id", Id, nullable=False),
    Column("service_id", Id, nullable=False),
    Column("reference", String(60), nullable=False),
    Column("paid_minor", BigInteger, CheckConstraint("paid_minor > 0", name="positive"), nullable=False),
    Column("net_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("tax_percent", ExactDecimal, nullable=False),
    Column("tax_category", String(4), nullable=False),
    Column("into", String(8), nullable=False),
    Column("entry_id", Id, ForeignKey("finance_journal_entry.entry_id"), nullable=False),
    Column("taken_at", Instant, nullable=False),
    Column("taken_by", String(128), nullable=False),
    UniqueConstraint("service_id", "reference"),
)
"""Money paid for service that is still to be used, with the tax in it."""

receipt = Table(
    "finance_receipt",
    metadata,
    Column("receipt_id", Id, primary_key=True),
    Column("entity_id", Id, nullable=False),
    Column("series", String(24), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("number", String(40), nullable=False),
    Column("kind", String(12), CheckConstraint("kind IN ('receipt', 'refund')", name="kind"), nullable=False),
    Column("account_id", Id, nullable=False, index=True),
    Column("service_id", Id, nullable=False, index=True),
    Column("reference", String(60), nullable=False),
    Column("entry_id", Id, ForeignKey("finance_journal_entry.entry_id"), nullable=False, unique=True),
    Column("issued_at", Instant, nullable=False),
    Column("issued_on", Date, nullable=False),
    Column("net_minor", BigInteger, nullable=False),
    Column("tax_minor", BigInteger, nullable=False),
    Column("total_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("content", Text, nullable=False),
    Column("content_sha256", LargeBinary(32), nullable=False),
    UniqueConstraint("entity_id", "series", "sequence"),
    UniqueConstraint("service_id", "kind", "reference"),
    CheckConstraint("total_minor = net_minor + tax_minor", name="total"),
)
"""Documents of prepaid credit: what was paid for it, and what was given back of that (`refund`, below zero). Numbered
without gaps, each in the transaction of its entry."""

triggers.forbid_changes(payment, ("method", "reference"))
triggers.forbid_changes(payment_reversal, ("kind", "reference"))
triggers.forbid_changes(allocation, ("reverses",))
triggers.forbid_changes(reservation, ("ends",))
triggers.forbid_overspending(
    payment=payment, spends=(allocation, payment_reversal, reservation), credit_note=invoice, settles=allocation
)
triggers.forbid_changes(deposit, ("account_id", "reference"))
triggers.forbid_changes(deposit_release)
triggers.forbid_changes(prepayment, ("service_id", "reference"))
triggers.forbid_changes(receipt, ("entity_id", "series", "sequence"), ("entry_id",))
