"""Months of the books: what is still to be earned in which, and up to where they are closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web.api import Api, address
from controller.web.office.bars import Bars, bars_of
from controller.web.office.books import READ, of_entity, whose
from controller.web.office.form import Field, Filled, Form, sent, show
from controller.web.office.forms import both
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
        names = {
            a["code"]: a["name"] for a in (await api.get(visit, "/ledger-accounts", query=of_entity(visit)))["accounts"]
        }
        found = await api.get(visit, "/revenue-months", query=of_entity(visit))
        rows = [row | {"name": names[row["code"]]} for row in found["months"]]
        return list_page(
            site, visit, "Revenue to come", {"items": rows, "next": None}, REVENUE,
            intro="What was billed or sold ahead, by the month in which it is earned.",
            filters=await whose(api, visit),
            nothing="Nothing was billed ahead.",
            pictures=_by_month(found["months"]),
        )  # fmt: skip

    async def periods(visit: Visit) -> Response:
        found = await api.get(visit, "/ledger-periods", query=of_entity(visit))
        others = await whose(api, visit)
        last = visit.now.date().replace(day=1) - _DAY
        month = f"{last:%Y-%m}"
        may = visit.principal.may("finance:write") and (found["closed_until"] or "") <= last.isoformat()
        question = f"Close {month} and everything before it? Nothing is booked there any more."
        return detail_page(
            site, visit, "Periods", found, PERIODS,
            back=Link("Ledger", "/ledger"),
            links=_reopening(found, visit),
            actions=[Action(f"Close {month}", _of(f"/ledger/periods/{month}/close", visit), question)] if may else [],
            notes=[f"Of {others[0].labels[visit.query('entity_id')]}."] if others and of_entity(visit) else [],
            parts=[Part("Closed and reopened", found["changes"], CHANGES, "Nothing was closed yet.")],
        )  # fmt: skip

    async def close(visit: Visit) -> Response:
        await api.post(visit, "/ledger-periods/{month}/close", body=of_entity(visit), month=visit.path["month"])
        return RedirectResponse(_of("/ledger/periods", visit), status_code=303)

    def form(visit: Visit) -> Form:
        month, back = visit.path["month"], Link("Periods", _of("/ledger/periods", visit))
        why = Field("reason", "Why", required=True, hint="for the audit log")
        intro = f"{month} and every month after it can be booked in again, until it is closed again."
        return Form(f"Reopen {month}", (why,), back, (("reopen", "Reopen"),), intro)

    async def fresh_reopening(visit: Visit) -> Response:
        return show(site, visit, form(visit))

    async def reopen(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            body = filled.body | of_entity(visit)
            await api.post(visit, "/ledger-periods/{month}/reopen", body=body, month=visit.path["month"])
            return RedirectResponse(_of("/ledger/periods", visit), status_code=303)

        return await sent(site, visit, form(visit), send)

    return [
        *both("/ledger/periods/{month}/reopen", "finance:write", fresh_reopening, reopen),
        WebPage("GET", "/ledger/revenue", READ, revenue),
        WebPage("GET", "/ledger/periods", READ, periods),
        WebPage("POST", "/ledger/periods/{month}/close", "finance:write", close),
    ]


def _reopening(found: Mapping[str, Any], visit: Visit) -> list[Link]:
    """The last month that is closed may be opened again."""
    if not found["closed_until"] or not visit.principal.may("finance:write"):
        return []
    month = f"{date.fromisoformat(found['closed_until']) - _DAY:%Y-%m}"
    return [Link(f"Reopen {month}", _of(f"/ledger/periods/{month}/reopen", visit))]


def _of(path: str, visit: Visit) -> str:
    """The same legal entity's."""
    return address(path, **of_entity(visit))


def _by_month(months: Sequence[Mapping[str, Any]]) -> list[Bars]:
    """What is earned in each month, of all accounts; a picture for each currency."""
    sums: dict[str, dict[str, Decimal]] = {}
    for row in months:
        of_currency = sums.setdefault(row["planned"]["currency"], {})
        of_currency[row["month"]] = of_currency.get(row["month"], Decimal(0)) + Decimal(row["planned"]["amount"])
    return [
        picture
        for currency, by_month in sums.items()
        for picture in bars_of(
            f"Earned by the month, {currency}",
            [(month, {"amount": str(amount), "currency": currency}, "plain") for month, amount in by_month.items()],
        )
    ]
