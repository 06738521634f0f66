"""Pages of the books: trial balance and statements of any day, down to the postings and their documents; ageing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web.api import Api, address
from controller.web.office.names import with_customers
from controller.web.office.table import Column, facts
from controller.web.office.view import Action, Filter, Link, Part, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

READ = "finance:read"
_DAY = timedelta(days=1)
PAGES = (
    Link("Trial balance", "/ledger"),
    Link("Profit and loss", "/ledger/income"),
    Link("Balance sheet", "/ledger/balance-sheet"),
    Link("Cash flow", "/ledger/cash-flow"),
    Link("Receivables", "/ledger/receivables"),
    Link("Revenue to come", "/ledger/revenue"),
    Link("Journal", "/ledger/entries"),
    Link("Entries by hand", "/ledger/proposals"),
    Link("Periods", "/ledger/periods"),
)
ACCOUNTS = (
    Column("Account", "name", link="{href}", sub="code"),
    Column("Kind", "kind"),
    Column("Debit", "debit", "money"),
    Column("Credit", "credit", "money"),
    Column("Balance", "balance", "money"),
)
DIFFERENCE = (Column("Sum of all balances", "sum", "money"),)
POSTINGS = (
    Column("Booked", "booked_on", link="/ledger/entries/{entry_id}"),
    Column("What", "description", link="{href}", sub="document"),
    Column("Regards", "regards_on"),
    Column("Amount", "amount", "money"),
)
ENTRIES = (
    Column("Booked", "booked_on", link="/ledger/entries/{entry_id}"),
    Column("What", "description", link="{href}", sub="document"),
    Column("Accounts", "accounts"),
    Column("Sum of debits", "debit", "money"),
)
ENTRY = (
    Column("Booked", "booked_on"),
    Column("Regards", "regards_on"),
    Column("Posted", "posted_at", "instant"),
    Column("Document", "document", link="{href}"),
)
LINES = (
    Column("Account", "name", link="/ledger/accounts/{code}", sub="code"),
    Column("Debit", "debit", "money"),
    Column("Credit", "credit", "money"),
)
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
    async def trial_balance(visit: Visit) -> Response:
        span = _span(visit, "since", "as_of", "currency")
        found = await api.get(visit, "/trial-balance", query=span)
        rows = [row | {"href": _account(row["code"], span, row["balance"]["currency"])} for row in found["accounts"]]
        return list_page(
            site, visit, "Ledger", {"items": rows, "next": None}, ACCOUNTS,
            filters=(_day("since", "From"), _day("as_of", "Until")),
            nothing="Nothing was booked.",
            links=_others("/ledger", span),
            totals=[fact for total in found["totals"] for fact in facts({"sum": total}, DIFFERENCE)],
        )  # fmt: skip

    async def income(visit: Visit) -> Response:
        span = _span(visit, "since", "as_of")
        found = await api.get(visit, "/income-statement", query=span)
        days = {"since": found["since"], "as_of": found["as_of"]}
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
        filters = (_day("since", "From", found["since"]), _day("as_of", "Until", found["as_of"]))
        return _statement(site, visit, "Profit and loss", "/ledger/income", sheets, filters, span)

    async def balance_sheet(visit: Visit) -> Response:
        span = _span(visit, "as_of")
        found = await api.get(visit, "/balance-sheet", query=span)
        days = {"as_of": found["as_of"]}
        sheets = [_balance_sheet(sheet, days) for sheet in found["statements"]]
        filters = (_day("as_of", "At the end of", found["as_of"]),)
        return _statement(site, visit, "Balance sheet", "/ledger/balance-sheet", sheets, filters, span)

    async def cash_flow(visit: Visit) -> Response:
        span = _span(visit, "since", "as_of")
        found = await api.get(visit, "/cash-flow", query=span)
        days = {"since": found["since"], "as_of": found["as_of"]}
        filters = (_day("since", "From", found["since"]), _day("as_of", "Until", found["as_of"]))
        sheets = [_cash_flow(sheet, days) for sheet in found["statements"]]
        return _statement(site, visit, "Cash flow", "/ledger/cash-flow", sheets, filters, span)

    async def account(visit: Visit) -> Response:
        code, span = visit.path["code"], _span(visit, "since", "as_of", "currency")
        chart = (await api.get(visit, "/ledger-accounts"))["accounts"]
        page = await api.get(
            visit, "/ledger-accounts/{code}/postings", query=span | {"after": visit.query("after")}, code=code
        )
        name = next((a["name"] for a in chart if a["code"] == code), code)
        return list_page(
            site, visit, f"{code} {name}", page | {"items": [_with_document(row) for row in page["items"]]}, POSTINGS,
            filters=(
                _day("since", "From"),
                _day("as_of", "Until"),
                Filter("currency", "Currency", "EUR"),
            ),
            nothing="Nothing was posted to it.",
            links=_others("", span),
        )  # fmt: skip

    async def entries(visit: Visit) -> Response:
        span = _span(visit, "since", "as_of")
        page = await api.get(visit, "/journal-entries", query=span | {"after": visit.query("after")})
        rows = [_with_document(row) | _summed(row) for row in page["items"]]
        return list_page(
            site, visit, "Journal", page | {"items": rows}, ENTRIES,
            filters=(_day("since", "From"), _day("as_of", "Until")),
            nothing="Nothing was booked.",
            links=_others("/ledger/entries", span),
        )  # fmt: skip

    async def entry(visit: Visit) -> Response:
        row = await api.get(visit, "/journal-entries/{entry_id}", entry_id=visit.path["entry_id"])
        return detail_page(
            site, visit, row["description"], _with_document(row), ENTRY,
            back=Link("Journal", "/ledger/entries"),
            parts=[Part("Postings", [_two_sides(posting) for posting in row["postings"]], LINES)],
        )  # fmt: skip

    async def receivables(visit: Visit) -> Response:
        span = _span(visit, "as_of")
        totals = await api.get(visit, "/receivables-totals", query=span)
        page = await api.get(visit, "/receivables", query=span | {"after": visit.query("after")})
        rows = await with_customers(api, visit, page["items"])
        for row in rows:
            row.update({name: None for name in _BUCKETS if not row[name]["amount"].strip("-0.")})
            row["href"] = address(f"/ledger/receivables/{row['account_id']}", as_of=totals["as_of"])
        return list_page(
            site, visit, "Receivables", page | {"items": rows}, AGED,
            filters=(_day("as_of", "At the end of", totals["as_of"]),),
            nothing="Nobody owes anything.",
            links=_others("/ledger/receivables", span),
            totals=[fact for total in totals["totals"] for fact in facts(total, AGED_TOTALS)],
        )  # fmt: skip

    async def open_items(visit: Visit) -> Response:
        account_id, span = visit.path["account_id"], _span(visit, "as_of")
        found = await api.get(visit, "/receivables/{account_id}", query=span, account_id=account_id)
        (named,) = await with_customers(api, visit, [{"account_id": account_id}])
        payer = f"/customers/{named['customer_id']}"
        rows = [
            row | {"href": payer if row["kind"] == "payment" else f"/invoices/{row['item_id']}"}
            for row in found["items"]
        ]
        return list_page(
            site, visit, f"Open items of {named['customer']}", {"items": rows, "next": None}, ITEMS,
            filters=(_day("as_of", "At the end of", found["as_of"]),),
            nothing="Nothing is open.",
            links=_others("", span),
        )  # fmt: skip

    async def revenue(visit: Visit) -> Response:
        names = {a["code"]: a["name"] for a in (await api.get(visit, "/ledger-accounts"))["accounts"]}
        found = await api.get(visit, "/revenue-months")
        rows = [row | {"name": names[row["code"]]} for row in found["months"]]
        return list_page(
            site, visit, "Revenue to come", {"items": rows, "next": None}, REVENUE,
            intro="What was billed or sold ahead, by the month in which it is earned.",
            nothing="Nothing was billed ahead.",
            links=_others("/ledger/revenue", {}),
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
        WebPage("GET", "/ledger", READ, trial_balance),
        WebPage("GET", "/ledger/revenue", READ, revenue),
        WebPage("GET", "/ledger/periods", READ, periods),
        WebPage("POST", "/ledger/periods/{month}/close", "finance:write", close),
        WebPage("GET", "/ledger/income", READ, income),
        WebPage("GET", "/ledger/balance-sheet", READ, balance_sheet),
        WebPage("GET", "/ledger/cash-flow", READ, cash_flow),
        WebPage("GET", "/ledger/receivables", READ, receivables),
        WebPage("GET", "/ledger/receivables/{account_id}", READ, open_items),
        WebPage("GET", "/ledger/entries", READ, entries),
        WebPage("GET", "/ledger/entries/{entry_id}", READ, entry),
        WebPage("GET", "/ledger/accounts/{code}", READ, account),
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
    return site.html(
        visit, "statement.html", title=title, intro="", links=_others(here, span), filters=filters, sheets=sheets
    )


def _balance_sheet(sheet: Mapping[str, Any], days: Mapping[str, str]) -> dict[str, Any]:
    currency = sheet["currency"]
    equity = _section("Equity", "Equity and results", sheet["equity"], days, currency)
    equity["rows"] += [
        _row("Results of earlier years", sheet["earlier_results"]),
        _row("Result of the year", sheet["result_of_the_year"]),
    ]
    parts = ("equity", "earlier_results", "result_of_the_year")
    equity["total"] = _sum(currency, *(sheet[p]["total"] if p == "equity" else sheet[p] for p in parts))
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
                row | {"depth": 0, "heading": False, "href": _account(row["code"], days, currency)}
                for row in sheet[name]
            ],
            "sum": f"Cash from {name} activities",
            "total": _sum(currency, *(row["amount"] for row in sheet[name])),
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
    rows = [row | {"href": "" if row["heading"] else _account(row["code"], days, currency)} for row in found["rows"]]
    return {"title": title, "rows": rows, "sum": f"Total: {total.lower()}", "total": found["total"]}


def _plain(title: str, total: str, amount: Mapping[str, str]) -> dict[str, Any]:
    """A section that is a sum alone."""
    return {"title": title, "rows": [], "sum": total, "total": amount}


def _row(name: str, amount: Mapping[str, str]) -> dict[str, Any]:
    return {"code": "", "name": name, "depth": 0, "heading": False, "amount": amount, "href": ""}


def _sum(currency: str, *amounts: Mapping[str, str]) -> dict[str, str]:
    return {"amount": str(sum(Decimal(a["amount"]) for a in amounts)), "currency": currency}


def _summed(entry: Mapping[str, Any]) -> dict[str, Any]:
    """For a list: which accounts, and the sum of the debits, where they are of one currency."""
    currencies = {p["amount"]["currency"] for p in entry["postings"]}
    debits = [p["amount"] for p in entry["postings"] if Decimal(p["amount"]["amount"]) > 0]
    accounts = ", ".join(dict.fromkeys(p["code"] for p in entry["postings"]))
    return {"accounts": accounts, "debit": _sum(currencies.pop(), *debits) if len(currencies) == 1 else None}


def _two_sides(posting: Mapping[str, Any]) -> dict[str, Any]:
    amount, currency = posting["amount"]["amount"], posting["amount"]["currency"]
    side = "credit" if amount.startswith("-") else "debit"
    return dict(posting) | {side: {"amount": amount.lstrip("-"), "currency": currency}}


def _with_document(row: Mapping[str, Any]) -> dict[str, Any]:
    kind = row["source"].partition(":")[0]
    return dict(row) | {"document": kind, "href": _document(row["source"], row["entry_id"])}


def _document(source: str, entry_id: str) -> str:
    """Where the document of an entry is shown; without a page of its own, the entry."""
    kind, _, key = source.partition(":")
    if kind in ("invoice", "credit-note"):
        return f"/invoices/{key}"
    if kind == "reversal":
        return f"/ledger/entries/{key}"
    return f"/ledger/entries/{entry_id}"


def _account(code: str, days: Mapping[str, str], currency: str) -> str:
    return address(f"/ledger/accounts/{code}", **{"currency": currency, **{k: v for k, v in days.items() if v}})


def _others(here: str, span: Mapping[str, str]) -> list[Link]:
    """The other pages of the ledger, of the same last day."""
    return [Link(p.label, address(p.href, as_of=span.get("as_of", ""))) for p in PAGES if p.href != here]


def _day(name: str, label: str, value: str = "") -> Filter:
    return Filter(name, label, value=value, kind="date")


def _span(visit: Visit, *names: str) -> dict[str, str]:
    return {name: visit.query(name) for name in names}
