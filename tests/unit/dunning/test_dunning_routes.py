"""Dunning over HTTP: the board, an account of any day, decisions, the hand-over of claims, and what is refused."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import httpx2
import pytest

from controller.domain.errors import NotFound
from controller.domain.identity import AccountId
from controller.store.engine import Database
from controller.workflows import routes_dunning
from controller.workflows.disputes import Disputes
from erp.dunning import routes
from erp.dunning.board import BoardService
from tests.support.api import api_client
from tests.support.dunning import DunningWorld, dunning_world

UNKNOWN = "f" * 32


class NoExplainer:
    """An explainer that finds nothing to explain: what is asked for was billed elsewhere."""

    async def explain(self, line_id: str) -> Any:
        raise NotFound(f"no charge of line {line_id}")


@pytest.fixture
async def served(sqlite_database: Database, tmp_path: Path) -> AsyncIterator[tuple[DunningWorld, httpx2.AsyncClient]]:
    async with dunning_world(sqlite_database, tmp_path) as world:
        board = BoardService(world.dunning, world.notices.counts)
        opening = Disputes(world.disputes, world.books.finance, NoExplainer())  # type: ignore[arg-type]
        every = [
            *routes.endpoints(world.dunning, board, world.notices),
            *routes_dunning.endpoints(world.disputes, opening, world.work),
        ]
        async with api_client(every) as client:
            yield world, client


async def overdue(world: DunningWorld, until: date, name: str = "Erika Beispiel") -> AccountId:
    account = await world.customer(name)
    await world.invoice(account)
    await world.nights(account, until)
    return account


async def test_the_board_shows_each_account_once_with_what_comes_next(
    served: tuple[DunningWorld, httpx2.AsyncClient],
) -> None:
    world, client = served
    account = await overdue(world, date(2026, 11, 18))
    found = (await client.get("/dunning/board")).json()
    (column,) = found["columns"]
    (row,) = column["accounts"]
    assert (column["stage"], column["count"], column["totals"]) == (
        "reminder",
        1,
        [{"amount": "59.50", "currency": "EUR"}],
    )
    assert (row["account_id"], row["days_over"], row["next_step"], row["next_on"]) == (
        account,
        3,
        "warning",
        "2026-11-25",
    )
    held = {"reason": "in hospital", "until_on": "2026-12-01"}
    assert (await client.post(f"/dunning/accounts/{account}/holds", json=held)).status_code == 201
    (column,) = (await client.get("/dunning/board")).json()["columns"]
    assert (column["stage"], column["accounts"][0]["rests"]) == ("resting", ["hold"])


async def test_an_account_is_shown_as_it_stood_on_any_day(served: tuple[DunningWorld, httpx2.AsyncClient]) -> None:
    world, client = served
    account = await overdue(world, date(2026, 12, 2))
    path = f"/dunning/accounts/{account}"
    now = (await client.get(path)).json()
    assert (now["stage"], now["measure"], [s["step"] for s in now["steps"]]) == (
        "throttle",
        "throttle",
        ["throttle", "warning", "reminder"],
    )
    await world.pay(account, "59.50", "r1")
    assert (await client.get(path)).json()["measure"] == "none"
    then = (await client.get(path, params={"day": "2026-12-01"})).json()
    assert (then["stage"], then["measure"], then["claimed"]["amount"]) == ("warning", "none", "59.50")


async def test_a_claim_is_handed_over_once_and_then_left_alone(served: tuple[DunningWorld, httpx2.AsyncClient]) -> None:
    world, client = served
    account = await overdue(world, date(2026, 12, 23), "=HYPERLINK(1)")
    await world.nights(account, date(2027, 3, 10))
    rows = list(csv.DictReader(io.StringIO((await client.get("/dunning/collections")).text)))
    assert [(r["account_id"], r["name"], r["open"], r["currency"]) for r in rows] == [
        (account, "'=HYPERLINK(1)", "59.50", "EUR")
    ]
    path = f"/dunning/accounts/{account}/hand-over"
    first, second = [(await client.post(path, json={"reason": "agency 7"})).json() for _ in range(2)]
    assert first["pause_id"] == second["pause_id"]
    assert len((await client.get("/dunning/collections")).text.splitlines()) == 1
    assert (await client.get(f"/dunning/accounts/{account}")).json()["rests"] == ["collections"]


async def test_a_line_that_cannot_be_explained_is_evidence_too(
    served: tuple[DunningWorld, httpx2.AsyncClient],
) -> None:
    world, client = served
    account = await world.customer()
    invoice_id = await world.invoice(account)
    made = await client.post("/disputes", json={"invoice_id": invoice_id, "reason": "never ordered"})
    assert made.status_code == 201, made.text
    found = (await client.get(f"/disputes/{made.json()['dispute_id']}")).json()
    (evidence,) = found["evidence"]
    assert "no charge of line" in evidence["content"]
    assert len(evidence["sha256"]) == 64
    answer = await client.post(f"/disputes/{found['dispute_id']}/reject", json={"resolution": "ordered in May"})
    assert answer.json()["until_on"] == "2026-11-09", "a week, as the policy says, and a Sunday"


async def test_what_is_not_there_is_said_so(served: tuple[DunningWorld, httpx2.AsyncClient]) -> None:
    _, client = served
    reason = {"reason": "x"}
    for path in (f"/dunning/accounts/{UNKNOWN}", f"/dunning/notices/{UNKNOWN}", f"/disputes/{UNKNOWN}"):
        assert (await client.get(path)).status_code == 404, path
    assert (await client.get(f"/dunning/notices/{UNKNOWN}/pdf")).status_code == 404
    for path, body in (
        (f"/dunning/accounts/{UNKNOWN}/holds", reason),
        (f"/dunning/accounts/{UNKNOWN}/hand-over", reason),
        ("/dunning/accounts/short/holds", reason),
        (f"/dunning/pauses/{UNKNOWN}/end", reason),
        (f"/dunning/plans/{UNKNOWN}/end", reason),
        (f"/dunning/notices/{UNKNOWN}/decide", {"arrived": True} | reason),
        (f"/disputes/{UNKNOWN}/uphold", {"resolution": "x"}),
    ):
        assert (await client.post(path, json=body)).status_code == 404, path


async def test_policies_are_added_and_shown_with_the_built_in_one(
    served: tuple[DunningWorld, httpx2.AsyncClient],
) -> None:
    _, client = served
    policy = {"steps": [{"name": "hello", "days": 1, "notice": "reminder"}], "country": "DE", "subdivision": "HH"}
    body = {"segment": "business", "effective_on": "2026-12-01", "policy": policy}
    assert (await client.post("/dunning/policies", json=body)).json()["version"] == 1
    assert (await client.post("/dunning/policies", json=body)).status_code == 409
    wrong = body | {"effective_on": "2027-01-01", "policy": policy | {"country": "Atlantis"}}
    refused = await client.post("/dunning/policies", json=wrong)
    assert (refused.status_code, "ISO 3166" in refused.text) == (422, True)
    found = (await client.get("/dunning/policies")).json()
    assert [(p["segment"], p["policy"]) for p in found["policies"]] == [("business", policy)]
    assert found["built_in"]["steps"][0]["name"] == "reminder"
