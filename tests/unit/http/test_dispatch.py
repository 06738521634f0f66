"""The HTTP layer alone: what it lets through to a handler, and how it refuses the rest."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel, ValidationError, model_validator
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from controller.domain.clock import MovableClock
from controller.domain.errors import Conflict, NotFound, PermanentDeviceError, RuleError, TemporaryDeviceError
from controller.http import cursor
from controller.http.content import MAX_BODY_OCTETS, parse_body
from controller.http.dispatch import routes
from controller.http.endpoint import PUBLIC, Call, Endpoint, Page, PageQuery
from controller.http.models import In, Instant, MoneyIn, MoneyOut, Out
from controller.http.problem import Problem
from tests.support.api import api_client

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


class Thing(In):
    name: str
    count: int = 0
    at: Instant | None = None
    price: MoneyIn | None = None
    share: Decimal | None = None


class Choice(In):
    name: str = "the usual"


class NarrowChoice(Choice):
    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.name == "the usual":
            raise ValueError("say which")
        return self


class ThingOut(Out):
    name: str
    at: Instant
    price: MoneyOut | None = None


class ThingQuery(PageQuery):
    count: int | None = None
    names: list[str] | None = None


async def make(call: Call) -> ThingOut:
    thing = call.body_as(Thing)
    price = None if thing.price is None else MoneyOut.of(thing.price.money())
    return ThingOut(name=thing.name, at=thing.at or call.now, price=price)


async def choose(call: Call) -> ThingOut:
    return ThingOut(name=call.body_as(Choice).name, at=call.now)


async def listed(call: Call) -> Page:
    query = call.query_as(ThingQuery)
    start = cursor.decode(query.after, int)[0] if query.after else 0
    rows, following = cursor.cut(range(start, min(7, start + query.limit + 1)), query.limit, lambda n: (n + 1,))
    return Page([ThingOut(name=str(n), at=call.now) for n in rows], following)


async def failing(call: Call) -> None:
    raise {
        "missing": NotFound("no such thing"),
        "conflict": Conflict("already done", code="done"),
        "rule": RuleError("not on Sundays"),
        "later": TemporaryDeviceError("olt-1 does not answer"),
        "refused": PermanentDeviceError("olt-1 refused"),
        "bug": ZeroDivisionError("secret internals"),
        "away": OperationalError("SELECT secret", {}, ConnectionRefusedError("secret host")),
        "full": PoolTimeout("QueuePool limit, secret internals"),
    }[call.path["kind"]]


async def nothing(call: Call) -> None:
    return None


ENDPOINTS = [
    Endpoint("POST", "/things", "crm:write", make, "Make", returns=ThingOut, body=Thing, status=201),
    Endpoint("GET", "/things", "crm:read", listed, "List", returns=ThingOut, query=ThingQuery, paged=True),
    Endpoint("DELETE", "/things/{thing_id}", "crm:write", nothing, "Delete"),
    Endpoint("POST", "/things/rehearsal", "crm:write", nothing, "Rehearse"),
    Endpoint("GET", "/failures/{kind}", "crm:read", failing, "Fail"),
    Endpoint("GET", "/open", PUBLIC, nothing, "Open"),
    Endpoint("POST", "/choices", "crm:write", choose, "Choose", returns=ThingOut, body=Choice),
    Endpoint("POST", "/choices/narrow", "crm:write", choose, "Choose", returns=ThingOut, body=NarrowChoice),
]


async def send(method: str, path: str, *, scopes: Any = ("*",), **more: Any) -> httpx2.Response:
    async with api_client(ENDPOINTS, scopes=scopes, clock=MovableClock(NOW)) as api:
        return await api.request(method, path, **more)


def problem(response: httpx2.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["type"] == f"urn:headend:problem:{body['code']}"
    assert body["title"]
    return body


async def test_a_valid_body_reaches_the_handler_and_its_model_comes_back() -> None:
    body = {"name": "Ä", "at": "2026-11-01T10:00:00+02:00", "price": {"amount": "12.30", "currency": "EUR"}}
    response = await send("POST", "/things", json=body)
    assert response.status_code == 201
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "name": "Ä",
        "at": "2026-11-01T08:00:00Z",
        "price": {"amount": "12.30", "currency": "EUR"},
    }


async def test_no_answer_is_204_without_a_body() -> None:
    response = await send("DELETE", "/things/1")
    assert (response.status_code, response.content) == (204, b"")


async def test_pages_lead_to_each_other_without_gaps_or_repeats() -> None:
    seen, after = [], None
    while True:
        page = (await send("GET", "/things", params={"limit": 3} | ({"after": after} if after else {}))).json()
        seen += [item["name"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == ["0", "1", "2", "3", "4", "5", "6"]


async def test_a_stranger_is_challenged_and_a_public_endpoint_asks_nobody() -> None:
    refused = await send("GET", "/things", scopes=None)
    problem(refused, 401)
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert (await send("GET", "/open", scopes=None)).status_code == 204


async def test_a_missing_scope_is_403_and_names_it() -> None:
    assert "crm:write" in problem(await send("POST", "/things", scopes={"crm:read"}, json={"name": "x"}), 403)["detail"]
    assert (await send("POST", "/things", scopes={"crm:*"}, json={"name": "x"})).status_code == 201


async def test_a_stranger_is_refused_before_the_body_is_looked_at() -> None:
    refused = await send("POST", "/things", scopes=None, content=b"x" * (MAX_BODY_OCTETS + 1))
    assert problem(refused, 401)["code"] == "unauthorized"


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("missing", 404, "not-found"),
        ("conflict", 409, "done"),
        ("rule", 422, "rule"),
        ("later", 503, "device-unavailable"),
        ("refused", 502, "device-refused"),
    ],
)
async def test_errors_of_the_domain_have_their_status(kind: str, status: int, code: str) -> None:
    assert problem(await send("GET", f"/failures/{kind}"), status)["code"] == code


async def test_a_bug_is_500_and_tells_nothing_but_an_error_id() -> None:
    response = await send("GET", "/failures/bug")
    body = problem(response, 500)
    assert len(body["error_id"]) == 16
    assert "secret" not in response.text
    assert "ZeroDivision" not in response.text


@pytest.mark.parametrize("kind", ["away", "full"])
async def test_a_database_that_is_away_is_503_and_worth_another_try(kind: str) -> None:
    response = await send("GET", f"/failures/{kind}")
    body = problem(response, 503)
    assert body["code"] == "store-unavailable"
    assert len(body["error_id"]) == 16
    assert int(response.headers["retry-after"]) > 0
    assert "secret" not in response.text


async def test_unknown_addresses_and_methods_are_problems() -> None:
    problem(await send("GET", "/nowhere"), 404)
    refused = await send("PATCH", "/things")
    problem(refused, 405)
    assert {"GET", "POST"} <= set(refused.headers["allow"].replace(" ", "").split(","))


async def test_a_literal_path_wins_over_a_parameter() -> None:
    assert (await send("POST", "/things/rehearsal")).status_code == 204


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"nul", 400),
        (b'{"name": "\xff"}', 400),
        (b'{"name": NaN}', 400),
        (b'{"name": "x", "share": Infinity}', 400),
        (b'{"name": "a", "name": "b"}', 400),
        (b"[" * 100_000, 400),
        (b'{"name": "x", "count": ' + b"9" * 5000 + b"}", 400),
        (b"[]", 422),
        (b'"x"', 422),
        (b"null", 422),
        (b"{}", 422),
        (b'{"name": "x", "other": 1}', 422),
        (b'{"name": "a\\u0000b"}', 422),
        (b'{"name": "\\ud800"}', 422),
        (b'{"\\ud800": 1, "name": "x"}', 422),
        (b'{"name": "x", "count": 9223372036854775808}', 422),
        (b'{"name": "x", "count": "9223372036854775808"}', 422),
        (b'{"name": "x", "count": 1.5}', 422),
        (b'{"name": "x", "share": 1e999999}', 422),
        (b'{"name": "x", "share": "NaN"}', 422),
        (b'{"name": "x", "share": "1e99999"}', 422),
        (b'{"name": "x", "at": "2026-11-01T10:00:00"}', 422),
        (b'{"name": "x", "at": "0001-01-01T00:00:00+14:00"}', 422),
        (b'{"name": "x", "at": 1e300}', 422),
        (b'{"name": "x", "price": {"amount": "1.234", "currency": "EUR"}}', 422),
        (b'{"name": "x", "price": {"amount": "1e5", "currency": "EUR"}}', 422),
    ],
)
async def test_a_malformed_body_is_refused_not_failed_on(raw: bytes, status: int) -> None:
    told = problem(await send("POST", "/things", content=raw, headers=JSON), status)
    assert told["code"] in (("json",) if status == 400 else ("invalid", "money-decimals"))


async def test_a_refused_value_is_named_but_never_repeated() -> None:
    response = await send("POST", "/things", json={"name": "x", "count": "hunter2"})
    assert [e["pointer"] for e in problem(response, 422)["errors"]] == ["#/count"]
    assert "hunter2" not in response.text


async def test_a_post_that_need_not_say_anything_may_be_sent_without_a_body_and_its_type() -> None:
    usual: tuple[dict[str, Any], ...] = ({}, {"headers": JSON}, {"json": {}})
    for known in usual:
        assert (await send("POST", "/choices", **known)).json()["name"] == "the usual"
    assert (await send("POST", "/choices", json={"name": "x"})).json()["name"] == "x"
    refused = await send("POST", "/choices", content=b'{"name": "x"}', headers={"content-type": "text/plain"})
    assert problem(refused, 415)["code"] == "media-type"
    assert problem(await send("POST", "/choices/narrow"), 422)["code"] == "invalid"
    assert problem(await send("POST", "/things"), 415)["code"] == "media-type"
    assert problem(await send("POST", "/things", headers=JSON), 400)["code"] == "json"


async def test_a_body_of_another_type_is_415_and_a_large_one_413() -> None:
    for body, kind in ((b"name=x", "text/plain"), (b"{}", "application/json; charset=latin-1")):
        refused = await send("POST", "/things", content=body, headers={"content-type": kind})
        assert problem(refused, 415)["code"] == "media-type"
    refused = await send("POST", "/things", content=b" " * (MAX_BODY_OCTETS + 1), headers=JSON)
    assert problem(refused, 413)["code"] == "too-large"

    async def chunks() -> Any:
        for _ in range(40):
            yield b" " * 32_768

    assert problem(await send("POST", "/things", content=chunks(), headers=JSON), 413)["code"] == "too-large"


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=x",
        "count=9223372036854775808",
        "other=1",
        "limit=1&limit=2",
        "after=%00",
        "count=",
    ],
)
async def test_a_wrong_query_is_422(query: str) -> None:
    assert problem(await send("GET", f"/things?{query}"), 422)["code"] == "invalid"


@pytest.mark.parametrize("after", ["x", "e30", "WzEuNV0", "WyJhIl0", "WzEsMl0", "Wzk5OTk5OTk5OTk5OTk5OTk5OTk5OV0", "ü"])
async def test_a_cursor_that_is_not_ours_is_400(after: str) -> None:
    assert problem(await send("GET", "/things", params={"after": after}), 400)["code"] == "cursor"


async def test_a_path_no_id_could_be_is_404() -> None:
    for nobody in ("%00", "x" * 400):
        assert problem(await send("DELETE", f"/things/{nobody}"), 404)["code"] == "not-found"


@given(st.binary(max_size=200))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_any_bytes_as_a_body_are_answered_below_500(raw: bytes) -> None:
    assert (await send("POST", "/things", content=raw, headers=JSON)).status_code < 500


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda part: st.lists(part) | st.dictionaries(st.text(), part),
)


@given(
    st.fixed_dictionaries({"name": json_values}, optional=dict.fromkeys(("count", "at", "price", "share"), json_values))
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_any_json_as_a_body_is_answered_below_500(value: Any) -> None:
    assert (await send("POST", "/things", content=json.dumps(value), headers=JSON)).status_code < 500


@given(
    st.lists(
        st.integers(-(2**63) + 1, 2**63 - 1) | st.text(st.characters(codec="utf-8", exclude_characters="\x00")),
        min_size=1,
    )
)
def test_a_cursor_gives_back_its_key(key: list[int | str]) -> None:
    assert cursor.decode(cursor.encode(*key), *(type(part) for part in key)) == tuple(key)


def test_two_endpoints_at_one_address_or_one_without_a_scope_are_refused_at_start() -> None:
    async def nobody(_request: object) -> None:
        return None

    for bad in ([ENDPOINTS[0], ENDPOINTS[0]], [Endpoint("GET", "/x", "", nothing, "x")]):
        with pytest.raises(ValueError):
            routes(bad, authenticator=nobody, clock=MovableClock(NOW))


class Square(In):
    kind: Literal["square"]
    side: int


class Circle(In):
    kind: Literal["circle"]
    radius: int


class Drawing(RootModel[Annotated[Square | Circle, Field(discriminator="kind")]]):
    pass


class Board(In):
    shapes: list[Drawing]


@pytest.mark.parametrize(
    ("model", "body", "pointer"),
    [
        (Drawing, {"kind": "square", "side": "x"}, "#/side"),
        (Drawing, {"kind": "circle"}, "#/radius"),
        (Board, {"shapes": [{"kind": "square", "side": 1}, {"kind": "circle", "radius": "x"}]}, "#/shapes/1/radius"),
        (Board, {"shapes": 3}, "#/shapes"),
        (Board, {"shapes": [], "circle": 1}, "#/circle"),
        (Board, {}, "#/shapes"),
    ],
)
def test_a_pointer_names_the_field_as_it_was_sent_and_not_the_variant_it_was_taken_for(
    model: type[BaseModel], body: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(Problem) as refused:
        parse_body(json.dumps(body).encode(), "application/json", model)
    assert [error.pointer for error in refused.value.errors] == [pointer]


def test_only_currencies_that_are_paid_with_are_taken() -> None:
    for code in ("EUR", "CHF", "JPY", "KWD"):
        assert MoneyIn(amount="1", currency=code).money().currency == code
    for code in ("ABC", "BGN", "DEM", "XAU", "XXX"):
        with pytest.raises(ValidationError, match=f"{code} is no currency"):
            MoneyIn(amount="1", currency=code)
