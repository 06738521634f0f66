"""What customers owe, at the end of any day: by age, and the open items of one account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from controller.web.api import Api, address
from controller.web.office.bars import Bars, bars_of
from controller.web.office.books import READ, day, of_entity, span_of, whose
from controller.web.office.names import with_customers
from controller.web.office.table import Column, facts
from controller.web.office.view import list_page
from controller.web.site import Site, Visit, WebPage

AGED = (
    Column("Customer", "customer", link="{href}"),
    Column("Not due", "not_due", "money"),
    Column("1–30 days", "days_1_30", "money"),
    Column("31–60", "days_31_60", "money"),
    Column("61–90", "days_61_90", "money"),
    Column("Over 90", "days_over_90", "money"),
    Column("Credits", "unapplied", "money"),
    Column("Total", "total", "money"),
)
AGED_TOTALS = (*AGED[1:], Column("In the ledger", "ledger", "money"))
_TONES = ("good", "waiting", "waiting", "bad", "bad")
_BUCKETS = tuple(column.key for column in AGED[1:-1])
ITEMS = (
    Column("What", "kind", link="{href}", sub="number"),
    Column("From", "on"),
    Column("Due", "due_on"),
    Column("Days over", "days_over", "number"),
    Column("Amount", "amount", "money"),
    Column("Still open", "open", "money"),
)


def pages(site: Site, api: Api) -> list[WebPage]:
    async def receivables(visit: Visit) -> Response:
        span = span_of(visit, "as_of")
        totals = await api.get(visit, "/receivables-totals", query=span)
        page = await api.get(visit, "/receivables", query=span | {"after": visit.query("after")})
        rows = await with_customers(api, visit, page["items"])
        for row in rows:
            row.update({name: None for name in _BUCKETS if not row[name]["amount"].strip("-0.")})
            href = f"/ledger/receivables/{row['account_id']}"
            row["href"] = address(href, as_of=totals["as_of"], **of_entity(visit))
        return list_page(
            site, visit, "Receivables", page | {"items": rows}, AGED,
            filters=(day("as_of", "At the end of", totals["as_of"]), *await whose(api, visit)),
            nothing="Nobody owes anything.",
            pictures=[picture for total in totals["totals"] for picture in _ages(total)],
            totals=[fact for total in totals["totals"] for fact in facts(total, AGED_TOTALS)],
        )  # fmt: skip

    async def open_items(visit: Visit) -> Response:
        account_id, span = visit.path["account_id"], span_of(visit, "as_of")
        found = await api.get(visit, "/receivables/{account_id}", query=span, account_id=account_id)
        (named,) = await with_customers(api, visit, [{"account_id": account_id}])
        payer = f"/customers/{named['customer_id']}"
        rows = [
            row | {"href": payer if row["kind"] == "payment" else f"/invoices/{row['item_id']}"}
            for row in found["items"]
        ]
        return list_page(
            site, visit, f"Open items of {named['customer']}", {"items": rows, "next": None}, ITEMS,
            filters=(day("as_of", "At the end of", found["as_of"]),),
            nothing="Nothing is open.",
        )  # fmt: skip

    return [
        WebPage("GET", "/ledger/receivables", READ, receivables),
        WebPage("GET", "/ledger/receivables/{account_id}", READ, open_items),
    ]


def _ages(total: Mapping[str, Any]) -> list[Bars]:
    aged = [(column.label, total[column.key], tone) for column, tone in zip(AGED[1:6], _TONES, strict=True)]
    return bars_of(f"By age, {total['total']['currency']}", aged)
