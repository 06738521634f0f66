"""Who had this address, or this port of it, at that instant: a form, the holders, and the records that prove it.

It is sent as a form and not as an address: a question about a person belongs into no browser's history, and reloading
a page is no second one. Every question is in the audit log, with who asked and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from controller.web.api import Api
from controller.web.office.form import Field, Filled, Form, sent, show, whole
from controller.web.office.table import facts
from controller.web.office.view import Link, Part
from controller.web.radius import elsewhere, fields
from controller.web.site import Site, Visit, WebPage

SCOPE = "radius:whois"
_ALL_PORTS = (0, 65_535)


def _instant(text: str) -> str:
    """Raises ValueError with words for people."""
    try:
        at = datetime.fromisoformat(text.removesuffix("UTC").strip())
    except ValueError:
        raise ValueError("an instant such as 2026-05-03 10:15:07, in UTC") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat()


def _form(now: datetime) -> Form:
    return Form(
        "Whois",
        (
            Field("address", "Address", required=True, hint="IPv4 or IPv6"),
            Field("port", "Port", "number", hint="where subscribers share the address", convert=whole),
            Field(
                "at", "At", required=True, start=f"{now:%Y-%m-%d %H:%M:%S}", convert=_instant,
                hint="in UTC, or with its zone: 2026-05-03T12:15:07+02:00",
            ),
            Field("reason", "Why", required=True, hint="such as the number of the request; for the audit log"),
        ),
        Link("Sessions", "/sessions"),
        (("ask", "Ask"),),
        "Who held an address at an instant. Every question is written down, with who asked it.",
    )  # fmt: skip


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", "/whois"):
        return []

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, _form(visit.now))

    async def ask(visit: Visit) -> Response:
        form = _form(visit.now)

        async def send(filled: Filled) -> Response:
            query = {name: str(value) for name, value in filled.body.items()}
            found = await api.get(visit, "/whois", query=query)
            return show(site, visit, form, filled, parts=await _answer(api, visit, found))

        return await sent(site, visit, form, send)

    return [WebPage("GET", "/whois", SCOPE, fresh), WebPage("POST", "/whois", SCOPE, ask)]


async def _answer(api: Api, visit: Visit, found: Mapping[str, Any]) -> list[Part]:
    asked = found["address"] + (f" port {found['port']}" if found["port"] is not None else "")
    if not found["holders"]:
        return [Part(f"Who held {asked}", nothing="Nobody is known to have held it at that instant.")]
    holders = await elsewhere.with_nas(api, visit, found["holders"])
    parts = []
    for number, holder in enumerate(holders, 1):
        which = f", {number} of {len(holders)}: the evidence is ambiguous" if len(holders) > 1 else ""
        parts.append(Part(f"Who held {asked}{which}", facts=facts(told(holder), fields.HOLDER)))
        parts.append(Part(f"Evidence for {holder['username']}", holder["evidence"], fields.EVIDENCE, _NO_RECORD))
    return parts


_NO_RECORD = "No record of it is in the usage log: it was imported."


def told(holder: Mapping[str, Any]) -> dict[str, Any]:
    """The holder with its ports and the end in words."""
    ports = holder["first_port"], holder["last_port"]
    certainty = (
        "last heard of; no Stop came" if holder["provisional"] else "" if holder["until"] else "it holds it still"
    )
    return {
        **holder,
        "ports": "" if ports == _ALL_PORTS else f"ports {ports[0]} to {ports[1]}",
        "certainty": certainty,
    }
