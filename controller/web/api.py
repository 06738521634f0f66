"""The public API, called by pages inside the process: same endpoints, same scopes, same answers as over the network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from controller.http.content import parse_body, parse_query
from controller.http.dispatch import answer, require
from controller.http.endpoint import Call, Endpoint
from controller.http.problem import Problem
from controller.web.site import Visit

Query = Mapping[str, str | Sequence[str]]
"""Parameters of an address; several values are the parameter repeated."""


class Api:
    """Endpoints by method and path."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = {(endpoint.method, endpoint.path): endpoint for endpoint in endpoints}

    def has(self, method: str, path: str) -> bool:
        return (method, path) in self._endpoints

    async def get(self, visit: Visit, path: str, *, query: Query | None = None, **parts: str) -> Any:
        """The JSON of GET `path`, its {parameters} filled by `parts`. Empty query values are left out.

        Raises what the endpoint raises, Problem 403 for a missing scope, and Problem 404 for an endpoint that this
        process does not serve.
        """
        return json.loads(bytes((await self.fetch(visit, path, query=query, **parts)).body))

    async def fetch(self, visit: Visit, path: str, *, query: Query | None = None, **parts: str) -> Response:
        """The answer of GET `path` as it is: for documents."""
        endpoint = self._find("GET", path)
        require(visit.principal, endpoint.scope)
        pairs = [(name, value) for name, given in (query or {}).items() for value in _each(given) if value]
        call = Call(
            principal=visit.principal,
            now=visit.now,
            path=dict(parts),
            body=None,
            query=parse_query(pairs, endpoint.query),
            request=visit.request,
        )
        return answer(endpoint, await endpoint.handler(call))

    async def post(self, visit: Visit, path: str, *, body: Mapping[str, object] | None = None, **parts: str) -> Any:
        """The JSON of POST `path`, or None. The page's own CSRF check has admitted the visit already.

        Raises what the endpoint raises, and Problem 422 that points at what is wrong in `body`.
        """
        return await self._send("POST", visit, path, body, parts)

    async def put(self, visit: Visit, path: str, *, body: Mapping[str, object], **parts: str) -> Any:
        """The JSON of PUT `path`; see `post`."""
        return await self._send("PUT", visit, path, body, parts)

    async def patch(self, visit: Visit, path: str, *, body: Mapping[str, object], **parts: str) -> Any:
        """The JSON of PATCH `path`; see `post`."""
        return await self._send("PATCH", visit, path, body, parts)

    async def delete(self, visit: Visit, path: str, **parts: str) -> Any:
        """The JSON of DELETE `path`, or None; see `post`."""
        return await self._send("DELETE", visit, path, None, parts)

    async def _send(
        self, method: str, visit: Visit, path: str, body: Mapping[str, object] | None, parts: Mapping[str, str]
    ) -> Any:
        endpoint = self._find(method, path)
        require(visit.principal, endpoint.scope)
        raw = json.dumps(body or {}).encode()
        model = None if endpoint.body is None else parse_body(raw, "application/json", endpoint.body)
        call = Call(
            principal=visit.principal,
            now=visit.now,
            path=dict(parts),
            body=model,
            query=parse_query((), endpoint.query),
            request=visit.request,
        )
        content = bytes(answer(endpoint, await endpoint.handler(call)).body)
        return json.loads(content) if content else None

    def _find(self, method: str, path: str) -> Endpoint:
        try:
            return self._endpoints[(method, path)]
        except KeyError:
            raise Problem(404, f"This process does not serve {method} {path}.", code="not-served") from None


def _each(given: str | Sequence[str]) -> Sequence[str]:
    return (given,) if isinstance(given, str) else given


def address(path: str, **query: str) -> str:
    """An address of ours with a query string, empty values left out."""
    pairs = [f"{name}={quote(value)}" for name, value in query.items() if value]
    return path + ("?" + "&".join(pairs) if pairs else "")
