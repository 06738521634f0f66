"""Columns of payments: gateways and what they told, card payments, disputes, refunds."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from controller.store.metadata import BigId, Id, Instant, metadata

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
)
"""A card that was to be charged: kept before the gateway is asked, its id is the key under which it is asked."""

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
