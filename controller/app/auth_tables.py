"""Who may use the controller: users, API tokens and browser sessions. No secret is stored, only what proves one."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, ForeignKey, LargeBinary, String, Table, Text

from controller.store.metadata import Id, Instant, metadata

user = Table(
    "app_user",
    metadata,
    Column("user_id", Id, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),  # argon2id, encoded with its parameters and salt
    Column("role", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", Instant, nullable=False),
    CheckConstraint("state IN ('active', 'disabled')", name="state"),
)

token = Table(
    "app_token",
    metadata,
    Column("token_id", Id, primary_key=True),
    Column("name", String(64), nullable=False),
    Column("prefix", String(16), nullable=False),  # the first characters, for people to tell tokens apart
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("scopes", Text, nullable=False),
    Column("created_by", String(128), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
)

browser_session = Table(
    "app_browser_session",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("user_id", Id, ForeignKey("app_user.user_id"), nullable=False, index=True),
    Column("created_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False, index=True),
)
