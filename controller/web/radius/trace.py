"""The live trace of one subscriber's packets, as they come: the API's server-sent events, drawn by the page's script.

The stream ends with the page, with its time, and when its viewer may no longer look.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import cast

from starlette.responses import Response, StreamingResponse

from controller.http.problem import Problem, respond_to
from controller.web.api import Api
from controller.web.live import RECHECK_S
from controller.web.site import Site, Visit, WebPage

PATH, SCOPE = "/radius/trace", "radius:read"
TIMES = {"5 min": "300", "15 min": "900", "1 hour": "3600"}


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", PATH):
        return []

    async def page(visit: Visit) -> Response:
        seconds = visit.query("seconds")
        return site.html(
            visit, "trace.html", title="Trace", target=visit.query("target"), times=TIMES,
            seconds=seconds if seconds in TIMES.values() else "300",
        )  # fmt: skip

    async def stream(visit: Visit) -> Response:
        query = {"target": visit.query("target"), "seconds": visit.query("seconds")}
        try:
            found = await api.fetch(visit, PATH, query=query)
        except Exception as error:  # told to the page's script in words, not as a page
            return respond_to(error)
        if isinstance(found, StreamingResponse):
            found.body_iterator = _while_allowed(site, visit, cast(AsyncGenerator[str, None], found.body_iterator))
        return found

    return [
        WebPage("GET", "/trace", SCOPE, page),
        WebPage("GET", "/trace/stream", SCOPE, stream, fragment=True),
    ]


async def _while_allowed(site: Site, visit: Visit, events: AsyncGenerator[str, None]) -> AsyncIterator[str]:
    """The events, until the viewer signed out or lost the right; something comes at least every quarter of a minute."""
    loop = asyncio.get_running_loop()
    checked = loop.time()
    async with aclosing(events):
        async for event in events:
            if loop.time() - checked >= RECHECK_S:
                checked = loop.time()
                if not await _may(site, visit):
                    return
            yield event


async def _may(site: Site, visit: Visit) -> bool:
    try:
        principal = await site.authenticator(visit.request)
    except Problem:
        return False
    return principal is not None and principal.may(SCOPE)
