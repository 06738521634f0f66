"""Limits of the checks before bills leave: what holds one, and above what two people let it go; changed and audited."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web import templating
from controller.web.api import Api
from controller.web.office.bars import Bars, bars_of_counts
from controller.web.office.form import Field, Filled, Form, decimal, sent, show
from controller.web.office.forms import both
from controller.web.office.table import Column
from controller.web.office.view import Link, Part, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

READ, WRITE = "billing:read", "admin:write"
ONE = "/check-limits/{currency}"
_NAMES = {"four_eyes": "Two people above", "usage": "Usage held from", "other": "All else held from"}
LIMITS = (
    Column("Currency", "currency", link=ONE),
    *(Column(label, name, "figure") for name, label in _NAMES.items()),
    Column("Set", "changed_at", "instant", sub="set_by"),
)
LIMIT = (*LIMITS[1:-1], Column("Set by", "set_by", sub="at_words"), Column("At", "changed_at", "instant"))
CHANGES = (
    Column("When", "at", "instant", sub="actor"),
    *(Column(label, name, sub=f"{name}_before") for name, label in _NAMES.items()),
    Column("Why", "reason"),
)
_MOST = 500


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", "/check-limits"):
        return []
    return [WebPage("GET", "/check-limits", READ, _list(site, api)), *_changing(site, api), *_one(site, api)]


def _list(site: Site, api: Api) -> Any:
    async def limits(visit: Visit) -> Response:
        found = (await api.get(visit, "/check-limits"))["limits"]
        return list_page(
            site, visit, "Limits of the checks", {"items": [_shown(row) for row in found], "next": None}, LIMITS,
            intro="What a bill may deviate by and still leave, and above what at stake one person is not enough.",
            make=Link("Another currency", "/check-limits/new"), make_scope=WRITE,
        )  # fmt: skip

    return limits


def _one(site: Site, api: Api) -> list[WebPage]:
    async def one(visit: Visit) -> Response:
        row = await _limits(api, visit)
        waiting = await _at_stake(api, visit, row["currency"])
        changes = [_changed(change) for change in row["changes"]]
        may = visit.principal.may(WRITE)
        return detail_page(
            site, visit, f"Limits of the checks in {row['currency']}", _shown(row), LIMIT,
            back=Link("Limits of the checks", "/check-limits"),
            links=[Link("Change", f"/check-limits/{row['currency']}/change")] if may else [],
            notes=[] if may else ["Only an administrator changes them: whoever lets bills go does not set the limit."],
            parts=[
                Part("Bills that wait now", pictures=_split(waiting, Decimal(row["four_eyes"])),
                     nothing=f"No bill in {row['currency']} waits.", links=[Link("The queue", "/exceptions")]),
                Part("Changes", changes, CHANGES, "Never changed: the defaults hold."),
            ],
        )  # fmt: skip

    return [WebPage("GET", ONE, READ, one)]


def _changing(site: Site, api: Api) -> list[WebPage]:
    back = Link("Limits of the checks", "/check-limits")

    async def form(visit: Visit) -> Form:
        if "currency" not in visit.path:
            code = Field("currency", "Currency", required=True, hint="such as CHF")
            return Form("Limits in another currency", (code, *_fields({})), back, (("set", "Set"),))
        row = await _limits(api, visit)
        here = Link(f"Limits in {row['currency']}", f"/check-limits/{row['currency']}")
        buttons = (("preview", "What would it mean?"), ("set", "Set"))
        return Form(f"Change the limits in {row['currency']}", _fields(row), here, buttons,
                    "They hold for bills that are checked or released from now on.")  # fmt: skip

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, await form(visit))

    async def change(visit: Visit) -> Response:
        known = await form(visit)

        async def send(filled: Filled) -> Response:
            currency = visit.path.get("currency") or str(filled.body.pop("currency")).upper()
            if visit.form.get("do") == "preview":
                limit = _number(filled.body["four_eyes"])
                waiting = await _at_stake(api, visit, currency)
                part = Part("Bills that wait now, by that limit", pictures=_split(waiting, limit), nothing="None wait.")
                return show(site, visit, known, filled, parts=[part])
            await api.put(visit, ONE, body=filled.body, currency=currency)
            return RedirectResponse(f"/check-limits/{currency}", status_code=303)

        return await sent(site, visit, known, send)

    return [*both("/check-limits/new", WRITE, fresh, change), *both(f"{ONE}/change", WRITE, fresh, change)]


def _fields(row: Mapping[str, Any]) -> tuple[Field, ...]:
    unit = row.get("currency", "")
    return (
        Field("four_eyes", _NAMES["four_eyes"], "decimal", required=True, unit=unit, start=row.get("four_eyes", ""),
              hint="at stake; 0: two people let every bill go", convert=decimal),
        Field("usage", _NAMES["usage"], "decimal", required=True, unit=unit, start=row.get("usage", ""),
              hint="deviation of usage from what its history expects", convert=decimal),
        Field("other", _NAMES["other"], "decimal", required=True, unit=unit, start=row.get("other", ""),
              hint="any other deviation: more than roundings differ by", convert=decimal),
        Field("reason", "Why", required=True, hint="for the audit log"),
    )  # fmt: skip


async def _limits(api: Api, visit: Visit) -> Mapping[str, Any]:
    found: Mapping[str, Any] = await api.get(visit, ONE, currency=visit.path["currency"])
    return found


async def _at_stake(api: Api, visit: Visit, currency: str) -> list[Decimal]:
    """Of the bills in the currency that wait, as many as one question tells."""
    found = (await api.get(visit, "/exceptions", query={"limit": str(_MOST)}))["items"]
    stakes = [row["at_stake"] for row in found]
    return [Decimal(stake["amount"]) for stake in stakes if stake["currency"] == currency]


def _split(stakes: list[Decimal], limit: Decimal) -> list[Bars]:
    alone = sum(stake <= limit for stake in stakes)
    counts = [("One person", alone, "good"), ("Two people", len(stakes) - alone, "waiting")]
    return bars_of_counts("Let go by", counts)


def _number(text: str) -> Decimal:
    """What is no number the API says, not the preview."""
    try:
        return Decimal(text)
    except ArithmeticError:
        return Decimal(0)


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    amounts = {name: f"{templating.number(Decimal(row[name]))}\u00a0{row['currency']}" for name in _NAMES}
    by = row["changed_by"]
    return {**row, **amounts, "set_by": by or "nobody", "at_words": None if by else "the defaults hold"}


def _changed(change: Mapping[str, Any]) -> dict[str, Any]:
    """The new figures, and below each what it was where it was another."""
    before = change["before"] or {}
    found: dict[str, Any] = {**change}
    for name in _NAMES:
        was, now = before.get(name), change["after"][name]
        found[name] = templating.number(Decimal(now))
        found[f"{name}_before"] = f"was {templating.number(Decimal(was))}" if was and was != now else None
    return found
