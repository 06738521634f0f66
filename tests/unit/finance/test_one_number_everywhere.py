"""What a service used is one number, to the octet: for staff and customer, on invoice and paper, and in the records."""

from __future__ import annotations

import shutil
import subprocess
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from billing_bridge.billing.accounts import AccountBilling
from billing_bridge.reading import BillingReader
from billing_bridge.routes import endpoints as billing_endpoints
from billing_bridge.settings import BillingSettings
from controller.domain.units import GB
from controller.store.engine import Database
from controller.workflows.customer_usage import CustomerUsage
from controller.workflows.routes_billing import endpoints as explanation_endpoints
from controller.workflows.routes_customer_usage import endpoints as customer_endpoints
from erp.crm.usage_links import UsageLinks
from erp.finance.routes import endpoints as finance_endpoints
from tests.support.api import api_client
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BERLIN, BillingWorld, berlin

PLAN = "a" * 32


def paper(pdf: bytes) -> str:
    """What stands on it."""
    if (pdftotext := shutil.which("pdftotext")) is None:
        pytest.skip("pdftotext is missing: apt-get install poppler-utils")
    return subprocess.run([pdftotext, "-layout", "-", "-"], input=pdf, capture_output=True, check=True).stdout.decode()


async def test_usage_invoice_paper_and_records_say_the_same_octets(database: Database, tmp_path: Path) -> None:
    made = [tariff(PLAN, "30.00", included=0, overage="0.05")]
    world = BillingWorld(database, tmp_path, made, berlin(2026, 9, 1, 9), checked=True)
    await world.entity()
    await world.launch()
    try:
        line = await world.activate(PLAN)
        at, up, down, totals = berlin(2026, 9, 2, 9), 0, 0, [(berlin(2026, 9, 2, 8), 0, 0)]
        for n in range(40):
            up, down = up + 123_456_789 + n, down + 1_987_654_321 + 7 * n
            totals.append((at + timedelta(hours=17 * n), up, down))
        await world.account_for(line, *totals)
        world.clock.move_to(berlin(2026, 10, 1, 6))
        await world.bill()
        reader, links = BillingReader(database), UsageLinks(database, world.clock)
        accounts = AccountBilling(database, world.clock, world.crm, BillingSettings(zone=BERLIN))
        own = CustomerUsage(links, world.crm, accounts, reader, world.finance)
        rooms = [*billing_endpoints(reader), *finance_endpoints(world.finance), *customer_endpoints(own)]
        _, secret = await links.make(line.account_id, 30, actor="user:test")
        async with api_client([*rooms, *explanation_endpoints(world.explainer)], clock=world.clock) as api:
            seen = (await api.get(f"/customer-usage/{secret}", params={"month": "2026-09"})).json()
            query = {"service_id": line.service_id, "limit": 50}
            days = (await api.get("/usage", params=query)).json()["items"]
            (found,) = (await api.get("/invoices", params={"account_id": line.account_id})).json()["items"]
            invoice = (await api.get(f"/invoices/{found['invoice_id']}")).json()
            (usage,) = [row for row in invoice["lines"] if row["kind"] == "usage"]
            told = (await api.get(f"/invoice-lines/{usage['line_id']}/explanation")).json()
            pdf = (await api.get(f"/invoices/{found['invoice_id']}/pdf")).content
        (service,) = seen["services"]
        assert service["octets"] == sum(d["upstream_octets"] + d["downstream_octets"] for d in service["days"])
        billed = [(b["number"], b["octets"], b["booked_octets"], b["quantity"]) for b in service["billed"]]
        assert billed == [(invoice["number"], up + down, up + down, usage["quantity"])]
        assert service["octets"] == up + down
        octets = sum(day["upstream_octets"] + day["downstream_octets"] for day in days)
        assert octets == up + down
        assert usage["unit"] == "GB"
        assert Decimal(usage["quantity"]) * GB == octets
        assert sum(r["added_upstream_octets"] + r["added_downstream_octets"] for r in told["records"]) == octets
        assert told["intact"], told["faults"]
        assert f"{Decimal(octets) / GB:f}".replace(".", ",") in paper(pdf)
    finally:
        await world.close()
