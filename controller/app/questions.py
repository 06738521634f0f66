"""What the command line asks of the data on this machine, without a running server."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from billing_bridge.billing.service import BillingService
from billing_bridge.settings import BillingSettings
from controller.app.settings import Settings
from controller.domain.clock import SystemClock
from controller.store.engine import Database
from controller.store.usage_reader import UsageLogReader
from controller.workflows.explain import Explainer, Explanation
from controller.workflows.explain_text import render
from erp.catalog.service import CatalogService
from erp.crm.service import CrmService
from erp.finance.service import FinanceService
from erp.finance.settings import FinanceSettings


async def explain(settings: Settings, line_id: str) -> tuple[Explanation, str]:
    """The explanation of an invoice line, and its text. Raises UnknownInvoiceLine."""
    database, clock = Database(settings.url), SystemClock()
    try:
        entity = await CrmService(database, clock).entity()
        zone = ZoneInfo(entity.zone)
        billing = BillingService(database, clock, CatalogService(database, clock), BillingSettings(zone=zone))
        finance = FinanceService(database, clock, CrmService(database, clock), FinanceSettings())
        found = await Explainer(finance, billing, UsageLogReader(database), zone).explain(line_id)
    finally:
        await database.close()
    return found, render(found)
