"""Prepaid services: their balances, what is reserved of them for which sessions, everything that moved them, and the
receipts of what was paid for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.domain.money import Money
from controller.domain.units import human_octets
from controller.web import templating
from controller.web.api import Api
from controller.web.office.form import (
    Choice,
    Field,
    Filled,
    Form,
    account,
    decimal,
    scaled,
    sent,
    show,
    unseen_once,
    whole,
)
from controller.web.office.forms import both
from controller.web.office.names import with_customers
from controller.web.office.table import Column
from controller.web.office.view import Link, Part, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

READ, WRITE, SELL, BOOKS = "billing:read", "billing:write", "finance:write", "finance:read"
_OCTETS, _SECONDS = "octets", "seconds"
BALANCES = (
    Column("Customer", "customer", link="/prepaid/{service_id}", sub="service_id"),
    Column("State", "state", "state"),
    Column("Balance", "balance_shown", "figure"),
    Column("Reserved", "reserved_shown", "figure"),
)
BALANCE = (
    Column("Customer", "customer", link="/customers/{customer_id}"),
    Column("Service", "service_id", "mono"),
    Column("State", "state", "state"),
    Column("Balance", "balance_shown", "figure"),
    Column("Reserved for sessions", "reserved_shown", "figure"),
    Column("Available", "available_shown", "figure"),
    Column("Worth, net", "worth", "money"),
    Column("Used beyond it, paid by nobody", "overshoot_shown", "figure"),
    Column("Owed, until others give back", "owed_shown", "figure"),
    Column("Reserved at a time", "slice_shown", "figure"),
    Column("When it is empty", "end"),
    Column("Since", "opened_at", "instant"),
    Column("Credit is gone on", "expires_on"),
)
CLOSING = (
    Column("Use is counted until", "closing_until", "instant"),
    Column("What is left then", "then"),
)
RECEIPTS = (
    Column("Number", "number", link="/receipts/{receipt_id}/pdf", sub="what"),
    Column("Date", "issued_on"),
    Column("Reference", "reference"),
    Column("Tax in it", "tax", "money"),
    Column("Total", "total", "money"),
)
SLICES = (
    Column("Session", "session", "mono"),
    Column("State", "state", "state"),
    Column("Reserved", "reserved_shown", "figure"),
    Column("Used", "used_shown", "figure"),
    Column("Kept until", "expires_at", "instant"),
)
MOVEMENTS = (
    Column("When", "at", "instant", sub="actor"),
    Column("What", "what", sub="session_key"),
    Column("Amount", "amount_shown", "figure"),
    Column("Reserved", "reserved_change_shown", "figure"),
    Column("Balance after it", "balance_shown", "figure"),
)
_ENDS = {"disconnect": "sessions end, logins are refused", "garden": "the walled garden, until it is topped up"}
_STATES = {"open": "active", "out": "empty", "garden": "garden", "closing": "closing", "closed": "closed"}
_WORDS = {
    "top-up": "topped up", "debit": "used", "reservation": "reserved", "release": "given back",
    "expiry": "given back: nothing was heard", "lapse": "gone: kept as long as its terms say",
    "pay-out": "given back to the customer",
}  # fmt: skip
_UNITS = (Choice("money", "money, by the prices of an offering"), *(Choice(u, u) for u in (_OCTETS, _SECONDS)))
OPEN = (
    account(),
    Field("service_id", "Service", required=True, hint="the id of the line's service"),
    Field("unit", "Balance in", choices=_UNITS, start="money"),
    Field("currency", "Currency", required=True, start="EUR"),
    Field("version_id", "Version of the offering", hint="the id whose prices hold; empty for octets and seconds"),
    Field(
        "slice", "Reserved at a time", "number", required=True, start="100000000", convert=whole,
        hint="octets or seconds",
    ),
    Field("validity_s", "Kept for a silent session", "number", unit="s", start="1800", convert=whole),
    Field("when_empty", "When it is empty", choices=[Choice(*each) for each in _ENDS.items()], start="disconnect"),
    Field(
        "credit_days", "Credit is kept", "number", unit="days", convert=whole,
        hint="after the last top-up; empty for ever",
    ),
    Field(
        "notice_days", "Told before it is gone", "number", unit="days", convert=whole,
        hint="empty: 7, or half of that time; 0 for never",
    ),
    Field(
        "low_balance", "Told when less is left", "number", convert=whole,
        hint="cents, octets or seconds; empty for never",
    ),
)  # fmt: skip
PAID = (
    Field("paid.amount", "Paid, tax in it", "decimal", required=True, convert=decimal),
    Field("into", "Paid into", choices=(Choice("cash", "cash"), Choice("bank", "bank")), start="cash"),
)
_TAX = Field("tax_percent", "Tax in it", "decimal", required=True, unit="%", convert=decimal)
_BOUGHT = {
    _OCTETS: (Field("units", "Bought", "decimal", required=True, unit="GB", convert=scaled(10**9)), _TAX),
    _SECONDS: (Field("units", "Bought", "decimal", required=True, unit="h", convert=scaled(3_600)), _TAX),
}
_LEFT = (Choice("pay", "becomes a payment of the account"), Choice("keep", "stays, for when it is opened again"))
CLOSE = (
    Field("reason", "Why", required=True),
    Field("pay_out", "What is left", choices=_LEFT, start="pay", convert=lambda said: said == "pay"),
)


def pages(site: Site, api: Api) -> list[WebPage]:
    return [*_forms(site, api), *_looks(site, api)] if api.has("GET", "/prepaid") else []


def _looks(site: Site, api: Api) -> list[WebPage]:
    async def balances(visit: Visit) -> Response:
        page = await api.get(visit, "/prepaid", query={"after": visit.query("after")})
        rows = [_shown(row) for row in await with_customers(api, visit, page["items"])]
        return list_page(
            site, visit, "Prepaid services", page | {"items": rows}, BALANCES,
            intro="Paid before it is used: each session reserves a slice, and no balance is ever overdrawn.",
            nothing="No service is prepaid.",
            make=Link("Make a service prepaid", "/prepaid/new"), make_scope=WRITE,
            links=[Link("Receipts", "/receipts")] if _has_receipts(api, visit) else [],
        )  # fmt: skip

    async def balance(visit: Visit) -> Response:
        service_id, path = visit.path["service_id"], "/services/{service_id}/prepaid"
        found = await api.get(visit, path, service_id=service_id)
        (row,) = await with_customers(api, visit, [found])
        query = {"after": visit.query("after")}
        page = await api.get(visit, f"{path}/movements", query=query, service_id=service_id)
        here, links = f"/prepaid/{service_id}", []
        if found["standing"] not in ("closing", "closed"):
            may = visit.principal.may
            links += [Link("Top up", f"{here}/top-up")] if may(SELL) else []
            links += [Link("Close", f"{here}/close")] if may(WRITE) else []
        if page["next"]:
            links.append(Link("Earlier movements", f"{here}?after={page['next']}"))
        unit = found["unit"]
        return detail_page(
            site, visit, f"Prepaid balance of {row['customer']}", _shown(row),
            (*BALANCE, *CLOSING) if found["standing"] == "closing" else BALANCE,
            back=Link("Prepaid services", "/prepaid"), links=links,
            parts=[
                *await _papers(api, visit, service_id),
                Part("Sessions", [_slice(one, unit) for one in found["sessions"]], SLICES, "No session, and no login."),
                Part("Movements", [_moved(one, unit) for one in page["items"]], MOVEMENTS, "Nothing has moved it yet."),
            ],
        )  # fmt: skip

    async def receipts(visit: Visit) -> Response:
        page = await api.get(visit, "/receipts", query={"after": visit.query("after")})
        rows = [_paper(row) for row in await with_customers(api, visit, page["items"])]
        return list_page(
            site, visit, "Receipts", page | {"items": rows},
            (RECEIPTS[0], Column("Customer", "customer", link="/prepaid/{service_id}"), *RECEIPTS[1:]),
            intro="What was paid for prepaid credit, and what was given back of it: numbered without gaps.",
            nothing="Nobody has paid for prepaid credit.",
        )  # fmt: skip

    async def pdf(visit: Visit) -> Response:
        return await api.fetch(visit, "/receipts/{receipt_id}/pdf", receipt_id=visit.path["receipt_id"])

    found = [WebPage("GET", "/prepaid", READ, balances), WebPage("GET", "/prepaid/{service_id}", READ, balance)]
    if api.has("GET", "/receipts"):
        found += [
            WebPage("GET", "/receipts", BOOKS, receipts),
            WebPage("GET", "/receipts/{receipt_id}/pdf", BOOKS, pdf),
        ]
    return found


def _has_receipts(api: Api, visit: Visit) -> bool:
    return api.has("GET", "/receipts") and visit.principal.may(BOOKS)


async def _papers(api: Api, visit: Visit, service_id: str) -> list[Part]:
    if not _has_receipts(api, visit):
        return []
    page = await api.get(visit, "/receipts", query={"service_id": service_id, "limit": "20"})
    return [Part("Receipts", [_paper(row) for row in page["items"]], RECEIPTS, "Nothing was paid for it yet.")]


def _paper(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "what": {"receipt": "receipt", "refund": "given back"}[row["kind"]]}


def _forms(site: Site, api: Api) -> list[WebPage]:
    def opening() -> Form:
        intro = "What its sessions used until now costs nothing; its next login asks for a slice of the balance."
        return Form("Make a service prepaid", OPEN, Link("Prepaid services", "/prepaid"), (("open", "Open"),), intro)

    async def new(visit: Visit) -> Response:
        return show(site, visit, opening())

    async def open_(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            body = dict(filled.body)
            service_id = body.pop("service_id")
            await api.put(visit, "/services/{service_id}/prepaid", body=body, service_id=service_id)
            return RedirectResponse(f"/prepaid/{service_id}", status_code=303)

        return await sent(site, visit, opening(), send)

    async def selling(visit: Visit) -> tuple[Form, Mapping[str, Any]]:
        found = await api.get(visit, "/services/{service_id}/prepaid", service_id=visit.path["service_id"])
        fields = (*PAID, *_BOUGHT.get(found["unit"], ()), unseen_once("reference"))
        back = Link("The balance", f"/prepaid/{found['service_id']}")
        intro = "Sessions in the walled garden go on at once."
        return Form("Top up", fields, back, (("pay", "Take the money"),), intro), found

    async def sell(visit: Visit) -> Response:
        return show(site, visit, (await selling(visit))[0])

    async def sold(visit: Visit) -> Response:
        form, found = await selling(visit)

        async def send(filled: Filled) -> Response:
            filled.body["paid"]["currency"] = found["worth"]["currency"]
            path = "/services/{service_id}/prepaid/top-ups"
            await api.post(visit, path, body=filled.body, service_id=found["service_id"])
            return RedirectResponse(form.back.href, status_code=303)

        return await sent(site, visit, form, send)

    def closing(visit: Visit) -> Form:
        intro = (
            "The service is prepaid no more: its logins ask for nothing. Its sessions are ended, and what they used is"
        )
        intro += " counted first. A payment of the account settles what it owes, and the rest of it can be paid out."
        back = Link("The balance", f"/prepaid/{visit.path['service_id']}")
        return Form("Close the balance", CLOSE, back, (("close", "Close"),), intro)

    async def ask(visit: Visit) -> Response:
        return show(site, visit, closing(visit))

    async def close(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            await api.post(visit, "/services/{service_id}/prepaid/close", body=filled.body, **visit.path)
            return RedirectResponse(f"/prepaid/{visit.path['service_id']}", status_code=303)

        return await sent(site, visit, closing(visit), send)

    return [
        *both("/prepaid/new", WRITE, new, open_),
        *both("/prepaid/{service_id}/top-up", SELL, sell, sold),
        *both("/prepaid/{service_id}/close", WRITE, ask, close),
    ]


def _written(amount: int, unit: str, *, signed: bool = False) -> str:
    """So much of a balance, as people read it."""
    sign = "−" if amount < 0 else "+" if signed and amount else ""
    size = abs(amount)
    if unit in (_OCTETS, _SECONDS):
        return sign + (human_octets(size) if unit == _OCTETS else f"{size} s")
    return sign + templating.amount({"amount": str(Money(size, unit).amount), "currency": unit})


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    unit = row["unit"]
    names = ("balance", "reserved", "available", "overshoot", "owed")
    amounts = {f"{name}_shown": _written(row[name], unit) for name in names}
    each = _written(row["slice"], _SECONDS if unit == _SECONDS else _OCTETS)
    return {
        **row, **amounts, "slice_shown": each, "state": _STATES[row["standing"]], "end": _ENDS[row["when_empty"]],
        "then": "becomes a payment of the account" if row["pays_out"] else "stays, for when it is opened again",
    }  # fmt: skip


def _slice(row: Mapping[str, Any], unit: str) -> dict[str, Any]:
    counted = _SECONDS if unit == _SECONDS else _OCTETS
    octets = row["used_upstream_octets"] + row["used_downstream_octets"]
    used = row["used_seconds"] if counted == _SECONDS else octets
    return {
        **row,
        "session": row["session_key"] or "no record yet",
        "reserved_shown": _written(row["reserved"], counted),
        "used_shown": _written(used, counted),
    }


def _moved(row: Mapping[str, Any], unit: str) -> dict[str, Any]:
    change = row["reserved_change"]
    over = f", {_written(row['overshoot'], unit)} beyond the balance" if row["overshoot"] else ""
    return {
        **row,
        "what": _WORDS[row["kind"]] + over,
        "amount_shown": _written(row["amount"], unit, signed=True) if row["amount"] else None,
        "reserved_change_shown": _written(change, unit, signed=True) if change else None,
        "balance_shown": _written(row["balance_after"], unit),
    }
