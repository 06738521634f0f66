"""Columns of the checks: bills that wait, what is too small to be looked at twice, and what three sources counted."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Date, Index, Integer, String, Table, Text, UniqueConstraint

from controller.store.metadata import ExactDecimal, Id, Instant, metadata

exception = Table(
    "billing_bridge_exception",
    metadata,
    Column("exception_id", Id, primary_key=True),
    Column("bill_run_id", Id, nullable=False),
    Column("account_id", Id, nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("batch", Integer, nullable=False),
    Column("state", String(12), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("net_minor", BigInteger, nullable=False),
    Column("at_stake_minor", BigInteger, nullable=False),
    Column("checks", Text, nullable=False),
    Column("findings", Text, nullable=False),
    Column("found_at", Instant, nullable=False),
    Column("created_by", String(128), nullable=False),
    Column("assigned_to", String(128)),
    Column("released_by", String(128)),
    Column("released_at", Instant),
    Column("release_reason", Text),
    Column("approved_by", String(128)),
    Column("approved_at", Instant),
    Column("approval_reason", Text),
    UniqueConstraint("bill_run_id", "account_id", "number"),
    Index("ix_billing_bridge_exception_state", "state", "exception_id"),
)
"""One bill that waits. held → (released → ) gone; `released` waits for a second person. `findings` is JSON,
`created_by` who started the run, `checks` the names of the findings for lists. A bill that was let go and rated again
may wait once more, with the next `number`: only the last one of an account and run decides."""

check_limit = Table(
    "billing_bridge_check_limit",
    metadata,
    Column("currency", String(3), primary_key=True),
    Column("four_eyes", ExactDecimal, nullable=False),
    Column("usage", ExactDecimal, nullable=False),
    Column("other", ExactDecimal, nullable=False),
    Column("changed_by", String(128), nullable=False),
    Column("changed_at", Instant, nullable=False),
)
"""Limits of this site, in major units of a currency; without a row those of the settings hold."""

reconciliation = Table(
    "billing_bridge_reconciliation",
    metadata,
    Column("service_id", Id, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("radius_octets", BigInteger, nullable=False),
    Column("counter_octets", BigInteger),
    Column("billed_octets", BigInteger, nullable=False),
    Column("charged_octets", BigInteger, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("unexplained_octets", BigInteger, nullable=False),
    Column("verdict", String(12), nullable=False),
    Column("overhead_ppm", Integer),
    Column("looked_at", Instant, nullable=False),
    Index("ix_billing_bridge_reconciliation_day", "day", "verdict", "service_id"),
)
"""What three sources counted of a service on a local day. `reasons` is JSON: what explains which octets of a
difference; `overhead_ppm` by how much the counter was above RADIUS, in millionths of it."""

leak = Table(
    "billing_bridge_leak",
    metadata,
    Column("looked_at", Instant, primary_key=True),
    Column("side", String(16), primary_key=True),
    Column("rank", Integer, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
)
"""What a look found, on each side from 1, the dearest; `body` is JSON: see checks.leak_rows."""

leak_day = Table(
    "billing_bridge_leak_day",
    metadata,
    Column("day", Date, primary_key=True),
    Column("side", String(16), primary_key=True),
    Column("currency", String(3), primary_key=True),
    Column("items", Integer, nullable=False),
    Column("per_day_minor", BigInteger, nullable=False),
    Column("looked_at", Instant, nullable=False),
)
"""How much was live and not billed, and billed and not live, on each day, and what it was worth."""

recount_position = Table(
    "billing_bridge_recount_position",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("record_id", BigInteger, nullable=False),
)
"""How far the usage log was counted once more, and when the counts were last compared to the end (microseconds)."""

recount_session = Table(
    "billing_bridge_recount_session",
    metadata,
    Column("session_key", String(64), primary_key=True),
    Column("service_id", Id),
    Column("upstream_octets", BigInteger, nullable=False),
    Column("downstream_octets", BigInteger, nullable=False),
    Column("seen_until", Instant, nullable=False),
    Column("heard_at", Instant, nullable=False),
    Column("is_open", Boolean, nullable=False),
)
"""Running totals of sessions as the second count knows them, kept as long as mediation keeps its own."""

recount_day = Table(
    "billing_bridge_recount_day",
    metadata,
    Column("service_id", Id, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("octets", BigInteger, nullable=False),
    Column("late_octets", BigInteger, nullable=False),
    Index("ix_billing_bridge_recount_day_day", "day"),
)
"""Octets by RADIUS of a service and local day, of both directions; `late_octets` came in after that day was over.
A service of "" is none that RADIUS knew."""
