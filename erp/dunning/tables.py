"""Columns of dunning: policies, what was done that cannot be undone, and what people decided.

Where an account stands is in none of them: that follows from them and from what is open (see model). A row of
`dunning_step` is written once, with the notice that goes with it, in the transaction of what it does to the network.
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

policy = Table(
    "dunning_policy",
    metadata,
    Column("policy_id", Id, primary_key=True),
    Column("segment", String(32), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("version", Integer, nullable=False),
    Column("effective_on", Date, nullable=False),
    Column("written", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
    UniqueConstraint("segment", "currency", "version"),
    UniqueConstraint("segment", "currency", "effective_on", name="uq_dunning_policy_effective_on"),
)
"""A version is added, never changed."""

segment = Table(
    "dunning_segment",
    metadata,
    Column("assignment_id", BigId, primary_key=True, autoincrement=True),
    Column("account_id", Id, nullable=False, index=True),
    Column("segment", String(32), nullable=False),
    Column("since", Date, nullable=False),
    Column("reason", String(200), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
    sqlite_autoincrement=True,
)
"""To which segment an account belongs from a day on; the latest assignment that has begun holds."""

notice = Table(
    "dunning_notice",
    metadata,
    Column("notice_id", Id, primary_key=True),
    Column("account_id", Id, nullable=False),
    Column("day", Date, nullable=False),
    Column("text", String(32), nullable=False),
    Column("channel", String(8), CheckConstraint("channel IN ('email', 'letter')", name="channel"), nullable=False),
    Column("recipient", String(254), nullable=False),
    Column("locale", String(16), nullable=False),
    Column(
        "state",
        String(12),
        CheckConstraint("state IN ('waiting', 'sending', 'sent', 'withdrawn', 'uncertain')", name="state"),
        nullable=False,
    ),
    Column("tries", Integer, nullable=False),
    Column("next_at", Instant, nullable=False),
    Column("claimed_by", String(64)),
    Column("content", Text),
    Column("content_sha256", LargeBinary(32)),
    Column("pdf", LargeBinary),
    Column("words", String(500)),
    Column("created_at", Instant, nullable=False),
    Column("settled_at", Instant),
    Column("settled_on", Date),
    UniqueConstraint("account_id", "day"),
    Index("ix_dunning_notice_state", "state", "next_at"),
)
"""A letter or an e-mail about the steps that name it. What it says is written when it goes out, and then kept."""

step = Table(
    "dunning_step",
    metadata,
    Column("step_id", Id, primary_key=True),
    Column("account_id", Id, nullable=False, index=True),
    Column("invoice_id", Id, nullable=False),
    Column("since_on", Date, nullable=False),
    Column("number", Integer, nullable=False),
    Column("name", String(32), nullable=False),
    Column("policy_id", String(32), nullable=False),
    Column("taken_on", Date, nullable=False),
    Column("taken_at", Instant, nullable=False),
    Column("notice_id", Id, ForeignKey("dunning_notice.notice_id"), index=True),
    UniqueConstraint("invoice_id", "since_on", "number"),
    Index("ix_dunning_step_taken_at", "taken_at", "step_id"),
)
"""A rung is climbed once per invoice, and again only after a chargeback reopened it (`since_on`)."""

pause = Table(
    "dunning_pause",
    metadata,
    Column("pause_id", Id, primary_key=True),
    Column("account_id", Id, nullable=False, index=True),
    Column(
        "kind", String(12), CheckConstraint("kind IN ('hold', 'promise', 'collections')", name="kind"), nullable=False
    ),
    Column("first_on", Date, nullable=False),
    Column("until_on", Date),
    Column("lifts", Boolean, nullable=False),
    Column("amount_minor", BigInteger),
    Column("reason", String(300), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("ended_at", Instant),
    Column("ended_by", String(128)),
    CheckConstraint("until_on IS NULL OR until_on >= first_on", name="days"),
)
"""Days on which an account is left alone. Ended early, its last day moves; one called off has none."""

plan = Table(
    "dunning_plan",
    metadata,
    Column("plan_id", Id, primary_key=True),
    Column("account_id", Id, nullable=False, index=True),
    Column("opening_minor", BigInteger, nullable=False),
    Column("made_on", Date, nullable=False),
    Column("grace_days", Integer, nullable=False),
    Column("reason", String(300), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("ended_on", Date),
    Column("ended_by", String(128)),
)

plan_invoice = Table(
    "dunning_plan_invoice",
    metadata,
    Column("plan_id", Id, ForeignKey("dunning_plan.plan_id"), primary_key=True),
    Column("invoice_id", Id, primary_key=True, index=True),
)

instalment = Table(
    "dunning_instalment",
    metadata,
    Column("plan_id", Id, ForeignKey("dunning_plan.plan_id"), primary_key=True),
    Column("due_on", Date, primary_key=True),
    Column("amount_minor", BigInteger, CheckConstraint("amount_minor > 0", name="positive"), nullable=False),
)

dispute = Table(
    "dunning_dispute",
    metadata,
    Column("dispute_id", Id, primary_key=True),
    Column("account_id", Id, nullable=False, index=True),
    Column("invoice_id", Id, nullable=False, index=True),
    Column("line_id", Id),
    Column("currency", String(3), nullable=False),
    Column("amount_minor", BigInteger, CheckConstraint("amount_minor > 0", name="positive"), nullable=False),
    Column("reason", String(500), nullable=False),
    Column(
        "state", String(8), CheckConstraint("state IN ('open', 'upheld', 'rejected')", name="state"), nullable=False
    ),
    Column("opened_on", Date, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("opened_by", String(128), nullable=False),
    Column("until_on", Date),
    Column("resolved_at", Instant),
    Column("resolved_by", String(128)),
    Column("resolution", String(500)),
    Column("credit_note_id", Id),
    Index("ix_dunning_dispute_state", "state", "opened_at"),
)
"""An amount that a customer contests. `until_on` is when it stops to rest, once it was resolved."""

evidence = Table(
    "dunning_evidence",
    metadata,
    Column("dispute_id", Id, ForeignKey("dunning_dispute.dispute_id"), primary_key=True),
    Column("line_id", Id, primary_key=True),
    Column("content", Text, nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("frozen_at", Instant, nullable=False),
)
"""What the explanation of a disputed line said when the dispute was opened."""

run = Table(
    "dunning_run",
    metadata,
    Column("day", Date, primary_key=True),
    Column("accounts", Integer, nullable=False),
    Column("steps", Integer, nullable=False),
    Column("changed", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("finished_at", Instant),
)
"""The nights. A night that is not there was missed, and nothing is lost by it."""
