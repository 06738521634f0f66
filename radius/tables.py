"""Tables of the RADIUS room: who may speak to us, and who may log in. Secrets are sealed (controller.store.secrets)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, Table, Text, false, text

from controller.store.metadata import Id, Instant, metadata

nas = Table(
    "radius_nas",
    metadata,
    Column("nas_id", Id, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("address", String(45), nullable=False, unique=True),
    Column("secret", LargeBinary, nullable=False),
    Column("vendor", String(32), nullable=False),
    Column("coa_port", Integer, nullable=False),
    Column("interim_interval_s", Integer, nullable=False),
    Column("missed_interims", Integer),
    Column("require_message_authenticator", Boolean, nullable=False),
    Column("sign_dynamic_requests", Boolean, nullable=False),
    Column("class_proves_speed", Boolean, nullable=False),
    Column("disconnect_when_refused", Boolean, nullable=False),
    Column("swaps_octets", Boolean, nullable=False),
    Column("adds_ipv6_octets", Boolean, nullable=False),
    Column("port_speed_bps", BigInteger, nullable=False),
    Column("reply_attributes", Text),
    Column("line_logins", String(32), nullable=False, server_default=""),
    Column("limit_proxy_state", Boolean, nullable=False, server_default=false()),
    Column("tls_identity", String(255), unique=True),
    Column("coa_over", String(3)),
    Column("coa_address", String(45)),
    Column("coa_secret", LargeBinary),
    Column("coa_takes", String(32), nullable=False, server_default="rate filter disconnect"),
    Column("former_secret", LargeBinary),
    Column("former_until", Instant),
    Column("enabled", Boolean, nullable=False),
    Column("revision", BigInteger, nullable=False, index=True),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
)

# Boxes of networks that are registered as one NAS, and boxes behind proxies, by the id that each was given (see
# members); `names` are the attributes by which a proxy knows its box.
nas_member = Table(
    "radius_nas_member",
    metadata,
    Column("nas_id", Id, primary_key=True),
    Column("network_id", Id, nullable=False, index=True),
    Column("address", String(45), nullable=False),
    Column("names", LargeBinary, nullable=False),
    Column("first_seen_at", Instant, nullable=False),
)

# A user name that its service gave up stays as a withdrawn row: processes that follow by revision learn of its end.
subscriber = Table(
    "radius_subscriber",
    metadata,
    Column("username", String(253), primary_key=True),
    Column("service_id", Id, nullable=False),
    Column("password", LargeBinary, nullable=False),
    Column("password_form", String(8), nullable=False, server_default="clear"),
    Column("password_choice", String(8)),
    Column("password_expired", Boolean, nullable=False, server_default=false()),
    Column("profile_name", String(32), nullable=False),
    Column("downstream_bps", BigInteger, nullable=False),
    Column("upstream_bps", BigInteger, nullable=False),
    Column("framed_ipv4", String(15)),
    Column("enabled", Boolean, nullable=False),
    Column("withdrawn", Boolean, nullable=False),
    Column("suspended", Boolean, nullable=False, server_default=false()),
    Column("ipv6_prefix", String(43)),
    Column("delegated_prefix", String(43)),
    Column("terms", Text),
    # Written by fair use (radius.quota): the speed in place of the plan's.
    Column("throttle", Text),
    # Written by dunning (radius.restricting): what is taken until the account has paid.
    Column("restriction", Text),
    # Written by billing (radius.crediting): NULL is not prepaid, else how a prepaid service stands.
    Column("credit", String(8)),
    Column("revision", BigInteger, nullable=False, index=True),
    Column("updated_at", Instant, nullable=False),
    # Pools give nobody what somebody has for good.
    *(
        Index(f"ix_radius_subscriber_{name}", name, sqlite_where=text(has), postgresql_where=text(has))
        for name in ("framed_ipv4", "ipv6_prefix", "delegated_prefix")
        for has in (f"{name} IS NOT NULL",)
    ),
    Index(
        "uq_radius_subscriber_service_id",
        "service_id",
        unique=True,
        sqlite_where=text("withdrawn = 0"),
        postgresql_where=text("NOT withdrawn"),
    ),
)

# What a NAS may name instead of a user name and a password (see authorization.line); given up as user names are.
line = Table(
    "radius_line",
    metadata,
    Column("kind", String(8), primary_key=True),
    Column("nas_id", String(32), primary_key=True),
    Column("value", LargeBinary, primary_key=True),
    Column("service_id", Id, nullable=False, index=True),
    Column("withdrawn", Boolean, nullable=False),
    Column("revision", BigInteger, nullable=False, index=True),
    Column("updated_at", Instant, nullable=False),
)

# Logins of services with a limit on sessions that were accepted and have no session yet (see accepts): rows of seconds.
accepted = Table(
    "radius_accepted",
    metadata,
    Column("service_id", Id, primary_key=True),
    Column("line", String(320), primary_key=True),
    Column("until", Instant, nullable=False),
)

# What every service of a speed profile is given besides its speed, and when it may log in (see authorization.terms).
offering = Table(
    "radius_offering",
    metadata,
    Column("profile_name", String(32), primary_key=True),
    Column("terms", Text),
    Column("revision", BigInteger, nullable=False, index=True),
    Column("updated_at", Instant, nullable=False),
)

# Realms of user names (RFC 7542): stripped where `becomes` is empty, renamed to it elsewhere, left alone where null.
realm = Table(
    "radius_realm",
    metadata,
    Column("realm", String(253), primary_key=True),
    Column("becomes", String(253)),
    Column("revision", BigInteger, nullable=False, index=True),
    Column("updated_at", Instant, nullable=False),
)

# Live traces, and what other processes than the operator's saw of them: rows of minutes (radius.trace_sharing).
trace = Table(
    "radius_trace",
    metadata,
    Column("trace_id", Id, primary_key=True),
    Column("process", String(16), nullable=False),
    Column("target", Text, nullable=False),
    Column("packets", Integer, nullable=False),
    Column("learnt", Text, nullable=False),
    Column("ends_at", Instant, nullable=False),
)

trace_event = Table(
    "radius_trace_event",
    metadata,
    Column("trace_id", Id, primary_key=True),
    Column("process", String(16), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("at", String(32), nullable=False),
    Column("body", Text, nullable=False),
)
