"""Statements of the books: profit and loss, balance sheet, cash flow, each row leading to its account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from controller.web.api import Api
from controller.web.office.books import READ, account_at, day, of_entity, span_of, total_of, whose
from controller.web.office.view import Filter
from controller.web.site import Site, Visit, WebPage


def pages(site: Site, api: Api) -> list[WebPage]:
    async def income(visit: Visit) -> Response:
        span = span_of(visit, "since", "as_of")
        found = await api.get(visit, "/income-statement", query=span)
        days = {"since": found["since"], "as_of": found["as_of"]} | of_entity(visit)
        sheets = [
            {
                "currency": sheet["currency"],
                "messages": (),
                "columns": (
                    (
                        _section("Revenue", "Revenue", sheet["revenue"], days, sheet["currency"]),
                        _section("Expenses", "Expenses", sheet["expense"], days, sheet["currency"]),
                        _plain("Result", "Profit" if sheet["result"]["amount"][0] != "-" else "Loss", sheet["result"]),
                    ),
                ),
            }
            for sheet in found["statements"]
        ]
        filters = (
            day("since", "From", found["since"]),
            day("as_of", "Until", found["as_of"]),
            *await whose(api, visit),
        )
        return _statement(site, visit, "Profit and loss", "/ledger/income", sheets, filters, span)

    async def balance_sheet(visit: Visit) -> Response:
        span = span_of(visit, "as_of")
        found = await api.get(visit, "/balance-sheet", query=span)
        days = {"as_of": found["as_of"]} | of_entity(visit)
        sheets = [_balance_sheet(sheet, days) for sheet in found["statements"]]
        filters = (day("as_of", "At the end of", found["as_of"]), *await whose(api, visit))
        return _statement(site, visit, "Balance sheet", "/ledger/balance-sheet", sheets, filters, span)

    async def cash_flow(visit: Visit) -> Response:
        span = span_of(visit, "since", "as_of")
        found = await api.get(visit, "/cash-flow", query=span)
        days = {"since": found["since"], "as_of": found["as_of"]} | of_entity(visit)
        filters = (
            day("since", "From", found["since"]),
            day("as_of", "Until", found["as_of"]),
            *await whose(api, visit),
        )
        sheets = [_cash_flow(sheet, days) for sheet in found["statements"]]
        return _statement(site, visit, "Cash flow", "/ledger/cash-flow", sheets, filters, span)

    return [
        WebPage("GET", "/ledger/income", READ, income),
        WebPage("GET", "/ledger/balance-sheet", READ, balance_sheet),
        WebPage("GET", "/ledger/cash-flow", READ, cash_flow),
    ]


def _statement(
    site: Site,
    visit: Visit,
    title: str,
    here: str,
    sheets: Sequence[Mapping[str, Any]],
    filters: Sequence[Filter],
    span: Mapping[str, str],
) -> Response:
    return site.html(visit, "statement.html", title=title, intro="", filters=filters, sheets=sheets)


def _balance_sheet(sheet: Mapping[str, Any], days: Mapping[str, str]) -> dict[str, Any]:
    currency = sheet["currency"]
    equity = _section("Equity", "Equity and results", sheet["equity"], days, currency)
    equity["rows"] += [
        _row("Results of earlier years", sheet["earlier_results"]),
        _row("Result of the year", sheet["result_of_the_year"]),
    ]
    parts = ("equity", "earlier_results", "result_of_the_year")
    equity["total"] = total_of(currency, *(sheet[p]["total"] if p == "equity" else sheet[p] for p in parts))
    off = sheet["difference"]["amount"]
    return {
        "currency": currency,
        "messages": () if not off.strip("-0.") else (f"The two sides differ by {off} {currency}.",),
        "columns": (
            (_section("Assets", "Assets", sheet["assets"], days, currency),),
            (_section("Liabilities", "Liabilities", sheet["liabilities"], days, currency), equity),
        ),
    }


def _cash_flow(sheet: Mapping[str, Any], days: Mapping[str, str]) -> dict[str, Any]:
    currency = sheet["currency"]
    activities = tuple(
        {
            "title": f"{name.capitalize()} activities",
            "rows": [
                row | {"depth": 0, "heading": False, "href": account_at(row["code"], days, currency)}
                for row in sheet[name]
            ],
            "sum": f"Cash from {name} activities",
            "total": total_of(currency, *(row["amount"] for row in sheet[name])),
        }
        for name in ("operating", "investing", "financing")
    )
    held = (_row("At the beginning", sheet["opening"]), _row("Change", sheet["change"]))
    cash = {"title": "Bank and cash", "rows": list(held), "sum": "At the end", "total": sheet["closing"]}
    off = sheet["difference"]["amount"]
    return {
        "currency": currency,
        "messages": () if not off.strip("-0.") else (f"Cash and its movements differ by {off} {currency}.",),
        "columns": (activities, (cash,)),
    }


def _section(
    title: str, total: str, found: Mapping[str, Any], days: Mapping[str, str], currency: str
) -> dict[str, Any]:
    rows = [row | {"href": "" if row["heading"] else account_at(row["code"], days, currency)} for row in found["rows"]]
    return {"title": title, "rows": rows, "sum": f"Total: {total.lower()}", "total": found["total"]}


def _plain(title: str, total: str, amount: Mapping[str, str]) -> dict[str, Any]:
    """A section that is a sum alone."""
    return {"title": title, "rows": [], "sum": total, "total": amount}


def _row(name: str, amount: Mapping[str, str]) -> dict[str, Any]:
    return {"code": "", "name": name, "depth": 0, "heading": False, "amount": amount, "href": ""}
