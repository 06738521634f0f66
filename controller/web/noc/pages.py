"""The NOC page, its stream, and the two answers its charts start from."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

from starlette.responses import JSONResponse, RedirectResponse, Response

from controller.http.dispatch import Authenticator
from controller.http.problem import Problem
from controller.store.stream import Stream, TooManySubscribers
from controller.web.live import EventStream
from controller.web.noc.data import NocData, to_json
from controller.web.noc.feed import TOPIC, NocFeed
from controller.web.site import Site, Visit, WebPage

SCOPE = "devices:read"

RANGES: dict[str, tuple[timedelta, int]] = {
    "1h": (timedelta(hours=1), 60),
    "24h": (timedelta(hours=24), 1_800),
    "60d": (timedelta(days=60), 21_600),
}
"""How far back a chart looks, and the width of one point in seconds. The last five minutes come from the stream."""


def pages(site: Site, data: NocData, feed: NocFeed, stream: Stream, authenticator: Authenticator) -> list[WebPage]:
    async def home(visit: Visit) -> Response:
        return RedirectResponse("/noc", status_code=303)

    async def noc(visit: Visit) -> Response:
        return site.html(visit, "noc.html", snapshot=to_json(await data.snapshot()), ranges=list(RANGES))

    async def live(visit: Visit) -> Response:
        async def still_allowed() -> bool:
            try:
                principal = await authenticator(visit.request)
            except Problem:
                return False
            return principal is not None and principal.may(SCOPE)

        try:
            subscription = stream.subscribe(TOPIC)
        except TooManySubscribers as error:
            raise Problem(503, "Too many pages are open; try again later.", code="watchers") from error
        # An ASGI response without Starlette's base class: it owns its sending.
        return cast(Response, EventStream(subscription, event="snapshot", still_allowed=still_allowed))

    async def recent(visit: Visit) -> Response:
        return JSONResponse(feed.recent())

    async def throughput(visit: Visit) -> Response:
        wanted = RANGES.get(visit.query("range"))
        if wanted is None:
            raise Problem(422, f"range is one of {', '.join(RANGES)}.", code="invalid")
        until = visit.now
        points = await data.throughput(since=until - wanted[0], until=until, step_s=wanted[1])
        columns: dict[str, list[Any]] = {
            "at": [p.at.timestamp() for p in points],
            "downstream_bps": [p.downstream_bps for p in points],
            "upstream_bps": [p.upstream_bps for p in points],
        }
        return JSONResponse(columns)

    return [
        WebPage("GET", "/", SCOPE, home),
        WebPage("GET", "/noc", SCOPE, noc),
        WebPage("GET", "/noc/stream", SCOPE, live, fragment=True),
        WebPage("GET", "/noc/recent", SCOPE, recent, fragment=True),
        WebPage("GET", "/noc/throughput", SCOPE, throughput, fragment=True),
    ]
