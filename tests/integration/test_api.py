"""The whole API as `headend serve` offers it: nothing without a token, and generated requests answered as described."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.asked import Asked, asked_by, blanks
from tests.support.controller import Controller
from tests.support.databases import PostgresServer, postgres_binaries
from tests.support.fuzz import Fuzzer
from tests.support.killing import seed_of_this_run
from tests.support.road import SERIAL, offering

ROOT = Path(__file__).parents[2]


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
    """(method, path, scope) of everything that is described and not open to all, with ids that do not exist."""
    described = httpx2.get(f"{address}/openapi.json").json()
    return [
        (method.upper(), path.replace("{", "").replace("}", ""), operation["security"][0]["bearer"][0])
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
        if "security" in operation
    ]


def test_the_areas_the_product_promises_are_there(address: str) -> None:
    paths = {path for _, path, _ in operations(address)}
    promised = (
        "customers offerings stock-items orders subscriptions devices services nas sessions measurements device-health "
        "usage charges bill-runs invoices payments journal-entries trial-balance users tokens audit-log events"
    )
    assert {f"/api/v1/{name}" for name in promised.split()} <= paths


def test_only_what_carries_its_own_proof_is_open_to_all(address: str) -> None:
    described = httpx2.get(f"{address}/openapi.json").json()
    operations = [(path, one) for path, methods in described["paths"].items() for one in methods.items()]
    opened = [(method, path) for path, (method, operation) in operations if "security" not in operation]
    by_the_secret_of_a_link = ("get", "/api/v1/customer-usage/{secret}")
    signed_by_its_sender = ("post", "/api/v1/payment-gateways/{name}/webhook")
    assert opened == [by_the_secret_of_a_link, signed_by_its_sender]
    assert httpx2.get(f"{address}/api/v1/customer-usage/{'x' * 43}").status_code == 404


def test_nothing_answers_without_a_token_or_beyond_its_scopes(address: str, controller: Controller) -> None:
    made = controller.api.post("/tokens", json={"name": "nothing", "scopes": ["inventory:read"]}).json()
    described = operations(address)
    assert len(described) > 300
    with httpx2.Client(base_url=address) as http:
        for method, path, scope in described:
            refused = http.request(method, path)
            assert refused.status_code == 401, (method, path)
            assert refused.headers["content-type"] == "application/problem+json"
            if scope != "inventory:read":
                limited = http.request(method, path, headers={"Authorization": f"Bearer {made['token']}"})
                assert limited.status_code == 403, (method, path)


@pytest.mark.parametrize("sources", ["controller/app/*_cli.py", "controller/web/**/*.py"])
def test_whatever_a_command_or_a_page_asks_for_is_there(address: str, sources: str) -> None:
    """Commands are tried against answers of their own: a path that the API lost would be found by nobody else."""
    described = httpx2.get(f"{address}/openapi.json").json()["paths"]
    there = {
        (method.upper(), blanks(path.removeprefix("/api/v1")))
        for path, methods in described.items()
        for method in methods
    }
    asked = [found for file in sorted(ROOT.glob(sources)) for found in asked_by(file)]
    assert len(asked) > 150

    def is_there(found: Asked) -> bool:
        shape = re.compile(re.escape(found.path).replace(r"\{\}", "[^/]*(/[a-z-]+)?"))
        return any(method == found.method and shape.fullmatch(path) for method, path in there)

    assert [found for found in asked if not is_there(found)] == []


def make_one_of_each(controller: Controller) -> None:
    """What generated requests can then name: a customer, an offering, stock, a NAS, a device that is off, an order."""
    controller.post("/nas", {"name": "bras-1", "address": "127.0.0.9", "secret": "s3cret-of-the-bras"})
    olt = controller.post("/devices", {
        "name": "olt-1", "driver": "bbf-olt", "host": "127.0.0.1", "port": 9, "username": "headend",
        "password": "none",
    })  # fmt: skip
    sold = offering(controller, "Fibre 100", "31.00", 100_000_000, 50_000_000)
    customer = controller.post("/customers", {"name": "Ada Lovelace", "address": "Ring 1\n10115 Berlin"})
    controller.post("/stock-items", {"serial": SERIAL})
    controller.post("/orders", {
        "action": "add", "account_id": customer["account_id"], "offering_id": sold["offering_id"],
        "username": "ada@lab", "password": "analytical-engine",
        "attachments": [{"kind": "onu", "device_id": olt["device_id"], "pon_port": "pon-1", "onu_serial": SERIAL}],
    })  # fmt: skip
    controller.post("/bill-runs")


def fuzzer(address: str, controller: Controller, seed: int | None = None) -> Fuzzer:
    def skip(method: str, path: str) -> bool:
        # The first might meet the token in use; the second goes on for as long as it is told to.
        return path.endswith(("/tokens/{token_id}", "/radius/trace"))

    made = Fuzzer(address, {"Authorization": f"Bearer {controller.token}"}, skip=skip, seed=seed)
    make_one_of_each(controller)
    made.learn()
    return made


def assert_answered_as_described(fuzzer: Fuzzer, controller: Controller) -> None:
    print(f"{sum(fuzzer.sent.values())} requests to {len(fuzzer.answered)} operations: {fuzzer.sent}")
    assert not fuzzer.failures, "\n".join(fuzzer.failures) + controller.log[-3000:]
    assert [name for name, answered in fuzzer.answered.items() if answered == 0] == []
    assert fuzzer.sent.get(200, 0) > 30
    assert fuzzer.sent.get(422, 0) > 30


def test_generated_requests_are_answered_as_described(address: str, controller: Controller) -> None:
    some = fuzzer(address, controller)
    some.run(budget_s=200, examples=1)
    assert_answered_as_described(some, controller)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_many_generated_requests_are_answered_as_described(tmp_path: Path, postgres: PostgresServer) -> None:
    controller = Controller(tmp_path / "data", database_url=postgres.create("fuzzed-long"))
    controller.start()
    try:
        many = fuzzer(controller.url, controller, seed_of_this_run())
        many.run(budget_s=240, examples=20)
        assert_answered_as_described(many, controller)
    finally:
        assert controller.stop() == 0
