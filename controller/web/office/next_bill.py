"""What an account would be billed now, and on which day of the month its lines are billed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from controller.domain.money import Money
from controller.web.api import Api
from controller.web.office.form import Choice, Field, Filled, Form, whole
from controller.web.office.forms import back_to, of_customer
from controller.web.office.table import Column
from controller.web.office.view import Link, Part, Row, detail_page
from controller.web.site import Site, Visit, WebPage

READ, WRITE = "billing:read", "billing:write"
PREVIEW = "/accounts/{account_id}/invoice-preview"
ANCHOR = "/accounts/{account_id}/anchor-day"
WHOSE = (Column("Customer", "name", link="/customers/{customer_id}"),)
LINES = (
    Column("Description", "item", sub="kind"),
    Column("From", "first_on"),
    Column("Until (not included)", "until_on"),
    Column("Quantity", "quantity", "figure", sub="unit"),
    Column("Unit price", "unit_price", "figure"),
    Column("Tax %", "tax_percent", "figure"),
    Column("Net", "net", "money"),
)
TOTAL = (Column("Net", "net", "money"), Column("Tax", "tax", "money"), Column("Total", "total", "money"))
DAY = (
    Field("anchor_day", "Day of the month", "number", required=True, convert=whole,
          hint="1 to 31; 0: each line is billed from the day on which it began"),
    Field("existing", "Lines that there are", start="no", convert=lambda text: text == "yes", choices=(
        Choice("no", "stay as they are"), Choice("yes", "change too: their next period is shorter"),
    )),
)  # fmt: skip


def pages(site: Site, api: Api) -> list[WebPage]:
    preview = [WebPage("GET", "/customers/{customer_id}/next-bill", READ, _preview(site, api))]
    return [*(preview if api.has("GET", PREVIEW) else []), *(_day(site, api) if api.has("PUT", ANCHOR) else [])]


def links(api: Api, visit: Visit, customer: Mapping[str, Any]) -> list[Link]:
    """Beside an account's days; nothing for who may not."""
    here = f"/customers/{customer['customer_id']}"
    found = []
    if visit.principal.may(READ) and api.has("GET", PREVIEW):
        found.append(Link("Billed now", f"{here}/next-bill"))
    if visit.principal.may(WRITE) and api.has("PUT", ANCHOR):
        found.append(Link("Billing day", f"{here}/billing-day"))
    return found


def _preview(site: Site, api: Api) -> Any:
    async def preview(visit: Visit) -> Response:
        row = await api.get(visit, "/customers/{customer_id}", customer_id=visit.path["customer_id"])
        found = (await api.get(visit, PREVIEW, account_id=row["account_id"]))["documents"]
        return detail_page(
            site, visit, f"What {row['name']} would be billed now", row, WHOSE,
            back=back_to(row),
            notes=["Nothing is issued by looking."],
            parts=[part for document in found for part in _document(document)]
            or [Part("Invoice", nothing="Nothing: all that is due has been billed.")],
        )  # fmt: skip

    return preview


def _document(found: Mapping[str, Any]) -> list[Part]:
    content = found["content"]
    lines = [line | {"net": _wire(line["net_minor"], content["currency"])} for line in content["lines"]]
    totals = [(column.label, column.write(found)) for column in TOTAL]
    return [Part(f"{content['kind'].capitalize()} in {content['currency']}", facts=totals), Part("Lines", lines, LINES)]


def _wire(minor: int, currency: str) -> dict[str, str]:
    return {"amount": f"{Money(minor, currency).amount:f}", "currency": currency}


def _day(site: Site, api: Api) -> list[WebPage]:
    async def form(_visit: Visit, row: Row) -> Form:
        intro = "In a month that is too short it is its last day."
        return Form(f"Billing day of {row['name']}", DAY, back_to(row), (("set", "Set"),), intro)

    async def set_day(visit: Visit, filled: Filled, row: Row) -> None:
        await api.put(visit, ANCHOR, body=filled.body, account_id=row["account_id"])

    return of_customer(site, api, "billing-day", WRITE, form, set_day)
