from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import AsyncIterator

import httpx2
import pytest
from starlette.requests import Request
from starlette.routing import Route

from controller.app.server import GRACE_S, Health, HttpServer, build_app
from controller.domain.clock import SystemClock
from controller.http.dispatch import unauthorized
from controller.http.endpoint import Call, Endpoint, Principal
from controller.store.stream import Stream
from controller.web.live import EventStream
from tests.support import namespaces

TOKENS = {"Bearer admin": frozenset({"*"}), "Bearer noc": frozenset({"radius:read"})}


async def authenticator(request: Request) -> Principal | None:
    given = request.headers.get("authorization")
    if given is None:
        return None
    if given not in TOKENS:
        raise unauthorized("unknown")
    return Principal("token:test", TOKENS[given])


class Parts:
    """An application whose health a test sets, with a stream and an endpoint that waits."""

    def __init__(self) -> None:
        self.health = Health(True, {"store": "ok"})
        self.stream = Stream()
        self.entered = asyncio.Event()
        self.release = asyncio.Event()

    def app(self, *, https: bool = False) -> object:
        async def health() -> Health:
            return self.health

        async def wait(call: Call) -> None:
            self.entered.set()
            await self.release.wait()

        async def allowed() -> bool:
            return True

        async def live(_request: Request) -> object:
            return EventStream(self.stream.subscribe("noc"), event="snapshot", still_allowed=allowed)

        return build_app(
            endpoints=[Endpoint("GET", "/wait", "radius:read", wait, "Wait")],
            pages=[Route("/live", live)],
            authenticator=authenticator,
            clock=SystemClock(),
            health=health,
            https=https,
        )


@pytest.fixture
def parts() -> Parts:
    return Parts()


def client(app: object, peer: str = "127.0.0.1") -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=app, client=(peer, 1234))
    return httpx2.AsyncClient(transport=transport, base_url="http://headend.test")


async def test_healthz_tells_readiness_by_its_status(parts: Parts) -> None:
    async with client(parts.app()) as http:
        assert (await http.get("/healthz")).json() == {"status": "ok", "parts": {"store": "ok"}}
        parts.health = Health(False, {"store": "starting"})
        assert (await http.get("/healthz")).status_code == 503


async def test_metrics_are_for_this_machine_or_a_token(parts: Parts) -> None:
    app = parts.app()
    async with client(app) as local:
        metrics = await local.get("/metrics")
        assert metrics.status_code == 200
        assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "headend_http_requests_total" in metrics.text
        assert (await local.get("/metrics", headers={"X-Forwarded-For": "192.0.2.1"})).status_code == 401
    async with client(app, peer="192.0.2.1") as remote:
        assert (await remote.get("/metrics")).status_code == 401
        assert (await remote.get("/metrics", headers={"Authorization": "Bearer wrong"})).status_code == 401
        assert (await remote.get("/metrics", headers={"Authorization": "Bearer noc"})).status_code == 403
        assert (await remote.get("/metrics", headers={"Authorization": "Bearer admin"})).status_code == 200


async def test_behind_a_tls_proxy_every_reader_of_metrics_needs_a_token(parts: Parts) -> None:
    async with client(parts.app(https=True)) as http:
        refused = await http.get("/metrics")
        assert refused.status_code == 401
        assert refused.headers["strict-transport-security"]


async def test_requests_are_counted_by_route_and_never_by_address(parts: Parts) -> None:
    async with client(parts.app()) as http:
        for path in ("/secret-1", "/secret-2", "/api/v1/wait"):
            await http.get(path)
        metrics = (await http.get("/metrics")).text
    assert "secret-1" not in metrics
    assert 'route="/api/v1/wait",status="401"' in metrics


@pytest.fixture
async def running(parts: Parts) -> AsyncIterator[tuple[HttpServer, asyncio.Task[None]]]:
    server = HttpServer(parts.app(), host="127.0.0.1", port=0, on_stop=parts.stream.close)
    task = asyncio.create_task(server.run())
    yield server, task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_taken_port_is_known_at_once(running: tuple[HttpServer, object], parts: Parts) -> None:
    with pytest.raises(OSError) as taken:
        HttpServer(parts.app(), host="127.0.0.1", port=running[0].port)
    assert taken.value.errno == errno.EADDRINUSE


@pytest.mark.skipif(namespaces.why_not() is not None, reason=str(namespaces.why_not()))
async def test_bound_to_all_it_serves_both_families(parts: Parts) -> None:
    with namespaces.network_namespace():
        server = HttpServer(parts.app(), host="::", port=0, on_stop=parts.stream.close)
        task = asyncio.create_task(server.run())
        async with httpx2.AsyncClient() as http:
            for host in ("127.0.0.1", "[::1]"):
                assert (await http.get(f"http://{host}:{server.port}/metrics")).status_code == 200, "a local client"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_open_stream_ends_with_the_server(
    running: tuple[HttpServer, asyncio.Task[None]], parts: Parts
) -> None:
    server, task = running
    async with (
        httpx2.AsyncClient(timeout=5) as http,
        http.stream("GET", f"{server.url}/live") as response,
    ):
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.aiter_lines()
        await parts.stream.until_watched()
        parts.stream.publish("noc", {"n": 1})
        async for line in lines:
            if line.startswith("data:"):
                assert line == 'data: {"n":1}'
                break
        started = time.monotonic()
        task.cancel()
        rest = [line async for line in lines]
        assert not any(line.startswith("data:") for line in rest)
        await asyncio.gather(task, return_exceptions=True)
        assert time.monotonic() - started < GRACE_S
    assert task.cancelled()


async def test_a_watcher_that_leaves_is_forgotten(running: tuple[HttpServer, asyncio.Task[None]], parts: Parts) -> None:
    async with httpx2.AsyncClient(timeout=5) as http, http.stream("GET", f"{running[0].url}/live"):
        await parts.stream.until_watched()
        assert parts.stream.watchers() == 1
    async with asyncio.timeout(5):
        while parts.stream.watchers():  # noqa: ASYNC110 - the server notices in its own time; nothing to wait on
            await asyncio.sleep(0.01)


async def test_a_request_in_flight_is_given_its_grace_and_no_more(
    running: tuple[HttpServer, asyncio.Task[None]], parts: Parts
) -> None:
    server, task = running
    async with httpx2.AsyncClient(timeout=10) as http:
        headers = {"Authorization": "Bearer admin"}
        asking = asyncio.create_task(http.get(f"{server.url}/api/v1/wait", headers=headers))
        await parts.entered.wait()
        task.cancel()
        parts.release.set()
        assert (await asking).status_code == 204
        await asyncio.gather(task, return_exceptions=True)
