"""Forms of one step: a customer, a payment, a NAS, a device, an item of stock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web.api import Api
from controller.web.office import nas
from controller.web.office.form import Choice, Field, Filled, Form, decimal, sent, show, whole
from controller.web.office.names import entity_field
from controller.web.office.view import Link, Row
from controller.web.site import Site, Visit, WebPage


@dataclass(frozen=True, slots=True)
class Maker:
    """A form at `page` that POSTs to `path` of the API and then goes to `then`, an address made of the answer."""

    page: str
    path: str
    scope: str
    form: Form
    then: str


CUSTOMER = Maker(
    "/customers/new", "/customers", "crm:write",
    Form(
        "New customer",
        (
            Field("name", "Name", required=True),
            Field("email", "E-mail", "email"),
            Field("phone", "Phone", "tel"),
            Field("address", "Address", "textarea", hint="as it stands on a letter"),
            Field("language", "Language of documents", start="de", choices=(
                Choice("de", "German"), Choice("en", "English"), Choice("es", "Spanish"), Choice("fr", "French"),
                Choice("it", "Italian"), Choice("pl", "Polish"), Choice("pt", "Portuguese"),
            )),
            Field("tax_id", "Tax id", hint="of a business"),
            Field("currency", "Currency", hint="empty: that of the legal entity"),
            Field("zone", "Time zone", hint="by whose days it is billed, for good; empty: that of the legal entity"),
        ),
        Link("Customers", "/customers"),
        (("make", "Create customer"),),
    ),
    "/customers/{customer_id}",
)  # fmt: skip


NAS = Maker("/nas/new", "/nas", "radius:write", nas.REGISTER, "/nas")

DEVICE = Maker(
    "/devices/new", "/devices", "devices:write",
    Form(
        "Register a device",
        (
            Field("name", "Name", required=True, hint="such as olt-2"),
            Field("host", "Host", required=True, hint="name or address"),
            Field("driver", "Driver", hint="without one it is only polled", choices=(
                Choice("bbf-olt", "OLT, BBF model over NETCONF"), Choice("napalm-router", "Router, by napalm"),
            )),
            Field("port", "Port", "number", start="830", convert=whole),
            Field("username", "User"),
            Field("password", "Password", "password", hint="stored encrypted, never shown again"),
            Field("host_key_sha256", "SSH host key", hint="SHA256:… of ssh-keygen -l; empty trusts the first one seen"),
        ),
        Link("Devices", "/devices"),
        (("make", "Register device"),),
    ),
    "/devices/{device_id}",
)  # fmt: skip

STOCK = Maker(
    "/stock/new", "/stock-items", "inventory:write",
    Form(
        "Receive an item",
        (
            Field("kind", "Kind", start="onu", choices=(
                Choice("onu", "ONU"), Choice("router", "Router"), Choice("stb", "Set-top box"),
            )),
            Field("serial", "Serial", required=True, hint="of an ONU: HWTC12345678"),
            Field("model", "Model"),
        ),
        Link("Stock", "/stock"),
        (("make", "Receive"),),
    ),
    "/stock",
)  # fmt: skip

PAYMENT = (
    Field("amount.amount", "Amount", "decimal", required=True, convert=decimal),
    Field("reference", "Reference", required=True, hint="of the transfer; the same again is the same payment"),
    Field("method", "Method", start="bank-transfer", choices=(
        Choice("bank-transfer", "Bank transfer"), Choice("card", "Card"), Choice("cash", "Cash"),
    )),
)  # fmt: skip


def pages(site: Site, api: Api) -> list[WebPage]:
    made = [page for maker in (CUSTOMER, NAS, DEVICE, STOCK) for page in _pages_of(site, api, maker)]
    return [*made, *_payment_pages(site, api)]


def _pages_of(site: Site, api: Api, maker: Maker) -> list[WebPage]:
    async def form(visit: Visit) -> Form:
        """A customer is one of a legal entity."""
        if maker is not CUSTOMER:
            return maker.form
        return replace(maker.form, fields=(*await entity_field(api, visit), *maker.form.fields))

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, await form(visit))

    async def make(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            return go(maker.then, await api.post(visit, maker.path, body=filled.body))

        return await sent(site, visit, await form(visit), send)

    return both(maker.page, maker.scope, fresh, make)


def _payment_pages(site: Site, api: Api) -> list[WebPage]:
    async def form(visit: Visit) -> tuple[Form, Mapping[str, Any]]:
        customer = await api.get(visit, "/customers/{customer_id}", customer_id=visit.path["customer_id"])
        back = Link(customer["name"], f"/customers/{customer['customer_id']}")
        intro = f"It settles the oldest open invoices of {customer['name']} first."
        return Form("Record a payment", PAYMENT, back, (("make", "Record payment"),), intro), customer

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, (await form(visit))[0])

    async def record(visit: Visit) -> Response:
        known, customer = await form(visit)

        async def send(filled: Filled) -> Response:
            filled.body["account_id"] = customer["account_id"]
            filled.body["amount"]["currency"] = customer["currency"]
            await api.post(visit, "/payments", body=filled.body)
            return go(known.back.href, {})

        return await sent(site, visit, known, send)

    return both("/customers/{customer_id}/payment", "finance:write", fresh, record)


def of_customer(
    site: Site,
    api: Api,
    what: str,
    scope: str,
    make: Callable[[Visit, Row], Awaitable[Form]],
    send: Callable[[Visit, Filled, Row], Awaitable[str | None]],
) -> list[WebPage]:
    """A form at `what` below a customer's page, which is where it leads back to, or where `send` says.

    `make` is given the customer.
    """

    async def customer(visit: Visit) -> Row:
        found: Row = await api.get(visit, "/customers/{customer_id}", customer_id=visit.path["customer_id"])
        return found

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, await make(visit, await customer(visit)))

    async def change(visit: Visit) -> Response:
        row = await customer(visit)

        async def through(filled: Filled) -> Response:
            then = await send(visit, filled, row)
            return RedirectResponse(then or back_to(row).href, status_code=303)

        return await sent(site, visit, await make(visit, row), through)

    return both(f"/customers/{{customer_id}}/{what}", scope, fresh, change)


def back_to(customer: Row) -> Link:
    return Link(customer["name"], f"/customers/{customer['customer_id']}")


def both(path: str, scope: str, fresh: Callable[..., Any], send: Callable[..., Any]) -> list[WebPage]:
    return [WebPage("GET", path, scope, fresh), WebPage("POST", path, scope, send)]


def go(address: str, answer: Mapping[str, Any]) -> Response:
    return RedirectResponse(address.format_map(answer), status_code=303)
