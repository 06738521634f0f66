"""Pages of what is carried beside what is billed: leakage and the three counts, as pictures first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web import templating
from controller.web.api import Api
from controller.web.office.exceptions import READ, WRITE
from controller.web.office.table import Column
from controller.web.office.view import Action, Chart, Link, Part, detail_page
from controller.web.site import Site, Visit, WebPage

DAYS = "60"
SIDES = (
    ("live-not-billed", "Live, not billed", "Nothing is live that is not billed."),
    ("billed-not-live", "Billed, not live", "Everything that is billed is live."),
)
LEAKS = (
    Column("What", "title", link="{href}", sub="seen"),
    Column("Since", "since_on"),
    Column("A day", "per_day", "money"),
    Column("A month", "monthly", "money", sub="price_from"),
    Column("So far", "lost", "money"),
)
COUNTS = (
    Column("Newest day", "day"),
    Column("Services", "services", "number"),
    Column("Unexplained in", "differing", "number"),
    Column("RADIUS", "radius_octets", "octets"),
    Column("Counters", "counter_octets", "octets"),
    Column("Billed", "billed_octets", "octets"),
    Column("No reason explains", "unexplained", "octets"),
)
ROWS = (
    Column("Service", "service", link="{href}", sub="day"),
    Column("Verdict", "verdict", "state", sub="why"),
    Column("RADIUS", "radius_octets", "octets"),
    Column("Counter", "counter_octets", "octets"),
    Column("Billed", "billed_octets", "octets"),
    Column("Charged", "charged_octets", "octets"),
    Column("Unexplained", "unexplained", "octets"),
)
DAYS_OF_SERVICE = (Column("Day", "day", sub="verdict"), *ROWS[2:], Column("Reasons", "reasons_told"))
LINES = ("RADIUS", "Counter", "Billed")


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", "/leakage"):
        return []
    return [
        WebPage("GET", "/leakage", READ, _leakage(site, api)),
        WebPage("POST", "/leakage/look", WRITE, _look(api)),
        WebPage("GET", "/reconciliation", READ, _reconciliation(site, api)),
        WebPage("GET", "/reconciliation/{service_id}", READ, _service(site, api)),
        WebPage("POST", "/reconciliation/run", WRITE, _run(api)),
    ]


def _leakage(site: Site, api: Api) -> Any:
    async def leakage(visit: Visit) -> Response:
        found = {side: await api.get(visit, "/leakage", query={"side": side, "limit": "100"}) for side, *_ in SIDES}
        days = (await api.get(visit, "/leakage/days", query={"days": DAYS}))["days"]
        newest = max((day["day"] for day in days), default="")
        parts = [_money_by_day(days)] if len({day["day"] for day in days}) > 1 else []
        now: dict[str, Any] = {}
        columns: list[Column] = []
        for side, title, nothing in SIDES:
            rows = [row | _seen(row) for row in found[side]["items"]]
            if rows:
                now["looked_at"] = rows[0]["looked_at"]
            more = ", the dearest" if found[side]["next"] else ""
            parts.append(Part(f"{title}{more}", rows, LEAKS, nothing))
            sums = [day for day in days if day["day"] == newest and day["side"] == side]
            now[side] = sum(day["items"] for day in sums)
            columns.append(Column(title, side))
            for day in sums:
                now[f"{side}-{day['per_day']['currency']}"] = day["per_day"]
                columns.append(Column("… a day", f"{side}-{day['per_day']['currency']}", "money"))
        may = visit.principal.may(WRITE)
        return detail_page(
            site, visit, "Leakage", now, [*columns, Column("As of", "looked_at", "instant")],
            back=Link("Bills that wait", "/exceptions"), parts=parts,
            actions=[Action("Look now", "/leakage/look")] if may else [],
        )  # fmt: skip

    return leakage


def _look(api: Api) -> Any:
    async def look(visit: Visit) -> Response:
        await api.post(visit, "/leakage", body={})
        return RedirectResponse("/leakage", status_code=303)

    return look


def _reconciliation(site: Site, api: Api) -> Any:
    async def reconciliation(visit: Visit) -> Response:
        days = (await api.get(visit, "/reconciliation/days", query={"days": DAYS}))["days"]
        parts: list[Part] = []
        row: dict[str, Any] = {}
        if days:
            row = days[-1] | {"unexplained": abs(days[-1]["unexplained_octets"])}
            if len(days) > 1:
                note = "Octets of all services a day; counters count frames, and not every service has one."
                parts.append(Part("Three counts", chart=_octets_by_day(days, note)))
            found = await api.get(visit, "/reconciliation", query={"verdict": "differs", "limit": "50"})
            parts.append(_rows("What no reason explains", found["items"], "Every difference has its reason."))
            newest = await api.get(visit, "/reconciliation", query={"day": row["day"], "limit": "100"})
            parts.append(_rows(f"Services on {row['day']}", newest["items"], "Nothing was carried."))
        may = visit.principal.may(WRITE)
        return detail_page(
            site, visit, "Reconciliation", row, COUNTS if row else (), back=Link("Bills that wait", "/exceptions"),
            parts=parts or [Part("Nothing yet", nothing="The counts of each day are compared in the night after it.")],
            actions=[Action("Compare now", "/reconciliation/run")] if may else [],
        )  # fmt: skip

    return reconciliation


def _service(site: Site, api: Api) -> Any:
    async def service(visit: Visit) -> Response:
        service_id = visit.path["service_id"]
        found = await api.get(visit, "/reconciliation", query={"service_id": service_id, "limit": DAYS})
        rows = [row | _told(row) for row in found["items"]]
        parts = [Part("By day", rows, DAYS_OF_SERVICE, "Nothing was compared yet.")]
        if len(rows) > 1:
            note = "Octets of both directions a day."
            parts.insert(0, Part("Three counts", chart=_octets_by_day(list(reversed(rows)), note)))
        return detail_page(
            site, visit, "Counts of a service", {"service_id": service_id},
            (Column("Service", "service_id", "mono", link="/services/{service_id}"),),
            back=Link("Reconciliation", "/reconciliation"), parts=parts,
        )  # fmt: skip

    return service


def _run(api: Api) -> Any:
    async def run(visit: Visit) -> Response:
        await api.post(visit, "/reconciliation", body={})
        return RedirectResponse("/reconciliation", status_code=303)

    return run


def _rows(title: str, rows: Sequence[Mapping[str, Any]], nothing: str) -> Part:
    return Part(title, [{**row, **_told(row)} for row in rows], ROWS, nothing)


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    reasons = [
        reason["text"] + (f": {_octets(reason['octets'])}" if reason["octets"] else "") for reason in row["reasons"]
    ]
    return {
        "service": row["service_id"] or "of no known service",
        "href": f"/reconciliation/{row['service_id']}" if row["service_id"] else "/suspense",
        "why": _why(row) or (reasons[0] if reasons else None),
        "reasons_told": "; ".join(reasons) or None,
        "unexplained": abs(row["unexplained_octets"]),
    }


def _why(row: Mapping[str, Any]) -> str | None:
    """Between which two counts it is that no reason explains."""
    if row["verdict"] != "differs":
        return None
    named = sum(reason["octets"] for reason in row["reasons"] if reason["between"] == "RADIUS and billed")
    left = row["radius_octets"] - row["billed_octets"] - named
    if left:
        return "RADIUS told more than is billed" if left > 0 else "more is billed than RADIUS told"
    return "the counter has more than RADIUS" if row["unexplained_octets"] > 0 else "the counter has less than RADIUS"


def _octets(octets: int) -> str:
    return ("−" if octets < 0 else "") + templating.octets(abs(octets)).striptags()


def _seen(row: Mapping[str, Any]) -> dict[str, Any]:
    href = f"/services/{row['service_id']}" if row["service_id"] else "/leakage"
    told = "; ".join(f"{sight['what']} {sight['ref']}: {sight['detail']}" for sight in row["evidence"][:3])
    return {"seen": told or None, "href": href}


def _money_by_day(days: Sequence[Mapping[str, Any]]) -> Part:
    """Of the currency that most of it is in."""
    currencies = [day["per_day"]["currency"] for day in days]
    currency = max(set(currencies), key=currencies.count)
    by_day: dict[str, dict[str, str]] = {}
    for day in days:
        if day["per_day"]["currency"] == currency:
            by_day.setdefault(day["day"], {})[day["side"]] = day["per_day"]["amount"]
    columns: list[list[float | str | None]] = [[_seconds(day) for day in by_day]]
    columns += [[found.get(side) for found in by_day.values()] for side, _, _ in SIDES]
    note = f"Value of a day, {currency}, as it was found each night."
    return Part("What it is worth a day", chart=Chart("money", [title for _, title, _ in SIDES], columns, note))


def _octets_by_day(days: Sequence[Mapping[str, Any]], note: str) -> Chart:
    columns: list[list[float | str | None]] = [[_seconds(day["day"]) for day in days]]
    columns += [[day[key] for day in days] for key in ("radius_octets", "counter_octets", "billed_octets")]
    return Chart("octets", LINES, columns, note)


def _seconds(day: str) -> float:
    return datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC).timestamp() + 12 * 3600
