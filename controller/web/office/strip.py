"""The days of an account as a picture: one strip for each line or item, a colour for each plan, faint while paused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from controller.web.api import Api
from controller.web.office.view import Link, Part
from controller.web.site import Visit

_MONTHS_BEFORE, _MONTHS_AFTER = 3, 4
_COLOURS = 6


@dataclass(frozen=True, slots=True)
class Segment:
    """`at` and `days` count from the first day of the strip; `paused` ones are drawn faint."""

    at: int
    days: int
    colour: int
    paused: bool
    words: str


@dataclass(frozen=True, slots=True)
class Lane:
    title: str
    link: str
    segments: Sequence[Segment]


@dataclass(frozen=True, slots=True)
class Strip:
    """`months` are the days on which a month begins, `today` the present one, all counted from `since`."""

    since: date
    until: date
    months: Sequence[int]
    today: int
    lanes: Sequence[Lane]

    @property
    def days(self) -> int:
        return (self.until - self.since).days


async def timeline(
    api: Api, visit: Visit, account_id: str, names: Mapping[str, str], links: Sequence[Link] = ()
) -> list[Part]:
    """The card of an account's days; `names` are those of its lines by service, `links` what to do about it."""
    path = "/accounts/{account_id}/entitlements"
    if not visit.principal.may("billing:read") or not api.has("GET", path):
        return []
    since, until = _months(visit.now.date(), -_MONTHS_BEFORE), _months(visit.now.date(), _MONTHS_AFTER)
    query = {"since_on": since.isoformat(), "until_on": until.isoformat()}
    found = await api.get(visit, path, query=query, account_id=account_id)
    title = "Entitled to, day by day"
    if not found["subscriptions"]:
        return [Part(title, nothing="Nothing was held in these months.", links=links)]
    return [Part(title, strip=strip_of(found, names), links=links)]


def strip_of(found: Mapping[str, Any], names: Mapping[str, str]) -> Strip:
    """The picture of what the API tells."""
    since, until = (date.fromisoformat(found[key]) for key in ("since_on", "until_on"))
    days = [since + timedelta(days=n) for n in range((until - since).days)]
    colours: dict[str, int] = {}
    return Strip(
        since,
        until,
        [n for n, day in enumerate(days) if day.day == 1 and n],
        (date.fromisoformat(found["today"]) - since).days,
        [_lane(row, since, names, colours) for row in found["subscriptions"]],
    )


def _lane(row: Mapping[str, Any], since: date, names: Mapping[str, str], colours: dict[str, int]) -> Lane:
    service_id = row["service_id"]
    item = service_id == row["subscription_id"]
    title = names.get(service_id) or (row["stretches"][-1]["offering_name"] if item else "Line")
    segments = [_segment(each, since, colours) for each in row["stretches"]]
    return Lane(title, "" if item else f"/services/{service_id}", segments)


def _segment(each: Mapping[str, Any], since: date, colours: dict[str, int]) -> Segment:
    first, until = (date.fromisoformat(each[key]) for key in ("first_on", "until_on"))
    colour = colours.setdefault(each["version_id"], len(colours) % _COLOURS)
    pieces = f"{each['quantity']} × " if each["quantity"] != 1 else ""
    words = f"{first:%-d %b %Y} – {until - timedelta(days=1):%-d %b %Y}: {pieces}{each['offering_name']}"
    words += f", {each['fee']} {each['currency']} a {each['cycle']}"
    paused = each["percent"] != 100
    if paused:
        words += f", paused at {each['percent']} % of the fee"
    return Segment((first - since).days, (until - first).days, colour, paused, words)


def _months(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, 1)
