"""`headend dunning`: what each command asks of the API, and what it tells."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from controller.app import dunning_cli
from controller.app.remote import Place, Remote
from controller.domain.errors import RuleError
from erp.dunning.policy import DEFAULT

EURO = {"amount": "59.50", "currency": "EUR"}
ROW = {
    "account_id": "a1", "days_over": 9, "claimed": EURO, "overdue": EURO, "open": EURO, "rests": [], "due_now": [],
    "next_step": "throttle", "next_on": "2026-12-02", "customer": "Ada", "segment": "standard", "day": "2026-11-24",
    "stage": "warning", "measure": "none", "debts": [], "steps": [], "plans": [], "pauses": [],
    "measures": {"tv": "suspend"}, "services": [
        {"kind": "tv", "name": "TV 100", "reference": "tv-1", "measure": "suspend", "billed": False},
    ],
}  # fmt: skip
BOARD = {
    "columns": [{"stage": "warning", "count": 1, "totals": [EURO], "accounts": [ROW]}],
    "notices_uncertain": 0,
    "last_run": {"failed": 0},
}
FOUND: dict[str, Any] = {
    "/dunning/board": BOARD,
    "/dunning/accounts/a1": ROW,
    "/dunning/policies": {"policies": [], "built_in": dict(DEFAULT)},
    "/dunning/accounts/a1/holds": {"pause_id": "p1"},
    "/dunning/accounts/a1/promises": {"pause_id": "p2", "until_on": "2026-12-04"},
    "/dunning/accounts/a1/plans": {"plan_id": "l1", "opening": EURO},
    "/disputes": {"dispute_id": "d1", "amount": EURO},
    "/disputes/d1/reject": {"until_on": "2026-12-08"},
    "/disputes/d1/uphold": {"credit_note_id": "c1"},
    "/dunning/notices/n1/decide": {"state": "sent"},
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """Path and body of every request."""
    found: list[tuple[str, Any]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        path = request.url.path.removeprefix("/api/v1")
        body = json.loads(request.content) if request.content else None
        found.append((path, body))
        if path == "/dunning/policies" and body is not None:
            return httpx2.Response(201, json={"segment": "vip", "version": 1, "effective_on": "2026-12-01"})
        if path == "/dunning/collections":
            return httpx2.Response(200, text="account_id\r\na1\r\n")
        return httpx2.Response(200, json=FOUND.get(path, {}))

    @contextmanager
    def opened() -> Iterator[Remote]:
        with Remote(Place("http://headend", "token"), transport=httpx2.MockTransport(answer)) as api:
            yield api

    monkeypatch.setattr(dunning_cli, "opened", opened)
    return found


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(dunning_cli.dunning_app, list(words), catch_exceptions=False)
    assert result.exit_code == code
    return result.output


def test_the_board_tells_who_owes_and_fails_where_somebody_must_look(
    asked: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "59.50 EUR  next: throttle on 2026-12-02; tv: suspend" in run("board")
    monkeypatch.setitem(FOUND, "/dunning/board", BOARD | {"notices_uncertain": 2})
    assert "2 notices may or may not have arrived" in run("board", code=1)
    told = run("account", "a1")
    assert "warning" in told
    assert "tv       TV 100 (tv-1): suspend, not billed" in told
    assert asked[-1] == ("/dunning/accounts/a1", None)


@pytest.mark.parametrize(
    ("words", "path", "body"),
    [
        (
            ["hold", "a1", "--reason", "ill", "--until", "2026-12-24", "--lift"],
            "/dunning/accounts/a1/holds",
            {"reason": "ill", "lifts": True, "until_on": "2026-12-24"},
        ),
        (
            ["promise", "a1", "2026-12-01", "--reason", "salary"],
            "/dunning/accounts/a1/promises",
            {"pays_on": "2026-12-01", "reason": "salary"},
        ),
        (
            ["plan", "a1", "2026-12-01=20.00", "2027-01-01=39.50", "--reason", "poor"],
            "/dunning/accounts/a1/plans",
            {
                "instalments": [
                    {"due_on": "2026-12-01", "amount": {"amount": "20.00", "currency": "EUR"}},
                    {"due_on": "2027-01-01", "amount": {"amount": "39.50", "currency": "EUR"}},
                ],
                "reason": "poor",
            },
        ),
        (["resume", "p1", "--reason", "back"], "/dunning/pauses/p1/end", {"reason": "back"}),
        (
            ["segment", "a1", "vip", "--reason", "mayor"],
            "/dunning/accounts/a1/segment",
            {"segment": "vip", "reason": "mayor"},
        ),
        (["hand-over", "a1", "--reason", "agency"], "/dunning/accounts/a1/hand-over", {"reason": "agency"}),
        (
            ["dispute", "i1", "--reason", "no", "--line", "l1", "--amount", "9.99"],
            "/disputes",
            {"invoice_id": "i1", "reason": "no", "line_id": "l1", "amount": {"amount": "9.99", "currency": "EUR"}},
        ),
        (
            ["reject", "d1", "--resolution", "used", "--days", "5"],
            "/disputes/d1/reject",
            {"resolution": "used", "days": 5},
        ),
        (["uphold", "d1", "--resolution", "true"], "/disputes/d1/uphold", {"resolution": "true"}),
        (
            ["decide", "n1", "--reason", "log", "--no-arrived"],
            "/dunning/notices/n1/decide",
            {"arrived": False, "reason": "log"},
        ),
    ],
)
def test_what_is_decided_is_posted(
    asked: list[tuple[str, Any]], words: list[str], path: str, body: dict[str, Any]
) -> None:
    run(*words)
    assert asked == [(path, body)]


def test_a_ladder_is_written_from_a_file(asked: list[tuple[str, Any]], tmp_path: Path) -> None:
    file = tmp_path / "vip.json"
    file.write_text('{"steps": []}')
    assert "version 1 from 2026-12-01" in run("policy", "vip", str(file), "--effective-on", "2026-12-01")
    assert asked[0][1]["policy"] == {"steps": []}
    file.write_text("{")
    with pytest.raises(RuleError, match=r"vip\.json"):
        run("policy", "vip", str(file), "--effective-on", "2026-12-01")
    assert "built in: reminder 3, warning 10" in run("policies")
    assert "suspension 38 (suspend; voice: none; bundle: none)" in run("policies")
    assert run("collections").splitlines() == ["account_id", "a1"]
