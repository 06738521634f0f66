"""Tables of proxying: whose realm is whose, which servers serve it, and accounting that has not been sent on yet."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, Table, Text

from controller.store.metadata import Id, Instant, metadata

home_server = Table(
    "radius_home_server",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("pool", String(64), nullable=False, index=True),
    Column("transport", String(8), nullable=False),
    Column("host", String(253), nullable=False),
    Column("auth_port", Integer, nullable=False),
    Column("acct_port", Integer, nullable=False),
    Column("secret", LargeBinary),
    Column("tls_identity", String(255), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("balanced", Boolean, nullable=False),
    Column("status_checks", Boolean, nullable=False),
    Column("require_message_authenticator", Boolean, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("updated_at", Instant, nullable=False),
)

# `request_drops` and `reply_allows` are names of attributes, one behind the other; reply_allows is null for all.
proxy_realm = Table(
    "radius_proxy_realm",
    metadata,
    Column("realm", String(253), primary_key=True),
    Column("pool", String(64), nullable=False),
    Column("accounting", String(8), nullable=False),
    Column("strips", Boolean, nullable=False),
    Column("request_drops", Text, nullable=False),
    Column("reply_allows", Text),
    Column("updated_at", Instant, nullable=False),
)

# Accounting packets on their way to a home server: gone when it has answered. `digest` makes a retransmission one row.
mirror = Table(
    "radius_mirror",
    metadata,
    Column("mirror_id", Id, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("realm", String(253), nullable=False),
    Column("pool", String(64), nullable=False),
    Column("packet", LargeBinary, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Index("ix_radius_mirror_due", "due_us"),
)
