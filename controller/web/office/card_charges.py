"""Charging a card by hand: which card a customer left, for which invoice, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.domain.errors import Conflict
from controller.http.problem import Problem
from controller.web import templating
from controller.web.api import Api, address
from controller.web.office.form import Choice, Field, Filled, Form, decimal, unseen_once
from controller.web.office.forms import back_to, of_customer
from controller.web.office.names import with_customers
from controller.web.office.table import Column
from controller.web.office.view import Action, Filter, Link, Part, Row, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

READ, WRITE = "finance:read", "finance:write"
CHARGE = "/card-charges"
"""Of the API."""
STATES = ("asked", "unsure", "pending", "paid", "failed")
_UNDECIDED = ("asked", "unsure")
CHARGES = (
    Column("Asked", "asked_at", "instant", link="/payments/charges/{attempt_id}", sub="asked_by"),
    Column("Customer", "customer_name", link="/customers/{customer_id}"),
    Column("State", "state", "state", sub="detail"),
    Column("Amount", "amount", "money"),
    Column("Card", "method", "mono", sub="gateway"),
    Column("Changed", "changed_at", "instant"),
)
CHARGED = (
    Column("Customer", "customer_name", link="/customers/{customer_id}"),
    Column("State", "state", "state", sub="detail"),
    Column("Amount", "amount", "money"),
    Column("Invoice", "invoice", link="/invoices/{invoice_id}"),
    Column("Gateway", "gateway", sub="intent_id"),
    Column("Customer there", "customer", "mono"),
    Column("Card", "method", "mono"),
    Column("Asked", "asked_at", "instant", sub="asked_by"),
    Column("Changed", "changed_at", "instant"),
)
OF_CUSTOMER = (CHARGES[0], *CHARGES[2:])
_NEXT = {
    "asked": "The gateway was asked a moment ago. What came of it is seen here; nothing is booked before it says so.",
    "unsure": "The gateway's answer did not come. It is asked again for 23 hours, under its key, so it charges once.",
    "pending": "The gateway has taken it on. It is paid when its event says so: see Card events if that takes long.",
    "paid": "The gateway's event has said that it is paid, and the payment is booked.",
}
_FAILED = "The card was not charged. Ask the customer for another card, or for a transfer; nothing was booked."

_UNSEEN = ("no answer", "less than that is open")
"""How the details of failed charges begin whose answer never came."""
_NOT_KNOWN = "Nobody knows whether the card was charged: see at the gateway's dashboard before you charge again."

_SENT = "This form has asked for another charge before: see Card charges what became of it, then send this one again."


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", CHARGE):
        return []
    return [*_charges(site, api), *_charging(site, api)]


async def card(api: Api, visit: Visit, customer: Mapping[str, Any]) -> list[Part]:
    """For a customer's page: nothing where no gateway is set up and none ever was asked."""
    if not visit.principal.may(READ) or not api.has("GET", CHARGE):
        return []
    query = {"account_id": customer["account_id"], "limit": "20"}
    rows = (await api.get(visit, CHARGE, query=query))["items"]
    if not rows and not await _gateways(api, visit):
        return []
    links = [Link("Charge a card", _of(customer["customer_id"]))] if visit.principal.may(WRITE) else []
    return [Part("Card charges", rows, OF_CUSTOMER, "No card was charged by hand.", links=links)]


def link(api: Api, visit: Visit, invoice: Mapping[str, Any]) -> list[Link]:
    """For an invoice's page: nothing where nothing is open, or for who may not."""
    may = visit.principal.may(WRITE) and visit.principal.may("crm:read") and api.has("GET", CHARGE)
    is_open = invoice["kind"] != "credit-note" and invoice["open"]["amount"].strip("-0.")
    if not may or not is_open or not invoice["customer_id"]:
        return []
    return [Link("Charge a card", address(_of(invoice["customer_id"]), invoice_id=invoice["invoice_id"]))]


def _of(customer_id: str) -> str:
    return f"/customers/{customer_id}/charge-card"


def _charges(site: Site, api: Api) -> list[WebPage]:
    async def charges(visit: Visit) -> Response:
        state = visit.query("state")
        query = {"state": state if state in STATES else "", "after": visit.query("after")}
        page = await api.get(visit, CHARGE, query=query)
        return list_page(
            site, visit, "Card charges", page | {"items": await _named(api, visit, page["items"])}, CHARGES,
            intro="Cards that were charged by hand. A customer's or an invoice's page charges one.",
            filters=(Filter("state", "State", choices=STATES),),
            nothing="No card was charged by hand yet." if not state else "None is in this state.",
        )  # fmt: skip

    async def charge(visit: Visit) -> Response:
        found = await api.get(visit, f"{CHARGE}/{{attempt_id}}", attempt_id=visit.path["attempt_id"])
        (row,) = await _named(api, visit, [found])
        row["invoice"] = await _number(api, visit, row["invoice_id"])
        state, here = row["state"], f"/payments/charges/{row['attempt_id']}"
        may = visit.principal.may(WRITE)
        links = [Link("Look again", here)] if state in (*_UNDECIDED, "pending") else []
        if may and state == "failed" and row["customer_id"]:
            again = address(_of(row["customer_id"]), invoice_id=row["invoice_id"] or "")
            links.append(Link("Charge another card", again))
        if state != "paid" and api.has("GET", "/payment-events"):
            links.append(Link("Card events", "/payments/events"))
        return detail_page(
            site, visit, f"Card charge of {templating.amount(row['amount'])}", row, CHARGED,
            back=Link("Card charges", "/payments/charges"), links=links,
            actions=[Action("Ask again now", f"{here}/repeat")] if may and state in _UNDECIDED else [],
            notes=[_NEXT[state]] if state in _NEXT else [],
            messages=[_NOT_KNOWN if row["detail"].startswith(_UNSEEN) else _FAILED] if state == "failed" else [],
        )  # fmt: skip

    async def repeat(visit: Visit) -> Response:
        attempt_id = visit.path["attempt_id"]
        await api.post(visit, f"{CHARGE}/{{attempt_id}}/repeat", attempt_id=attempt_id)
        return RedirectResponse(f"/payments/charges/{attempt_id}", status_code=303)

    return [
        WebPage("GET", "/payments/charges", READ, charges),
        WebPage("GET", "/payments/charges/{attempt_id}", READ, charge),
        WebPage("POST", "/payments/charges/{attempt_id}/repeat", WRITE, repeat),
    ]


def _charging(site: Site, api: Api) -> list[WebPage]:
    async def make(visit: Visit, customer: Row) -> Form:
        account_id = customer["account_id"]
        query = {"account_id": account_id, "state": "open", "limit": "200"}
        invoices = (await api.get(visit, "/invoices", query=query))["items"]
        saved = await api.get(visit, "/accounts/{account_id}/saved-cards", account_id=account_id)
        gateways = await _gateways(api, visit)
        cards = [card for card in saved["cards"] if card["gateway"] in gateways]
        return Form(
            f"Charge a card of {customer['name']}", _fields(invoices, cards, gateways), back_to(customer),
            (("charge", "Charge the card"),), _intro(invoices, gateways),
        )  # fmt: skip

    async def send(visit: Visit, filled: Filled, _customer: Row) -> str:
        try:
            made = await api.post(visit, CHARGE, body=_body(filled.body))
        except Conflict:
            # Back, and another card: it stays one charge for each time that it is sent on purpose.
            filled.values = {**filled.values, "reference": unseen_once("reference").start}
            raise Problem(409, _SENT, code="conflict") from None
        return f"/payments/charges/{made['attempt_id']}"

    return of_customer(site, api, "charge-card", WRITE, make, send)


def _fields(
    invoices: list[Mapping[str, Any]], cards: list[Mapping[str, Any]], gateways: list[str]
) -> tuple[Field, ...]:
    owed = tuple(Choice(i["invoice_id"], f"{i['number']}, {templating.amount(i['open'])} open") for i in invoices)
    known = tuple(Choice(_key(card), _words(card)) for card in cards if card["method"])
    theirs = next((card["customer"] for card in cards if not card["method"]), "")
    start = known[0].value if known else ""
    one = gateways[0] if len(gateways) == 1 else ""
    return (
        Field("invoice_id", "Invoice", "choice", required=True, choices=owed),
        Field("amount", "Amount", "decimal", convert=decimal, hint="left empty: all of it that is open"),
        Field("card", "Card", "choice", choices=(*known, Choice("another", "another one, named below")),
              start=start or "another"),
        Field("gateway", "Gateway of another card", "choice", start=one, choices=[Choice(g, g) for g in gateways]),
        Field("customer", "Customer there", start=theirs, hint="of another card: such as cus_…"),
        Field("method", "Card there", hint="of another card: such as pm_…, as the gateway's dashboard shows it"),
        Field("currency", "", "hidden", start=invoices[0]["open"]["currency"] if invoices else ""),
        unseen_once("reference"),
    )  # fmt: skip


def _body(told: Mapping[str, Any]) -> dict[str, Any]:
    """A card that was chosen has gateway, customer and card in one. Raises Problem where another one is not named."""
    body = {"invoice_id": told["invoice_id"], "reference": told["reference"]}
    if told.get("amount"):
        body["amount"] = {"amount": told["amount"], "currency": told["currency"]}
    chosen = str(told.get("card", "another"))
    if chosen != "another":
        gateway, customer, method = chosen.split(" ")
        return body | {"gateway": gateway, "customer": customer, "method": method}
    named = {name: told[name] for name in ("gateway", "customer", "method") if told.get(name)}
    if len(named) < 3:
        raise Problem(422, "Another card is named by its gateway, its customer there and the card there.", code="card")
    return body | named


def _key(card: Mapping[str, Any]) -> str:
    """No part of it has a blank: the API sees to that."""
    return f"{card['gateway']} {card['customer']} {card['method']}"


def _words(card: Mapping[str, Any]) -> str:
    last = f"{card['state']} {card['last_at'][:10]}"
    return f"{card['method']} of {card['gateway']}, last {last}"


def _intro(invoices: list[Mapping[str, Any]], gateways: list[str]) -> str:
    if not gateways:
        return "No gateway can be asked: Payments, Gateways adds one, or the API key that it lacks."
    if not invoices:
        return "Nothing is open: there is no invoice to charge."
    return "The gateway is asked at once. It is booked when the gateway's event says that it is paid."


async def _gateways(api: Api, visit: Visit) -> list[str]:
    found = (await api.get(visit, "/payment-gateways"))["gateways"]
    return [row["name"] for row in found if row["can_be_asked"]]


async def _named(api: Api, visit: Visit, rows: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`customer` is the gateway's word here: ours is `customer_name`."""
    named = await with_customers(api, visit, rows)
    return [
        {**ours, "customer_name": ours["customer"], "customer": row["customer"]}
        for ours, row in zip(named, rows, strict=True)
    ]


async def _number(api: Api, visit: Visit, invoice_id: str | None) -> str | None:
    if invoice_id is None:
        return None
    found = await api.get(visit, "/invoices/{invoice_id}", invoice_id=invoice_id)
    return str(found["number"])
