"""HTTP of the trace: a stream of server-sent events (WHATWG HTML, section 9.2), one for each datagram."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from controller.http.endpoint import Call, Endpoint
from radius.trace import Traces
from radius.tracing import MAX_PACKETS, MAX_SECONDS, Event, Trace


class TraceQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    target: str = Field(min_length=1, max_length=253, description="User name, MAC address, or IP of a session or NAS")
    seconds: int = Field(default=300, ge=1, le=MAX_SECONDS, description="How long to watch")
    packets: int = Field(default=1_000, ge=1, le=MAX_PACKETS, description="How many datagrams to show at most")


def endpoints(traces: Traces) -> list[Endpoint]:
    """Below /api/v1."""

    async def trace(call: Call) -> Response:
        query = call.query_as(TraceQuery)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        if call.request.method == "HEAD":
            return Response(headers=headers, media_type="text/event-stream")
        opened = await traces.open(query.target, seconds=query.seconds, packets=query.packets, actor=call.actor)
        return StreamingResponse(_lines(opened, query.seconds), headers=headers, media_type="text/event-stream")

    return [
        Endpoint(
            "GET",
            "/radius/trace",
            "radius:read",
            trace,
            "Watch one subscriber's packets as they come: events begin, packet … and end",
            query=TraceQuery,
            media_type="text/event-stream",
        )
    ]


async def _lines(trace: Trace, seconds: int) -> AsyncIterator[str]:
    """The trace ends with the connection: its reader is closed then."""
    try:
        yield _event("begin", {"target": trace.target.text, "seconds": seconds})
        async for name, event in trace.events():
            if name == "idle":
                yield ": still here\n\n"
            else:
                yield _event(name, event)
    finally:
        trace.close()


def _event(name: str, data: Event) -> str:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"
