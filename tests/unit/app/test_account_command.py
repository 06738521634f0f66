"""`headend account` and `headend rerate`: what they ask of the API, and what they print."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest
from typer.testing import CliRunner

from controller.app import account_cli, cli, holding_cli
from controller.app.remote import Place, Remote

EUR = {"amount": "-5.00", "currency": "EUR"}
PAUSE = {
    "pause_id": "p", "kind": "seasonal", "state": "agreed", "first_on": "2026-12-02", "until_on": "2026-12-14",
    "percent": 0, "off_since": None, "reason": "winter",
}  # fmt: skip
OFFERING = {
    "offering_id": "f", "name": "Fibre 100",
    "versions": [{"number": 1, "version_id": "v1"}, {"number": 2, "version_id": "v2"}],
}  # fmt: skip
STRETCH = {
    "first_on": "2026-09-01", "until_on": "2026-10-01", "quantity": 1, "offering_name": "Fibre 100", "number": 1,
    "fee": "30.00", "currency": "EUR", "cycle": "month", "percent": 25,
}  # fmt: skip
DELTA = {
    "account_id": "a", "first_on": "2026-09-01", "until_on": "2026-10-01", "net": EUR, "description": "credit",
}  # fmt: skip
RERATED = {
    "deltas": [DELTA], "lines": 2, "subscriptions": 1, "charged": [], "credited": [EUR], "bill_run_id": "run-1",
}  # fmt: skip
CONTRACT_NOTICE = {
    "notice_id": "n", "state": "uncertain", "subject": "item:i", "ends_on": "2027-03-12", "recipient": "",
    "words": "not by mail",
}  # fmt: skip
ANSWERS = {
    "/accounts/a/entitlements": {
        "subscriptions": [{"subscription_id": "s", "service_id": "x", "anchor_day": 31, "stretches": [STRETCH]}]
    },
    "/accounts/a/anchor-day": {
        "account_id": "a",
        "anchor_day": 31,
        "changed": [{"subscription_id": "s", "from_on": "2026-10-01"}],
    },
    "/contract-notices": {"items": [CONTRACT_NOTICE], "next": None},
    "/contract-notices/n/decide": CONTRACT_NOTICE | {"state": "sent"},
    "/subscriptions/s/pauses": PAUSE,
    "/pauses/p/end": PAUSE | {"state": "over"},
    "/pauses": {"items": [PAUSE], "next": None},
    "/accounts/a/parent": {"account_id": "a", "parent_id": "b", "since": "2026-09-01"},
    "/accounts/b/children": {
        "items": [
            {"account_id": "a", "name": "Depot", "heading": "4711", "since": "2026-09-01", "billed_to_parent": True}
        ],
        "next": None,
    },
    "/offerings": {"items": [OFFERING], "next": None},
    "/reratings": RERATED,
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, object]]:
    """Method, path and body of every request."""
    found: list[tuple[str, str, object]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        path = request.url.path.removeprefix("/api/v1")
        found.append((request.method, path, json.loads(request.content) if request.content else None))
        return httpx2.Response(200, json=ANSWERS[path])

    @contextmanager
    def opened() -> Iterator[Remote]:
        with Remote(Place("http://headend", "token"), transport=httpx2.MockTransport(answer)) as api:
            yield api

    for module in (account_cli, holding_cli):
        monkeypatch.setattr(module, "opened", opened)
    return found


def run(*words: str) -> str:
    result = CliRunner().invoke(cli.app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_days_pauses_and_families(asked: list[tuple[str, str, object]]) -> None:
    assert "paused at 25 %" in run("account", "timeline", "a", "--since", "2026-09-01")
    assert "subscription s: from 2026-10-01 on" in run("account", "anchor", "a", "31", "--existing")
    assert ("PUT", "/accounts/a/anchor-day", {"anchor_day": 31, "existing": True}) in asked
    assert "from day 31" in run("account", "anchor", "a", "31")
    placed = run("account", "pause", "s", "--first", "2026-12-02", "--until", "2026-12-14", "--reason", "winter")
    assert "2026-12-02 until 2026-12-14 at 0 % of the fees" in placed
    body = {"kind": "seasonal", "first_on": "2026-12-02", "percent": 0, "reason": "winter", "until_on": "2026-12-14"}
    assert asked[-1] == ("POST", "/subscriptions/s/pauses", body)
    assert "over" in run("account", "resume", "p", "--on", "2026-12-10")
    assert asked[-1] == ("POST", "/pauses/p/end", {"on": "2026-12-10"})
    assert "winter" in run("account", "pauses", "a")
    assert "a belongs to b" in run("account", "parent", "a", "b", "--heading", "4711")
    assert "billed to the parent" in run("account", "children", "b")


def test_what_was_rated_again_is_told(asked: list[tuple[str, str, object]], monkeypatch: pytest.MonkeyPatch) -> None:
    row = {
        "at": "2026-10-02T07:00:00Z", "actor": "user:anna", "offering_id": "f", "first_on": "2026-09-01",
        "version_id": "v1", "priced_as": "v2", "reason": "misprint",
    }  # fmt: skip
    monkeypatch.setitem(ANSWERS, "/reratings", {"items": [row], "next": None})
    assert "user:anna  offering f, 2026-09, v1 priced as v2: misprint" in run("reratings")


def test_a_month_is_rated_again(asked: list[tuple[str, str, object]]) -> None:
    printed = run("rerate", "--period", "2026-09", "--plan", "Fibre 100", "--version", "1", "--priced-as", "2")
    assert "-5.00 EUR" in printed
    assert "… and 1 more" in printed
    assert "2 lines of 1 subscriptions: credit -5.00 EUR" in printed
    assert "bill run run-1" in printed
    body = {"offering_id": "f", "period": "2026-09", "reason": "", "dry_run": False}
    assert asked[-1] == ("POST", "/reratings", body | {"version_id": "v1", "priced_as": "v2"})
    run("rerate", "--period", "2026-09", "--plan", "f", "--dry-run")
    assert asked[-1] == ("POST", "/reratings", body | {"dry_run": True})


def test_notices_of_contracts_are_listed_and_decided(asked: list[tuple[str, str, object]]) -> None:
    listed = run("account", "contract-notices", "--state", "uncertain")
    assert "item:i  ends 2027-03-12  no address  not by mail" in listed
    assert run("account", "decide-contract-notice", "n", "--reason", "phoned") == "sent\n"
    assert asked[-1] == ("POST", "/contract-notices/n/decide", {"arrived": True, "reason": "phoned"})


@pytest.mark.usefixtures("asked")
def test_an_item_that_is_kept_from_its_customer_says_since_when(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"item_id": "i", "quantity": 1, "version_id": "v", "held_since": "2026-09-01", "ended_at": None}
    rows = [held | {"suspended_since": None}, held | {"suspended_since": "2026-12-02"}]
    monkeypatch.setitem(ANSWERS, "/items", {"items": rows, "next": None})
    printed = run("account", "items", "a").splitlines()
    assert [line.endswith("suspended since 2026-12-02") for line in printed] == [False, True]
