"""The controller's HTTP API as the lab uses it: a token, JSON in and out, refusals as exceptions with their words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2

Json = dict[str, Any]
RETRY_S = 20.0


class ApiRefused(Exception):
    """The API understood and refused. `status` is HTTP's, `problem` the problem+json body."""

    def __init__(self, method: str, path: str, status: int, problem: Json) -> None:
        said = problem.get("detail") or problem.get("title") or problem
        super().__init__(f"{method} {path}: {status} {said}")
        self.status = status
        self.problem = problem


class Api:
    """Calls below `/api/v1` of one controller."""

    def __init__(self, base_url: str, token: str) -> None:
        self._http = httpx2.AsyncClient(
            base_url=base_url.rstrip("/") + "/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=30.0,
            trust_env=False,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def get(self, path: str, **query: str | int) -> Json:
        """Tried again while the controller restarts: reading twice does no harm."""
        return await self._patiently(httpx2.TransportError, "GET", path, params=query)

    async def post(self, path: str, body: Json | None = None) -> Json:
        """Tried again only where no connection came about: what may have arrived is not sent twice."""
        return await self._patiently(httpx2.ConnectError, "POST", path, json={} if body is None else body)

    async def put(self, path: str, body: Json) -> Json:
        return await self._call("PUT", path, json=body)

    async def patch(self, path: str, body: Json) -> Json:
        return await self._call("PATCH", path, json=body)

    async def _patiently(self, error: type[httpx2.TransportError], method: str, path: str, **more: Any) -> Json:
        give_up = asyncio.get_running_loop().time() + RETRY_S
        while True:
            try:
                return await self._call(method, path, **more)
            except error:
                if asyncio.get_running_loop().time() > give_up:
                    raise
                await asyncio.sleep(0.5)

    async def raw(self, path: str) -> bytes:
        """The body of a GET as it is, such as a PDF."""
        answer = await self._http.get(path)
        self._check("GET", path, answer)
        return answer.content

    async def all(self, path: str, **query: str | int) -> AsyncIterator[Json]:
        """Every item of a paginated list."""
        after: str | None = None
        while True:
            page = await self.get(path, **query, limit=500, **({"after": after} if after else {}))
            for item in page["items"]:
                yield item
            after = page["next"]
            if after is None:
                return

    async def _call(self, method: str, path: str, **more: Any) -> Json:
        answer = await self._http.request(method, path, **more)
        self._check(method, path, answer)
        return dict(answer.json()) if answer.content else {}

    def _check(self, method: str, path: str, answer: httpx2.Response) -> None:
        if answer.status_code >= 400:
            try:
                problem = dict(answer.json())
            except ValueError:
                problem = {"detail": answer.text[:200]}
            raise ApiRefused(method, path, answer.status_code, problem)
