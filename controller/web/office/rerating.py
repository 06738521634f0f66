"""Rating a month again after its price or data were corrected: first what it changes, then the notes, by a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.domain.clock import add_months
from controller.web import templating
from controller.web.api import Api, address
from controller.web.office.bars import bars_of
from controller.web.office.form import Choice, Field, Filled, Form, sent, show
from controller.web.office.forms import both
from controller.web.office.names import with_customers
from controller.web.office.table import Column, facts
from controller.web.office.view import Link, Part, list_page
from controller.web.site import Site, Visit, WebPage

READ, WRITE = "billing:read", "billing:write"
PATH = "/offerings/{offering_id}/rate-again"
DONE = (
    Column("When", "at", "instant", sub="actor"),
    Column("Offering", "offering", link="/offerings/{offering_id}"),
    Column("Periods of", "period"),
    Column("What was corrected", "what"),
    Column("Why", "reason"),
)
SUMS = (
    Column("Lines", "lines", "number"),
    Column("Subscriptions", "subscriptions", "number"),
    Column("Charged on top, net", "charged"),
    Column("Credited, net", "credited"),
)
DELTAS = (
    Column("Customer", "customer", link="/customers/{customer_id}"),
    Column("Line", "description"),
    Column("From", "first_on"),
    Column("Until (not included)", "until_on"),
    Column("Net", "net", "money"),
)
_MOST_LINES, _MOST_CUSTOMERS = 100, 10
_CHANGED = "The differences are not those that were shown: look at them again, then issue."
_NEW = Link("Rated again", "/reratings")


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("POST", "/reratings"):
        return []
    return [WebPage("GET", "/reratings", READ, _done(site, api)), *_choosing(site, api), *_rating(site, api)]


def link(api: Api, visit: Visit, offering_id: str) -> list[Link]:
    """For an offering's page."""
    may = visit.principal.may(WRITE) and api.has("POST", "/reratings")
    return [Link("Rate a month again", PATH.format(offering_id=offering_id))] if may else []


def _done(site: Site, api: Api) -> Any:
    async def done(visit: Visit) -> Response:
        page = await api.get(visit, "/reratings", query={"after": visit.query("after")})
        names = await _versions(api, visit)
        return list_page(
            site, visit, "Rated again", page | {"items": [_told(row, names) for row in page["items"]]}, DONE,
            intro="Months whose price or data were corrected; the differences left as credit and debit notes.",
            nothing="No month was rated again.",
            make=Link("Rate a month again", "/reratings/new"), make_scope=WRITE,
        )  # fmt: skip

    return done


def _choosing(site: Site, api: Api) -> list[WebPage]:
    async def form(visit: Visit) -> Form:
        found = (await api.get(visit, "/offerings", query={"limit": "500"}))["items"]
        sold = tuple(Choice(row["offering_id"], row["name"]) for row in found)
        fields = (Field("offering_id", "Offering", "choice", required=True, choices=sold), _month(visit))
        return Form("Rate a month again", fields, _NEW, (("next", "Next"),), "Of whoever had the offering then.")

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, await form(visit))

    async def choose(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            path = PATH.format(offering_id=filled.body["offering_id"])
            return RedirectResponse(address(path, period=filled.body["period"]), status_code=303)

        return await sent(site, visit, await form(visit), send)

    return both("/reratings/new", WRITE, fresh, choose)


def _rating(site: Site, api: Api) -> list[WebPage]:
    async def offering(visit: Visit) -> Mapping[str, Any]:
        found: Mapping[str, Any] = await api.get(
            visit, "/offerings/{offering_id}", offering_id=visit.path["offering_id"]
        )
        return found

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, _form(visit, await offering(visit)))

    async def rate(visit: Visit) -> Response:
        row = await offering(visit)

        async def send(filled: Filled) -> Response:
            shown = filled.body.pop("shown", "")
            body = filled.body | {"offering_id": row["offering_id"]}
            found = await api.post(visit, "/reratings", body=body | {"dry_run": True})
            now = _fingerprint(body, found)
            if visit.form.get("do") == "issue" and now == shown:
                made = await api.post(visit, "/reratings", body=body | {"dry_run": False})
                return RedirectResponse(f"/bill-runs/{made['bill_run_id']}", status_code=303)
            if visit.form.get("do") == "issue":
                filled.messages.append(_CHANGED)
            filled.values = {**filled.values, "shown": now}
            parts = await _preview(api, visit, found)
            return show(site, visit, _form(visit, row, can_issue=bool(found["lines"])), filled, parts=parts)

        return await sent(site, visit, _form(visit, row), send)

    return both(PATH, WRITE, fresh, rate)


def _form(visit: Visit, row: Mapping[str, Any], *, can_issue: bool = False) -> Form:
    versions = tuple(Choice(v["version_id"], _version(v)) for v in row["versions"])
    fields = (
        _month(visit),
        Field("version_id", "Version whose price was wrong", "choice", choices=versions,
              hint="none: its data were corrected, not its price"),
        Field("priced_as", "Price it as version", "choice", choices=versions,
              hint="one with the right amounts; all else must be equal"),
        Field("reason", "Why", required=True, hint="for the audit log"),
        Field("shown", "", "hidden"),
    )  # fmt: skip
    issue = (("issue", "Issue the notes"),) if can_issue else ()
    return Form(
        f"Rate a month of {row['name']} again", fields, Link(row["name"], f"/offerings/{row['offering_id']}"),
        (("preview", "Show what it changes"), *issue),
        "Looking changes nothing. Issuing starts a bill run of today: with these notes, all that is due leaves.",
    )  # fmt: skip


def _month(visit: Visit) -> Field:
    last = add_months(visit.now.date().replace(day=1), -1)
    return Field("period", "Periods that began in", "month", required=True, start=f"{last:%Y-%m}",
                 hint="a month, such as 2026-10")  # fmt: skip


async def _preview(api: Api, visit: Visit, found: Mapping[str, Any]) -> list[Part]:
    if not found["lines"]:
        nothing = "Nothing changes: what was charged is what these prices and data come to."
        return [Part("What it changes", nothing=nothing)]
    sums = {name: _sum(found[name]) for name in ("charged", "credited")}
    deltas = await with_customers(api, visit, found["deltas"])
    more = f", the first {_MOST_LINES} of {found['lines']}" if found["lines"] > _MOST_LINES else ""
    return [
        Part("What it changes", facts=facts({**found, **sums}, SUMS), pictures=_pictures(deltas)),
        Part(f"Lines that are corrected, or not charged yet{more}", deltas[:_MOST_LINES], DELTAS),
    ]


def _pictures(deltas: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Whom it changes most, by currency: a credit is good for the customer, a charge waits to be paid."""
    sums: dict[tuple[str, str], tuple[str, Decimal]] = {}
    for row in deltas:
        key = (row["net"]["currency"], row["account_id"])
        sums[key] = (row["customer"], sums.get(key, ("", Decimal(0)))[1] + Decimal(row["net"]["amount"]))
    found = []
    for currency in sorted({currency for currency, _ in sums}):
        own = sorted((both for key, both in sums.items() if key[0] == currency), key=lambda one: -abs(one[1]))
        rows = [
            (name, {"amount": f"{net:f}", "currency": currency}, "good" if net < 0 else "waiting")
            for name, net in own[:_MOST_CUSTOMERS]
        ]
        many = f", the greatest of {len(own)}" if len(own) > _MOST_CUSTOMERS else ""
        found += bars_of(f"By customer, {currency}{many}", rows, named=True)
    return found


def _fingerprint(body: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Of what was asked and what came out: who issues, issues what was shown."""
    asked = {key: value for key, value in body.items() if key != "reason"}
    return hashlib.sha256(json.dumps([asked, found], sort_keys=True).encode()).hexdigest()[:32]


def _sum(amounts: Sequence[dict[str, str]]) -> str | None:
    return ", ".join(templating.amount(one) for one in amounts) or None


def _version(version: Mapping[str, Any]) -> str:
    return f"{version['number']}, from {version['effective_on']}, {templating.amount(version['monthly_fee'])}"


async def _versions(api: Api, visit: Visit) -> dict[str, str]:
    """Offerings' names, and numbers of versions, by id."""
    if not visit.principal.may("catalog:read"):
        return {}
    found = (await api.get(visit, "/offerings", query={"limit": "500"}))["items"]
    numbers = {v["version_id"]: f"version {v['number']}" for row in found for v in row["versions"]}
    return numbers | {row["offering_id"]: row["name"] for row in found}


def _told(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    wrong, right = (names.get(row[key] or "", row[key]) for key in ("version_id", "priced_as"))
    return {
        **row,
        "offering": names.get(row["offering_id"], row["offering_id"]),
        "period": row["first_on"][:7],
        "what": f"{wrong} priced as {right}" if row["version_id"] else "its data",
    }
