"""NAS: registering one, everything that is set about it, and changing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web.api import Api
from controller.web.office import fields
from controller.web.office.form import Choice, Field, Filled, Form, scaled, sent, show, whole
from controller.web.office.view import Link, Row, detail_page
from controller.web.site import Site, Visit, WebPage

_MBIT = 1_000_000
_ONE = "/nas/{nas_id}"
_YES, _NO = Choice("yes", "yes"), Choice("no", "no")
_EMPTY_MEANS = {"tls_identity": "", "coa_over": "", "coa_address": "", "line_logins": [], "reply_attributes": []}
"""What an empty field says when something is changed: take it away."""


def _flag(text: str) -> bool:
    return text == "yes"


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _attributes(text: str) -> list[dict[str, str]]:
    """Lines such as "Framed-MTU = 1492". Raises ValueError."""
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, equals, value = line.partition("=")
        if not equals:
            raise ValueError(f"{line!r} is no line such as Framed-MTU = 1492")
        found.append({"name": name.strip(), "value": value.strip()})
    return found


def _switch(key: str, label: str, hint: str) -> Field:
    return Field(key, label, start="no", choices=(_NO, _YES), convert=_flag, hint=hint)


_VENDORS = (
    Choice("rfc", "plain RFC"), Choice("accel-ppp", "accel-ppp"),
    Choice("cisco-ios-xe", "Cisco IOS XE"), Choice("cisco-ios-xr", "Cisco IOS XR (ASR 9000)"),
    Choice("huawei", "Huawei"), Choice("juniper", "Juniper (ERX)"), Choice("mikrotik", "MikroTik"),
    Choice("nokia-sros", "Nokia SR OS"), Choice("strongswan", "strongSwan"),
    Choice("ubiquiti", "Ubiquiti"), Choice("wispr", "WISPr"),
)  # fmt: skip
_SECRET = Field("secret", "Shared secret", "password", required=True, hint="stored encrypted, never shown again")
_NAMED = (
    Field("name", "Name", required=True),
    Field("address", "Address", required=True, hint="from which its datagrams come, or a network in CIDR"),
)
_SETTINGS = (
    Field("vendor", "Attributes", start="rfc", choices=_VENDORS),
    Field("coa_port", "CoA port", "number", start="3799", convert=whole),
    Field("interim_interval_s", "Interim interval", "number", unit="s", start="300", convert=whole),
    Field("missed_interims", "Missed interims", "number", convert=whole,
          hint="that end a session; 0: it sends none; empty: as the site says"),
    Field("port_speed_bps", "Port speed", "decimal", unit="Mbit/s", start="10000", convert=scaled(_MBIT),
          hint="what no session can exceed; more is quarantined"),
    _switch("require_message_authenticator", "Needs Message-Authenticator",
            "requests without one are dropped (BlastRADIUS)"),
    _switch("limit_proxy_state", "Limits Proxy-State", "requests with one are dropped unless they are signed"),
    _switch("sign_dynamic_requests", "Sign CoA and Disconnect", "with a Message-Authenticator"),
    Field("class_proves_speed", "Class proves a speed", choices=(_YES, _NO), convert=_flag,
          hint="where it reports no rate; left open: what is known of the vendor"),
    _switch("disconnect_when_refused", "Disconnect when it refuses", "a CoA that it refuses ends the session"),
    _switch("swaps_octets", "Swaps octets", "it counts as input what went to the subscriber"),
    _switch("adds_ipv6_octets", "Adds IPv6 octets", "its IPv6 counters come on top of the standard ones"),
    Field("tls_identity", "TLS identity", hint="of its certificate, for RADIUS over TLS: dns:bras.example.net"),
    Field("coa_over", "CoA over", choices=(Choice("udp", "its CoA port"), Choice("tls", "its TLS connection")),
          hint="left open: TLS where it has an identity"),
    Field("coa_address", "CoA address", hint="where it is asked, if not at its address"),
    Field("coa_secret", "CoA secret", "password", hint="if it is not its secret; stored encrypted, never shown again"),
    Field("coa_takes", "CoA may change", start="rate filter disconnect", convert=_words,
          hint="rate, filter (the garden), disconnect: the rest is not sent, and refused at once"),
    Field("line_logins", "Lines may log in", hint="circuit, remote, port, mac: without a password", convert=_words),
    Field("reply_attributes", "Further attributes", "textarea", convert=_attributes,
          hint="of every Access-Accept, a line each: Framed-MTU = 1492"),
)  # fmt: skip
REGISTER = Form("Register a NAS", (*_NAMED, _SECRET, *_SETTINGS), Link("NAS", "/nas"), (("make", "Register NAS"),))
CHANGE = (
    *_NAMED,
    replace(_SECRET, required=False, hint="a new one; empty: it stays"),
    Field("secret_overlap_s", "Former secret", "number", unit="s", start="3600", convert=whole,
          hint="is taken for so long beside a new one"),
    *(replace(one, start=one.start or "no") if one.key == "class_proves_speed" else one for one in _SETTINGS),
    _switch("enabled", "Enabled", "off: its requests are dropped"),
)  # fmt: skip


def pages(site: Site, api: Api) -> list[WebPage]:
    async def one(visit: Visit) -> Response:
        row = await _row(api, visit)
        may = visit.principal.may("radius:write")
        return detail_page(
            site, visit, row["name"], _told(row), fields.ONE_NAS, back=Link("NAS", "/nas"),
            links=[Link("Change", f"/nas/{row['nas_id']}/change")] if may else [],
        )  # fmt: skip

    async def fresh(visit: Visit) -> Response:
        row = await _row(api, visit)
        return show(site, visit, _form(row), Filled(_filled(row)))

    async def change(visit: Visit) -> Response:
        row = await _row(api, visit)

        async def send(filled: Filled) -> Response:
            await api.patch(visit, _ONE, body=_EMPTY_MEANS | filled.body, nas_id=row["nas_id"])
            return RedirectResponse(f"/nas/{row['nas_id']}", status_code=303)

        return await sent(site, visit, _form(row), send)

    return [
        WebPage("GET", "/nas/{nas_id}", "radius:read", one),
        WebPage("GET", "/nas/{nas_id}/change", "radius:write", fresh),
        WebPage("POST", "/nas/{nas_id}/change", "radius:write", change),
    ]


async def _row(api: Api, visit: Visit) -> Row:
    found: Row = await api.get(visit, _ONE, nas_id=visit.path["nas_id"])
    return found


def _form(row: Row) -> Form:
    return Form(f"Change {row['name']}", CHANGE, Link(row["name"], f"/nas/{row['nas_id']}"), (("change", "Change"),))


def _filled(row: Row) -> dict[str, str]:
    """The NAS as the form shows it; its secret is not known here."""
    values = {field.key: _written(row.get(field.key)) for field in CHANGE}
    speed = row["port_speed_bps"] / _MBIT
    lines = "\n".join(f"{one['name']} = {one['value']}" for one in row["reply_attributes"])
    return values | {"port_speed_bps": f"{speed:g}", "reply_attributes": lines, "secret_overlap_s": "3600"}


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


def _told(row: Row) -> Mapping[str, Any]:
    template = ", ".join(f"{one['name']} = {one['value']}" for one in row["reply_attributes"])
    return {**row, "lines": ", ".join(row["line_logins"]) or None, "template": template or None}
