"""Pages of what is sold: offerings, the prices of each version, a new version, and its trial on last month's usage.

A new offering has the two prices that most have; everything else is a version written as data: the prices of the last
one stand in the form, to be changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from typing import Any

from starlette.responses import Response

from controller.web import templating
from controller.web.api import Api
from controller.web.office import fields, rerating
from controller.web.office.form import Choice, Field, Filled, Form, decimal, scaled, sent, show
from controller.web.office.forms import both, go
from controller.web.office.table import facts
from controller.web.office.view import Link, Part, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

_MBIT, _GB = 1_000_000, 1_000_000_000
_OFFERINGS = Link("Offerings", "/offerings")
_TAX_IN = (Choice("no", "net, tax comes on top"), Choice("yes", "what is paid, tax in it"))


def _yes(text: str) -> bool:
    return text == "yes"


_TAX_CLASSES = tuple(
    Choice(code, label)
    for code, label in (
        ("S", "VAT"), ("Z", "VAT at zero rate"), ("E", "Exempt from VAT"), ("AE", "Reverse charge"),
        ("K", "Supply within the EU"), ("G", "Export"), ("O", "Not subject to VAT"),
        ("L", "IGIC, Canary Islands"), ("M", "IPSI, Ceuta and Melilla"),
    )
)  # fmt: skip

OFFERING = Form(
    "New offering",
    (
        Field("name", "Name", required=True, hint="such as Fibre 250"),
        Field("description", "Description"),
        Field("kind", "Kind", start="internet", choices=tuple(
            Choice(kind, label) for kind, label in (
                ("internet", "Internet line"), ("voice", "Voice"), ("tv", "TV"), ("rental", "Rental"),
                ("hosting", "Hosting"), ("add-on", "Add-on"), ("discount", "Discount"),
                ("installation", "Installation"), ("one-off", "One-off"),
            )
        )),
        Field("effective_on", "Valid from", "date", required=True),
        Field("monthly_fee", "Monthly fee", "decimal", required=True, unit="EUR", hint="or once",
              convert=decimal),
        Field("tax_percent", "Tax", "decimal", required=True, unit="%", start="19", convert=decimal),
        Field("tax_category", "Kind of tax", start="S", choices=_TAX_CLASSES),
        Field("tax_included", "Prices are", start="no", choices=_TAX_IN, convert=_yes),
        Field("downstream_bps", "Downstream", "decimal", unit="Mbit/s", hint="of a line", convert=scaled(_MBIT)),
        Field("upstream_bps", "Upstream", "decimal", unit="Mbit/s", hint="of a line", convert=scaled(_MBIT)),
        Field("included_octets", "Included volume", "decimal", unit="GB", hint="empty: unlimited", convert=scaled(_GB)),
        Field("overage_price", "Price beyond it", "decimal", unit="EUR per GB", convert=decimal),
    ),
    _OFFERINGS,
    (("make", "Create offering"),),
)  # fmt: skip


def pages(site: Site, api: Api) -> list[WebPage]:
    async def offerings(visit: Visit) -> Response:
        page = await api.get(visit, "/offerings", query={"after": visit.query("after")})
        rows = [row | in_force(row["versions"], visit.now.date()) for row in page["items"]]
        return list_page(
            site, visit, "Offerings", page | {"items": rows}, fields.OFFERINGS, nothing="Nothing is sold yet.",
            make=Link("New offering", "/offerings/new"), make_scope="catalog:write",
        )  # fmt: skip

    async def offering(visit: Visit) -> Response:
        row = await _offering(api, visit)
        may = visit.principal.may("catalog:write")
        links = [Link("New version", f"/offerings/{row['offering_id']}/version")] if may else []
        return detail_page(
            site, visit, row["name"], row | in_force(row["versions"], visit.now.date()), fields.OFFERING,
            back=_OFFERINGS, links=[*links, *rerating.link(api, visit, row["offering_id"])],
            parts=[_version(version) for version in reversed(row["versions"])],
        )  # fmt: skip

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, OFFERING)

    async def make(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            made = await api.post(visit, "/offerings", body=simple_offering(filled.body))
            return go("/offerings/{offering_id}", made)

        return await sent(site, visit, OFFERING, send)

    async def fresh_version(visit: Visit) -> Response:
        return show(site, visit, _version_form(await _offering(api, visit)))

    async def make_version(visit: Visit) -> Response:
        row = await _offering(api, visit)
        form = _version_form(row)

        async def send(filled: Filled) -> Response:
            path, of = "/offerings/{offering_id}", {"offering_id": row["offering_id"]}
            if visit.form.get("do") != "release":
                found = await api.post(visit, f"{path}/price-trial", body=filled.body, **of)
                return show(site, visit, form, filled, parts=_trial(found))
            return go(path, await api.post(visit, f"{path}/versions", body=filled.body, **of))

        return await sent(site, visit, form, send)

    return [
        WebPage("GET", "/offerings", "catalog:read", offerings),
        *both("/offerings/new", "catalog:write", fresh, make),
        WebPage("GET", "/offerings/{offering_id}", "catalog:read", offering),
        *both("/offerings/{offering_id}/version", "catalog:write", fresh_version, make_version),
    ]


def simple_offering(filled: Mapping[str, Any]) -> dict[str, Any]:
    """A fee (or a price paid once) and, with an included volume or a price beyond it, an overage."""
    body = dict(filled)
    once = body.get("kind") in ("installation", "one-off")
    fee = {"model": "one-off" if once else "flat", "code": "fee", "amount": body.pop("monthly_fee")}
    included, price = body.pop("included_octets", None), body.pop("overage_price", None)
    data = {"model": "overage", "code": "data", "price": price or "0", "included": included or 0}
    return {**body, "prices": [fee, *([] if included is None and price is None else [data])]}


def in_force(versions: list[dict[str, Any]], today: date) -> dict[str, Any]:
    """The version that holds today in the currency of the first one, else the first to come; fees in others beside."""
    latest: dict[str, dict[str, Any]] = {}
    for version in sorted(versions, key=lambda v: (v["effective_on"], v["number"])):
        if version["effective_on"] <= today.isoformat():
            latest[version["monthly_fee"]["currency"]] = version
    home = versions[0]["monthly_fee"]["currency"]
    now = latest.get(home) or next(iter(latest.values()), None) or min(versions, key=lambda v: v["effective_on"])
    others = [templating.amount(v["monthly_fee"]) for _, v in sorted(latest.items()) if v is not now]
    return {"now": now, "in_others": ", ".join(others)}


async def _offering(api: Api, visit: Visit) -> dict[str, Any]:
    return dict(await api.get(visit, "/offerings/{offering_id}", offering_id=visit.path["offering_id"]))


def _version(version: Mapping[str, Any]) -> Part:
    used = "in use: it never changes" if version["used_at"] else "nobody has it yet"
    title = f"Version {version['number']}, from {version['effective_on']} ({used})"
    rows = [dict(price) for price in version["prices"]]
    if version["contract_text"]:
        rows.append({"code": "contract", "text": version["contract_text"]})
    return Part(title, rows=rows, columns=fields.VERSION_PRICES, nothing="It costs nothing.")


def _version_form(row: Mapping[str, Any]) -> Form:
    last = row["versions"][-1]
    lines = json.dumps([price["terms"] for price in last["prices"]], indent=1)
    contract = json.dumps(last["contract"]) if last["contract"] else ""
    speeds = [
        Field("downstream_bps", "Downstream", "decimal", unit="Mbit/s", start=_mbit(last["downstream_bps"]),
              required=True, convert=scaled(_MBIT)),
        Field("upstream_bps", "Upstream", "decimal", unit="Mbit/s", start=_mbit(last["upstream_bps"]),
              required=True, convert=scaled(_MBIT)),
    ] if row["kind"] == "internet" else []  # fmt: skip
    tax_in = "yes" if last["tax_included"] else "no"
    made = (
        Field("effective_on", "Valid from", "date", required=True),
        Field("currency", "Currency", start=last["monthly_fee"]["currency"], required=True),
        Field("tax_percent", "Tax", "decimal", required=True, unit="%", start=last["tax_percent"], convert=decimal),
        Field("tax_category", "Kind of tax", start=last["tax_category"], choices=_TAX_CLASSES),
        Field("tax_included", "Prices are", start=tax_in, choices=_TAX_IN, convert=_yes),
        *speeds,
        Field(
            "prices", "Prices", "code", required=True, start=lines, convert=_json, hint="as docs/catalogue.md has them"
        ),
        Field("contract", "Contract", "code", start=contract, convert=_json, hint="empty: none"),
    )
    return Form(
        f"New version of {row['name']}", made, Link(row["name"], f"/offerings/{row['offering_id']}"),
        (("try", "Try on last month's usage"), ("release", "Release")),
        "Who has an older version keeps it. Try it first: nothing is written by that.",
    )  # fmt: skip


def _trial(found: Mapping[str, Any]) -> list[Part]:
    return [
        Part("Last month by these prices", facts=facts(found, fields.TRIAL)),
        Part("By price", rows=found["prices"], columns=fields.TRIAL_PRICES, nothing="Nobody had it last month."),
        Part("Greatest changes", rows=found["most"], columns=fields.TRIAL_EFFECTS, nothing="Nobody pays another sum."),
    ]


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"no JSON: {error}") from None


def _mbit(rate_bps: int | None) -> str:
    return "" if rate_bps is None else f"{rate_bps / _MBIT:g}"
