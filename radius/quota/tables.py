"""Tables of fair use. Counters belong to a service and a period, never to a session: no re-login resets them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from controller.store.metadata import Id, Instant, metadata

# `step` is what was last put into force, for the period that lasts until `period_end_us`.
quotas = Table(
    "radius_quota",
    metadata,
    Column("service_id", Id, primary_key=True),
    Column("allowance", Text, nullable=False),
    Column("step", Integer, nullable=False),
    Column("period_end_us", BigInteger, nullable=False, index=True),
    Column("stepped_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
)

usage = Table(
    "radius_quota_usage",
    metadata,
    Column("service_id", Id, primary_key=True),
    Column("period_start_us", BigInteger, primary_key=True, autoincrement=False),
    Column("upstream_octets", BigInteger, nullable=False),
    Column("downstream_octets", BigInteger, nullable=False),
    Column("topped_up_octets", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# How much of each session's running totals is counted: a record that comes twice or late adds what is new.
sessions = Table(
    "radius_quota_session",
    metadata,
    Column("session_key", Id, primary_key=True),
    Column("service_id", Id, nullable=False, index=True),
    Column("upstream_octets", BigInteger, nullable=False),
    Column("downstream_octets", BigInteger, nullable=False),
    Column("event_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# One row: every record of the usage log up to this id is counted.
position = Table(
    "radius_quota_position",
    metadata,
    Column("follower", String(16), primary_key=True),
    Column("record_id", BigInteger, nullable=False),
)

top_ups = Table(
    "radius_quota_top_up",
    metadata,
    Column("top_up_id", Id, primary_key=True),
    Column("service_id", Id, nullable=False),
    Column("reference", String(64), nullable=False),
    Column("octets", BigInteger, nullable=False),
    Column("period_start_us", BigInteger, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("at", Instant, nullable=False),
    Index("uq_radius_quota_top_up_reference", "service_id", "reference", unique=True),
)

# Every step that a service took, up or back (step 0). What is done to its live sessions stands in radius_change.
steps = Table(
    "radius_quota_step",
    metadata,
    Column("step_id", Id, primary_key=True),
    Column("service_id", Id, nullable=False, index=True),
    Column("step", Integer, nullable=False),
    Column("profile_name", String(32)),
    Column("period_start_us", BigInteger, nullable=False),
    Column("limit_octets", BigInteger),
    Column("used_octets", BigInteger, nullable=False),
    Column("at", Instant, nullable=False),
)
