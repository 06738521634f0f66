"""The whole API as `headend serve` offers it: nothing without a token, and generated requests answered as described."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from tests.support.controller import Controller
from tests.support.databases import postgres_binaries
from tests.support.fuzz import Fuzzer


@pytest.fixture(scope="module")
def controller(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    """On PostgreSQL where it is installed: it refuses more (long texts, NUL, wide integers) than SQLite does."""
    url = ""
    if postgres_binaries() is not None:
        url = request.getfixturevalue("postgres").create("fuzzed")
    running = Controller(tmp_path_factory.mktemp("api") / "data", database_url=url)
    running.start()
    yield running
    assert running.stop() == 0


@pytest.fixture
def address(controller: Controller) -> str:
    return f"http://127.0.0.1:{controller.http_port}"


def operations(address: str) -> list[tuple[str, str, str]]:
    """(method, path, scope) of everything that is described, with ids that do not exist."""
    described = httpx2.get(f"{address}/openapi.json").json()
    return [
        (method.upper(), path.replace("{", "").replace("}", ""), operation["security"][0]["bearer"][0])
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]


def test_the_areas_the_product_promises_are_there(address: str) -> None:
    paths = {path for _, path, _ in operations(address)}
    promised = (
        "customers offerings stock-items orders subscriptions devices services nas sessions measurements device-health "
        "usage charges bill-runs invoices payments journal-entries trial-balance users tokens audit-log events"
    )
    assert {f"/api/v1/{name}" for name in promised.split()} <= paths


def test_nothing_answers_without_a_token_or_beyond_its_scopes(address: str, controller: Controller) -> None:
    made = controller.api.post("/tokens", json={"name": "nothing", "scopes": ["inventory:read"]}).json()
    with httpx2.Client(base_url=address) as http:
        for method, path, scope in operations(address):
            refused = http.request(method, path)
            assert refused.status_code == 401, (method, path)
            assert refused.headers["content-type"] == "application/problem+json"
            if scope != "inventory:read":
                limited = http.request(method, path, headers={"Authorization": f"Bearer {made['token']}"})
                assert limited.status_code == 403, (method, path)


def test_generated_requests_are_answered_as_described(address: str, controller: Controller) -> None:
    def skip(method: str, path: str) -> bool:
        return path.endswith("/tokens/{token_id}")  # it might meet the token in use

    fuzzer = Fuzzer(address, {"Authorization": f"Bearer {controller.token}"}, skip=skip)
    fuzzer.run(budget_s=60, examples=6)
    assert not fuzzer.failures, "\n".join(fuzzer.failures) + controller.log[-3000:]
    assert fuzzer.sent.get(200, 0) > 30
    assert fuzzer.sent.get(422, 0) > 30
