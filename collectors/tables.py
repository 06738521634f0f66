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
