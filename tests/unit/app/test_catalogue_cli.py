"""`headend catalogue`: what it asks of the API, and what it prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from controller.app import catalogue_cli
from controller.app.remote import Place, Remote
from controller.domain.errors import RuleError

EUR = {"amount": "39.90", "currency": "EUR"}
VERSION = {
    "version_id": "v", "number": 1, "effective_on": "2026-01-01", "monthly_fee": EUR, "beyond": "flat rate",
    "used_at": None, "contract_text": "24 months", "prices": [{"code": "fee", "text": "39.90 EUR a month"}],
}  # fmt: skip
FIBRE = {"offering_id": "f" * 32, "name": "Fibre 100", "kind": "internet", "description": "", "versions": [VERSION]}
EFFECT = {"subscription_id": "s", "before": EUR, "after": EUR, "difference": EUR}
TRIAL = {
    "subscriptions": 3, "dearer": 1, "cheaper": 2, "same": 0, "before": EUR, "after": EUR, "difference": EUR,
    "prices": [{"code": "fee", "before": EUR, "after": EUR}], "most": [EFFECT],
}  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, object]]:
    """Method, path and body of every request."""
    found: list[tuple[str, str, object]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        path = request.url.path.removeprefix("/api/v1")
        found.append((request.method, path, json.loads(request.content) if request.content else None))
        if path.endswith("/prices"):
            assert request.url.params["on"] == "2026-11-01"
            return httpx2.Response(200, json={"versions": [{**VERSION, "number": 7}]})
        if request.method == "GET":
            return httpx2.Response(200, json={"items": [FIBRE], "next": None})
        return httpx2.Response(200, json=TRIAL if path.endswith("trial") else FIBRE)

    @contextmanager
    def opened() -> Iterator[Remote]:
        with Remote(Place("http://headend", "token"), transport=httpx2.MockTransport(answer)) as api:
            yield api

    monkeypatch.setattr(catalogue_cli, "opened", opened)
    return found


def run(*words: str) -> str:
    result = CliRunner().invoke(catalogue_cli.catalogue_app, list(words), catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_offerings_and_their_prices_are_listed(asked: list[object]) -> None:
    assert "Fibre 100" in run("list")
    shown = run("show", "Fibre 100")
    assert "not sold yet" in shown
    assert "39.90 EUR a month" in shown
    assert "24 months" in shown
    assert "version 7" in run("show", "Fibre 100", "--on", "2026-11-01")


def test_a_version_is_tried_and_then_added(asked: list[object], tmp_path: Path) -> None:
    file = tmp_path / "version.json"
    file.write_text('{"prices": []}')
    assert "3 subscriptions: 1 pay more, 2 less, 0 the same" in run("try", "f" * 32, str(file))
    assert asked[-1] == ("POST", f"/offerings/{'f' * 32}/price-trial", {"prices": []})
    assert "Fibre 100: version 1" in run("add", "Fibre 100", str(file))
    assert asked[-1] == ("POST", f"/offerings/{'f' * 32}/versions", {"prices": []})


def test_an_unknown_offering_and_a_file_that_is_no_version_are_refused(asked: list[object], tmp_path: Path) -> None:
    file = tmp_path / "version.json"
    for text, message in (("[]", "no JSON object"), ("{", "cannot be read"), ("{}", "no offering")):
        file.write_text(text)
        with pytest.raises(RuleError, match=message):
            run("add", "Fibre 7", str(file))
