"""The table of changes: what is wanted of live sessions, and how far it came."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, Table, Text, text

from controller.store.metadata import Id, Instant, metadata

_IS_OPEN = text("state IN ('waiting', 'acknowledged')")

changes = Table(
    "radius_change",
    metadata,
    Column("change_id", Id, primary_key=True),
    Column("session_key", Id, nullable=False),
    Column("service_id", Id),
    Column("nas_id", Id, nullable=False),
    Column("kind", String(12), nullable=False),
    Column("profile_name", String(32)),
    Column("downstream_bps", BigInteger),
    Column("upstream_bps", BigInteger),
    Column("limit_octets", BigInteger),
    Column("limit_s", BigInteger),
    Column("limit_before", BigInteger),
    Column("state", String(12), nullable=False),
    Column("by_disconnect", Boolean, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("requested_at", Instant, nullable=False),
    Column("requested_by", String(128), nullable=False),
    Column("next_at", Instant, nullable=False),
    Column("asked_at", Instant),
    Column("last_result", String(8)),
    Column("last_error_cause", BigInteger),
    Column("last_detail", Text),
    Column("words", Text),
    Column("closed_at", Instant),
    Column("claimed_by", String(64)),
    Column("taken_at", Instant),
    # A session has one state that it shall be in: what is newer takes the place of what is older.
    Index("uq_radius_change_open", "session_key", unique=True, sqlite_where=_IS_OPEN, postgresql_where=_IS_OPEN),
    Index("ix_radius_change_due", "next_at", sqlite_where=_IS_OPEN, postgresql_where=_IS_OPEN),
    Index("ix_radius_change_session_key", "session_key", "change_id"),
    Index("ix_radius_change_service_id", "service_id", "change_id"),
)

# Sessions behind other networks' proxies: their Operator-Name and Operator-NAS-Identifier, as they came.
visited = Table(
    "radius_visited_session",
    metadata,
    Column("nas_id", Id, primary_key=True),
    Column("acct_session_id", LargeBinary(253), primary_key=True),
    Column("operator", LargeBinary(512), nullable=False),
    Column("seen_at", Instant, nullable=False),
    Index("ix_radius_visited_session_seen_at", "seen_at"),
)

# CoA and Disconnect requests for NAS whose TLS connection another process has; gone as soon as they are answered.
relayed = Table(
    "radius_relayed_request",
    metadata,
    Column("request_id", Id, primary_key=True),
    Column("nas_id", Id, nullable=False, index=True),
    Column("code", Integer, nullable=False),
    Column("attributes", LargeBinary, nullable=False),
    Column("expires_at", Instant, nullable=False, index=True),
    Column("taken", Boolean, nullable=False),
    Column("result", String(8)),
    Column("error_cause", BigInteger),
    Column("detail", Text),
)
