"""Pictures of what was: a service's usage by day, an account's invoices by month."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from controller.web.api import Api
from controller.web.office.view import Chart, Part
from controller.web.site import Visit

DAYS = 60


async def usage(api: Api, visit: Visit, service_id: str) -> list[Part]:
    """The card of the last DAYS days of a service, a column for each day, also for those without usage."""
    if not visit.principal.may("billing:read") or not api.has("GET", "/usage"):
        return []
    until = visit.now.date()
    since = until - timedelta(days=DAYS - 1)
    query = {"service_id": service_id, "since_on": since.isoformat(), "limit": "500"}
    return usage_card((await api.get(visit, "/usage", query=query))["items"], since, until)


def usage_card(rows: Sequence[Mapping[str, Any]], since: date, until: date) -> list[Part]:
    if not rows:
        return [Part("Usage by day", nothing="No usage has been recorded yet.")]
    by_day = {row["day"]: row for row in rows}
    days = [since + timedelta(days=n) for n in range((until - since).days + 1)]
    down = [_octets(by_day, day, "downstream_octets") for day in days]
    up = [_octets(by_day, day, "upstream_octets") for day in days]
    note = f"{len(by_day)} days with usage since {since:%d %b}"
    return [Part("Usage by day", chart=Chart("octets", ("Downstream", "Upstream"), [_seconds(days), down, up], note))]


def invoices_card(rows: Sequence[Mapping[str, Any]]) -> list[Part]:
    """What an account was invoiced, document by document; nothing where there are too few for a line."""
    if len({row["issued_on"] for row in rows}) < 2:
        return []
    oldest_first = sorted(rows, key=lambda row: str(row["issued_at"]))
    days = [date.fromisoformat(row["issued_on"]) for row in oldest_first]
    totals = [row["total"]["amount"] for row in oldest_first]
    currency = oldest_first[0]["total"]["currency"]
    return [Part("Invoiced", chart=Chart("money", (f"Total, {currency}",), [_seconds(days), totals]))]


def _octets(by_day: Mapping[str, Mapping[str, Any]], day: date, field: str) -> float:
    row = by_day.get(day.isoformat())
    return float(row[field]) if row else 0.0


def _seconds(days: Sequence[date]) -> list[float]:
    return [datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp() for day in days]
