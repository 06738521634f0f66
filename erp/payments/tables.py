"""Columns of payments: gateways and what they told, refunds, bank statements, direct debits, the cash desk."""

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
    text,
)

from controller.store.metadata import BigId, Id, Instant, metadata
from erp.finance import triggers

gateway = Table(
    "payments_gateway",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("entity_id", Id, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("api_base", String(200), nullable=False),
    Column("api_key", LargeBinary),
    Column("webhook_secret", LargeBinary, nullable=False),
    Column("former_secret", LargeBinary),
    Column("former_until", Instant),
    Column("updated_at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
)
"""An account with a payment service. Keys and secrets are sealed; of two webhook secrets the former ends by itself."""

event = Table(
    "payments_event",
    metadata,
    Column("event_key", BigId, primary_key=True, autoincrement=True),
    Column("gateway", String(32), ForeignKey("payments_gateway.name"), nullable=False),
    Column("provider_id", String(255), nullable=False),
    Column("type", String(255), nullable=False),
    Column("object_id", String(255), nullable=False),
    Column("intent_id", String(255)),
    Column("created_at", Instant, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("body", Text, nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("deliveries", Integer, nullable=False),
    Column("state", String(12), nullable=False),
    Column("detail", String(300), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("handled_at", Instant),
    UniqueConstraint("gateway", "provider_id"),
    Index("ix_payments_event_state", "state", "event_key"),
    Index("ix_payments_event_intent", "gateway", "intent_id"),
    sqlite_autoincrement=True,
)
"""What a gateway told, kept before it is answered. `state` is received, booked, waiting, unknown, stale or failed."""

gateway_customer = Table(
    "payments_gateway_customer",
    metadata,
    Column("gateway", String(32), ForeignKey("payments_gateway.name"), primary_key=True),
    Column("customer", String(255), primary_key=True),
    Column("account_id", Id, nullable=False, index=True),
    Column("since", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
)

card_payment = Table(
    "payments_card_payment",
    metadata,
    Column("gateway", String(32), ForeignKey("payments_gateway.name"), primary_key=True),
    Column("intent_id", String(255), primary_key=True),
    Column("charge_id", String(255)),
    Column("customer", String(255)),
    Column("payer", String(140), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("paid_at", Instant, nullable=False),
    Column("account_id", Id, index=True),
    Column("payment_id", Id, unique=True),
    Column("suspense_entry_id", Id),
    CheckConstraint("(payment_id IS NULL) = (account_id IS NULL)", name="whose"),
)
"""A payment that succeeded at a gateway. Without an account it stands in the ledger under unknown payers."""

card_attempt = Table(
    "payments_card_attempt",
    metadata,
    Column("attempt_id", Id, primary_key=True),
    Column("gateway", String(32), ForeignKey("payments_gateway.name"), nullable=False),
    Column("account_id", Id, nullable=False, index=True),
    Column("invoice_id", Id, index=True),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("customer", String(255), nullable=False),
    Column("method", String(255), nullable=False),
    Column("state", String(12), nullable=False),
    Column("intent_id", String(255), index=True),
    Column("detail", String(300), nullable=False),
    Column("asked_at", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("reference", String(80), unique=True),
)
"""A card that was to be charged: kept before the gateway is asked, its id is the key under which it is asked.

`reference` is the caller's: the same again is the same charge."""

dispute = Table(
    "payments_dispute",
    metadata,
    Column("gateway", String(32), ForeignKey("payments_gateway.name"), primary_key=True),
    Column("dispute_id", String(255), primary_key=True),
    Column("intent_id", String(255), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("withdrawn_minor", BigInteger, nullable=False),
    Column("fees_minor", BigInteger, nullable=False),
    Column("status", String(32), nullable=False),
    Column("reason", String(80), nullable=False),
    Column("told_at", Instant, nullable=False),
    Column("final", Integer, nullable=False),
    Column("steps", Integer, nullable=False),
)
"""What is booked of a dispute, and as of which picture of it. An older picture changes nothing."""

balance_transaction = Table(
    "payments_balance_transaction",
    metadata,
    Column("gateway", String(32), ForeignKey("payments_gateway.name"), primary_key=True),
    Column("transaction_id", String(255), primary_key=True),
    Column("source", String(255), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("fee_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("state", String(8), nullable=False, index=True),
    Column("entry_id", Id),
    Column("detail", String(300), nullable=False),
    Column("told_at", Instant, nullable=False),
)
"""What moved the balance at a gateway. `state` is asked, known or by-hand; `entry_id` is where its fee was booked."""

payout = Table(
    "payments_payout",
    metadata,
    Column("gateway", String(32), ForeignKey("payments_gateway.name"), primary_key=True),
    Column("payout_id", String(255), primary_key=True),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("arrival_on", Date, nullable=False),
    Column("trace", String(255), nullable=False),
    Column("state", String(8), nullable=False),
    Column("line_id", Id),
    Column("checked", String(8), nullable=False, index=True),
    Column("difference_minor", BigInteger, nullable=False),
    Column("detail", String(300), nullable=False),
    Column("told_at", Instant, nullable=False),
    Index("ix_payments_payout_state", "state", "amount_minor"),
)
"""Money that a gateway sent to our bank. `state` is sent, arrived (on `line_id`) or failed."""

refund = Table(
    "payments_refund",
    metadata,
    Column("refund_id", Id, primary_key=True),
    Column("payment_id", Id, nullable=False, index=True),
    Column("account_id", Id, nullable=False, index=True),
    Column("amount_minor", BigInteger, CheckConstraint("amount_minor > 0", name="positive"), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("way", String(8), nullable=False),
    Column("state", String(12), nullable=False),
    Column("reason", String(300), nullable=False),
    Column("creditor", String(70), nullable=False),
    Column("iban", String(34), nullable=False),
    Column("requested_by", String(128), nullable=False),
    Column("requested_at", Instant, nullable=False),
    Column("approved_by", String(128)),
    Column("changed_at", Instant, nullable=False),
    Column("provider_id", String(255)),
    Column("file_id", Id, index=True),
    Column("detail", String(300), nullable=False),
    Index("ix_payments_refund_state", "state", "refund_id"),
)
"""Money to go back to a customer. `way` is gateway, bank or cash; `state` requested, approved, sent, done, refused."""

entity_settings = Table(
    "payments_entity_settings",
    metadata,
    Column("entity_id", Id, primary_key=True),
    Column("claim_return_fee", Boolean, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
)
"""What a legal entity has decided about its payments; an entity without a row goes by the program's settings."""

bank_account = Table(
    "payments_bank_account",
    metadata,
    Column("bank_account_id", Id, primary_key=True),
    Column("entity_id", Id, nullable=False),
    Column("name", String(70), nullable=False),
    Column("iban", String(34), nullable=False, unique=True),
    Column("bic", String(11), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("creditor_id", String(35), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
)
"""An account of ours at a bank. `name` is its holder, `creditor_id` who we are for direct debits (may be empty)."""

bank_file = Table(
    "payments_bank_file",
    metadata,
    Column("file_id", Id, primary_key=True),
    Column("sha256", LargeBinary(32), nullable=False, unique=True),
    Column("name", String(120), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("statements", Integer, nullable=False),
    Column("lines", Integer, nullable=False),
    Column("content", LargeBinary),
    Column("received_at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
)
"""A file that was imported. A notification's `content` is kept: it may detail a batch of a later statement."""

statement = Table(
    "payments_statement",
    metadata,
    Column("statement_id", Id, primary_key=True),
    Column("bank_account_id", Id, ForeignKey("payments_bank_account.bank_account_id"), nullable=False),
    Column("file_id", Id, ForeignKey("payments_bank_file.file_id"), nullable=False, index=True),
    Column("ident", String(140), nullable=False),
    Column("first_on", Date, nullable=False),
    Column("last_on", Date, nullable=False),
    Column("opening_minor", BigInteger, nullable=False),
    Column("closing_minor", BigInteger, nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("note", String(300), nullable=False),
    UniqueConstraint("bank_account_id", "ident", "last_on"),
    Index("ix_payments_statement_last_on", "bank_account_id", "last_on"),
)
"""A statement whose opening balance and entries make its closing balance. `note` says what is odd about it."""

bank_line = Table(
    "payments_bank_line",
    metadata,
    Column("line_id", Id, primary_key=True),
    Column("bank_account_id", Id, ForeignKey("payments_bank_account.bank_account_id"), nullable=False),
    Column("statement_id", Id, ForeignKey("payments_statement.statement_id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("part", Integer, nullable=False),
    Column("booked_on", Date, nullable=False),
    Column("value_on", Date, nullable=False),
    Column("amount_minor", BigInteger, CheckConstraint("amount_minor <> 0", name="not_zero"), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("kind", String(12), nullable=False),
    Column("end_to_end", String(70), nullable=False),
    Column("reference", String(140), nullable=False),
    Column("batch", String(70), nullable=False),
    Column("bank_ref", String(70), nullable=False),
    Column("code", String(40), nullable=False),
    Column("return_reason", String(8), nullable=False),
    Column("remittance", String(1000), nullable=False),
    Column("party", String(140), nullable=False),
    Column("party_iban", String(34), nullable=False),
    Column("state", String(8), nullable=False),
    Column("matched", String(16), nullable=False),
    Column("subject", String(160), nullable=False),
    Column("matches", Integer, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
    UniqueConstraint("statement_id", "position", "part"),
    Index("ix_payments_bank_line_state", "state", "booked_on", "line_id"),
    Index("ix_payments_bank_line_bank_ref", "bank_account_id", "bank_ref"),
)
"""A movement on a bank account. `state` is open or matched; `matched` says with what, `subject` with which."""

mandate = Table(
    "payments_mandate",
    metadata,
    Column("mandate_id", Id, primary_key=True),
    Column("account_id", Id, nullable=False, index=True),
    Column("reference", String(35), nullable=False, unique=True),
    Column("scheme", String(4), CheckConstraint("scheme IN ('CORE', 'B2B')", name="scheme"), nullable=False),
    Column("recurrent", Integer, nullable=False),
    Column("signed_on", Date, nullable=False),
    Column("iban", String(34), nullable=False),
    Column("bic", String(11), nullable=False),
    Column("debtor", String(70), nullable=False),
    Column("state", String(10), nullable=False),
    Column("collected", Integer, nullable=False),
    Column("last_on", Date),
    Column("created_at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
)
"""A debtor's permission. `collected` counts collections that were not refused before they were settled."""

collection = Table(
    "payments_collection",
    metadata,
    Column("collection_id", Id, primary_key=True),
    Column("bank_account_id", Id, ForeignKey("payments_bank_account.bank_account_id"), nullable=False),
    Column("message_id", String(35), nullable=False, unique=True),
    Column("form", String(16), nullable=False),
    Column("collect_on", Date, nullable=False),
    Column("items", Integer, nullable=False),
    Column("total_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("state", String(8), nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("content", Text, nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("sent_at", Instant),
    Column("actor", String(128), nullable=False),
)
"""A direct debit file. `state` is made, sent or dropped."""

collection_item = Table(
    "payments_collection_item",
    metadata,
    Column("item_id", Id, primary_key=True),
    Column("collection_id", Id, ForeignKey("payments_collection.collection_id"), nullable=False, index=True),
    Column("mandate_id", Id, ForeignKey("payments_mandate.mandate_id"), nullable=False),
    Column("sequence", String(4), nullable=False),
    Column("invoice_id", Id, nullable=False),
    Column("account_id", Id, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("state", String(8), nullable=False),
    Column("payment_id", Id),
    Column("reason", String(40), nullable=False),
    Column("changed_at", Instant, nullable=False),
    Index(
        "uq_payments_collection_item_invoice",
        "invoice_id",
        unique=True,
        sqlite_where=text("state = 'waiting'"),
        postgresql_where=text("state = 'waiting'"),
    ),
)
"""An invoice in a file, its id the end-to-end id. `state` is waiting, paid, rejected, returned or dropped.

No invoice waits in two files at once: the database refuses the second.
"""

transfer_file = Table(
    "payments_transfer_file",
    metadata,
    Column("file_id", Id, primary_key=True),
    Column("bank_account_id", Id, ForeignKey("payments_bank_account.bank_account_id"), nullable=False),
    Column("message_id", String(35), nullable=False, unique=True),
    Column("items", Integer, nullable=False),
    Column("total_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("content", Text, nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
)
"""A credit transfer file: refunds by bank."""

till = Table(
    "payments_till",
    metadata,
    Column("till_id", Id, primary_key=True),
    Column("entity_id", Id, nullable=False),
    Column("name", String(40), nullable=False, unique=True),
    Column("currency", String(3), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
)

shift = Table(
    "payments_shift",
    metadata,
    Column("shift_id", Id, primary_key=True),
    Column("till_id", Id, ForeignKey("payments_till.till_id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("opened_by", String(128), nullable=False),
    Column("opening_minor", BigInteger, nullable=False),
    Column("closed_at", Instant),
    Column("closed_by", String(128)),
    Column("expected_minor", BigInteger),
    Column("counted_minor", BigInteger),
    Column("reason", String(300), nullable=False),
    UniqueConstraint("till_id", "number"),
    Index(
        "uq_payments_shift_open",
        "till_id",
        unique=True,
        sqlite_where=text("closed_at IS NULL"),
        postgresql_where=text("closed_at IS NULL"),
    ),
)
"""A till between two counts. One shift of a till is open at a time: the database refuses a second."""

cash_receipt = Table(
    "payments_cash_receipt",
    metadata,
    Column("receipt_id", Id, primary_key=True),
    Column("till_id", Id, ForeignKey("payments_till.till_id"), nullable=False),
    Column("shift_id", Id, ForeignKey("payments_shift.shift_id"), nullable=False, index=True),
    Column("number", String(60), nullable=False, unique=True),
    Column("kind", String(12), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("account_id", Id),
    Column("payment_id", Id),
    Column("refund_id", Id),
    Column("request", String(64), nullable=False),
    Column("note", String(300), nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
    UniqueConstraint("till_id", "request"),
)
"""Cash that came in (positive) or went out, numbered without gaps per till and year."""

for _table, _keys in (
    (bank_file, [("sha256",)]),
    (statement, []),
    (transfer_file, [("message_id",)]),
    (cash_receipt, [("number",)]),
):
    triggers.forbid_changes(_table, *_keys)
