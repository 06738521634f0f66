"""Tables of pools: what there is to give, and who has it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table, Text

from controller.store.metadata import Id, Instant, metadata

# `made` tells how many of `size` addresses have a row: of a great pool they are made as they are needed.
pools = Table(
    "radius_pool",
    metadata,
    Column("pool_id", Id, primary_key=True),
    Column("name", String(64), nullable=False),
    Column("kind", String(12), nullable=False),
    Column("ranges", Text, nullable=False),
    Column("prefix_length", Integer, nullable=False),
    Column("hold_s", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("made", BigInteger, nullable=False),
    Column("withdrawn", Boolean, nullable=False),
    Column("revision", BigInteger, nullable=False, index=True),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
)

# One row for an address or prefix, free or not. `service_id` and `station` of a free one are who had it last, so that
# they get it back; `changed_us` orders the free ones, longest unused first. `grant_id` joins what one login was given.
leases = Table(
    "radius_pool_lease",
    metadata,
    Column("pool_id", Id, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("address", String(43), nullable=False),
    Column("state", String(8), nullable=False),
    Column("changed_us", BigInteger, nullable=False),
    Column("service_id", Id),
    Column("station", String(300), nullable=False),
    Column("grant_id", Id),
    Column("nas_id", Id),
    Column("session_key", Id),
    Column("held_since_us", BigInteger),
    Column("held_until_us", BigInteger),
    Index("ix_radius_pool_lease_free", "pool_id", "state", "changed_us", "position"),
    Index("ix_radius_pool_lease_service_id", "service_id"),
    Index("ix_radius_pool_lease_address", "address"),
)
