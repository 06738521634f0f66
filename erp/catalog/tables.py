"""Tables of the catalogue. The database itself refuses to change or delete a version that a subscription uses."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Date, ForeignKey, Integer, String, Table, Text, UniqueConstraint

from controller.store.metadata import ExactDecimal, Id, Instant, metadata
from controller.store.triggers import refuse_changes

offering = Table(
    "catalog_offering",
    metadata,
    Column("offering_id", Id, primary_key=True),
    Column("name", String(120), nullable=False, unique=True),
    Column("description", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
)

version = Table(
    "catalog_version",
    metadata,
    Column("version_id", Id, primary_key=True),
    Column("offering_id", Id, ForeignKey("catalog_offering.offering_id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("effective_on", Date, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("monthly_fee", ExactDecimal, nullable=False),
    Column("included_octets", BigInteger),
    Column("overage_price", ExactDecimal, nullable=False),
    Column("overage_unit", String(8), nullable=False),
    Column("tax_percent", ExactDecimal, nullable=False),
    Column("profile_name", String(32), nullable=False, index=True),
    Column("downstream_bps", BigInteger, nullable=False),
    Column("upstream_bps", BigInteger, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("used_at", Instant),
    UniqueConstraint("offering_id", "number"),
)

refuse_changes(version, "an offering version in use is never changed", when="OLD.used_at IS NOT NULL")
