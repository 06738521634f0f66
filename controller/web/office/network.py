"""Pages of the network: services, devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from controller.web.api import Api
from controller.web.office import fields, history, lines, pauses
from controller.web.office.names import with_devices
from controller.web.office.view import Link, Part, detail_page, list_page, part_of
from controller.web.site import Site, Visit, WebPage


def pages(site: Site, api: Api) -> list[WebPage]:
    return [*_service_pages(site, api), *_device_pages(site, api)]


def _service_pages(site: Site, api: Api) -> list[WebPage]:
    async def service(visit: Visit) -> Response:
        service_id = visit.path["service_id"]
        found = await api.get(visit, "/services/{service_id}", service_id=service_id)
        parts = [
            *await history.usage(api, visit, service_id),
            Part(
                "Carried by",
                await with_devices(api, visit, found["attachments"]),
                fields.ATTACHMENTS,
                "No device of ours carries it.",
            ),
            *await _session_changes(api, visit, found),
            *await _pauses(api, visit, service_id),
            *await part_of(api, visit, "Sessions", "/sessions", "radius:read", fields.SESSIONS, service_id=service_id),
        ]
        return detail_page(
            site, visit, await _name(api, visit, service_id), found, fields.SERVICE,
            back=Link("Sessions", "/sessions"), parts=parts, messages=found["differences"],
            links=[*_fair_use(api, visit, service_id), *await lines.changes(api, visit, service_id)],
        )  # fmt: skip

    return [WebPage("GET", "/services/{service_id}", "services:read", service)]


async def _pauses(api: Api, visit: Visit, service_id: str) -> list[Part]:
    """Those of the line that the service is of."""
    subscription_id = await lines.subscription_of(api, visit, service_id)
    return await pauses.card(api, visit, subscription_id=subscription_id) if subscription_id else []


def _fair_use(api: Api, visit: Visit, service_id: str) -> list[Link]:
    if not visit.principal.may("radius:read") or not api.has("GET", "/services/{service_id}/allowance"):
        return []
    return [Link("Fair use", f"/services/{service_id}/fair-use")]


async def _session_changes(api: Api, visit: Visit, service: Mapping[str, Any]) -> list[Part]:
    """What its live sessions were asked to become: with all that came of it, where the viewer may know that."""
    title = "Changes of live sessions"
    found = await part_of(
        api, visit, title, "/radius/changes", "radius:read", fields.CHANGES, service_id=service["service_id"]
    )
    if not found:
        return [Part(title, service["session_changes"], fields.SESSION_CHANGES, "None was needed.")]
    rows = [{**row, "answer": _answer(row)} for row in found[0].rows]
    return [Part(title, rows, fields.CHANGES, "None was needed.")]


def _answer(row: Mapping[str, Any]) -> str | None:
    said = [row["answer"], row["error_cause"]] if row["answer"] else []
    return " ".join(str(part) for part in said if part is not None) or None


async def _name(api: Api, visit: Visit, service_id: str) -> str:
    """What people call the service: by its user name, where the viewer may know it."""
    subscriptions = await part_of(
        api, visit, "", "/subscriptions", "orders:read", fields.SUBSCRIPTIONS, service_id=service_id
    )
    names = [row["username"] for part in subscriptions for row in part.rows]
    return f"Line of {names[0]}" if names else f"Service {service_id}"


def _device_pages(site: Site, api: Api) -> list[WebPage]:
    async def devices(visit: Visit) -> Response:
        page = await api.get(visit, "/devices", query={"after": visit.query("after")})
        health = await _health(api, visit)
        rows = {"items": [row | health.get(row["device_id"], {}) for row in page["items"]], "next": page["next"]}
        return list_page(
            site, visit, "Devices", rows, fields.DEVICES, nothing="No device is registered yet.",
            make=Link("Register a device", "/devices/new"), make_scope="devices:write",
        )  # fmt: skip

    async def nas(visit: Visit) -> Response:
        page = await api.get(visit, "/nas", query={"after": visit.query("after")})
        return list_page(
            site, visit, "NAS", page, fields.NAS, nothing="No NAS is registered: nobody can sign in yet.",
            intro="Who may ask RADIUS.", make=Link("Register a NAS", "/nas/new"), make_scope="radius:write",
        )  # fmt: skip

    async def weak_nas(visit: Visit) -> Response:
        page = await api.get(visit, "/nas/weak", query={"after": visit.query("after")})
        rows = [row | {"weak_by": " · ".join(row["weaknesses"])} for row in page["items"]]
        return list_page(
            site, visit, "Weak NAS", {"items": rows, "next": page["next"]}, fields.WEAK_NAS,
            nothing="Every NAS signs what it sends.", intro="Who accepts what could be forged (CVE-2024-3596).",
        )  # fmt: skip

    async def device(visit: Visit) -> Response:
        row = await api.get(visit, "/devices/{device_id}", device_id=visit.path["device_id"])
        health = (await _health(api, visit)).get(row["device_id"], {})
        return detail_page(site, visit, row["name"], row | health, fields.DEVICE, back=Link("Devices", "/devices"))

    return [
        WebPage("GET", "/devices", "devices:read", devices),
        WebPage("GET", "/nas", "radius:read", nas),
        WebPage("GET", "/nas/weak", "radius:read", weak_nas),
        WebPage("GET", "/devices/{device_id}", "devices:read", device),
    ]


async def _health(api: Api, visit: Visit) -> dict[str, dict[str, Any]]:
    """The last word about each device, by its id."""
    if not api.has("GET", "/device-health"):
        return {}
    page = await api.get(visit, "/device-health", query={"limit": "500"})
    said: dict[str, list[dict[str, Any]]] = {}
    for row in page["items"]:
        said.setdefault(row["device_id"], []).append(row)
    return {device_id: _together(rows) for device_id, rows in said.items()}


def _together(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One word for what several sources say of a device: one that is down is the news."""
    states = {row["state"] for row in rows}
    return {
        "state": next(state for state in ("down", "up", "unknown") if state in states),
        "detail": " · ".join(f"{row['source']}: {row['detail']}" for row in rows if row["detail"]),
        "checked_at": max(row["checked_at"] for row in rows),
    }
