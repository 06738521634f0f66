"""`headend billing`: a certificate is checked on any machine, without a controller and without its database."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from controller.app.cli import app
from controller.domain.clock import SystemClock
from controller.store.engine import Database
from controller.store.secrets import SecretBox
from controller.store.signing import Signer, verified
from controller.workflows import certificate

CONTENT = {
    "bill_run_id": "run",
    "number": 1,
    "as_of": "2026-10-01T04:00:00+00:00",
    "made_at": "2026-10-01T04:00:01+00:00",
    "usage_octets": {"read": 1200, "charged": 1000, "included": 200, "flat": 0},
    "recurring": {
        "EUR": {
            "opening": 6000,
            "movements": {"new": 3000, "up": 0, "down": 0, "churn": 0, "price": 0},
            "closing": 9000,
            "lines_before_proration": 9000,
            "proration": "0",
            "earlier_periods": "0",
            "rounding": "0",
            "recurring_lines": 9000,
            "in_arrears": 0,
            "usage": 550,
            "one_off": 0,
        }
    },
    "issued": [{"currency": "EUR", "documents": 3, "net": 9550, "tax": 1815, "total": 11365}],
    "waiting": {"accounts": 0, "drafts": [], "listed": []},
    "rated_again": [
        {
            "account_id": "acme",
            "released_by": "user:bert",
            "reason": "mended",
            "outcome": "changed",
            "before": {"EUR": {"net": 10_000, "tax": 1900}},
            "after": {"EUR": {"net": 1000, "tax": 190}},
        }
    ],
    "numbers": [{"series": "INV-2026", "documents": 3, "first": 1, "last": 3}],
    "late": {
        "adjustments": [
            {
                "account_id": "acme",
                "subscription_id": "line",
                "kind": "usage",
                "first_on": "2026-08-01",
                "until_on": "2026-09-01",
                "octets": 10**9,
                "net_minor": 150,
                "currency": "EUR",
            }
        ],
        "suspense": [{"reason": "unknown-service", "items": 2, "octets": 9, "since": "2026-09-30T10:00:00+00:00"}],
        "records_after_the_watermark": 7,
    },
    "checks": [{"name": "usage-conserved", "holds": True, "detail": "1200 octets read, 1200 accounted for"}],
}


@pytest.fixture
async def signed(database: Database) -> tuple[str, str]:
    """(certificate, public key) of a controller."""
    signer = Signer(SecretBox([bytes(32)]), SystemClock(), "test")
    text = json.dumps(CONTENT)
    async with database.begin() as conn:
        signature = await signer.sign(conn, text.encode())
        again = await signer.sign(conn, text.encode())
        key = await signer.public_key(conn)
    assert signature == again, "the key is made once"
    return certificate.file_of(text, signature), key


def test_a_certificate_is_checked_offline(
    signed: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file, key = tmp_path / "certificate.json", signed[1]
    file.write_text(signed[0])
    found = CliRunner().invoke(app, ["billing", "verify-certificate", str(file), "--key", key])
    assert found.exit_code == 0, found.output
    assert "opening 60.00 EUR, new 30.00 EUR, closing 90.00 EUR" in found.output
    assert "Issued: 3 documents over 113.65 EUR" in found.output
    assert "Rated again: acme, changed, 119.00 EUR → 11.90 EUR, let go by user:bert" in found.output
    for told in (
        "Late: 1 adjustments listed, 7 records after the watermark, 2 items in suspense",
        "acme, usage of 2026-08-01 until 2026-09-01: 1.50 EUR",
        "2 in suspense (unknown-service) since 2026-09-30T10:00:00+00:00",
    ):
        assert told in found.output
    assert "compare it" in CliRunner().invoke(app, ["billing", "verify-certificate", str(file)]).output

    file.write_text(signed[0].replace("11365", "11366"))
    altered = CliRunner().invoke(app, ["billing", "verify-certificate", str(file), "--key", key])
    assert (altered.exit_code, "does not hold" in altered.output) == (1, True)


def test_what_is_no_key_or_no_signature_verifies_nothing(signed: tuple[str, str]) -> None:
    assert not verified("not base64", b"", "AAAA")
    assert not verified(signed[1], b"another text", json.loads(signed[0])["signature"]["value"])
