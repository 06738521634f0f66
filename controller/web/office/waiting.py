"""Pages of what waits for a person: usage in suspense, and events that could not be handled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup
from starlette.responses import RedirectResponse, Response

from controller.web import templating
from controller.web.api import Api
from controller.web.office import fields
from controller.web.office.form import Choice, Field, Filled, Form, sent, show
from controller.web.office.view import Action, Filter, Link, Row, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

REASONS = (
    "unknown-service", "altered-record", "forgotten-session", "not-entitled", "malformed", "negative", "absurd",
    "clock-jump", "conflict", "no-price", "second-source",
)  # fmt: skip
STATES = ("all", "mapped", "charged", "accepted", "written-off", "entitled")


def pages(site: Site, api: Api) -> list[WebPage]:
    found = [WebPage("GET", "/parked-events", "admin:read", _parked(site, api))]
    if api.has("GET", "/suspense"):
        found += [WebPage("GET", "/suspense", "billing:read", _suspense(site, api)), *_releases(site, api)]
    return [*found, WebPage("POST", "/parked-events/{subscriber}/{position}/redeliver", "admin:write", _redeliver(api))]


def _suspense(site: Site, api: Api) -> Any:
    async def suspense(visit: Visit) -> Response:
        reason, state = visit.query("reason"), visit.query("state")
        query = {
            "reason": reason if reason in REASONS else "", "state": state if state in STATES else "",
            "username": visit.query("q"), "after": visit.query("after"),
        }  # fmt: skip
        page = await api.get(visit, "/suspense", query=query)
        rows = [row | _told(row) for row in page["items"]]
        totals = await api.get(visit, "/suspense/totals")
        return list_page(
            site, visit, "Suspense", page | {"items": rows}, fields.SUSPENSE,
            intro="Usage that cannot be charged to anybody yet. Nothing of it is lost.",
            filters=(
                Filter("q", "User name", "all of it"),
                Filter("reason", "Reason", choices=REASONS),
                Filter("state", "State", choices=STATES, anything="waiting"),
            ),
            nothing="Nothing waits: all usage has found its service.",
            totals=[(t["reason"], _sum(t)) for t in totals["totals"] if t["items"]],
        )  # fmt: skip

    return suspense


RELEASE = (
    Field("action", "What becomes of it", required=True, choices=(
        Choice("map", "It belongs to a service"), Choice("charge", "Charge it, on the nearest day with a plan"),
        Choice("accept", "What its source tells is true"),
        Choice("write-off", "Write it off: it is never charged"),
    )),
    Field("service_id", "Service", hint="its id, where it belongs to one: all that waits under this name goes there"),
    Field("reason", "Why", required=True, hint="for the audit log"),
)  # fmt: skip


def _releases(site: Site, api: Api) -> list[WebPage]:
    path = "/suspense/{suspense_id}"

    async def item(visit: Visit) -> Response:
        row = await api.get(visit, path, suspense_id=visit.path["suspense_id"])
        here = f"/suspense/{row['suspense_id']}"
        may = row["state"] == "waiting" and visit.principal.may("billing:write")
        return detail_page(
            site, visit, f"Suspense, item {row['suspense_id']}", row | _told(row), fields.SUSPENSE_ITEM,
            back=Link("Suspense", "/suspense"), links=[Link("Release", f"{here}/release")] if may else [],
        )  # fmt: skip

    def form(visit: Visit) -> Form:
        number = visit.path["suspense_id"]
        back = Link(f"Suspense, item {number}", f"/suspense/{number}")
        return Form(f"Release item {number} from suspense", RELEASE, back, (("release", "Release"),))

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, form(visit))

    async def release(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            await api.post(visit, f"{path}/release", body=filled.body, suspense_id=visit.path["suspense_id"])
            return RedirectResponse(f"/suspense/{visit.path['suspense_id']}", status_code=303)

        return await sent(site, visit, form(visit), send)

    return [
        WebPage("GET", path, "billing:read", item),
        WebPage("GET", f"{path}/release", "billing:write", fresh),
        WebPage("POST", f"{path}/release", "billing:write", release),
    ]


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    """Volume both ways together, or the length of a call, whose it may be, and the age in words."""
    octets, seconds = row["upstream_octets"] + row["downstream_octets"], row["duration_s"]
    days, hours = divmod(row["age_s"] // 3600, 24)
    return {
        "volume": f"{templating.number(seconds)} s" if seconds is not None else templating.octets(octets or None),
        "whose": row["username"] or row["service_id"],
        "source": row["source"] or "radius",
        "age": f"{days} days" if days > 1 else f"{days * 24 + hours} hours",
    }


def _sum(total: Mapping[str, Any]) -> Markup:
    """How many items, and below what they come to: octets, and what is at stake."""
    octets = total["upstream_octets"] + total["downstream_octets"]
    parts = [templating.octets(octets)] if octets else []
    parts += [templating.money(value) for value in total["values"]]
    return Markup("{} <small>{}</small>").format(templating.number(total["items"]), Markup(", ").join(parts))


def _parked(site: Site, api: Api) -> Any:
    async def parked(visit: Visit) -> Response:
        def again(row: Row) -> Action | None:
            href = f"/parked-events/{row['subscriber']}/{row['position']}/redeliver"
            may = visit.principal.may("admin:write")
            return Action("Redeliver", href, "Has the cause been mended?") if may else None

        page = await api.get(visit, "/parked-events", query={"after": visit.query("after")})
        return list_page(
            site, visit, "Parked events", page, fields.PARKED, actions=again,
            intro="Events that a part could not handle; bill runs wait for those that begin, change or end lines.",
            nothing="No event is parked: every part has handled what it heard.",
        )  # fmt: skip

    return parked


def _redeliver(api: Api) -> Any:
    async def redeliver(visit: Visit) -> Response:
        subscriber, position = visit.path["subscriber"], visit.path["position"]
        await api.post(
            visit, "/parked-events/{subscriber}/{position}/redeliver", subscriber=subscriber, position=position
        )
        return RedirectResponse("/parked-events", status_code=303)

    return redeliver
