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
    Column("kind", String(16), nullable=False),
    Column("names", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
)
"""`kind` is a controller.domain.price.ProductKind, `names` JSON: pairs of language and name."""

version = Table(
    "catalog_version",
    metadata,
    Column("version_id", Id, primary_key=True),
    Column("offering_id", Id, ForeignKey("catalog_offering.offering_id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("effective_on", Date, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("tax_percent", ExactDecimal, nullable=False),
    Column("tax_category", String(4), nullable=False),
    Column("plan", Text, nullable=False),
    Column("profile_name", String(32), index=True),
    Column("downstream_bps", BigInteger),
    Column("upstream_bps", BigInteger),
    Column("created_at", Instant, nullable=False),
    Column("used_at", Instant),
    UniqueConstraint("offering_id", "number"),
)
"""`plan` is the JSON of controller.domain.price_text: prices, holidays, contract, parts of a bundle."""

refuse_changes(version, "an offering version in use is never changed", when="OLD.used_at IS NOT NULL")
