"""Pages of invoices: the document, its lines, and for each line the explanation down to the records it came from."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from starlette.responses import Response

from controller.web.api import Api
from controller.web.office.table import Column, facts
from controller.web.office.view import Link, Part, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

INVOICES = (
    Column("Number", "number", link="/invoices/{invoice_id}"),
    Column("State", "state", "state", sub="kind"),
    Column("Issued", "issued_on"),
    Column("Due", "due_on"),
    Column("Net", "net", "money"),
    Column("Tax", "tax", "money"),
    Column("Total", "total", "money"),
    Column("Still open", "open", "money"),
)
OF_ONE_CUSTOMER = (INVOICES[0], *INVOICES[2:])
INVOICE = (
    *INVOICES[1:],
    Column("Customer", "customer_id", "mono", link="/customers/{customer_id}"),
    Column("Bill run", "bill_run_id", "mono"),
)
LINES = (
    Column("Description", "description", link="/invoice-lines/{line_id}", sub="kind"),
    Column("From", "first_on"),
    Column("Until (not included)", "until_on"),
    Column("Quantity", "quantity", sub="unit"),
    Column("Unit price", "unit_price"),
    Column("Tax %", "tax_percent"),
    Column("Net", "net", "money"),
)
LINE = (
    Column("Invoice", "number", link="/invoices/{invoice_id}"),
    Column("Net", "net", "money"),
    Column("Evidence", "evidence", "state"),
    Column("Charge", "charge_id", "mono"),
)
PRICE = (
    Column("Offering", "price.offering_name"),
    Column("Version", "price.number"),
    Column("Valid from", "price.effective_on"),
    Column("Monthly fee", "price.monthly_fee", "money"),
    Column("Included", "price.included_octets", "octets"),
    Column("Beyond, per unit", "price.overage_price", sub="price.overage_unit"),
)
RECORDS = (
    Column("Record", "record_id"),
    Column("Kind", "kind", sub="acct_session_id"),
    Column("Happened", "event_at", "instant"),
    Column("Arrived", "received_at", "instant"),
    Column("Added upstream", "added_upstream_octets", "octets"),
    Column("Added downstream", "added_downstream_octets", "octets"),
    Column("Packet, SHA-256", "packet_sha256", "digest"),
    Column("Intact", "intact", "flag"),
)


def pages(site: Site, api: Api) -> list[WebPage]:
    async def invoices(visit: Visit) -> Response:
        page = await api.get(visit, "/invoices", query={"after": visit.query("after")})
        rows = {"items": [row | {"state": state_of(row)} for row in page["items"]], "next": page["next"]}
        return list_page(site, visit, "Invoices", rows, INVOICES, nothing="No invoice yet.")

    async def invoice(visit: Visit) -> Response:
        invoice_id = visit.path["invoice_id"]
        row = await api.get(visit, "/invoices/{invoice_id}", invoice_id=invoice_id)
        return detail_page(
            site, visit, f"Invoice {row['number']}", row | {"state": state_of(row)}, INVOICE,
            back=Link("Invoices", "/invoices"),
            links=[Link("PDF", f"/invoices/{invoice_id}/pdf")],
            parts=[Part("Lines", row["lines"], LINES)],
        )  # fmt: skip

    async def pdf(visit: Visit) -> Response:
        return await api.fetch(visit, "/invoices/{invoice_id}/pdf", invoice_id=visit.path["invoice_id"])

    async def explanation(visit: Visit) -> Response:
        line_id = visit.path["line_id"]
        row = await api.get(visit, "/invoice-lines/{line_id}/explanation", line_id=line_id)
        evidence = "verified" if row["intact"] else "mismatch"
        return detail_page(
            site, visit, row["description"], row | {"evidence": evidence}, LINE,
            back=Link(f"Invoice {row['number']}", f"/invoices/{row['invoice_id']}"),
            messages=row["faults"],
            parts=[
                Part("Price", facts=facts(row, PRICE)),
                Part("How it was worked out", text="\n".join(row["steps"])),
                Part("Usage records", row["records"], RECORDS, "This line is not made of usage."),
            ],
        )  # fmt: skip

    return [
        WebPage("GET", "/invoices", "finance:read", invoices),
        WebPage("GET", "/invoices/{invoice_id}", "finance:read", invoice),
        WebPage("GET", "/invoices/{invoice_id}/pdf", "finance:read", pdf),
        WebPage("GET", "/invoice-lines/{line_id}", "billing:read", explanation),
    ]


def state_of(invoice: Mapping[str, Any]) -> str:
    """Paid when nothing of the invoice is open any more."""
    return "open" if Decimal(invoice["open"]["amount"]) > 0 else "paid"
