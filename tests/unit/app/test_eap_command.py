"""`headend eap` says what the certificates are good for, or what to do about them."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from controller.app.cli import app
from tests.support.pki import DAY, Authority, eap_directory

CA = Authority()


def run(monkeypatch: pytest.MonkeyPatch, directory: Path | str) -> tuple[int, str]:
    monkeypatch.setenv("HEADEND_EAP_DIR", str(directory))
    result = CliRunner().invoke(app, ["eap"])
    return result.exit_code, result.output


def test_sound_certificates_are_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, said = run(monkeypatch, eap_directory(tmp_path / "eap", CA, crl=CA.revocations()))
    assert status == 0
    assert "server   CN=radius.example.net, until " in said
    assert "CRL      CN=Test CA: 0 revoked" in said
    assert "offered  EAP-TLS, PEAP, EAP-TTLS" in said


def test_an_expired_certificate_is_status_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = CA.issue("radius", server=True, begins=-2 * DAY, ends=-DAY)
    status, said = run(monkeypatch, eap_directory(tmp_path / "eap", CA, server=server))
    assert status == 1
    assert "warning: server.pem expired on" in said


def test_what_cannot_be_used_is_one_line_and_status_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = eap_directory(tmp_path / "eap", CA)
    (directory / "server.key").unlink()
    status, said = run(monkeypatch, directory)
    assert status == 2
    assert said == f"headend: {directory}/server.key is missing\n"
    assert run(monkeypatch, "") == (
        2,
        "headend: HEADEND_EAP_DIR is not set: name a directory with server.pem, server.key and, for EAP-TLS, ca.pem; "
        "docs/eap.md says how they are made\n",
    )
