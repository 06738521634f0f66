"""`headend usage`: files in parts, what became of them, and the ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from controller.app import usage_cli
from controller.app.remote import Place, Remote
from controller.domain.errors import RuleError

PAIR = {"records": 3, "amount": 9}
PARTS = ("accepted", "rated", "unrated", "suspense", "duplicate")
HOUR = {"source": "pbx", "hour": "2026-09-01T08:00:00Z", "adds_up": True} | dict.fromkeys(PARTS, PAIR)
SAID = {
    "kind": "phone", "identifier": "4930", "since": "2026-09-01T10:00:00Z", "service_id": None, "overrides": True,
    "mapped_at": "2026-09-01T13:00:00Z", "mapped_by": "user:anna",
}  # fmt: skip
MOVED = {
    "since": "2026-09-01T10:00:00Z", "service_id": "s1", "octets": 0, "calls": 0, "duration_s": 0,
    "first_on": "2026-09-01", "last_on": "2026-09-02",
}  # fmt: skip
FOUND: dict[str, Any] = {
    "/usage-ledger/totals": {"totals": [HOUR]},
    "/usage-ledger/check": {"faults": ["record 1 of pbx: its digest does not cover what is stored"]},
    "/usage-sources/pbx": {"mapping": {"columns": []}},
    "/usage-sources/raw": {"mapping": None},
    "/usage-identifiers": {"items": [SAID], "next": None},
    "/usage-moves": {"moves": [MOVED | {"calls": -2, "duration_s": -130}, MOVED | {"octets": 4000}]},
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """Path and body of every request."""
    found: list[tuple[str, Any]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        path = request.url.path.removeprefix("/api/v1")
        body = json.loads(request.content) if request.content else None
        found.append((path, body))
        if path.endswith("/files"):
            count = body["content"].count("\n") - 1
            told = {"accepted": count, "duplicate": count, "new": 0, "rated": 0, "unrated": 0, "suspense": 0}
            return httpx2.Response(201, json=told)
        return httpx2.Response(200, json=FOUND[path])

    @contextmanager
    def opened() -> Iterator[Remote]:
        with Remote(Place("http://headend", "token"), transport=httpx2.MockTransport(answer)) as api:
            yield api

    monkeypatch.setattr(usage_cli, "opened", opened)
    return found


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(usage_cli.usage_app, list(words), catch_exceptions=False)
    assert result.exit_code == code
    return result.output


def test_a_large_file_goes_in_parts_that_keep_header_and_line_numbers(
    asked: list[tuple[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_cli, "_PART", 60)
    file = tmp_path / "calls.csv"
    file.write_bytes(b"id,who\n" + b"".join(b"%d,m\xfcller\n" % n for n in range(10)))
    told = run("import", "pbx", str(file), "--complete-until", "2026-09-02T00:00:00Z")
    assert "10 accepted, 0 new" in told
    assert "(100.0 % duplicates)" in told
    sent = [body for path, body in asked if path.endswith("/files")]
    assert len(sent) > 1
    assert all(body["content"].startswith("id,who\n") for body in sent)
    lines = [line for body in sent for line in body["content"].splitlines()[1:]]
    assert lines == [f"{n},m\\xfcller" for n in range(10)]
    assert [body["first_line"] for body in sent] == [
        1 + sum(b["content"].count("\n") - 1 for b in sent[:n]) for n in range(len(sent))
    ]
    assert ["complete_until" in body for body in sent] == [False] * (len(sent) - 1) + [True]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_of_windows_is_read_like_any_other(asked: list[tuple[str, Any]], tmp_path: Path, encoding: str) -> None:
    (tmp_path / "calls.csv").write_text("id,who\n1,müller\n", encoding=encoding)
    run("import", "pbx", str(tmp_path / "calls.csv"))
    (sent,) = [body for path, body in asked if path.endswith("/files")]
    assert sent["content"].removeprefix("\ufeff") == "id,who\n1,müller\n"


def test_the_ledger_and_its_check_are_told(asked: list[tuple[str, Any]]) -> None:
    assert "accepted 3" in run("ledger")
    assert "its digest does not cover" in run("check", code=1)


def test_a_source_without_a_mapping_takes_no_file(asked: list[tuple[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "x").write_text("a\n")
    with pytest.raises(RuleError, match="has no mapping"):
        run("import", "raw", str(tmp_path / "x"))


def test_whose_identifiers_are_and_what_moved_is_told(asked: list[tuple[str, Any]]) -> None:
    assert "phone     4930  from 2026-09-01T10:00:00Z: nobody, stronger than RADIUS  said by user:anna" in run("owners")
    told = run("moves", "phone", "4930").splitlines()
    assert told[0].endswith("s1  -2 calls of -130 s  2026-09-01 to 2026-09-02")
    assert told[1].endswith("s1  4000 octets  2026-09-01 to 2026-09-02")
