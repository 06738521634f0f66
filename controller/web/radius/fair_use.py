"""Pages of fair use: what a service used of its allowance, its steps, a top-up, and which steps were taken lately."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.domain.errors import NotFound, RuleError
from controller.domain.units import GB, MBPS
from controller.web.api import Api
from controller.web.office.form import Choice, Field, Filled, Form, scaled, whole
from controller.web.office.table import Column
from controller.web.office.view import Action, Link, Part, Row, detail_page, list_page
from controller.web.radius import changing, elsewhere, fields
from controller.web.site import Site, Visit, WebPage

ALLOWANCE, TOP_UPS, TAKEN = (
    "/services/{service_id}/allowance",
    "/services/{service_id}/top-ups",
    "/radius/fair-use-steps",
)
HERE = "/services/{service_id}/fair-use"
_FULL = "the plan's speed"
_CUT = "cut off"

TOP_UP = (
    Field("octets", "Volume", "decimal", required=True, unit="GB", convert=scaled(GB), hint="until the period ends"),
    Field("reference", "Reference", required=True, hint="such as the order; the same again books nothing more"),
)
GIVE = (
    Field("octets", "Allowance", "decimal", required=True, unit="GB", convert=scaled(GB)),
    Field("period", "Each", start="month", choices=(
        Choice("month", "month"), Choice("week", "week"), Choice("day", "day"),
    )),
    Field("first_day", "Begins on day", "number", start="1", convert=whole,
          hint="of the month, 1 to 28; of the week, 1 Monday to 7"),
    Field("counted", "What counts", start="both", choices=(
        Choice("both", "both directions"), Choice("downstream", "downstream"), Choice("upstream", "upstream"),
    )),
    Field("downstream_bps", "Then downstream", "decimal", unit="Mbit/s", convert=scaled(MBPS),
          hint="both speeds empty: cut off"),
    Field("upstream_bps", "Then upstream", "decimal", unit="Mbit/s", convert=scaled(MBPS)),
    Field("cap_octets", "Cut off after", "decimal", unit="GB more", convert=scaled(GB), hint="empty: never"),
)  # fmt: skip


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", ALLOWANCE):
        return []

    async def taken(visit: Visit) -> Response:
        service_id = await elsewhere.service_of(api, visit)
        query = {"service_id": service_id or "", "after": visit.query("after")}
        page = elsewhere.NOTHING if service_id is None else await api.get(visit, TAKEN, query=query)
        return list_page(
            site, visit, "Fair use", {**page} | {"items": [_taken(row) for row in page["items"]]}, fields.STEPS_TAKEN,
            intro="Steps that services took lately: throttled, cut off, and at full speed again.",
            filters=(elsewhere.SUBSCRIBER,),
            nothing="No service has used up its allowance.",
        )  # fmt: skip

    async def one(visit: Visit) -> Response:
        service_id = visit.path["service_id"]
        here = HERE.format(service_id=service_id)
        quota, may = await _quota(api, visit), visit.principal.may("radius:write")
        fits = may and (quota is None or _fits(quota))
        change = [Link("Change allowance" if quota else "Give an allowance", f"{here}/allowance")] if fits else []
        past = await api.get(visit, TAKEN, query={"service_id": service_id, "limit": "20"})
        parts = [Part("Steps taken", [_taken(row) for row in past["items"]], _STEPS_OF_ONE, "None yet.")]
        if quota:
            parts.insert(0, Part("Steps", _steps(quota), fields.STEPS))
        return detail_page(
            site, visit, "Fair use", told(quota) if quota else {"none": "without allowance"},
            fields.FAIR_USE if quota else _NO_QUOTA, back=Link(f"Service {service_id}", f"/services/{service_id}"),
            links=[*([Link("Top up", f"{here}/top-up")] if may and quota else []), *change], parts=parts,
            actions=[_withdrawal(here)] if may and quota else [],
        )  # fmt: skip

    async def withdraw(visit: Visit) -> Response:
        service_id = visit.path["service_id"]
        await api.delete(visit, ALLOWANCE, service_id=service_id)
        return RedirectResponse(HERE.format(service_id=service_id), status_code=303)

    return [
        WebPage("GET", "/fair-use", "radius:read", taken),
        WebPage("GET", HERE, "radius:read", one),
        WebPage("POST", f"{HERE}/withdraw", "radius:write", withdraw),
        *_form(site, api, "top-up", "Top up", TOP_UP, _top_up),
        *_form(site, api, "allowance", "Allowance", GIVE, _give, partial(_as_it_is, api)),
    ]


def _form(
    site: Site, api: Api, name: str, title: str, asked: Sequence[Field], apply: Any, begin: changing.Begin | None = None
) -> list[WebPage]:
    async def make(visit: Visit) -> Form:
        back = Link("Fair use", HERE.format(service_id=visit.path["service_id"]))
        return Form(title, asked, back, (("send", title),), _INTRO[name])

    return changing.pages(site, f"{HERE}/{name}", make, partial(apply, api), begin=begin)


_INTRO = {
    "top-up": "Live sessions get their speed back at once, if it suffices.",
    "allowance": "What was used in this period stays used. More steps than these are set over the API.",
}


async def _top_up(api: Api, visit: Visit, filled: Filled) -> None:
    await api.post(visit, TOP_UPS, body=filled.body, service_id=visit.path["service_id"])


async def _give(api: Api, visit: Visit, filled: Filled) -> None:
    body = dict(filled.body)
    speeds = [body.pop(name, None) for name in ("downstream_bps", "upstream_bps")]
    cap = body.pop("cap_octets", None)
    before = await _quota(api, visit)
    if before is not None and not _fits(before):
        raise RuleError("it has more steps than this form: change it over the API")
    if before is not None:
        body["zone"] = before["allowance"]["zone"]
    body["steps"] = [{"beyond_octets": 0, "speed": _speed(*speeds)}]
    if cap is not None:
        body["steps"].append({"beyond_octets": cap, "speed": None})
    await api.put(visit, ALLOWANCE, body=body, service_id=visit.path["service_id"])


async def _as_it_is(api: Api, visit: Visit) -> Filled | None:
    quota = await _quota(api, visit)
    return None if quota is None else Filled(_filled(quota))


def _speed(downstream_bps: int | None, upstream_bps: int | None) -> dict[str, Any] | None:
    if downstream_bps is None and upstream_bps is None:
        return None
    return {"name": "fair-use", "downstream_bps": downstream_bps, "upstream_bps": upstream_bps}


async def _quota(api: Api, visit: Visit) -> Mapping[str, Any] | None:
    """None for a service without an allowance."""
    try:
        found: Mapping[str, Any] = await api.get(visit, ALLOWANCE, service_id=visit.path["service_id"])
    except NotFound:
        return None
    return found


def told(quota: Mapping[str, Any]) -> dict[str, Any]:
    """What was used, with a bar and the step in force in words."""
    limit, used = quota["limit_octets"], quota["counted_octets"]
    share = min(1.0, used / limit) if limit else 1.0
    return {
        **quota,
        "bar": [("over" if used > limit else "leased", share)],
        "in_force": _speed_words(quota, quota["step"]),
    }


def _speed_words(quota: Mapping[str, Any], step: int) -> str:
    if step == 0:
        return _FULL
    speed = quota["allowance"]["steps"][step - 1]["speed"]
    return _CUT if speed is None else f"step {step}: {speed['name']}"


def _steps(quota: Mapping[str, Any]) -> list[Row]:
    rows: list[Row] = [{"number": "full", "from_octets": 0, "speed": _FULL, "now": _now(quota, 0)}]
    for number, step in enumerate(quota["allowance"]["steps"], 1):
        speed = step["speed"] or {}
        rows.append({
            "number": number, "from_octets": quota["limit_octets"] + step["beyond_octets"],
            "speed": speed.get("name", _CUT), "downstream_bps": speed.get("downstream_bps"),
            "upstream_bps": speed.get("upstream_bps"), "now": _now(quota, number),
        })  # fmt: skip
    return rows


def _now(quota: Mapping[str, Any], number: int) -> str:
    return "in force" if quota["step"] == number else ""


def _filled(quota: Mapping[str, Any]) -> dict[str, str]:
    """The form as the allowance is."""
    allowance = quota["allowance"]
    first, *later = allowance["steps"]
    speed = first["speed"] or {}
    cap = next((step["beyond_octets"] for step in later if step["speed"] is None), None)
    return {
        "octets": _in(allowance["octets"], GB), "period": allowance["period"], "counted": allowance["counted"],
        "first_day": str(allowance["first_day"]), "downstream_bps": _in(speed.get("downstream_bps"), MBPS),
        "upstream_bps": _in(speed.get("upstream_bps"), MBPS), "cap_octets": _in(cap, GB),
    }  # fmt: skip


def _fits(quota: Mapping[str, Any]) -> bool:
    """Whether the form can show all of it: a speed and then a cap, or one of them."""
    _, *later = quota["allowance"]["steps"]
    return len(later) <= 1 and all(step["speed"] is None for step in later)


def _in(amount: int | None, unit: int) -> str:
    """Exactly, as a person writes it: what is sent back unchanged changes nothing."""
    return "" if amount is None else f"{(Decimal(amount) / unit).normalize():f}"


def _taken(row: Row) -> Row:
    step = "full speed again" if row["step"] == 0 else _CUT if row["profile_name"] is None else row["profile_name"]
    return {**row, "taken": step}


def _withdrawal(here: str) -> Action:
    return Action("Withdraw", f"{here}/withdraw", "Count nothing any more, and give the plan's speed back?", True)


_STEPS_OF_ONE = tuple(column for column in fields.STEPS_TAKEN if column.key != "service_id")
_NO_QUOTA = (Column("Allowance", "none"),)
