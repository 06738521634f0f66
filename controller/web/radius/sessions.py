"""Pages of sessions: the list, one session with what was asked of it and what came of that, Disconnect and CoA."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from starlette.responses import RedirectResponse, Response

from controller.domain.errors import RuleError
from controller.web.api import Api, address
from controller.web.office.fields import SESSIONS
from controller.web.office.form import Field, Filled, Form, scaled
from controller.web.office.table import facts
from controller.web.office.view import Action, Filter, Link, Part, Row, detail_page, list_page, part_of
from controller.web.radius import changing, elsewhere, fields, quarantine
from controller.web.site import Site, Visit, WebPage

_ID = re.compile(r"[0-9a-f]{32}")
_MBIT = 1_000_000
ONE = "/sessions/{key}"

SPEED = (
    Field("profile_name", "Name", required=True, hint="goes into the Class, by which accounting proves it"),
    Field("downstream_bps", "Downstream", "decimal", required=True, unit="Mbit/s", convert=scaled(_MBIT)),
    Field("upstream_bps", "Upstream", "decimal", required=True, unit="Mbit/s", convert=scaled(_MBIT)),
    Field("reason", "Why", hint="for the audit log"),
)


def pages(site: Site, api: Api) -> list[WebPage]:
    async def index(visit: Visit) -> Response:
        def end(row: Row) -> Action | None:
            return _ending(row) if row["state"] == "live" and visit.principal.may("radius:write") else None

        return list_page(
            site, visit, "Sessions", await _find(api, visit), SESSIONS,
            filters=(
                Filter("q", "Search", "user name, session id or service id"),
                Filter("state", "State", choices=("live", "ended")),
            ),
            nothing="No session fits.", actions=end,
        )  # fmt: skip

    async def one(visit: Visit) -> Response:
        row = (await elsewhere.with_nas(api, visit, [await _session(api, visit)]))[0]
        may = row["state"] == "live" and visit.principal.may("radius:write")
        speed = [Link("Change speed", f"{_here(row)}/speed")] if may and row["service_id"] else []
        trace = [Link("Trace", address("/trace", target=row["username"]))] if api.has("GET", "/radius/trace") else []
        has_fair_use = row["service_id"] and api.has("GET", "/services/{service_id}/allowance")
        fair = [Link("Fair use", f"/services/{row['service_id']}/fair-use")] if has_fair_use else []
        return detail_page(
            site, visit, f"Session of {row['username']}", row, fields.SESSION,
            back=Link("Sessions", "/sessions"), messages=_remarks(row), links=[*speed, *trace, *fair],
            actions=[_ending(row)] if may else [], parts=await _parts(api, visit, row),
        )  # fmt: skip

    async def disconnect(visit: Visit) -> Response:
        key = visit.path["key"]
        await api.post(visit, f"{ONE}/disconnect", body={"reason": "from the page"}, key=key)
        return RedirectResponse(f"/sessions/{quote(key, safe='')}", status_code=303)

    async def form(visit: Visit) -> Form:
        row = await _session(api, visit)
        return Form(
            f"Change the speed of {row['username']}", SPEED, Link(f"Session of {row['username']}", _here(row)),
            (("send", "Send CoA"),), "For this session only: its next login has the speed of its plan again.",
        )  # fmt: skip

    async def change(visit: Visit, filled: Filled) -> None:
        answer = await api.post(visit, f"{ONE}/coa", body=filled.body, key=visit.path["key"])
        if answer["result"] == "nak":
            cause = f"Error-Cause {answer['error_cause']}" if answer["error_cause"] else ""
            raise RuleError("refused: " + " · ".join(filter(None, (cause, answer["detail"]))))

    return [
        WebPage("GET", "/sessions", "radius:read", index),
        WebPage("GET", ONE, "radius:read", one),
        WebPage("POST", f"{ONE}/disconnect", "radius:write", disconnect),
        *changing.pages(site, f"{ONE}/speed", form, change),
    ]


async def _find(api: Api, visit: Visit) -> Mapping[str, Any]:
    """What is typed is a service id, else a user name, else the id that the NAS gave the session."""
    wanted = visit.query("q")
    base = {"state": visit.query("state"), "after": visit.query("after")}
    if _ID.fullmatch(wanted):
        return await _sessions(api, visit, base | {"service_id": wanted})
    if not wanted:
        return await _sessions(api, visit, base)
    found = await _sessions(api, visit, base | {"username": wanted})
    return found if found["items"] else await _sessions(api, visit, base | {"session_id": wanted})


async def _sessions(api: Api, visit: Visit, query: Mapping[str, str]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = await api.get(visit, "/sessions", query=query)
    return found


async def _session(api: Api, visit: Visit) -> Mapping[str, Any]:
    """Raises NotFound."""
    found: Mapping[str, Any] = await api.get(visit, ONE, key=visit.path["key"])
    return found


def _here(row: Row) -> str:
    return f"/sessions/{quote(row['session_key'], safe='')}"


def _ending(row: Row) -> Action:
    return Action("Disconnect", f"{_here(row)}/disconnect", f"End the session of {row['username']}?", disruptive=True)


def _remarks(row: Row) -> list[str]:
    """What is not as with other sessions."""
    said = {
        "suspect": "Its NAS restarted, and nothing was heard of it since: it ends soon, unless it reports again.",
        "provisional": "No Stop came: it ended when it was last heard of, and a later record opens it again.",
        "final_unknown": "Its Stop carried no octets: what is shown is what was reported before.",
        "counter_fell": "A counter of it went backwards: its NAS may send no gigawords.",
    }
    return [words for name, words in said.items() if row[name]]


async def _parts(api: Api, visit: Visit, row: Row) -> list[Part]:
    asked = await part_of(
        api, visit, "Asked of it", "/radius/changes", "radius:read", fields.ASKED, session_key=row["session_key"]
    )
    held = await part_of(
        api, visit, "Held out of it", "/quarantine", "radius:read", fields.QUARANTINE, session_key=row["session_key"]
    )
    return [
        *await _speed(api, visit, row),
        *(Part(part.title, [told(change) for change in part.rows], part.columns, "Nothing yet.") for part in asked),
        *(Part(part.title, [quarantine.told(item) for item in part.rows], _HELD) for part in held if part.rows),
    ]


_HELD = (
    replace(fields.QUARANTINE[0], link="/quarantine/{quarantine_id}"),
    *(column for column in fields.QUARANTINE[1:] if column.key != "username"),
)


async def _speed(api: Api, visit: Visit, row: Row) -> list[Part]:
    """What accounting proves of a live session's speed."""
    if row["state"] != "live" or not api.has("GET", f"{ONE}/speed"):
        return []
    found = await api.get(visit, f"{ONE}/speed", key=row["session_key"])
    title = "Speed, as accounting shows it"
    if not found["observed"]:
        return [Part(title, nothing="No record of it says anything of its speed.")]
    return [Part(title, facts=facts(found, fields.SPEED))]


def told(change: Row) -> Row:
    """A change with what the NAS said to it, in words."""
    said = [change["answer"], change["error_cause"], change["detail"]] if change["answer"] else []
    return {**change, "said": " · ".join(str(part) for part in said if part not in (None, "")) or None}
