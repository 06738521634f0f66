"""HTTP of boxes of a network that is registered as one NAS, or behind a proxy: which have reported, under which id."""

from __future__ import annotations

from controller.domain.errors import NotFound
from controller.domain.identity import NasId
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import Instant, Out
from radius.members import Box, Members
from radius.protocol import behind


class BoxOut(Out):
    """`nas_id` is what sessions, quarantine and whois call it, `registered_nas_id` the NAS that was registered for it.

    `said`: what a box behind a proxy says of itself; empty for a box of a network. `address` is the proxy's then.
    """

    nas_id: str
    registered_nas_id: str
    address: str
    said: str
    first_seen_at: Instant


def endpoints(members: Members) -> list[Endpoint]:
    """Below /api/v1."""

    async def boxes(call: Call) -> Page:
        query = call.query_as(PageQuery)
        found = await members.boxes(call.path["nas_id"], after=query.last(str), limit=query.rows)
        return Page.of(found, query, lambda box: (box.nas_id,), _out)

    async def show(call: Call) -> BoxOut:
        found = await members.find(NasId(call.path["nas_id"]))
        if found is None:
            raise NotFound(f"no box {call.path['nas_id']} has reported")
        return _out(found)

    return [
        Endpoint("GET", "/nas-boxes/{nas_id}", "radius:read", show, "One box, by the id it has in sessions", BoxOut),
        Endpoint(
            "GET",
            "/nas/{nas_id}/boxes",
            "radius:read",
            boxes,
            "Boxes of a registered network, or behind a proxy, that have reported",
            returns=BoxOut,
            query=PageQuery,
            paged=True,
        ),
    ]


def _out(box: Box) -> BoxOut:
    return BoxOut(
        nas_id=box.nas_id,
        registered_nas_id=box.network_id,
        address=box.address,
        said=behind.words(box.names),
        first_seen_at=box.first_seen_at,
    )
