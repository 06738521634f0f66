"""Tables of the collectors. Samples are not here: they are in the time series."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Integer, String, Table, Text

from controller.store.metadata import BigId, Id, Instant, metadata

health = Table(
    "collectors_health",
    metadata,
    Column("device_id", String(64), primary_key=True),
    Column("source", String(16), primary_key=True),
    Column("reachable", Boolean, nullable=False),
    Column("checked_at", Instant, nullable=False),
    Column("valid_until", Instant, nullable=False),
    Column("detail", Text, nullable=False),
    Column("uptime_s", BigInteger),
)

position = Table(
    "collectors_usage_position",
    metadata,
    Column("follower", String(64), primary_key=True),
    Column("record_id", BigId, nullable=False),
)

session = Table(
    "collectors_usage_session",
    metadata,
    Column("session_key", Id, primary_key=True),
    Column("service_id", Id),
    Column("nas_id", Id, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("upstream_octets", BigInteger, nullable=False),
    Column("downstream_octets", BigInteger, nullable=False),
    Column("second", Instant, nullable=False),
    Column("in_second", Integer, nullable=False),
    Column("heard_at", Instant, nullable=False),
)
"""Rows of sessions long unheard of are deleted."""

session_count = Table(
    "collectors_usage_session_count",
    metadata,
    Column("service_id", Id, primary_key=True),
    Column("nas_id", Id, primary_key=True),
    Column("sessions", Integer, nullable=False),
)

onu = Table(
    "collectors_onu",
    metadata,
    Column("device_id", String(64), primary_key=True),
    Column("serial", String(16), primary_key=True),
    Column("pon_port", String(64), nullable=False),
    Column("first_seen_at", Instant, nullable=False),
    Column("last_seen_at", Instant, nullable=False, index=True),
)
"""ONUs that OLTs have shown as present."""

bin_life = Table(
    "collectors_bin_life",
    metadata,
    Column("life", String(64), primary_key=True),
    Column("seen_at", Instant, nullable=False),
)
"""Processes that measure, and when each last wrote what it has."""

open_bin = Table(
    "collectors_open_bin",
    metadata,
    Column("record_key", String(96), primary_key=True),
    Column("life", String(64), nullable=False, index=True),
    Column("source", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("title", String(120), nullable=False),
    Column("identifier", String(253), nullable=False),
    Column("since", Instant, nullable=False),
    Column("until", Instant, nullable=False),
    Column("upstream_octets", BigInteger, nullable=False),
    Column("downstream_octets", BigInteger, nullable=False),
)
"""What was measured and billing has not taken yet, as of a few seconds ago."""
