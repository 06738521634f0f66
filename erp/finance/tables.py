"""Columns of documents: numbers, invoices and credit notes with their lines, what waits to be issued.

Everything here but the number series, and what waits, is only ever added: the triggers of `triggers` refuse to change
or delete posted rows. Amounts are integer minor units.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from controller.store.metadata import ExactDecimal, Id, Instant, metadata
from erp.finance import triggers

series = Table(
    "finance_series",
    metadata,
    Column("entity_id", Id, primary_key=True),
    Column("series", String(24), primary_key=True),
    Column("last_number", BigInteger, nullable=False),
)
"""The last number given in each series. Its row is the lock under which numbers stay consecutive."""

invoice = Table(
    "finance_invoice",
    metadata,
    Column("invoice_id", Id, primary_key=True),
    Column("entity_id", Id, nullable=False),
    Column("series", String(24), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("number", String(40), nullable=False),
    Column("kind", String(12), nullable=False),
    Column("account_id", Id, nullable=False),
    Column("customer_id", Id, nullable=False, index=True),
    Column("bill_run_id", Id, nullable=False, index=True),
    Column("entry_id", Id, ForeignKey("finance_journal_entry.entry_id")),
    Column("issued_at", Instant, nullable=False),
    Column("issued_on", Date, nullable=False),
    Column("due_on", Date, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("net_minor", BigInteger, nullable=False),
    Column("tax_minor", BigInteger, nullable=False),
    Column("total_minor", BigInteger, nullable=False),
    Column("content", Text, nullable=False),
    Column("content_sha256", LargeBinary(32), nullable=False),
    Column("draft_sha256", LargeBinary(32), nullable=False),
    CheckConstraint("total_minor = net_minor + tax_minor", name="total"),
    UniqueConstraint("account_id", "bill_run_id", "currency", name="uq_finance_invoice_account_id_bill_run_id"),
    UniqueConstraint("entity_id", "series", "sequence", name="uq_finance_invoice_series_sequence"),
    UniqueConstraint("entity_id", "number", name="uq_finance_invoice_number"),
    Index("ix_finance_invoice_account_id_issued_at", "account_id", "issued_at"),
    Index("ix_finance_invoice_issued_at", "issued_at", "invoice_id"),
)
"""`content` is everything the paper says, as canonical JSON, and `content_sha256` its digest.

`draft_sha256` is the digest without what only the issue adds: the same as that of the preview it was made of.
"""

invoice_line = Table(
    "finance_invoice_line",
    metadata,
    Column("line_id", Id, primary_key=True),
    Column(
        "invoice_id",
        Id,
        # Looked at when the transaction ends: lines are written before their document takes its number.
        ForeignKey("finance_invoice.invoice_id", deferrable=True, initially="DEFERRED"),
        nullable=False,
    ),
    Column("position", Integer, nullable=False),
    Column("charge_id", Id, nullable=False),
    Column("part", Integer, nullable=False),
    Column("subscription_id", Id, nullable=False),
    Column("service_id", Id, nullable=False),
    Column("version_id", Id, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("item", String(200), nullable=False),
    Column("description", String(400), nullable=False),
    Column("first_on", Date, nullable=False),
    Column("until_on", Date, nullable=False),
    Column("quantity", ExactDecimal, nullable=False),
    Column("unit", String(8), nullable=False),
    Column("unit_price", ExactDecimal, nullable=False),
    Column("net_minor", BigInteger, nullable=False),
    Column("tax_percent", ExactDecimal, nullable=False),
    Column("tax_minor", BigInteger, nullable=False),
    Column("exemption", String(200), nullable=False),
    Column("exemption_code", String(40), nullable=False),
    Column("tax_category", String(4), nullable=False),
    Column("tax_included", Boolean, nullable=False),
    Column("agreed_minor", BigInteger, nullable=False),
    Column("adjustment", Boolean, nullable=False),
    Column("credits_line_id", Id, ForeignKey("finance_invoice_line.line_id")),
    UniqueConstraint("invoice_id", "position"),
    UniqueConstraint("charge_id", "part"),
)
Index(
    "ix_finance_invoice_line_credits_line_id",
    invoice_line.c.credits_line_id,
    postgresql_where=invoice_line.c.credits_line_id.is_not(None),
    sqlite_where=invoice_line.c.credits_line_id.is_not(None),
)  # hardly any line is a credit
"""A charge stands on one document: on one line, or on a part for each tax that its days bear.

The agreed amounts of its lines are what was charged. `credits_line_id` is the line that a line of a credit note takes
back; the database lets nobody take back more of a line than it says.
"""

adjustment_due = Table(
    "finance_adjustment_due",
    metadata,
    Column("account_id", Id, primary_key=True),
    Column("reference", String(200), primary_key=True),
    Column("net_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("tax_percent", ExactDecimal, nullable=False),
    Column("item", String(200), nullable=False),
    Column("reason", String(400), nullable=False),
    Column("tax_category", String(4), nullable=False),
    Column("tax_included", Boolean, nullable=False),
    Column("first_on", Date),
    Column("subscription_id", String(32), nullable=False),
    Column("names", Text, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("noted_at", Instant, nullable=False),
    Column("next_at", Instant, nullable=False, index=True),
    Column("attempts", Integer, nullable=False),
    Column("detail", String(300), nullable=False),
    Column("withdrawn_at", Instant),
)
"""An adjustment that waits for a tax service; gone when its document is issued. `names` is JSON: language, name.

One that was withdrawn stays, so that an event that is told again does not note it again."""

line_levy = Table(
    "finance_line_levy",
    metadata,
    Column("line_id", Id, ForeignKey("finance_invoice_line.line_id"), primary_key=True),
    Column("code", String(40), primary_key=True),
    Column("name", String(120), nullable=False),
    Column("authority", String(120), nullable=False),
    Column("rate", String(80), nullable=False),
    Column("base_minor", BigInteger, nullable=False),
    Column("tax_minor", BigInteger, nullable=False),
)
"""Taxes of a line that are no VAT, for the returns of each authority; they are part of the line's tax."""

document = Table(
    "finance_document",
    metadata,
    Column("invoice_id", Id, ForeignKey("finance_invoice.invoice_id"), primary_key=True),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("pdf", LargeBinary, nullable=False),
    Column("rendered_at", Instant, nullable=False),
)
"""The PDF as it was first handed out. Later versions of the template do not touch it."""

triggers.forbid_changes(invoice, ("entity_id", "series", "sequence"), ("entity_id", "number"))
triggers.forbid_changes(invoice_line, ("charge_id", "part"), ("invoice_id", "position"))
triggers.forbid_changes(line_levy)
triggers.forbid_over_credit(invoice=invoice, line=invoice_line)
triggers.forbid_changes(document)
