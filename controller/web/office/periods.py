"""Months of the books: what is still to be earned in which, and up to where they are closed."""

from __future__ import annotations

from datetime import timedelta

from starlette.responses import RedirectResponse, Response

from controller.web.api import Api
from controller.web.office.books import READ
from controller.web.office.table import Column
from controller.web.office.view import Action, Link, Part, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

_DAY = timedelta(days=1)
REVENUE = (
    Column("Month", "month"),
    Column("Account", "name", link="/ledger/accounts/{code}", sub="code"),
    Column("Planned", "planned", "money"),
    Column("Posted", "posted", "money"),
)
PERIODS = (Column("Closed until (not included)", "closed_until"),)
CHANGES = (
    Column("When", "at", "instant"),
    Column("Closed until", "closed_until"),
    Column("By", "actor"),
    Column("Reason", "reason"),
)


def pages(site: Site, api: Api) -> list[WebPage]:
    async def revenue(visit: Visit) -> Response:
        names = {a["code"]: a["name"] for a in (await api.get(visit, "/ledger-accounts"))["accounts"]}
        found = await api.get(visit, "/revenue-months")
        rows = [row | {"name": names[row["code"]]} for row in found["months"]]
        return list_page(
            site, visit, "Revenue to come", {"items": rows, "next": None}, REVENUE,
            intro="What was billed or sold ahead, by the month in which it is earned.",
            nothing="Nothing was billed ahead.",
        )  # fmt: skip

    async def periods(visit: Visit) -> Response:
        found = await api.get(visit, "/ledger-periods")
        last = visit.now.date().replace(day=1) - _DAY
        month = f"{last:%Y-%m}"
        may = visit.principal.may("finance:write") and (found["closed_until"] or "") <= last.isoformat()
        question = f"Close {month} and everything before it? Nothing is booked there any more."
        return detail_page(
            site, visit, "Periods", found, PERIODS,
            back=Link("Ledger", "/ledger"),
            actions=[Action(f"Close {month}", f"/ledger/periods/{month}/close", question)] if may else [],
            parts=[Part("Closed and reopened", found["changes"], CHANGES, "Nothing was closed yet.")],
        )  # fmt: skip

    async def close(visit: Visit) -> Response:
        await api.post(visit, "/ledger-periods/{month}/close", month=visit.path["month"])
        return RedirectResponse("/ledger/periods", status_code=303)

    return [
        WebPage("GET", "/ledger/revenue", READ, revenue),
        WebPage("GET", "/ledger/periods", READ, periods),
        WebPage("POST", "/ledger/periods/{month}/close", "finance:write", close),
    ]
