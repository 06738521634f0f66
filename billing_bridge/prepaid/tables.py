"""Tables of prepaid services. No balance is ever negative or reserved twice: the database itself refuses that."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from controller.store.metadata import BigId, Id, Instant, metadata
from controller.store.triggers import refuse_changes

HELD = "open > 0 OR state IN ('pending', 'shut')"
"""Slices that time takes back: those that hold something, and those whose session has not begun."""
UNPOSTED = "earned_minor <> posted_minor OR lapsed_minor <> lapsed_posted_minor"
"""Days of which the books do not know all."""
NOTICE, LOW = "notice_on IS NOT NULL", "low_notice = 'due'"
"""Balances whose customers are to be told something."""
GRANTED = "granted_s > 0"
"""Calls that go on."""

wallet = Table(
    "billing_bridge_prepaid",
    metadata,
    Column("service_id", Id, primary_key=True),
    Column("account_id", Id, nullable=False, index=True),
    Column("unit", String(8), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("balance", BigInteger, CheckConstraint("balance >= 0", name="not_overdrawn"), nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("worth_minor", BigInteger, CheckConstraint("worth_minor >= 0", name="worth"), nullable=False),
    Column("overshoot", BigInteger, nullable=False),
    Column("standing", String(8), nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("closing_at", Instant),
    Column("closed_at", Instant),
    Column("expires_on", Date),
    Column("notice_on", Date),
    Column("low_notice", String(4)),
    Column("owed", BigInteger, CheckConstraint("owed >= 0", name="owed"), nullable=False, server_default="0"),
    Index("ix_billing_bridge_prepaid_notice_on", "notice_on", sqlite_where=text(NOTICE), postgresql_where=text(NOTICE)),
    Index("ix_billing_bridge_prepaid_low_notice", "low_notice", sqlite_where=text(LOW), postgresql_where=text(LOW)),
    Index(
        "ix_billing_bridge_prepaid_expires_on",
        "expires_on",
        sqlite_where=text("expires_on IS NOT NULL"),
        postgresql_where=text("expires_on IS NOT NULL"),
    ),
    CheckConstraint("reserved >= 0 AND reserved <= balance", name="reserved_once"),
)
"""`unit` is what is counted: minor units of a currency, "octets" or "seconds". `worth_minor` is what was paid for what
is left, net; `overshoot` what networks let through beyond the balance, which nobody pays, and `owed` what they let
through while the rest of it was held for others, which is taken of what these give back. From `expires_on` on what is
left is gone, unless it is topped up before; on `notice_on` the customer is told that. `low_notice` is due or told where
little is left. Since `closing_at` it is being closed."""

closing = Table(
    "billing_bridge_prepaid_closing",
    metadata,
    Column("service_id", Id, ForeignKey("billing_bridge_prepaid.service_id"), primary_key=True),
    Column("record_id", BigInteger, nullable=False),
    Column("until_at", Instant, nullable=False),
    Column("is_over", Boolean, nullable=False),
    Column("pay_out", Boolean, nullable=False),
    Column("actor", String(128), nullable=False),
)
"""Balances that are being closed, or whose rest is to be paid out: once the usage log is debited up to `record_id`, and
no session that was granted something may still tell what it used; at `until_at` that wait `is_over`, and `record_id` is
what the log has then."""

terms = Table(
    "billing_bridge_prepaid_terms",
    metadata,
    Column("sequence", BigId, primary_key=True, autoincrement=True),
    Column("service_id", Id, ForeignKey("billing_bridge_prepaid.service_id"), nullable=False, index=True),
    Column("since", Instant, nullable=False),
    Column("version_id", Id),
    Column("slice", BigInteger, CheckConstraint("slice > 0", name="slice"), nullable=False),
    Column("validity_s", Integer, nullable=False),
    Column("action", String(12), nullable=False),
    Column("actor", String(128), nullable=False),
    Column("credit_days", Integer, CheckConstraint("credit_days > 0", name="credit_days")),
    Column("notice_days", Integer),
    Column("low_below", BigInteger),
    sqlite_autoincrement=True,
)
"""From `since` on a service pays by the prices of this offering version (NULL: its balance is units), in slices of so
many octets or seconds. Credit is kept for `credit_days` after the last top-up (NULL: for ever); the customer is told
`notice_days` before it is gone, and when less than `low_below` is left."""

session = Table(
    "billing_bridge_prepaid_session",
    metadata,
    Column("reservation_id", Id, primary_key=True),
    Column("service_id", Id, ForeignKey("billing_bridge_prepaid.service_id"), nullable=False, index=True),
    Column("station", String(300), nullable=False),
    Column("nas_id", Id, nullable=False),
    Column("session_key", Id, unique=True),
    Column("state", String(8), nullable=False),
    Column("upstream_octets", BigInteger, nullable=False),
    Column("downstream_octets", BigInteger, nullable=False),
    Column("seconds", BigInteger, nullable=False),
    Column("open", BigInteger, CheckConstraint("open >= 0", name="open"), nullable=False),
    Column("seen_until", Instant, nullable=False),
    Column("free_until", Instant),
    Column("expires_at", Instant, nullable=False),
    Column("heard_at", Instant, nullable=False),
    Column("nas_limit", BigInteger, nullable=False, server_default="0"),
    Index("ix_billing_bridge_prepaid_session_held", "expires_at", sqlite_where=text(HELD), postgresql_where=text(HELD)),
)
"""A slice and the session it is for: `session_key` is NULL until its first accounting record. The totals are what is
counted of it, `open` what it may still use; what it used before `free_until` costs nothing. `nas_limit` is how far its
NAS was told to let it come since its begin, in octets of both directions or seconds; 0 where it was told nothing."""

used = Table(
    "billing_bridge_prepaid_used",
    metadata,
    Column("service_id", Id, ForeignKey("billing_bridge_prepaid.service_id"), primary_key=True),
    Column("terms", BigInteger, primary_key=True, autoincrement=False),
    Column("period_on", Date, primary_key=True),
    Column("used", BigInteger, nullable=False),
    Column("debited", BigInteger, nullable=False),
)
"""Octets or seconds of a month under certain terms, and what they cost by them together."""

call = Table(
    "billing_bridge_prepaid_call",
    metadata,
    Column("service_id", Id, ForeignKey("billing_bridge_prepaid.service_id"), primary_key=True),
    Column("call_id", String(64), primary_key=True),
    Column("number", String(32), nullable=False),
    Column("began_at", Instant, nullable=False),
    Column("terms", BigInteger, nullable=False),
    Column("period_on", Date, nullable=False),
    Column("granted_s", Integer, nullable=False),
    Column("duration_s", Integer),
    Column("debited", BigInteger, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Index(
        "ix_billing_bridge_prepaid_call_held", "expires_at", sqlite_where=text(GRANTED), postgresql_where=text(GRANTED)
    ),
)
"""Calls of prepaid services: `granted_s` is reserved for one that goes on (0 once it is not), `duration_s` known of one
that has ended."""

day = Table(
    "billing_bridge_prepaid_day",
    metadata,
    Column("service_id", Id, ForeignKey("billing_bridge_prepaid.service_id"), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("debited", BigInteger, nullable=False),
    Column("earned_minor", BigInteger, nullable=False),
    Column("posted_minor", BigInteger, nullable=False, server_default="0"),
    Column("lapsed_minor", BigInteger, nullable=False, server_default="0"),
    Column("lapsed_posted_minor", BigInteger, nullable=False, server_default="0"),
    Index(
        "ix_billing_bridge_prepaid_day_unposted", "day", sqlite_where=text(UNPOSTED), postgresql_where=text(UNPOSTED)
    ),
)
"""What was debited on a local day of use, how much of what was paid for it was earned by that, how much by credit that
expired on it, and how much of both stands in the books."""

movement = Table(
    "billing_bridge_prepaid_movement",
    metadata,
    Column("sequence", BigId, primary_key=True, autoincrement=True),
    Column("service_id", Id, ForeignKey("billing_bridge_prepaid.service_id"), nullable=False),
    Column("kind", String(12), nullable=False),
    Column("key", String(120), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("reserved_change", BigInteger, nullable=False),
    Column("balance_after", BigInteger, nullable=False),
    Column("reserved_after", BigInteger, nullable=False),
    Column("overshoot", BigInteger, nullable=False),
    Column("worth_change_minor", BigInteger, nullable=False),
    Column("session_key", Id),
    Column("record_id", BigInteger),
    Column("actor", String(128), nullable=False),
    Column("at", Instant, nullable=False),
    Index("uq_billing_bridge_prepaid_movement_key", "service_id", "key", unique=True),
    Index("ix_billing_bridge_prepaid_movement_service_id", "service_id", "sequence"),
    sqlite_autoincrement=True,
)
"""Everything that ever moved a balance or what is reserved of it. A key moves once."""

notice = Table(
    "billing_bridge_prepaid_notice",
    metadata,
    Column("notice_id", Id, primary_key=True),
    Column("service_id", Id, ForeignKey("billing_bridge_prepaid.service_id"), nullable=False),
    Column("what", String(40), nullable=False),
    Column("expires_on", Date),
    Column("account_id", Id, nullable=False, index=True),
    Column("recipient", String(254), nullable=False),
    Column("locale", String(16), nullable=False),
    Column("title", String(300), nullable=False),
    Column("text", Text, nullable=False),
    Column("state", String(12), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_at", Instant, nullable=False),
    Column("claimed_by", String(64)),
    Column("words", String(500)),
    Column("created_at", Instant, nullable=False),
    Column("settled_at", Instant),
    UniqueConstraint("service_id", "what"),
    Index("ix_billing_bridge_prepaid_notice_state", "state", "next_at"),
)
"""What customers are told of their credit, once: `what` is "expiry:" with the day on which it is gone, also in
`expires_on`, or "low:" with the moment at which little was left."""

position = Table(
    "billing_bridge_prepaid_position",
    metadata,
    Column("follower", String(16), primary_key=True),
    Column("record_id", BigInteger, nullable=False),
)
"""One row: every record of the usage log up to this id is debited."""

refuse_changes(movement, "movements of a prepaid balance are only ever added")
refuse_changes(terms, "terms of a prepaid service are only ever added")
