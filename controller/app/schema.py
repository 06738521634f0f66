"""Every room's tables in the one MetaData. Only this module imports all of them; Alembic and the tests start here."""

from __future__ import annotations

from controller.app import auth_tables
from controller.store import audit, outbox, usage_log
from controller.store.metadata import metadata
from radius import tables as radius_tables

__all__ = ["metadata"]

TABLE_MODULES = (audit, outbox, auth_tables, usage_log, radius_tables)
