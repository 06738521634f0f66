"""An ASGI app from a list of endpoints and a given caller, so that a room tests its routes without wiring the rest.

async with api_client(endpoints(service), clock=clock) as api:          # a caller who may do everything
    response = await api.post("/customers", json={…})                   # paths are below /api/v1
async with api_client(endpoints(service), scopes={"crm:read"}) as api:  # one who may only read
async with api_client(endpoints(service), scopes=None) as api:          # a stranger
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

import httpx2
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request

from controller.domain.clock import Clock, SystemClock
from controller.http.dispatch import API_PREFIX, on_http_exception, routes
from controller.http.endpoint import Endpoint, Principal


def api_app(endpoints: Sequence[Endpoint], *, principal: Principal | None, clock: Clock | None = None) -> Starlette:
    """The API of these endpoints as it is served, every request coming from `principal`."""

    async def authenticator(_request: Request) -> Principal | None:
        return principal

    return Starlette(
        routes=routes(endpoints, authenticator=authenticator, clock=clock or SystemClock()),
        exception_handlers={HTTPException: on_http_exception},
    )


@asynccontextmanager
async def api_client(
    endpoints: Sequence[Endpoint],
    *,
    scopes: Collection[str] | None = ("*",),
    clock: Clock | None = None,
    actor: str = "user:test",
) -> AsyncIterator[httpx2.AsyncClient]:
    """A client whose base address is /api/v1 of such an app."""
    principal = None if scopes is None else Principal(actor, frozenset(scopes))
    transport = httpx2.ASGITransport(app=api_app(endpoints, principal=principal, clock=clock))
    async with httpx2.AsyncClient(transport=transport, base_url=f"http://headend.test{API_PREFIX}") as client:
        yield client
