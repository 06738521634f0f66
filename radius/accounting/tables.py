"""Tables of accounting: sessions that live or ended lately, sessions of the past, and restarts of NAS.

The hot table stays small: what ended some time ago moves to the history in the background. Both have the same columns.
"""

from __future__ import annotations

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    event,
)

from controller.store.metadata import Id, Instant, metadata


def _columns(*, is_keyed: bool) -> list[Column[object]]:
    return [
        Column("session_key", Id, primary_key=is_keyed, nullable=False),
        Column("revision", BigInteger, nullable=False),
        Column("last_event_us", BigInteger, nullable=False),
        Column("last_seen_us", BigInteger, nullable=False),
        Column("session_time_s", BigInteger),
        Column("upstream_octets", BigInteger, nullable=False),
        Column("downstream_octets", BigInteger, nullable=False),
        Column("evidence_us", BigInteger),
        Column("recent", LargeBinary(64), nullable=False),
        Column("state", String(8), nullable=False),
        Column("started_us", BigInteger, nullable=False),
        Column("start_seen", Boolean, nullable=False),
        Column("ended_us", BigInteger),
        Column("end_cause", String(32)),
        Column("provisional", Boolean, nullable=False),
        Column("final_unknown", Boolean, nullable=False),
        Column("counter_fell", Boolean, nullable=False),
        Column("framed_ipv4", String(15)),
        Column("last_class", LargeBinary(253)),
        Column("last_rate", String(253)),
        # Of a counter that fell or was held: four numbers, seldom (see session.counters).
        Column("counter_state", String(96)),
        Column("service_id", Id),
        Column("nas_id", Id, nullable=False),
        # Opaque octets, all of them: ids cut to fit a column collide, and CoA no longer matches.
        Column("acct_session_id", LargeBinary(253), nullable=False),
        Column("life", Integer, nullable=False),
        Column("username", String(253), nullable=False),
        Column("interim_s", Integer, nullable=False),
        Column("calling_station_id", String(253)),
        Column("nas_port_id", String(253)),
    ]


# By user name the hot table is read through: 100,000 rows take 50 ms, and an index would cost every Start a tenth.
# Rows are rewritten at every Interim. Keys ascend with time, so sessions that report together lie together; and
# PostgreSQL keeps a new version on the same page when there is room, without touching an index. Room for two more
# versions of every row of a page, as all of them may report in one commit while somebody still reads the former: at 60
# half of the versions went to other pages and into every index, which cost an update twice its time, a commit an eighth
# more WAL, and more space in the end.
sessions = Table(
    "radius_session",
    metadata,
    *_columns(is_keyed=True),
    # Two workers that open the same life at once meet here; the second looks again.
    Index("uq_radius_session_life", "acct_session_id", "nas_id", "life", unique=True),
    Index("ix_radius_session_service_id", "service_id"),
    sqlite_with_rowid=False,
    postgresql_with={"fillfactor": 30},
)

# Clustered by the time at which a session was last heard of: on PostgreSQL a partition for each month (see
# `partitions`), so what is too old goes in one piece, and look-ups of what is recent never touch what is not.
history = Table(
    "radius_session_history",
    metadata,
    *_columns(is_keyed=False),
    Index("ix_radius_session_history_key", "session_key"),
    Index("ix_radius_session_history_life", "acct_session_id", "nas_id"),
    Index("ix_radius_session_history_service_id", "service_id", "session_key"),
    Index("ix_radius_session_history_username", "username", "session_key"),
    Index("ix_radius_session_history_framed_ipv4", "framed_ipv4", "session_key"),
    PrimaryKeyConstraint("last_seen_us", "session_key", name="radius_session_history_pkey"),
    sqlite_with_rowid=False,
    postgresql_partition_by="RANGE (last_seen_us)",
)
# What no month was made for: nothing is refused for want of a partition.
event.listen(
    history,
    "after_create",
    DDL(  # type: ignore[no-untyped-call]
        "CREATE TABLE radius_session_history_rest PARTITION OF radius_session_history DEFAULT"
    ).execute_if(dialect="postgresql"),
)

# Addresses that are not simply the framed IPv4 address that a session has from beginning to end: IPv6, prefixes, ports
# of a shared address, an IPv4 address that changed. `network` is canonical text, ports are all unless shared.
session_addresses = Table(
    "radius_session_address",
    metadata,
    Column("session_key", Id, primary_key=True),
    Column("network", String(49), primary_key=True),
    Column("first_port", Integer, primary_key=True, autoincrement=False),
    Column("since_us", BigInteger, primary_key=True, autoincrement=False),
    Column("last_port", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("until_us", BigInteger),
    Column("received_us", BigInteger, nullable=False),
    Column("packet_sha256", LargeBinary(32), nullable=False),
    Index("ix_radius_session_address_network", "network", "since_us"),
    sqlite_with_rowid=False,
)

# What sessions reported and what does not count until somebody says so. Rows stay, with who decided and why.
quarantine = Table(
    "radius_quarantine",
    metadata,
    Column("quarantine_id", Id, primary_key=True),
    Column("session_key", Id, nullable=False, index=True),
    Column("nas_id", Id, nullable=False),
    Column("acct_session_id", LargeBinary(253), nullable=False),
    Column("username", String(253), nullable=False),
    Column("service_id", Id),
    Column("reason", String(64), nullable=False),
    Column("upstream_octets", BigInteger, nullable=False),
    Column("downstream_octets", BigInteger, nullable=False),
    Column("reported_upstream_octets", BigInteger),
    Column("reported_downstream_octets", BigInteger),
    Column("upstream_limit_octets", BigInteger),
    Column("downstream_limit_octets", BigInteger),
    Column("session_time_s", BigInteger),
    Column("event_us", BigInteger, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    Column("packet_sha256", LargeBinary(32), nullable=False),
    # held → released → counted | held → dismissed | held → retracted (the counter came back below it)
    Column("state", String(12), nullable=False, index=True),
    Column("decided_by", String(128)),
    Column("decided_at", Instant),
    Column("why", String(400)),
)

# Accounting-On and -Off: whatever a NAS reported before `boundary_us` is suspect. One row per NAS, so that a restart
# costs the same with ten sessions and with ten thousand.
nas_restarts = Table(
    "radius_nas_restart",
    metadata,
    Column("nas_id", Id, primary_key=True),
    Column("boundary_us", BigInteger, nullable=False),
    Column("seen_us", BigInteger, nullable=False),
    Column("kind", String(8), nullable=False),
    Column("recent", LargeBinary(64), nullable=False),
)
