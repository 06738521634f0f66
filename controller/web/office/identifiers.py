"""Whose usage is: the timeline of a username, an address, a telephone number or a port; given, moved and ended.

What another service had of it since then moves with it. The page of an identifier tells what moved, by whose word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from starlette.responses import Response

from controller.domain.units import human_octets
from controller.http.problem import Problem
from controller.web import templating
from controller.web.api import Api, address
from controller.web.office.bars import Bars, bars_of_counts
from controller.web.office.form import Choice, Field, Filled, Form, account, sent, show
from controller.web.office.forms import both
from controller.web.office.names import with_customers
from controller.web.office.strip import Lane, Segment, Strip
from controller.web.office.table import Column
from controller.web.office.view import Filter, Link, Part, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

READ, WRITE = "billing:read", "billing:write"
HERE = "/usage/identifiers"
PATH = "/usage-identifiers"
"""Of the API."""
KINDS = ("username", "address", "phone", "port")
ENTRIES = (
    Column("Identifier", "identifier", "mono", link="{href}", sub="kind"),
    Column("From", "since", "instant"),
    Column("Belongs to", "owner", sub="line"),
    Column("Over RADIUS", "overrides", "flag"),
    Column("Said", "mapped_at", "instant", sub="mapped_by"),
)
TIMELINE = (ENTRIES[1], Column("Belongs to", "owner", link="{href}", sub="line"), *ENTRIES[3:])
IDENTIFIER = (
    Column("Kind", "kind"),
    Column("Belongs to", "owner", link="{href}", sub="line"),
    Column("Since", "since", "instant"),
    Column("Said", "mapped_at", "instant", sub="mapped_by"),
)
MOVES = (
    Column("By the entry from", "since", "instant"),
    Column("What", "what", "state"),
    Column("Of", "owner", link="{href}", sub="line"),
    Column("Usage", "amount", "figure"),
    Column("First day", "first_on"),
    Column("Last day", "last_on"),
)
MOVED = (
    Column("From", "from_owner", sub="from_line"),
    Column("To", "to_owner", sub="to_line"),
    Column("Usage", "amount", "figure", sub="records_words"),
    Column("First day", "first_on"),
    Column("Last day", "last_on"),
    Column("Billed already", "adjusted", "flag", sub="late"),
)
_SERVICE = re.compile(r"[0-9a-f]{32}")
_MARGIN, _LONGEST = timedelta(days=14), timedelta(days=730)
_COLOURS = 6


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", PATH):
        return []
    return [
        WebPage("GET", HERE, READ, _list(site, api)),
        WebPage("GET", f"{HERE}/one", READ, _one(site, api)),
        *_giving(site, api),
    ]


def _list(site: Site, api: Api) -> Any:
    async def identifiers(visit: Visit) -> Response:
        kind, service_id = visit.query("kind"), visit.query("service")
        query = {
            "begins": visit.query("q"), "kind": kind if kind in KINDS else "",
            "service_id": service_id if _SERVICE.fullmatch(service_id) else "", "after": visit.query("after"),
        }  # fmt: skip
        page = await api.get(visit, PATH, query=query)
        rows = await _owned(api, visit, page["items"])
        return list_page(
            site, visit, "Identifiers", page | {"items": [row | {"href": _at(row)} for row in rows]}, ENTRIES,
            intro="Whose usage it is, where sources name no service of ours, or where RADIUS was told wrong.",
            filters=(
                Filter("q", "Begins with", "name, address, number"),
                Filter("kind", "Kind", choices=KINDS),
                Filter("service", "Service", "its id"),
            ),
            nothing="None fits." if any(query.values()) else "Nothing was said: RADIUS knows whose its usage is.",
            make=Link("Give an identifier", f"{HERE}/give"), make_scope=WRITE,
        )  # fmt: skip

    return identifiers


def _one(site: Site, api: Api) -> Any:
    async def one(visit: Visit) -> Response:
        kind, name = visit.query("kind"), visit.query("identifier")
        if kind not in KINDS or not name:
            raise Problem(404, "Choose an identifier from the list.", code="identifier")
        query = {"kind": kind, "identifier": name, "limit": "500"}
        entries = await _owned(api, visit, (await api.get(visit, PATH, query=query))["items"])
        if not entries:
            raise Problem(404, f"Nothing was said of {kind} {name}.", code="identifier")
        moves = (await api.get(visit, "/usage-moves", query={"kind": kind, "identifier": name}))["moves"]
        held = [entry for entry in entries if _instant(entry["since"]) <= visit.now]
        now = held[-1] if held else {"kind": kind, "owner": "nobody yet"}
        this = {"kind": kind, "identifier": name}
        links = [
            Link("Give it to a service", address(f"{HERE}/give", **this)),
            Link("It is nobody's any more", address(f"{HERE}/give", **this, to="nobody")),
        ]
        told = [_move(row) for row in await _owned(api, visit, moves)]
        return detail_page(
            site, visit, name, {"href": "", **now}, IDENTIFIER,
            back=Link("Identifiers", HERE), links=links if visit.principal.may(WRITE) else [],
            parts=[
                Part("Whose it was and is", strip=_strip(name, entries, visit.now.date())),
                Part("What was said", entries[::-1], TIMELINE),
                Part("What was moved", told, MOVES,
                     "Nothing: all usage came after what was said, or was its service's already."),
            ],
        )  # fmt: skip

    return one


def _giving(site: Site, api: Api) -> list[WebPage]:
    def form(visit: Visit) -> Form:
        name = visit.query("identifier") or visit.form.get("identifier", "")
        fields = (
            Field("kind", "Kind", required=True, start="username", choices=[Choice(k, k) for k in KINDS]),
            Field("identifier", "Identifier", required=True, hint="as the source writes it"),
            Field("since", "From the instant", required=True, start=f"{visit.now:%Y-%m-%dT%H:%M}:00Z",
                  hint="with its zone, such as 2026-10-01T12:00:00+02:00"),
            Field("to", "Belongs to", required=True, start="service", choices=(
                Choice("service", "a service"), Choice("nobody", "nobody: what comes waits in suspense"),
            )),
            account("account_id", "Customer", required=False, hint="type a name and choose; or name the service below"),
            Field("line", "Service", hint="the line's user name, or its id; empty where there is one line only"),
            Field("overrides", "User names that RADIUS knows", start="no", convert=_yes, choices=(
                Choice("no", "RADIUS is right, where it knows"),
                Choice("yes", "what is said here is right"),
            )),
            Field("reason", "Why", required=True, hint="for the audit log"),
        )  # fmt: skip
        back = Link(name, _at({"kind": visit.query("kind"), "identifier": name})) if visit.query("identifier") else None
        return Form(
            f"Whose is {name}?" if name else "Give an identifier", fields, back or Link("Identifiers", HERE),
            (("give", "Say so"),),
            "What another service had of it since that instant moves; what was billed already, the next run corrects.",
        )  # fmt: skip

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, form(visit))

    async def give(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            told = dict(filled.body)
            whose = {name: told.pop(name, "") for name in ("to", "account_id", "line")}
            service_id = None if whose["to"] == "nobody" else await _service(api, visit, **whose)
            found = await api.post(visit, PATH, body=told | {"service_id": service_id})
            return await _given(site, api, visit, found)

        return await sent(site, visit, form(visit), send)

    return both(f"{HERE}/give", WRITE, fresh, give)


async def _service(api: Api, visit: Visit, *, to: str, account_id: str, line: str) -> str:
    """The service that a person named. Raises Problem saying what is to be named, where it is not clear."""
    if _SERVICE.fullmatch(line):
        return line
    if not account_id:
        raise Problem(422, "Choose the customer, or name the service by its id.", code="service")
    query = {"account_id": account_id, "limit": "500"}
    lines = (await api.get(visit, "/subscriptions", query=query))["items"]
    fits = [row for row in lines if row["username"] == line] if line else [row for row in lines if not row["ended_at"]]
    if len(fits) != 1:
        known = ", ".join(row["username"] for row in lines) or "none"
        raise Problem(422, f"Which of the customer's lines? There are: {known}.", code="service")
    return str(fits[0]["service_id"])


async def _given(site: Site, api: Api, visit: Visit, found: Mapping[str, Any]) -> Response:
    """What came of it, told once: the identifier's page tells what was moved for ever."""
    (row,) = await _owned(api, visit, [found])
    moved = await _both_owners(api, visit, found["moved"])
    notes = [f"{found['kind']} {found['identifier']} belongs to {row['owner']} from then on."]
    if found["taken_up"]:
        notes.append(f"{found['taken_up']} items have left suspense with it.")
    messages = []
    if found["booked_before"] and not moved:
        messages.append(f"{found['booked_before']} records of that time were taken before, and were its already.")
    return detail_page(
        site, visit, f"Said of {found['identifier']}", row, IDENTIFIER,
        back=Link("Identifiers", HERE), links=[Link(f"All of {found['identifier']}", _at(found))],
        notes=notes, messages=messages,
        parts=[
            Part("What was moved", moved, MOVED, "Nothing: no other service had anything of it since that instant.",
                 pictures=_pictures(found["moved"], moved)),
        ],
    )  # fmt: skip


def _pictures(raw: Sequence[Mapping[str, Any]], moved: Sequence[Mapping[str, Any]]) -> list[Bars]:
    """How many records went where."""
    counts = [(f"{m['from_owner']} → {m['to_owner']}", r["records"], "waiting" if r["adjusted"] else "good")
              for r, m in zip(raw, moved, strict=True)]  # fmt: skip
    return [Bars(b.title, b.rows, named=True) for b in bars_of_counts("Records", counts)] if len(counts) > 1 else []


async def _both_owners(api: Api, visit: Visit, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    sides = {}
    for side in ("from", "to"):
        sides[side] = await _owned(api, visit, [{"service_id": row[f"{side}_service_id"]} for row in rows])
    return [
        {
            **row, "from_owner": left["owner"], "from_line": left["line"],
            "to_owner": right["owner"] if row["to_service_id"] else "suspense", "to_line": right["line"],
            "amount": _amount(row), "records_words": f"{templating.number(row['records'])} records",
            "late": "the next run corrects it" if row["adjusted"] else None,
        }
        for row, left, right in zip(rows, sides["from"], sides["to"], strict=True)
    ]  # fmt: skip


async def _owned(api: Api, visit: Visit, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each with `owner` (a customer's name, else the service's id), `line` (its user name) and the service's `href`."""
    found = [dict(row) for row in rows]
    lines: dict[str, Mapping[str, Any]] = {}
    if visit.principal.may("orders:read") and api.has("GET", "/subscriptions"):
        for service_id in sorted({row["service_id"] for row in found if row["service_id"]}):
            items = (await api.get(visit, "/subscriptions", query={"service_id": service_id}))["items"]
            if items:
                lines[service_id] = items[-1]
    accounts = await with_customers(api, visit, [{"account_id": line["account_id"]} for line in lines.values()])
    names = {row["account_id"]: row["customer"] for row in accounts}
    for row in found:
        service_id = row["service_id"]
        line = lines.get(service_id or "")
        row["owner"] = names[line["account_id"]] if line else service_id or "nobody"
        row["line"] = line["username"] if line else None
        row["href"] = f"/services/{service_id}" if line else ""
    return found


def _strip(name: str, entries: Sequence[Mapping[str, Any]], today: date) -> Strip:
    """A colour for each owner, from a fortnight before the first change, at most two years, to one after the last."""
    days = [_instant(entry["since"]).date() for entry in entries]
    until = max(today, days[-1]) + _MARGIN
    since = max(min(days[0], today) - _MARGIN, until - _LONGEST)
    colours: dict[str, int] = {}
    segments = []
    for entry, first, last in zip(entries, days, [*days[1:], until], strict=True):
        begin = max(first, since)
        if entry["service_id"] and last > begin:
            colour = colours.setdefault(entry["service_id"], len(colours) % _COLOURS)
            words = f"{entry['owner']}{', ' + entry['line'] if entry['line'] else ''}, from {entry['since']}"
            segments.append(Segment((begin - since).days, (last - begin).days, colour, False, words))
    months = [n for n in range((until - since).days) if (since + timedelta(days=n)).day == 1 and n]
    return Strip(since, until, months, (today - since).days, [Lane(name, "", segments)])


def _move(row: Mapping[str, Any]) -> dict[str, Any]:
    taken = row["octets"] < 0 or row["calls"] < 0
    return {**row, "what": "taken from" if taken else "given to", "amount": _amount(row)}


def _amount(row: Mapping[str, Any]) -> str:
    if row["calls"]:
        return f"{templating.number(abs(row['calls']))} calls, {templating.number(abs(row['duration_s']))} s"
    return human_octets(abs(row["octets"]))


def _yes(text: str) -> bool:
    return text == "yes"


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _at(row: Mapping[str, Any]) -> str:
    return address(f"{HERE}/one", kind=row["kind"], identifier=row["identifier"])
