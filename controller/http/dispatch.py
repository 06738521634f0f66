"""From an Endpoint to a route: who calls, may they, is the request valid, then the handler, then the answer.

Every step refuses with problem+json. Who calls is asked before anything of the body is read, so that a stranger
learns nothing and costs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from controller.domain.clock import Clock
from controller.http.content import check_path, no_body, parse_body, parse_query, read_body
from controller.http.endpoint import PUBLIC, Call, Endpoint, Page, Principal, Result
from controller.http.problem import Problem, respond, respond_to

API_PREFIX = "/api/v1"


class Authenticator(Protocol):
    """Finds out who calls. None is a stranger; a wrong token or a missing CSRF token is a Problem raised."""

    async def __call__(self, request: Request) -> Principal | None: ...


def routes(
    endpoints: Iterable[Endpoint], *, authenticator: Authenticator, clock: Clock, prefix: str = API_PREFIX
) -> list[Route]:
    """One route per path, literal paths before those with parameters. Raises ValueError when two endpoints collide."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        methods = by_path.setdefault(endpoint.path, {})
        if endpoint.method in methods:
            raise ValueError(f"two endpoints for {endpoint.method} {endpoint.path}")
        if not endpoint.scope:
            raise ValueError(f"{endpoint.method} {endpoint.path} has no scope; PUBLIC must be said")
        methods[endpoint.method] = endpoint
    ordered = sorted(by_path.items(), key=lambda item: [("{" in part, part) for part in item[0].split("/")])
    return [
        Route(prefix + path, _handle(methods, authenticator, clock), methods=list(methods)) for path, methods in ordered
    ]


def _handle(
    methods: dict[str, Endpoint], authenticator: Authenticator, clock: Clock
) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        endpoint = methods["GET" if request.method == "HEAD" else request.method]
        try:
            principal = await _principal(endpoint, request, authenticator)
            return answer(endpoint, await endpoint.handler(await _call(endpoint, request, principal, clock)))
        except HTTPException:
            raise
        except Exception as error:
            return respond_to(error)

    return handle


async def _call(endpoint: Endpoint, request: Request, principal: Principal, clock: Clock) -> Call:
    path = check_path(request.path_params)
    query = parse_query(request.query_params.multi_items(), endpoint.query)
    body: BaseModel | None = None
    if endpoint.body is not None:
        raw, media_type = await read_body(request), request.headers.get("content-type", "")
        is_sent = bool(raw) or not endpoint.may_lack_body
        body = parse_body(raw, media_type, endpoint.body) if is_sent else no_body(endpoint.body)
    return Call(principal=principal, now=clock.now(), path=path, body=body, query=query, request=request)


async def _principal(endpoint: Endpoint, request: Request, authenticator: Authenticator) -> Principal:
    if endpoint.scope == PUBLIC:
        return Principal("anonymous", frozenset())
    principal = await authenticator(request)
    if principal is None:
        raise unauthorized("Sign in, or send a token: Authorization: Bearer …")
    require(principal, endpoint.scope)
    return principal


def require(principal: Principal, scope: str) -> None:
    """Raises Problem 403 when the caller lacks the scope."""
    if not principal.may(scope):
        raise Problem(403, f"This needs the scope {scope}.", code="scope")


def unauthorized(detail: str, *, error: str | None = None) -> Problem:
    """A 401 with the challenge of RFC 6750 section 3."""
    challenge = 'Bearer realm="headend"' + (f', error="{error}"' if error else "")
    return Problem(401, detail, code="unauthorized", headers={"WWW-Authenticate": challenge})


def answer(endpoint: Endpoint, result: Result) -> Response:
    """The response for what a handler returned."""
    if isinstance(result, Response):
        return result
    if result is None:
        return Response(status_code=204)
    if isinstance(result, Page):
        items = b",".join(item.model_dump_json().encode() for item in result.items)
        following = json.dumps(result.next).encode()
        content = b'{"items":[' + items + b'],"next":' + following + b"}"
    else:
        content = result.model_dump_json().encode()
    return Response(content, status_code=endpoint.status, media_type=endpoint.media_type)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's own refusals (404, 405 …) as problems. For `exception_handlers`."""
    if not isinstance(error, HTTPException):
        return respond_to(error)
    details = {
        404: "There is nothing at this address.",
        405: "This address does not take that method.",
    }
    codes = {404: "not-found", 405: "method-not-allowed"}
    return respond(
        Problem(
            error.status_code,
            details.get(error.status_code, error.detail),
            code=codes.get(error.status_code, "refused"),
            headers=error.headers,
        )
    )
