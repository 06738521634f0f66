"""Payment gateways: set up with secrets that are entered and never shown, what they told, and chargebacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.http.dispatch import API_PREFIX
from controller.web.api import Api
from controller.web.office.form import Field, Filled, Form, sent, show
from controller.web.office.forms import both
from controller.web.office.names import entity_field
from controller.web.office.table import Column
from controller.web.office.view import Action, Filter, Link, list_page
from controller.web.site import Site, Visit, WebPage

READ, WRITE, ADMIN = "finance:read", "finance:write", "admin:write"
GATEWAYS = (
    Column("Name", "name", link="{href}", sub="kind"),
    Column("Asked at", "api_base"),
    Column("Can be asked", "can_be_asked", "flag"),
    Column("Sends its events to", "webhook", "mono"),
    Column("Former secret holds until", "former_secret_until", "instant"),
    Column("Changed", "updated_at", "instant"),
)
EVENTS = (
    Column("Told", "created_at", "instant", sub="provider_id"),
    Column("What", "type", sub="gateway"),
    Column("State", "state", "state", sub="detail"),
    Column("Deliveries", "deliveries", "number"),
    Column("Tries", "attempts", "number"),
    Column("Handled", "handled_at", "instant"),
)
CHARGEBACKS = (
    Column("Told", "told_at", "instant", sub="dispute_id"),
    Column("Card payment", "intent_id", "mono", sub="gateway"),
    Column("Status", "status", sub="reason"),
    Column("Decided", "final", "flag"),
    Column("Withdrawn", "withdrawn", "money"),
    Column("Fees", "fees", "money"),
)
STATES = ("received", "booked", "waiting", "unknown", "stale", "failed")
_AGAIN = ("failed", "waiting")
_NAME = Field("name", "Name", required=True, start="stripe", hint="a-z, 0-9 and -; part of the address of its events")
_SECRETS = (
    Field("webhook_secret", "Signing secret of its events", "password", required=True,
          hint="whsec_… of the gateway's dashboard; the former one holds for a day"),
    Field("api_key", "API key", "password", hint="sk_…; left empty, cards cannot be charged and refunds not be sent"),
    Field("api_base", "Asked at", start="https://api.stripe.com", required=True),
)  # fmt: skip


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", "/payment-gateways"):
        return []
    return [*_gateways(site, api), *_told(site, api)]


def _gateways(site: Site, api: Api) -> list[WebPage]:
    async def gateways(visit: Visit) -> Response:
        found = (await api.get(visit, "/payment-gateways"))["gateways"]
        may, here = visit.principal.may(ADMIN), str(visit.request.base_url).rstrip("/")
        rows = [
            row | {
                "href": f"/payments/gateways/{row['name']}" if may else "/payments/gateways",
                "webhook": f"{here}{API_PREFIX}/payment-gateways/{row['name']}/webhook",
            }
            for row in found
        ]  # fmt: skip
        return list_page(
            site, visit, "Payment gateways", {"items": rows, "next": None}, GATEWAYS,
            intro="Who takes cards for us. Secrets are entered here and never shown again.",
            nothing="No gateway yet: nobody can pay by card.",
            make=Link("Add a gateway", "/payments/gateways/new"), make_scope=ADMIN,
        )  # fmt: skip

    async def form(visit: Visit) -> Form:
        name = visit.path.get("name")
        back = Link("Payment gateways", "/payments/gateways")
        if name is None:
            fields = (*await entity_field(api, visit), _NAME, *_SECRETS)
            return Form("Add a gateway", fields, back, (("put", "Add gateway"),))
        intro = "Everything is entered anew, also what stays: nothing of it can be shown."
        return Form(f"Change {name}", _SECRETS, back, (("put", "Change"),), intro)

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, await form(visit))

    async def put(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            name = visit.path.get("name") or filled.body.pop("name")
            await api.put(visit, "/payment-gateways/{name}", body=filled.body, name=name)
            return RedirectResponse("/payments/gateways", status_code=303)

        return await sent(site, visit, await form(visit), send)

    return [
        WebPage("GET", "/payments/gateways", READ, gateways),
        *both("/payments/gateways/new", ADMIN, fresh, put),
        *both("/payments/gateways/{name}", ADMIN, fresh, put),
    ]


def _told(site: Site, api: Api) -> list[WebPage]:
    async def events(visit: Visit) -> Response:
        state = visit.query("state")
        query = {"state": state if state in STATES else "", "after": visit.query("after")}

        def again(row: Mapping[str, Any]) -> Action | None:
            may = row["state"] in _AGAIN and visit.principal.may(WRITE)
            return Action("Handle again", f"/payments/events/{row['event_key']}/retry") if may else None

        return list_page(
            site, visit, "Card events", await api.get(visit, "/payment-events", query=query), EVENTS, actions=again,
            intro="What the gateways told, each once however often they told it. What failed can be handled again.",
            filters=(Filter("state", "State", choices=STATES),),
            nothing="No gateway has told anything.",
        )  # fmt: skip

    async def retry(visit: Visit) -> Response:
        await api.post(visit, "/payment-events/{event_key}/retry", event_key=visit.path["event_key"])
        return RedirectResponse("/payments/events", status_code=303)

    async def chargebacks(visit: Visit) -> Response:
        found = await api.get(visit, "/payment-disputes", query={"after": visit.query("after")})
        return list_page(
            site, visit, "Chargebacks", found, CHARGEBACKS,
            intro="Card payments that the cardholder's bank took back, until it is decided.",
            nothing="Nobody has taken a card payment back.",
        )  # fmt: skip

    return [
        WebPage("GET", "/payments/events", READ, events),
        WebPage("POST", "/payments/events/{event_key}/retry", WRITE, retry),
        WebPage("GET", "/payments/chargebacks", READ, chargebacks),
    ]
