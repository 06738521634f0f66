"""Each role against each kind of endpoint. The table is written here again: a change of a role is seen twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from controller.app.auth_model import AREAS, ROLE_SCOPES, SCOPES, GuessLimiter, Role, covers
from controller.http.endpoint import Call, Endpoint
from tests.support.api import api_client

# r: may read, w: may read and write, -: neither
TABLE = """
area       admin noc billing support readonly
crm        w     r   w       w       r
catalog    w     r   w       r       r
inventory  w     w   r       r       r
orders     w     w   r       w       r
services   w     w   r       r       r
devices    w     w   r       r       r
radius     w     w   r       w       r
usage      w     r   w       r       r
billing    w     -   w       r       r
finance    w     -   w       r       r
admin      w     -   -       -       -
"""
_ROWS = [line.split() for line in TABLE.strip().splitlines()]
CASES = [
    (role, row[0], verb, mark == "w" or (mark == "r" and verb == "read"))
    for row in _ROWS[1:]
    for role, mark in zip(_ROWS[0][1:], row[1:], strict=True)
    for verb in ("read", "write")
]


async def nothing(call: Call) -> None:
    return None


ENDPOINTS = [
    Endpoint(method, f"/{area}", f"{area}:{verb}", nothing, "Try")
    for area in AREAS
    for method, verb in (("GET", "read"), ("POST", "write"))
]


@pytest.mark.parametrize(("role", "area", "verb", "allowed"), CASES)
async def test_a_role_may_exactly_what_the_table_says(role: str, area: str, verb: str, allowed: bool) -> None:
    async with api_client(ENDPOINTS, scopes=ROLE_SCOPES[Role(role)]) as api:
        response = await api.request("GET" if verb == "read" else "POST", f"/{area}")
    assert response.status_code == (204 if allowed else 403)


def test_the_table_knows_every_role_and_every_area() -> None:
    assert set(_ROWS[0][1:]) == {role.value for role in Role}
    assert {row[0] for row in _ROWS[1:]} == set(AREAS)


def test_roles_hold_known_scopes_only() -> None:
    assert all(scopes <= SCOPES for scopes in ROLE_SCOPES.values())


@pytest.mark.parametrize(
    ("held", "scope", "granted"),
    [
        ({"*"}, "admin:*", True),
        ({"crm:*"}, "crm:write", True),
        ({"crm:read", "crm:write"}, "crm:*", True),
        ({"crm:read"}, "crm:*", False),
        ({"crm:*"}, "*", False),
        ({"crm:read"}, "billing:read", False),
    ],
)
def test_a_scope_covers_what_it_grants_and_no_more(held: set[str], scope: str, granted: bool) -> None:
    assert covers(frozenset(held), scope) is granted


def test_the_memory_of_guesses_is_bounded() -> None:
    now = datetime(2026, 11, 1, tzinfo=UTC)
    limiter = GuessLimiter(free=0, size=10)
    for n in range(1_000):
        limiter.failed(f"address-{n}", now)
    assert limiter.wait("address-0", now) == timedelta(0)
    assert limiter.wait("address-999", now) == timedelta(seconds=2)
    for _ in range(100):
        limiter.failed("address-999", now)
    assert limiter.wait("address-999", now) == timedelta(minutes=5)
