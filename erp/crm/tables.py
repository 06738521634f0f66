"""Tables of customers, and of the legal entities that serve them."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Date, ForeignKey, String, Table, Text

from controller.store.metadata import Id, Instant, metadata

entity = Table(
    "crm_entity",
    metadata,
    Column("entity_id", Id, primary_key=True),
    Column("name", String(120), nullable=False, unique=True),
    Column("zone", String(64), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("locale", String(16), nullable=False),
    Column("address", Text, nullable=False),
    Column("tax_id", String(64), nullable=False),
    Column("country", String(2), nullable=False),
    Column("iban", String(34)),
    Column("created_at", Instant, nullable=False),
)
"""`iban` is NULL of the first one: that stands in the settings."""

customer = Table(
    "crm_customer",
    metadata,
    Column("customer_id", Id, primary_key=True),
    Column("entity_id", Id, ForeignKey("crm_entity.entity_id"), nullable=False, index=True),
    Column("name", String(120), nullable=False),
    Column("email", String(254), nullable=False),
    Column("phone", String(40), nullable=False),
    Column("address", Text, nullable=False),
    Column("language", String(35), nullable=False),
    Column("tax_id", String(64), nullable=False),
    Column("created_at", Instant, nullable=False),
)

account_parent = Table(
    "crm_account_parent",
    metadata,
    Column("account_id", Id, ForeignKey("crm_account.account_id"), primary_key=True),
    Column("since", Date, primary_key=True),
    Column("parent_id", Id, ForeignKey("crm_account.account_id"), index=True),
    Column("billed_to_parent", Boolean, nullable=False),
    Column("heading", String(120), nullable=False),
    Column("blocked_with_parent", Boolean, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("changed_by", String(128), nullable=False),
)
"""To whom an account belongs from `since` until its next row; NULL is nobody."""

account = Table(
    "crm_account",
    metadata,
    Column("account_id", Id, primary_key=True),
    Column("customer_id", Id, ForeignKey("crm_customer.customer_id"), nullable=False, unique=True),
    Column("currency", String(3), nullable=False),
    Column("zone", String(64), nullable=False),
    Column("created_at", Instant, nullable=False),
)
"""`zone` (an IANA name) never changes: a day would be billed twice or not at all."""

usage_link = Table(
    "crm_usage_link",
    metadata,
    Column("link_id", Id, primary_key=True),
    Column("account_id", Id, ForeignKey("crm_account.account_id"), nullable=False, index=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("created_at", Instant, nullable=False),
    Column("created_by", String(128), nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("withdrawn_at", Instant),
)
"""What lets a customer see the usage of an account: of the secret in its address the SHA-256 alone is kept."""
