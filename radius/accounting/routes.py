"""HTTP of accounting: sessions, live and ended."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from controller.domain.errors import NotFound
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import IdText, Instant, Octets, Out, ShortText
from radius.accounting.views import SessionFilter, SessionRepository, SessionView
from radius.accounting.whois import networks_over, parsed

SessionIdText = Annotated[str, StringConstraints(max_length=506)]
"""253 octets (RFC 2865 §5), at most two digits each."""


class SessionQuery(PageQuery):
    """`session_id` is the Acct-Session-Id as text, or its octets in hexadecimal. `nas_id` is a NAS with all its boxes;
    `address` one that a session has or had, IPv6 and those inside its prefixes too."""

    session_id: SessionIdText | None = None
    service_id: IdText | None = None
    username: ShortText | None = None
    nas_id: IdText | None = None
    address: ShortText | None = None
    state: Literal["live", "ended"] | None = None


class SessionOut(Out):
    """`session_key` is ours; `session_id` the NAS's Acct-Session-Id as text where it is text, else in hexadecimal.

    `life` counts how often the NAS gave out that id. `suspect`: live, but its NAS restarted since it was last heard of.
    `provisional`: ended without a Stop (silence, restart); later evidence opens it again. `final_unknown`: the Stop
    carried no octets. `counter_fell`: a counter went backwards, as with a NAS that cannot count beyond 2^32.
    """

    session_key: str
    session_id: str
    nas_id: str
    life: int
    username: str
    service_id: str | None
    state: Literal["live", "ended"]
    suspect: bool
    provisional: bool
    started_at: Instant
    ended_at: Instant | None
    end_cause: str | None
    last_event_at: Instant
    session_time_s: int | None
    upstream_octets: Octets
    downstream_octets: Octets
    final_unknown: bool
    counter_fell: bool
    framed_ipv4: str | None
    calling_station_id: str | None
    nas_port_id: str | None


def endpoints(sessions: SessionRepository) -> list[Endpoint]:
    async def index(call: Call) -> Page:
        query = call.query_as(SessionQuery)
        wanted = SessionFilter(
            acct_session_ids=None if query.session_id is None else octets_meant(query.session_id),
            service_id=query.service_id,
            username=query.username,
            is_live=None if query.state is None else query.state == "live",
            nas_id=query.nas_id,
            networks=None if query.address is None else networks_over(parsed(query.address)),
        )
        before = query.last(str)
        found = await sessions.find(wanted, before=before, limit=query.rows)
        return Page.of(found, query, lambda row: (row.session_key,), _out)

    async def show(call: Call) -> SessionOut:
        found = await sessions.find(SessionFilter(session_key=call.path["key"]), before=None, limit=1)
        if not found:
            raise NotFound(f"no session {call.path['key']}")
        return _out(found[0])

    return [
        Endpoint(
            "GET",
            "/sessions",
            "radius:read",
            index,
            "List sessions, live and ended, newest first",
            returns=SessionOut,
            query=SessionQuery,
            paged=True,
        ),
        Endpoint("GET", "/sessions/{key}", "radius:read", show, "One session, live or ended", returns=SessionOut),
    ]


def session_id_text(octets: bytes) -> str:
    """An Acct-Session-Id for people: its text where that is printable, else hexadecimal."""
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.hex()
    return text if text.isprintable() else octets.hex()


def octets_meant(text: str) -> list[bytes]:
    """The octets that `session_id_text` may have shown as `text`: one, or two where the text reads as hexadecimal."""
    meant = [text.encode("utf-8", "surrogatepass")]
    try:
        meant.append(bytes.fromhex(text))
    except ValueError:
        return meant
    return meant


def _out(row: SessionView) -> SessionOut:
    return SessionOut(
        session_key=row.session_key,
        session_id=session_id_text(row.acct_session_id),
        nas_id=row.nas_id,
        life=row.life,
        username=row.username,
        service_id=row.service_id,
        state="live" if row.is_live else "ended",
        suspect=row.is_suspect,
        provisional=row.is_provisional,
        started_at=row.started_at,
        ended_at=row.ended_at,
        end_cause=row.end_cause,
        last_event_at=row.last_event_at,
        session_time_s=row.session_time_s,
        upstream_octets=row.upstream_octets,
        downstream_octets=row.downstream_octets,
        final_unknown=row.final_unknown,
        counter_fell=row.counter_fell,
        framed_ipv4=row.framed_ipv4,
        calling_station_id=row.calling_station_id,
        nas_port_id=row.nas_port_id,
    )
