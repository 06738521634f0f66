"""`headend prepaid`: what it asks of the API, and what it prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest
from typer.testing import CliRunner

from controller.app import cli, prepaid_cli
from controller.app.remote import Place, Remote

SESSION = {"session_key": None, "state": "pending", "reserved": 100, "expires_at": "2026-11-01T12:00:00Z"}
STATE = {
    "service_id": "s", "unit": "EUR", "balance": 1_000, "reserved": 250, "standing": "open", "when_empty": "garden",
    "sessions": [SESSION], "expires_on": None, "owed": 0, "overshoot": 0,
}  # fmt: skip
MOVED = {
    "at": "2026-11-01T12:00:00Z", "kind": "debit", "amount": -5, "reserved_change": -5, "balance_after": 95,
    "reserved_after": 0, "overshoot": 7,
}  # fmt: skip
PAPER = {
    "receipt_id": "r", "number": "RC-2026-000001", "issued_on": "2026-11-01", "kind": "receipt",
    "total": {"amount": "10.00", "currency": "EUR"},
}  # fmt: skip
NOTICE = {
    "notice_id": "n", "state": "uncertain", "recipient": "", "title": "Your prepaid credit is running low",
    "words": "tell them otherwise",
}  # fmt: skip
VERSIONS = [{"number": 1, "version_id": "v1"}, {"number": 2, "version_id": "v2"}]
ANSWERS = {
    "/prepaid": {"items": [STATE, STATE | {"unit": "octets", "sessions": [], "owed": 7}], "next": None},
    "/services/s/prepaid": STATE,
    "/services/s/prepaid/top-ups": STATE,
    "/services/s/prepaid/close": STATE | {"standing": "closed", "owed": 120, "overshoot": 30},
    "/services/s/prepaid/movements": {"items": [MOVED], "next": None},
    "/prepaid-notices": {"items": [NOTICE], "next": None},
    "/prepaid-notices/n/decide": NOTICE | {"state": "sent"},
    "/receipts": {"items": [PAPER], "next": None},
    "/offerings": {"items": [{"offering_id": "f", "name": "Prepaid", "versions": VERSIONS}], "next": None},
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

    monkeypatch.setattr(prepaid_cli, "opened", opened)
    return found


def run(*words: str) -> str:
    result = CliRunner().invoke(cli.app, ["prepaid", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_balance_is_opened_with_the_newest_prices_topped_up_and_closed(
    asked: list[tuple[str, str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "10.00 EUR, 2.50 EUR reserved: open (when empty: garden)" in run("open", "s", "a", "--plan", "Prepaid")
    method, path, body = asked[-1]
    assert (method, path) == ("PUT", "/services/s/prepaid")
    assert isinstance(body, dict)
    assert (body["version_id"], body["unit"], body["when_empty"]) == ("v2", "money", "disconnect")
    run("open", "s", "a", "--unit", "octets", "--slice", "5", "--when-empty", "garden")
    assert isinstance(asked[-1][2], dict)
    assert "version_id" not in asked[-1][2]
    assert (asked[-1][2]["notice_days"], asked[-1][2]["low_balance"]) == (None, None)
    run("open", "s", "a", "--unit", "octets", "--credit-days", "30", "--notice-days", "0", "--low-balance", "9")
    assert isinstance(asked[-1][2], dict)
    assert (asked[-1][2]["notice_days"], asked[-1][2]["low_balance"]) == (0, 9)
    run("top-up", "s", "11.90", "--reference", "shop 1", "--units", "500", "--tax-percent", "19")
    paid = {"amount": "11.90", "currency": "EUR"}
    bought = {"paid": paid, "into": "cash", "reference": "shop 1", "units": 500, "tax_percent": "19"}
    assert asked[-1] == ("POST", "/services/s/prepaid/top-ups", bought)
    run("top-up", "s", "5.00", "--reference", "shop 2", "--into", "bank")
    plain = {"paid": {"amount": "5.00", "currency": "EUR"}, "into": "bank", "reference": "shop 2"}
    assert asked[-1] == ("POST", "/services/s/prepaid/top-ups", plain)
    told = run("close", "s", "--reason", "moved")
    assert "2.50 EUR reserved, 1.20 EUR owed until others give back, 0.30 EUR used beyond it: closed" in told
    assert asked[-1] == ("POST", "/services/s/prepaid/close", {"reason": "moved", "pay_out": True})
    waits = STATE | {"standing": "closing", "closing_until": "2026-11-01T12:30:00Z", "pays_out": True}
    monkeypatch.setitem(ANSWERS, "/services/s/prepaid/close", waits)
    assert "until 2026-11-01T12:30:00Z at most; then what is left is paid out" in run("close", "s", "--reason", "moved")
    run("close", "s", "--reason", "moved", "--keep")
    assert asked[-1] == ("POST", "/services/s/prepaid/close", {"reason": "moved", "pay_out": False})
    assert "RC-2026-000001  2026-11-01  receipt       10.00 EUR  r" in run("receipts", "s")


def test_balances_and_what_moved_them_are_listed(asked: list[tuple[str, str, object]]) -> None:
    listed = run("list").splitlines()
    assert "10.00 EUR" in listed[0]
    assert ("owed" in listed[0], listed[1].endswith("1000 octets  open  7 octets owed")) == (False, True)
    shown = run("show", "s")
    assert "no record yet" in shown
    assert "100 reserved until 2026-11-01T12:00:00Z" in shown
    assert "7 beyond the balance" in run("movements", "s")


def test_what_customers_were_told_is_listed_and_decided(asked: list[tuple[str, str, object]]) -> None:
    said = run("notices", "--state", "uncertain")
    assert "no address" in said
    assert "tell them otherwise" in said
    assert run("decide-notice", "n", "--reason", "phoned").strip() == "sent"
    assert asked[-1] == ("POST", "/prepaid-notices/n/decide", {"arrived": True, "reason": "phoned"})
