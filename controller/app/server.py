"""The HTTP application (API, pages, /healthz, /metrics, /openapi.json) and the server that runs it inside our loop.

/metrics answers a loopback peer without a token, because that is where an exporter's agent sits; anyone else, any
forwarded request, and everyone when a TLS proxy is in front (https=True: then every peer is loopback) needs a token
with admin:read.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field

import prometheus_client
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from controller.app import openapi
from controller.app.middleware import Measured, SecureHeaders
from controller.domain.clock import Clock
from controller.http.dispatch import API_PREFIX, Authenticator, on_http_exception, require, routes, unauthorized
from controller.http.endpoint import Endpoint
from controller.http.problem import Problem, respond, respond_to

GRACE_S = 2
"""How long open requests may go on at shutdown. Streams end by themselves before: `on_stop` closes them."""


@dataclass(frozen=True, slots=True)
class Health:
    """`parts` names what was looked at and how it is: {"store": "ok", "radius": "not bound"}."""

    ready: bool
    parts: Mapping[str, str] = field(default_factory=dict)


def build_app(
    *,
    endpoints: Sequence[Endpoint],
    pages: Sequence[BaseRoute],
    authenticator: Authenticator,
    clock: Clock,
    health: Callable[[], Awaitable[Health]],
    on_page_error: Callable[[Request, Exception], Awaitable[Response]] | None = None,
    https: bool = False,
) -> Starlette:
    """Everything that is served over HTTP. `pages` are ready routes (controller.web.site.routes)."""
    described: list[bytes] = []

    async def healthz(_request: Request) -> Response:
        state = await health()
        body = {"status": "ok" if state.ready else "not ready", "parts": dict(state.parts)}
        return JSONResponse(body, status_code=200 if state.ready else 503)

    async def metrics(request: Request) -> Response:
        try:
            if https or not _is_local(request):
                await _require(request, authenticator, "admin:read")
        except Problem as problem:
            return respond(problem)
        return Response(prometheus_client.generate_latest(), headers={"Content-Type": _METRICS_TYPE})

    async def description(_request: Request) -> Response:
        if not described:
            described.append(json.dumps(openapi.document(endpoints)).encode())
        return Response(described[0], media_type="application/json")

    async def on_error(request: Request, error: Exception) -> Response:
        if on_page_error is not None and not request.url.path.startswith(API_PREFIX):
            return await on_page_error(request, error)
        return await on_http_exception(request, error)

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/metrics", metrics),
            Route("/openapi.json", description),
            *routes(endpoints, authenticator=authenticator, clock=clock),
            *pages,
        ],
        exception_handlers={HTTPException: on_error, Exception: _on_failure},
        middleware=[Middleware(SecureHeaders, https=https), Middleware(Measured)],
    )


_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


async def _on_failure(_request: Request, error: Exception) -> Response:
    return respond_to(error)


async def _require(request: Request, authenticator: Authenticator, scope: str) -> None:
    principal = await authenticator(request)
    if principal is None:
        raise unauthorized("Send a token: Authorization: Bearer …")
    require(principal, scope)


def _is_local(request: Request) -> bool:
    if request.client is None or {"forwarded", "x-forwarded-for"} & set(request.headers):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: signals are our process's own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class HttpServer:
    """Serves an application until cancelled. The socket is bound at once: a taken port is known before anything runs.

    Raises OSError (EADDRINUSE) from the constructor. `on_stop` is called first at shutdown: it closes the streams.
    """

    def __init__(
        self, app: ASGIApp, *, host: str, port: int, https: bool = False, on_stop: Callable[[], None] = lambda: None
    ) -> None:
        self._sockets = _listen(host, port)
        self.host = host
        self.port: int = self._sockets[0].getsockname()[1]
        self._on_stop = on_stop
        self._server = _Server(
            uvicorn.Config(
                app,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=True,
                timeout_graceful_shutdown=GRACE_S,
                timeout_keep_alive=30,
                h11_max_incomplete_event_size=65_536,
                ws="none",
                # Behind a TLS proxy on this machine the client is who the proxy says it is.
                proxy_headers=https,
                forwarded_allow_ips="127.0.0.1,::1",
            )
        )

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    async def run(self) -> None:
        """Serve. When cancelled: streams end, requests in flight get GRACE_S, then the cancellation goes on."""
        serving = asyncio.create_task(self._server.serve(sockets=self._sockets))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            self._on_stop()
            self._server.should_exit = True
            await serving
            raise
        finally:
            for listening in self._sockets:
                listening.close()


def _listen(host: str, port: int) -> list[socket.socket]:
    """One socket per family: "::" means every address of both, so that no client is seen as ::ffff:a.b.c.d."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    first = socket.create_server((host, port), family=family, backlog=2048)
    if host != "::":
        return [first]
    try:
        return [first, socket.create_server(("0.0.0.0", first.getsockname()[1]), backlog=2048)]  # noqa: S104 - as asked
    except OSError:
        first.close()
        raise
