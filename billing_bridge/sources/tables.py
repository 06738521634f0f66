"""Columns of the sources of usage: what is registered, what was delivered, what became of it, hour by hour.

Deliveries and records are only ever added; of a record only what became of it (`state`) changes.
"""

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
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from controller.store.metadata import BigId, Id, Instant, metadata

source = Table(
    "billing_bridge_source",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("title", String(120), nullable=False),
    Column("measure", String(8), nullable=False),
    Column("identifier_kind", String(16), nullable=False),
    Column("bills", Boolean, nullable=False),
    Column("awaited", Boolean, nullable=False),
    Column("lateness_s", Integer),
    Column("mapping", Text),
    Column("complete_until", Instant),
    Column("deliveries", BigInteger, nullable=False),
    Column("link", LargeBinary(32), nullable=False),
    Column("registered_at", Instant, nullable=False),
    Column("registered_by", String(128), nullable=False),
    Column("retired_at", Instant),
)
"""`awaited`: a bill run waits until `complete_until` has reached the end of what it bills. `link` is the newest of the
chain over its deliveries. `mapping` is JSON: how its files are read."""

delivery = Table(
    "billing_bridge_delivery",
    metadata,
    Column("delivery_id", BigId, primary_key=True, autoincrement=True),
    Column("source", String(64), ForeignKey("billing_bridge_source.name"), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("name", String(200), nullable=False),
    Column("content_sha256", LargeBinary(32), nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("received_by", String(128), nullable=False),
    Column("first_record_id", BigInteger, nullable=False),
    Column("accepted", Integer, nullable=False),
    Column("rated", Integer, nullable=False),
    Column("unrated", Integer, nullable=False),
    Column("suspense", Integer, nullable=False),
    Column("duplicate", Integer, nullable=False),
    Column("complete_until", Instant),
    Column("previous", LargeBinary(32), nullable=False),
    Column("link", LargeBinary(32), nullable=False),
    UniqueConstraint("source", "number"),
    sqlite_autoincrement=True,
)
"""One file, or one batch of events: stored whole or not at all. Its new records begin at `first_record_id`."""

record = Table(
    "billing_bridge_source_record",
    metadata,
    Column("record_id", BigId, primary_key=True, autoincrement=False),
    Column("source", String(64), nullable=False),
    Column("record_key", String(200), nullable=False),
    Column("delivery", BigInteger, nullable=False),
    Column("line", Integer, nullable=False),
    Column("accepted_at", Instant, nullable=False),
    Column("state", String(16), nullable=False),
    Column("identifier_kind", String(16), nullable=False),
    Column("identifier", String(253), nullable=False),
    Column("since", Instant),
    Column("until", Instant),
    Column("upstream_octets", BigInteger),
    Column("downstream_octets", BigInteger),
    Column("duration_s", BigInteger),
    Column("number", String(64)),
    Column("content", Text, nullable=False),
    Column("content_sha256", String(64), nullable=False),
    Column("record_sha256", String(64), nullable=False),
    UniqueConstraint("source", "record_key"),
    Index("ix_billing_bridge_source_record_source_accepted_at", "source", "accepted_at"),
    Index("ix_billing_bridge_source_record_identifier", "identifier_kind", "identifier"),
)
"""What one line or event said, as it said it (`content`). `delivery` is the number of its source's delivery."""

call = Table(
    "billing_bridge_call",
    metadata,
    Column("call_id", BigId, primary_key=True, autoincrement=False),
    Column("service_id", Id, nullable=False),
    Column("day", Date, nullable=False),
    Column("at", Instant, nullable=False),
    Column("duration_s", BigInteger, nullable=False),
    Column("number", String(64), nullable=False),
    Column("source", String(64), nullable=False),
    Column("record_id", BigInteger, nullable=False),
    Column("adjustment", Boolean, nullable=False),
    Column("turn", Integer, nullable=False),
    UniqueConstraint("record_id", "turn"),
    CheckConstraint("(turn % 2 = 0) = (duration_s > 0)", name="turn"),
    Index("ix_billing_bridge_call_service_id_day", "service_id", "day", "call_id"),
)
"""Answered calls of a service, by the local day on which they began. Ids only ever rise, in order of booking.

`turn` counts what became of a record: 0 is its call as it was booked first, an odd one takes back the one before (its
`duration_s` is below zero), the next is its call again, booked to another service."""

move = Table(
    "billing_bridge_usage_move",
    metadata,
    Column("measure", String(8), primary_key=True),
    Column("last_id", BigInteger, primary_key=True, autoincrement=False),
    Column("first_id", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("identifier", String(253), nullable=False),
    Column("since", Instant, nullable=False),
)
"""Bookings of intervals ("octets") or calls, first to last, that gave usage to whoever it was by this entry of a
timeline of billing_bridge_identifier."""

charge_calls = Table(
    "billing_bridge_charge_calls",
    metadata,
    Column("charge_id", Id, ForeignKey("billing_bridge_charge.charge_id"), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("service_id", Id, nullable=False),
    Column("calls", Integer, nullable=False),
    Column("duration_s", BigInteger, nullable=False),
    Column("last_call_id", BigInteger, nullable=False),
)
"""Evidence of a charge for calls: the calls of that service and day whose id is at most `last_call_id`."""

identifier = Table(
    "billing_bridge_identifier",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("identifier", String(253), primary_key=True),
    Column("since", Instant, primary_key=True),
    Column("service_id", Id),
    Column("overrides", Boolean, nullable=False),
    Column("mapped_at", Instant, nullable=False),
    Column("mapped_by", String(128), nullable=False),
)
"""Whose usage it is: from `since` on the username, address, telephone number or port is that of the service; NULL ends
it. A decision of a person. With `overrides` it is stronger than what RADIUS said about a username; without, it only
fills in where RADIUS knew nobody."""

service_source = Table(
    "billing_bridge_service_source",
    metadata,
    Column("service_id", String(32), primary_key=True),
    Column("measure", String(8), primary_key=True),
    Column("since", Instant, primary_key=True),
    Column("source", String(64), nullable=False),
    Column("claimed", Boolean, nullable=False),
    Column("decided_by", String(128), nullable=False),
)
"""Which source bills a service ("*": every one without a word of its own) from `since` on; the others are compared.

`claimed`: nobody decided, it was the first source to tell of the service."""

compared = Table(
    "billing_bridge_usage_compared",
    metadata,
    Column("service_id", Id, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("source", String(64), primary_key=True),
    Column("upstream_octets", BigInteger, nullable=False),
    Column("downstream_octets", BigInteger, nullable=False),
    Column("calls", Integer, nullable=False),
    Column("duration_s", BigInteger, nullable=False),
    Column("records", Integer, nullable=False),
)
"""What sources that do not bill a service say of it, beside what is billed and never added to it."""

usage_hour = Table(
    "billing_bridge_usage_hour",
    metadata,
    Column("source", String(64), primary_key=True),
    Column("hour", Instant, primary_key=True),
    *(
        Column(f"{name}_{what}", BigInteger, nullable=False)
        for name in ("accepted", "rated", "unrated", "suspense", "duplicate")
        for what in ("records", "amount")
    ),
)
"""What was accepted in an hour (of arrival), and what has become of it: records, and octets or seconds."""
