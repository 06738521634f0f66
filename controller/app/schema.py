"""Every room's tables in the one MetaData. Only this module imports all of them; Alembic and the tests start here."""

from __future__ import annotations

from billing_bridge import tables as billing_bridge_tables
from billing_bridge.checks import tables as check_tables
from billing_bridge.prepaid import tables as prepaid_tables
from billing_bridge.sources import tables as source_tables
from collectors import tables as collectors_tables
from controller.app import auth_tables
from controller.provisioning import tables as provisioning_tables
from controller.store import audit, executors, outbox, signing, usage_log
from controller.store.metadata import metadata
from erp.catalog import tables as catalog_tables
from erp.crm import tables as crm_tables
from erp.dunning import tables as dunning_tables
from erp.finance import contract_tables, control_tables, journal_tables, payment_tables, resale_tables, tax_tables
from erp.finance import tables as finance_tables
from erp.inventory import tables as inventory_tables
from erp.orders import tables as orders_tables
from erp.payments import tables as payments_tables
from radius import tables as radius_tables
from radius.accounting import tables as accounting_tables
from radius.dynamic import tables as dynamic_tables
from radius.pools import tables as pool_tables
from radius.proxy import tables as proxy_tables
from radius.quota import tables as quota_tables

__all__ = ["metadata"]

TABLE_MODULES = (
    audit,
    outbox,
    signing,
    executors,
    auth_tables,
    usage_log,
    radius_tables,
    provisioning_tables,
    accounting_tables,
    pool_tables,
    quota_tables,
    proxy_tables,
    dynamic_tables,
    crm_tables,
    catalog_tables,
    inventory_tables,
    orders_tables,
    billing_bridge_tables,
    check_tables,
    prepaid_tables,
    source_tables,
    control_tables,
    journal_tables,
    finance_tables,
    tax_tables,
    payment_tables,
    contract_tables,
    resale_tables,
    dunning_tables,
    payments_tables,
    collectors_tables,
)
