"""Tables of orders and subscriptions.

What must never be true at once is refused by unique indexes: two open orders of one subscription, one username on two
living subscriptions, two orders for one idempotency key, two suspensions of one item.
"""

from __future__ import annotations

from sqlalchemy import (
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
    text,
)

from controller.store.metadata import BigId, Id, Instant, metadata

subscription = Table(
    "orders_subscription",
    metadata,
    Column("subscription_id", Id, primary_key=True),
    Column("account_id", Id, ForeignKey("crm_account.account_id"), nullable=False, index=True),
    Column("service_id", Id, nullable=False, unique=True),
    Column("version_id", Id, ForeignKey("catalog_version.version_id"), nullable=False, index=True),
    Column("state", String(16), nullable=False),
    Column("username", String(63), nullable=False),
    Column("framed_ipv4", String(15)),
    Column("ordered_at", Instant, nullable=False),
    Column("activated_at", Instant),
    Column("ended_at", Instant),
)
_LIVING = text("state <> 'terminated'")
Index(
    "uq_orders_subscription_username",
    subscription.c.username,
    unique=True,
    sqlite_where=_LIVING,
    postgresql_where=_LIVING,
)

attachment = Table(
    "orders_attachment",
    metadata,
    Column("subscription_id", Id, ForeignKey("orders_subscription.subscription_id"), primary_key=True),
    Column("position", Integer, primary_key=True, comment="From the subscriber inwards."),
    Column("kind", String(8), nullable=False),
    Column("device_id", Id, nullable=False, index=True),
    Column("port", String(64), nullable=False, comment="PON port or interface."),
    Column("onu_serial", String(12)),
    Column("subscriber_vlan", Integer, nullable=False, comment="0 was left to provisioning."),
)

item = Table(
    "orders_item",
    metadata,
    Column("item_id", Id, primary_key=True),
    Column("account_id", Id, ForeignKey("crm_account.account_id"), nullable=False),
    Column("reference", String(64), nullable=False, comment="The orderer's own; the same again is the same item."),
    Column("subscription_id", Id, ForeignKey("orders_subscription.subscription_id"), index=True),
    Column("version_id", Id, ForeignKey("catalog_version.version_id"), nullable=False, index=True),
    Column("quantity", Integer, nullable=False),
    Column("ordered_at", Instant, nullable=False),
    Column("held_since", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("ended_at", Instant),
    UniqueConstraint("account_id", "reference"),
)
"""What an account has beside its lines: TV, rental, hosting, an add-on, a discount, something sold once."""

pause = Table(
    "orders_pause",
    metadata,
    Column("pause_id", Id, primary_key=True),
    Column("subscription_id", Id, ForeignKey("orders_subscription.subscription_id"), nullable=False, index=True),
    Column("service_id", Id, nullable=False),
    Column("account_id", Id, ForeignKey("crm_account.account_id"), nullable=False, index=True),
    Column("item_id", Id, ForeignKey("orders_item.item_id")),
    Column("with_pause_id", Id, index=True),
    Column("kind", String(16), nullable=False),
    Column("first_on", Date, nullable=False),
    Column("until_on", Date),
    Column("percent", Integer, nullable=False),
    Column("reason", String(200), nullable=False),
    Column("service_off", Boolean, nullable=False),
    Column("off_since", Instant),
    Column("agreed_at", Instant, nullable=False),
    Column("agreed_by", String(128), nullable=False),
    Column("changed_at", Instant, nullable=False),
    Index("ix_orders_pause_first_on", "first_on"),
)
"""Days, [first_on, until_on), on which a line (or with it an item) is out of use, or not charged, or both."""

suspension = Table(
    "orders_suspension",
    metadata,
    Column("suspension_id", Id, primary_key=True, comment="To billing the id of a pause."),
    Column("item_id", Id, ForeignKey("orders_item.item_id"), nullable=False),
    Column("account_id", Id, ForeignKey("crm_account.account_id"), nullable=False, index=True),
    Column("since", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("billed", Boolean, nullable=False),
    Column("first_on", Date, nullable=False),
    Column("until_on", Date),
    Column("reason", String(200), nullable=False),
)
"""Times in which an item was kept from its customer. Where it is not billed, on the days [first_on, until_on)."""
_IN_FORCE = text("ended_at IS NULL")
Index(
    "uq_orders_suspension_item_id",
    suspension.c.item_id,
    unique=True,
    sqlite_where=_IN_FORCE,
    postgresql_where=_IN_FORCE,
)

order = Table(
    "orders_order",
    metadata,
    Column("order_id", Id, primary_key=True),
    Column("state", String(24), nullable=False, index=True),
    Column("account_id", Id, ForeignKey("crm_account.account_id"), nullable=False, index=True),
    Column("open_subscription_id", Id, unique=True),
    Column("attempt", Integer, nullable=False),
    Column("requested_by", String(128), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("step", String(32)),
    Column("waiting", Boolean, nullable=False),
    Column("cause", Text),
    Column("owner_team", String(32)),
    Column("cancelled_by", String(128)),
)

line = Table(
    "orders_line",
    metadata,
    Column("order_id", Id, ForeignKey("orders_order.order_id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("action", String(8), nullable=False),
    Column("subscription_id", Id, ForeignKey("orders_subscription.subscription_id"), nullable=False, index=True),
    Column("service_id", Id, nullable=False, index=True),
    Column("version_id", Id, ForeignKey("catalog_version.version_id"), nullable=False),
    Column("from_version_id", Id, ForeignKey("catalog_version.version_id")),
)

step = Table(
    "orders_step",
    metadata,
    Column("order_id", Id, ForeignKey("orders_order.order_id"), primary_key=True),
    Column("name", String(32), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("state", String(8), nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("tries", Integer, nullable=False),
    Column("cause", Text),
    Column("result", Text),
)

transition = Table(
    "orders_transition",
    metadata,
    Column("sequence", BigId, primary_key=True, autoincrement=True),
    Column("order_id", Id, ForeignKey("orders_order.order_id"), nullable=False, index=True),
    Column("state", String(24), nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("cause", Text),
    sqlite_autoincrement=True,
)

secret = Table(
    "orders_secret",
    metadata,
    Column("order_id", Id, ForeignKey("orders_order.order_id"), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    comment="A new subscriber's password, sealed, until RADIUS has it; deleted then.",
)

idempotency = Table(
    "orders_idempotency",
    metadata,
    Column("actor", String(128), primary_key=True),
    Column("key", String(128), primary_key=True),
    Column("body", LargeBinary, nullable=False, comment="Digest of the body, sealed: it covers a password."),
    Column("order_id", Id, nullable=False),
    Column("created_at", Instant, nullable=False),
)

contract_notice = Table(
    "orders_contract_notice",
    metadata,
    Column("notice_id", Id, primary_key=True),
    Column("subject", String(48), nullable=False),
    Column("ends_on", Date, nullable=False),
    Column("account_id", Id, ForeignKey("crm_account.account_id"), nullable=False, index=True),
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
    UniqueConstraint("subject", "ends_on"),
    Index("ix_orders_contract_notice_state", "state", "next_at"),
)
"""What a customer is told before a contract ends or renews, once for each end. `subject` is "subscription:id" or
"item:id"; `state` waiting, sending, sent, withdrawn, or uncertain: then a person decides."""
