"""Tables of stock. A serial stands once; the history of moves only grows, which the database enforces."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, String, Table, Text

from controller.store.metadata import BigId, Id, Instant, metadata
from controller.store.triggers import refuse_changes

item = Table(
    "inventory_item",
    metadata,
    Column("item_id", Id, primary_key=True),
    Column("serial", String(64), nullable=False, unique=True),
    Column("kind", String(32), nullable=False),
    Column("model", String(120), nullable=False),
    Column("state", String(16), nullable=False),
    Column("place", String(120), nullable=False),
    Column("holder", String(160), nullable=False),
    Column("order_id", Id, index=True),
    Column("service_id", Id, index=True),
    Column("received_at", Instant, nullable=False),
    Column("moved_at", Instant, nullable=False),
)

move = Table(
    "inventory_move",
    metadata,
    Column("sequence", BigId, primary_key=True, autoincrement=True),
    Column("item_id", Id, ForeignKey("inventory_item.item_id"), nullable=False, index=True),
    Column("at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("from_place", String(120), nullable=False),
    Column("to_place", String(120), nullable=False),
    Column("state", String(16), nullable=False),
    Column("why", Text, nullable=False),
    sqlite_autoincrement=True,
)

refuse_changes(move, "stock moves are never changed")
