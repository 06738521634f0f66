"""HTTP of the boxes of a network that is registered as one NAS: which of them have reported, and under which id."""

from __future__ import annotations

from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import Instant, Out
from radius.members import Box, Members


class BoxOut(Out):
    """`nas_id` is what sessions, quarantine and whois call it."""

    nas_id: str
    address: str
    first_seen_at: Instant


def endpoints(members: Members) -> list[Endpoint]:
    """Below /api/v1."""

    async def boxes(call: Call) -> Page:
        query = call.query_as(PageQuery)
        found = await members.boxes(call.path["nas_id"], after=query.last(str), limit=query.rows)
        return Page.of(found, query, lambda box: (box.nas_id,), _out)

    return [
        Endpoint(
            "GET",
            "/nas/{nas_id}/boxes",
            "radius:read",
            boxes,
            "Boxes of a registered network that have reported",
            returns=BoxOut,
            query=PageQuery,
            paged=True,
        )
    ]


def _out(box: Box) -> BoxOut:
    return BoxOut(nas_id=box.nas_id, address=box.address, first_seen_at=box.first_seen_at)
