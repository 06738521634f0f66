"""`headend assurance`: what it asks of the controller, what it prints, and its exit status."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from controller.app import assurance_cli
from controller.app.remote import Place, Remote


def money(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "EUR"}


FINDING = {
    "check": "usage-jump", "by": "history", "text": "912 GB, usual are 180 to 410 GB", "expected_low": money("24.00"),
    "expected_high": None, "actual": money("99.00"), "at_stake": money("38.00"),
    "records": [{"what": "interval", "ref": "4711", "detail": "log records 881,882"}],
}  # fmt: skip
BILL = {
    "exception_id": "x1", "bill_run_id": "b1", "account_id": "a1", "state": "released", "net": money("99.00"),
    "at_stake": money("38.00"), "checks": ["usage-jump"], "findings": [FINDING], "released_by": "user:anna",
    "approved_by": None,
}  # fmt: skip
LEAK = {
    "title": "by-hand", "per_day": money("1.31"), "monthly": money("39.90"), "lost": money("13.10"),
    "since_on": "2026-11-10", "price_from": "the fee of Fibre 100",
    "evidence": [{"what": "login", "ref": "by-hand", "detail": "profile p100"}],
}  # fmt: skip
DAY = {
    "day": "2026-11-19", "services": 2, "differing": 1, "radius_octets": 4 * 10**12, "counter_octets": 0,
    "billed_octets": 3_960_000_000_000,
}  # fmt: skip
LIMIT = {
    "currency": "EUR", "four_eyes": "100", "usage": "3", "other": "0.02", "changed_by": "", "changed_at": None,
}  # fmt: skip
ROW = {"day": "2026-11-19", "service_id": "e1", "unexplained_octets": 4 * 10**10, "reasons": []}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """Path and body of every request."""
    found: list[tuple[str, Any]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        path = request.url.path.removeprefix("/api/v1")
        found.append((f"{request.method} {path}", json.loads(request.content) if request.content else None))
        if request.method == "POST":
            return httpx2.Response(200, json={"days": [DAY]} if path == "/reconciliation" else BILL)
        if path.startswith("/check-limits"):
            return httpx2.Response(200, json=LIMIT if request.method == "PUT" else {"limits": [LIMIT]})
        if path == "/exceptions/x1":
            return httpx2.Response(200, json=BILL)
        side = request.url.params.get("side")
        items = {"/exceptions": [BILL], "/leakage": [LEAK] if side == "live-not-billed" else []}.get(path, [ROW])
        return httpx2.Response(200, json={"items": items, "next": None})

    @contextmanager
    def opened() -> Iterator[Remote]:
        with Remote(Place("http://headend", "token"), transport=httpx2.MockTransport(answer)) as api:
            yield api

    monkeypatch.setattr(assurance_cli, "opened", opened)
    return found


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(assurance_cli.assurance_app, list(words), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def test_the_queue_and_one_bill_are_told(asked: list[tuple[str, Any]]) -> None:
    assert "38.00 EUR at stake  account a1  usage-jump  by user:anna" in run("queue", "--state", "all")
    told = run("show", "x1")
    assert "expected 24.00 EUR to anything, actual 99.00 EUR, at stake 38.00 EUR" in told
    assert "interval 4711: log records 881,882" in told


def test_decisions_carry_their_reason(asked: list[tuple[str, Any]]) -> None:
    for verb in ("release", "approve", "refuse"):
        assert "waits for a second person" in run(verb, "x1", "--reason", "agreed")
        assert asked[-1] == (f"POST /exceptions/x1/{verb}", {"reason": "agreed"})


def test_leakage_is_told_and_is_an_exit_status(asked: list[tuple[str, Any]]) -> None:
    assert "39.90 EUR a month  since 2026-11-10" in run("leakage", "live-not-billed", code=1)
    assert run("leakage", "billed-not-live") == ""


def test_a_difference_without_a_reason_is_an_exit_status(asked: list[tuple[str, Any]]) -> None:
    told = run("reconcile", "--day", "2026-11-19", "--days", "1", code=1)
    assert "2 services, 1 unexplained" in told
    assert "e1: 40 GB unexplained" in told
    assert asked[0] == ("POST /reconciliation", {"days": 1, "day": "2026-11-19"})


def test_limits_are_told_and_set(asked: list[tuple[str, Any]]) -> None:
    assert "EUR  two people above 100, held from 3 of usage on, from 0.02 of all else  set by nobody" in run("limits")
    words = ("--four-eyes", "100", "--usage", "3", "--other", "0.02", "--reason", "agreed")
    assert "EUR: two people above 100" in run("limits-set", "EUR", *words)
    body = {"four_eyes": "100", "usage": "3", "other": "0.02", "reason": "agreed"}
    assert asked[-1] == ("PUT /check-limits/EUR", body)
