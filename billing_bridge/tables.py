"""Columns of the billing bridge: copies of prices, entitlement timelines, usage by day, charges and bill runs.

Foreign keys stay inside the room; ids of other rooms (account, service, order) are plain indexed columns. Usage
intervals, entitlements and charges are only ever added.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
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

from controller.store.metadata import BigId, ExactDecimal, Id, Instant, metadata
from controller.store.triggers import refuse_changes

tariff = Table(
    "billing_bridge_tariff",
    metadata,
    Column("version_id", Id, primary_key=True),
    Column("offering_id", Id, nullable=False),
    Column("offering_name", String(200), nullable=False),
    Column("number", Integer, nullable=False),
    Column("effective_on", Date, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("tax_percent", ExactDecimal, nullable=False),
    Column("tax_category", String(4), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("cycle", String(12), nullable=False),
    Column("plan", Text, nullable=False),
    Column("names", Text, nullable=False),
    Column("profile_name", String(32)),
    Column("downstream_bps", BigInteger),
    Column("upstream_bps", BigInteger),
)
"""Offering versions as they were when a subscription first used them. A version never changes, so a copy stays true.

`plan` is the JSON of controller.domain.price_text, `names` of pairs of language and name.
"""

subscription = Table(
    "billing_bridge_subscription",
    metadata,
    Column("subscription_id", Id, primary_key=True),
    Column("account_id", Id, nullable=False, index=True),
    Column("service_id", Id, nullable=False, index=True),
    Column("anchor_day", Integer, nullable=False),
    Column("phase_on", Date, nullable=False),
    Column("rate_from_on", Date, nullable=False),
    Column("usage_billed_until_on", Date),
    Column("entitled_from_on", Date),
    Column("entitled_until_on", Date),
)
"""`anchor_day` and `phase_on` fix its periods: see billing.cycle. `rate_from_on`: the earliest day whose period must
be rated again. Late facts move it back, a bill run forward.

[`entitled_from_on`, `entitled_until_on`) are the last days of the timeline on which a plan held, NULL when none ever
did: mediation asks no more of most usage than whether its day lies in there.
"""

entitlement = Table(
    "billing_bridge_entitlement",
    metadata,
    Column("sequence", BigId, primary_key=True, autoincrement=True),
    Column(
        "subscription_id", Id, ForeignKey("billing_bridge_subscription.subscription_id"), nullable=False, index=True
    ),
    Column("at", Instant, nullable=False),
    Column("version_id", Id, ForeignKey("billing_bridge_tariff.version_id")),
    Column("quantity", Integer, nullable=False),
    Column("event_id", Id, nullable=False, unique=True),
    Column("event_name", String(64), nullable=False),
    Column("order_id", Id, nullable=False),
    sqlite_autoincrement=True,
)
"""The timeline: from `at` on the subscription is entitled to `quantity` pieces of `version_id`; NULL ends it."""

pause = Table(
    "billing_bridge_pause",
    metadata,
    Column("sequence", BigId, primary_key=True, autoincrement=True),
    Column(
        "subscription_id", Id, ForeignKey("billing_bridge_subscription.subscription_id"), nullable=False, index=True
    ),
    Column("pause_id", Id, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("first_on", Date, nullable=False),
    Column("until_on", Date, nullable=False),
    Column("percent", Integer, nullable=False),
    Column("event_id", Id, nullable=False, unique=True),
    Column("actor", String(128), nullable=False),
    Column("at", Instant, nullable=False),
    sqlite_autoincrement=True,
)
"""Of the entries of one pause the last one is what it is. On its days `percent` of the fees go on; a day that never
comes (the year 9999) ends a pause that nobody has ended, and one that was called off ends on its first day."""

account_terms = Table(
    "billing_bridge_account_terms",
    metadata,
    Column("account_id", Id, primary_key=True),
    Column("anchor_day", Integer, nullable=False),
    Column("changed_at", Instant, nullable=False),
)
"""Accounts whose new subscriptions are not billed from the usual day: 1 … 31, or 0 for the day on which each begins."""

anchor_change = Table(
    "billing_bridge_anchor_change",
    metadata,
    Column("sequence", BigId, primary_key=True, autoincrement=True),
    Column(
        "subscription_id", Id, ForeignKey("billing_bridge_subscription.subscription_id"), nullable=False, index=True
    ),
    Column("said_on", Date, nullable=False),
    Column("anchor_day", Integer, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("at", Instant, nullable=False),
    sqlite_autoincrement=True,
)
"""Another anchor for a subscription that there is: it holds from the end of the period in which `said_on` lies."""

own_zone = Table(
    "billing_bridge_own_zone",
    metadata,
    Column("owner_id", Id, primary_key=True),
    Column("zone", String(64), nullable=False),
)
"""Accounts whose days are counted in another zone than the legal entity's (an IANA name), and their services.

Rows are only ever added: an account never moves, for a day would be billed twice or not at all.
"""

payer = Table(
    "billing_bridge_payer",
    metadata,
    Column("sequence", BigId, primary_key=True, autoincrement=True),
    Column("account_id", Id, nullable=False, index=True),
    Column("since", Date, nullable=False),
    Column("payer_id", Id, nullable=False, index=True),
    Column("heading", String(120), nullable=False),
    Column("event_id", Id, nullable=False, unique=True),
    sqlite_autoincrement=True,
)
"""From `since` on `payer_id` pays for what `account_id` has; the account itself, where it pays again."""

price_correction = Table(
    "billing_bridge_price_correction",
    metadata,
    Column("sequence", BigId, primary_key=True, autoincrement=True),
    Column("version_id", Id, nullable=False, index=True),
    Column("priced_as", Id, ForeignKey("billing_bridge_tariff.version_id"), nullable=False),
    Column("first_on", Date, nullable=False),
    Column("until_on", Date, nullable=False),
    Column("reason", String(200), nullable=False),
    Column("actor", String(128), nullable=False),
    Column("at", Instant, nullable=False),
    sqlite_autoincrement=True,
)
"""Periods of `version_id` that begin on [first_on, until_on) cost what `priced_as` says; a later row overrules."""

rerating = Table(
    "billing_bridge_rerating",
    metadata,
    Column("sequence", BigId, primary_key=True, autoincrement=True),
    Column("offering_id", Id, nullable=False),
    Column("first_on", Date, nullable=False),
    Column("until_on", Date, nullable=False),
    Column("version_id", Id),
    Column("priced_as", Id),
    Column("subscriptions", Integer, nullable=False),
    Column("reason", String(200), nullable=False),
    Column("actor", String(128), nullable=False),
    Column("at", Instant, nullable=False),
    sqlite_autoincrement=True,
)
"""Periods that began on [first_on, until_on) of whoever had the offering were rated again: to be looked up, beside the
entry of the audit log. `version_id` is NULL where its data were corrected and not its price."""

position = Table(
    "billing_bridge_position",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("record_id", BigInteger, nullable=False),
    Column("last_interval_id", BigInteger, nullable=False),
)
"""How far the usage log was mediated; moves in the transaction of what it produced."""

session = Table(
    "billing_bridge_session",
    metadata,
    Column("session_key", String(64), primary_key=True),
    Column("service_id", Id),
    Column("upstream_octets", BigInteger, nullable=False),
    Column("downstream_octets", BigInteger, nullable=False),
    Column("upstream_record_id", BigInteger),
    Column("downstream_record_id", BigInteger),
    Column("seen_until", Instant, nullable=False),
    Column("heard_at", Instant, nullable=False),
)
"""`seen_until` is the NAS's time, `heard_at` ours. Rows of sessions long unheard of are deleted."""

usage_interval = Table(
    "billing_bridge_usage_interval",
    metadata,
    Column("interval_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("service_id", Id, nullable=False),
    Column("day", Date, nullable=False),
    Column("session_key", String(64), nullable=False),
    Column("grown_since", Instant, nullable=False),
    Column("since", Instant, nullable=False),
    Column("until", Instant, nullable=False),
    Column("upstream_octets", BigInteger, nullable=False),
    Column("downstream_octets", BigInteger, nullable=False),
    Column("record_ids", String(64), nullable=False),
    Column("adjustment", Boolean, nullable=False),
    Column("source", String(64)),
    Index("ix_billing_bridge_usage_interval_service_id_day", "service_id", "day", "interval_id"),
)
"""What one record added, on one local day. `record_ids`: comma-separated ids in the usage log, the present one last.

`grown_since` is where the whole growth began, of which [since, until) is the part on this day. With a `source` the ids
are of that source's records instead.
"""

usage_day = Table(
    "billing_bridge_usage_day",
    metadata,
    Column("service_id", Id, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("upstream_octets", BigInteger, nullable=False),
    Column("downstream_octets", BigInteger, nullable=False),
    Column("intervals", Integer, nullable=False),
    Column("last_interval_id", BigInteger, nullable=False),
)
"""Sums of the intervals of a service and day up to `last_interval_id`."""

suspense = Table(
    "billing_bridge_suspense",
    metadata,
    Column("suspense_id", BigId, primary_key=True, autoincrement=True),
    Column("reason", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("since", Instant, nullable=False),
    Column("until", Instant, nullable=False),
    Column("upstream_octets", BigInteger, nullable=False),
    Column("downstream_octets", BigInteger, nullable=False),
    Column("entered_at", Instant, nullable=False),
    Column("session_key", String(64)),
    Column("username", String(253)),
    Column("nas_id", Id),
    Column("record_ids", String(64)),
    Column("service_id", Id),
    Column("day", Date),
    Column("detail", String(200)),
    Column("version_id", Id),
    Column("counted_on", Date),
    Column("grown_since", Instant),
    Column("accepted_at", Instant),
    Column("source", String(64)),
    Column("source_record_id", BigInteger),
    Column("duration_s", BigInteger),
    Column("last_interval_id", BigInteger),
    Column("decided_at", Instant),
    Column("decided_by", String(128)),
    Index("ix_billing_bridge_suspense_state", "state", "suspense_id"),
    Index("ix_billing_bridge_suspense_username", "username"),
    Index("ix_billing_bridge_suspense_source_record_id", "source_record_id"),
    Index("ix_billing_bridge_suspense_service_id_day", "service_id", "day"),
    sqlite_autoincrement=True,
)
"""Usage that cannot be charged to anybody yet, and what was decided about it. Age is counted from `entered_at`.

What one record added (`session_key` … `record_ids`) stands here *instead of* in the intervals. What a service used on
a local day without a plan (`service_id` … `version_id`) stands here *beside* its intervals and day: `version_id` is the
plan before or after it, `counted_on` the day with a plan on which it is charged, once that was decided. It covers the
intervals up to `last_interval_id`, less those that an earlier item of the day covers. What another
source told (`source`, `source_record_id`) has its identifier for a username. `accepted_at` is when it arrived,
`grown_since` where the growth began of which it is a part.
"""

charge = Table(
    "billing_bridge_charge",
    metadata,
    Column("charge_id", Id, primary_key=True),
    Column("bill_run_id", Id, nullable=False),
    Column("batch", Integer, nullable=False),
    Column("account_id", Id, nullable=False, index=True),
    Column("subscription_id", Id, ForeignKey("billing_bridge_subscription.subscription_id"), nullable=False),
    Column("service_id", Id, nullable=False),
    Column("version_id", Id, ForeignKey("billing_bridge_tariff.version_id"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("code", String(40), nullable=False),
    Column("period_first_on", Date, nullable=False),
    Column("period_until_on", Date, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("first_on", Date, nullable=False),
    Column("until_on", Date, nullable=False),
    Column("item", String(200), nullable=False),
    Column("description", String(400), nullable=False),
    Column("heading", String(120), nullable=False),
    Column("quantity", ExactDecimal, nullable=False),
    Column("unit", String(8), nullable=False),
    Column("unit_price", ExactDecimal, nullable=False),
    Column("net_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("tax_percent", ExactDecimal, nullable=False),
    Column("octets", BigInteger, nullable=False),
    Column("days", Integer, nullable=False),
    Column("adjustment", Boolean, nullable=False),
    Column("arithmetic", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("subscription_id", "period_first_on", "version_id", "kind", "code", "attempt"),
    Index("ix_billing_bridge_charge_bill_run_id_batch", "bill_run_id", "batch"),
)
"""`account_id` is who pays; `heading` for whom, where that is another. `code` names the price of the version.

`arithmetic` is JSON: what was computed, less what had been charged before.
"""

charge_usage = Table(
    "billing_bridge_charge_usage",
    metadata,
    Column("charge_id", Id, ForeignKey("billing_bridge_charge.charge_id"), primary_key=True),
    Column("service_id", Id, nullable=False),
    Column("first_on", Date, nullable=False),
    Column("until_on", Date, nullable=False, index=True),
    Column("days", Text, nullable=False),
)
"""Evidence of a usage charge: of each day the intervals of the service whose id is at most `last_interval_id`.

`days` is JSON: (day, octets upstream, downstream, intervals, last_interval_id) of each, all of them within
[first_on, until_on), and the day by whose plan it was charged where a person decided on another one.

Intervals are only ever added and their ids only ever rise, so one number names any of them for good.
"""

bill_run = Table(
    "billing_bridge_bill_run",
    metadata,
    Column("bill_run_id", Id, primary_key=True),
    Column("as_of", Instant, nullable=False),
    Column("account_id", Id),
    Column("state", String(16), nullable=False, index=True),
    Column("dry", Boolean, nullable=False),
    Column("preview_id", Id),
    Column("hold_changed", Boolean, nullable=False),
    Column("phase", String(16), nullable=False),
    Column("usage_watermark", BigInteger, nullable=False),
    Column("event_watermark", BigInteger, nullable=False),
    Column("accounts", Integer, nullable=False),
    Column("batches", Integer, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Column("error", Text),
    Column("waiting_for", Text),
    Column("contents", Boolean, nullable=False),
    Index("ix_billing_bridge_bill_run_created_at", "created_at", "bill_run_id"),
)
"""A `dry` run writes no charge, takes no number and makes no document: it leaves drafts, to be looked at.

`preview_id` names the dry run that a run is compared with; with `hold_changed` accounts that differ from it wait.
`waiting_for`: the sources of usage that are not complete yet. `contents`: what its drafts say is kept.
"""

bill_batch = Table(
    "billing_bridge_bill_batch",
    metadata,
    Column("bill_run_id", Id, ForeignKey("billing_bridge_bill_run.bill_run_id"), primary_key=True),
    Column("batch", Integer, primary_key=True),
    Column("account_ids", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("charges", Integer, nullable=False),
    Column("documents", Integer, nullable=False),
    Column("totals", Text),
    Column("parts", LargeBinary),
    Column("moved_at", Instant),
    Column("taken_by", Integer),
    Column("taken_until", Instant),
    Index("ix_billing_bridge_bill_batch_state", "bill_run_id", "state", "batch"),
)
"""A frozen list of accounts (comma-separated ids). State: open, rated, checked, invoiced.

`totals` is the JSON of what rating counted in it, for the certificate; `parts` the same of each account that can be
rated again alone (JSON, deflated), while any of them waits. `moved_at` is when it reached its state, by the
clock on the wall: how fast the run goes is a matter of that, not of the instant that is billed.

`taken_by` is the helper (0: the run itself) that works on it towards its next state, and has it for itself until
`taken_until`, by the clock on the wall. That saves work, and decides nothing: whoever works on a batch locks it.
"""

bill_draft = Table(
    "billing_bridge_bill_draft",
    metadata,
    Column("bill_run_id", Id, ForeignKey("billing_bridge_bill_run.bill_run_id"), primary_key=True),
    Column("account_id", Id, primary_key=True),
    Column("currency", String(3), primary_key=True),
    Column("batch", Integer, nullable=False),
    Column("charges", Integer, nullable=False),
    Column("agreed_minor", BigInteger, nullable=False),
    Column("net_minor", BigInteger, nullable=False),
    Column("tax_minor", BigInteger, nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("issued", Boolean, nullable=False),
    Column("content", LargeBinary),
    Index("ix_billing_bridge_bill_draft_batch", "bill_run_id", "batch"),
    postgresql_with={"fillfactor": 50},  # each row is written twice, the second time beside its first (HOT)
)
"""What a document of the run will come to, proved before the first number is taken.

`sha256` is that of what it says without number and dates. Dry runs keep the content too (JSON, deflated), until
they are old or another one has taken their place; other runs that of accounts that wait.
"""

bill_rated_again = Table(
    "billing_bridge_bill_rated_again",
    metadata,
    Column("bill_run_id", Id, ForeignKey("billing_bridge_bill_run.bill_run_id"), primary_key=True),
    Column("account_id", Id, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("rated_at", Instant, nullable=False),
    Column("released_by", String(128), nullable=False),
    Column("release_reason", Text, nullable=False),
    Column("before", LargeBinary, nullable=False),
    Column("after", LargeBinary),
    Column("outcome", String(16)),
)
"""An account that waited and was let go was rated again: what its documents came to `before` and `after` it.

Both are JSON, deflated, a draft for each currency. `outcome` is unchanged, changed, or held (what changed has findings
of its own); NULL, like `after`, while it is being done.
"""

bill_certificate = Table(
    "billing_bridge_bill_certificate",
    metadata,
    Column("bill_run_id", Id, ForeignKey("billing_bridge_bill_run.bill_run_id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("made_at", Instant, nullable=False),
    Column("text", Text, nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
)
"""The signed certificate as it is handed out; a later one of the same run covers what was released meanwhile."""

recurring = Table(
    "billing_bridge_recurring",
    metadata,
    Column("subscription_id", Id, primary_key=True),
    Column("currency", String(3), nullable=False),
    Column("version_id", Id, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("minor", BigInteger, nullable=False),
    Column("bill_run_id", Id, nullable=False),
)
"""What a subscription's fees came to when it was last billed, for a whole period: the opening of the next run."""

bill_hold = Table(
    "billing_bridge_bill_hold",
    metadata,
    Column("bill_run_id", Id, ForeignKey("billing_bridge_bill_run.bill_run_id"), primary_key=True),
    Column("account_id", Id, primary_key=True),
    Column("source", String(16), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("held_at", Instant, nullable=False),
    Column("held_by", String(128), nullable=False),
    Column("released_at", Instant),
    Column("released_by", String(128)),
    Column("release_reason", Text),
    Column("to_rate", Boolean, nullable=False),
    Index("ix_billing_bridge_bill_hold_released_at", "released_at", "held_at"),
)
"""Why the documents of an account wait in a run: for a finding of the checks ("check") or by decision ("person").

They wait while any row of the account is not released, or `to_rate`: released, and not yet rated again. `account_id` ""
stands for every account of the run.
"""

refuse_changes(bill_certificate, "a certificate is never changed or deleted")
