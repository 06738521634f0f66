from __future__ import annotations

import pytest

from controller.app import auth_routes, openapi, record_routes
from controller.app.auth import AuthService
from controller.app.bus import Bus
from controller.app.server import Health, build_app
from controller.domain.clock import SystemClock
from controller.domain.ports import Secret
from controller.http.endpoint import PUBLIC, Call, Endpoint, PageQuery
from controller.http.models import Out
from controller.store.engine import Database
from tests.support.fuzz import Fuzzer
from tests.support.http_server import serving
from tests.support.site import CHEAP

TOKEN = "t" * 32


class HelloOut(Out):
    text: str


async def hello(call: Call) -> HelloOut:
    return HelloOut(text="hello")


@pytest.fixture
def endpoints(database: Database) -> list[Endpoint]:
    auth = AuthService(database, SystemClock(), CHEAP)
    return [
        *auth_routes.endpoints(auth),
        *record_routes.endpoints(database, Bus(database, SystemClock(), {})),
        Endpoint("GET", "/hello", PUBLIC, hello, "Say hello", returns=HelloOut),
        Endpoint("GET", "/files/{name}", "crm:read", hello, "A file", media_type="application/pdf", problems=(503,)),
    ]


def test_every_endpoint_is_described_with_its_scope_and_its_problems(endpoints: list[Endpoint]) -> None:
    described = openapi.document(endpoints)
    assert described["openapi"] == "3.1.0"
    operations = {(m.upper(), p): o for p, path in described["paths"].items() for m, o in path.items()}
    assert set(operations) == {(e.method, "/api/v1" + e.path) for e in endpoints}
    assert len({o["operationId"] for o in operations.values()}) == len(operations)
    assert operations[("POST", "/api/v1/users")]["security"][0] == {"bearer": ["admin:write"]}
    assert "security" not in operations[("GET", "/api/v1/hello")]
    assert {"201", "400", "401", "403", "409", "413", "415", "422"} <= set(
        operations[("POST", "/api/v1/users")]["responses"]
    )
    files = operations[("GET", "/api/v1/files/{name}")]
    assert files["responses"]["200"]["content"] == {"application/pdf": {}}
    assert "503" in files["responses"]
    assert files["parameters"][0]["name"] == "name"


def test_a_body_that_may_say_nothing_is_described_as_one_that_may_be_left_out() -> None:
    async def end(_call: Call) -> None:
        return None

    described = openapi.document(
        [Endpoint(m, "/choices", "crm:write", end, "Choose", body=PageQuery) for m in ("POST", "PUT")]
    )
    choices = described["paths"]["/api/v1/choices"]
    assert [choices[m]["requestBody"]["required"] for m in ("post", "put")] == [False, True]


def test_a_list_is_described_as_a_page_and_its_query_as_parameters(endpoints: list[Endpoint]) -> None:
    described = openapi.document(endpoints)
    users = described["paths"]["/api/v1/users"]["get"]
    page = users["responses"]["200"]["content"]["application/json"]["schema"]
    assert page["properties"]["items"]["items"] == {"$ref": "#/components/schemas/UserOut"}
    limit = next(p for p in users["parameters"] if p["name"] == "limit")
    assert (limit["schema"]["minimum"], limit["schema"]["maximum"]) == (1, 500)


def test_passwords_are_marked_as_write_only(endpoints: list[Endpoint]) -> None:
    schemas = openapi.document(endpoints)["components"]["schemas"]
    assert schemas["UserIn"]["properties"]["password"]["writeOnly"] is True
    assert "password" not in schemas["UserOut"]["properties"]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
async def test_generated_requests_are_answered_as_described(database: Database, endpoints: list[Endpoint]) -> None:
    url = database.url.render_as_string(hide_password=False)

    async def build() -> object:
        own = Database(url)  # engines belong to one event loop
        auth = AuthService(own, SystemClock(), CHEAP)
        await auth.ensure_first_admin(Secret("first start password"), Secret(TOKEN))

        async def health() -> Health:
            return Health(True)

        served = [*auth_routes.endpoints(auth), *record_routes.endpoints(own, Bus(own, SystemClock(), {}))]
        return build_app(endpoints=served, pages=[], authenticator=auth, clock=SystemClock(), health=health)

    with serving(build) as address:
        fuzzer = Fuzzer(address, {"Authorization": f"Bearer {TOKEN}"}, skip=lambda method, path: False)
        fuzzer.run(budget_s=200, examples=5)
    assert not fuzzer.failures, "\n".join(fuzzer.failures)
    assert fuzzer.sent.get(200, 0) > 10
    assert fuzzer.sent.get(422, 0) > 10
