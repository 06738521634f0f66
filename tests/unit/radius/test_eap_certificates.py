"""The directory of certificates: what is wrong is said, and what changes is taken over without a restart."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client import CollectorRegistry

from controller.domain.errors import RuleError
from radius.authorization.eap import tls
from radius.authorization.eap.certificates import Certificates, load
from radius.authorization.eap.metrics import EapCollector
from radius.authorization.eap.sessions import EapSessions
from tests.support.pki import DAY, Authority, eap_directory, key_pem

CA = Authority()
NOW = datetime.now(UTC)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return eap_directory(tmp_path / "eap", CA)


def test_a_complete_directory_offers_every_method(directory: Path) -> None:
    credentials = load(directory)
    assert credentials.mutual is not None
    assert credentials.warnings(NOW) == []
    said = "\n".join(credentials.describe(NOW))
    assert "CN=radius.example.net" in said
    assert "ECDSA 256" in said
    assert "EAP-TLS, PEAP, EAP-TTLS" in said


def test_without_a_client_ca_there_is_no_eap_tls(directory: Path) -> None:
    (directory / "ca.pem").unlink()
    credentials = load(directory)
    assert credentials.mutual is None
    assert "EAP-TLS needs ca.pem" in credentials.describe(NOW)[-1]


@pytest.mark.parametrize(
    ("name", "contents", "said"),
    [
        ("server.pem", None, "is missing"),
        ("server.key", None, "is missing"),
        ("server.pem", b"nonsense", "no PEM certificate"),
        ("server.key", b"nonsense", "no PEM private key"),
        ("server.key", key_pem(ec.generate_private_key(ec.SECP256R1())), "does not belong"),
        ("ca.pem", b"", "no PEM certificate"),
        ("crl.pem", b"nonsense", "no PEM revocation list"),
        ("crl.pem", Authority("Another CA").revocations(), "signed by no CA"),
    ],
)
def test_what_is_wrong_is_said_with_the_name_of_the_file(
    directory: Path, name: str, contents: bytes | None, said: str
) -> None:
    path = directory / name
    path.unlink() if contents is None else path.write_bytes(contents)
    with pytest.raises(RuleError, match=said) as refused:
        load(directory)
    assert name in str(refused.value)


def test_a_key_that_everybody_may_read_is_refused(directory: Path) -> None:
    (directory / "server.key").chmod(0o644)
    with pytest.raises(RuleError, match="chmod 600"):
        load(directory)


def test_a_missing_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="is no directory"):
        Certificates(tmp_path / "nowhere")


def test_what_will_stop_subscribers_is_warned_of(directory: Path) -> None:
    CA.issue("radius", server=True, ends=-DAY / 2, usage=[]).write(directory, "server")
    (directory / "crl.pem").write_bytes(CA.revocations(ends=-DAY / 2))
    said = "\n".join(load(directory).warnings(NOW))
    assert "server.pem expired" in said
    assert "serverAuth" in said
    assert "are all refused" in said


def test_a_changed_file_is_taken_over_and_a_broken_one_is_not(directory: Path) -> None:
    certificates = Certificates(directory)
    first = certificates.current()
    assert certificates.current() is first
    CA.issue("new.example.net", server=True).write(directory, "server")
    second = certificates.current()
    assert "CN=new.example.net" in second.describe(NOW)[0]
    (directory / "server.pem").write_bytes(b"half a file")
    assert certificates.current() is second
    CA.issue("newer.example.net", server=True).write(directory, "server")
    assert "CN=newer.example.net" in certificates.current().describe(NOW)[0]


@pytest.mark.parametrize("name", ["crl.pem", "ca.pem"])
def test_a_deleted_file_does_not_end_the_check_that_it_stood_for(directory: Path, name: str) -> None:
    (directory / "crl.pem").write_bytes(CA.revocations())
    certificates = Certificates(directory)
    before = certificates.current()
    os.unlink(directory / name)
    assert certificates.current() is before


def test_names_come_from_the_alternative_names_before_the_common_name() -> None:
    principal = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x0canna@realm.x")
    printable = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x13\x01x")
    other = [x509.DNSName("cpe7.example.net"), principal, printable, x509.RFC822Name("anna@example.net")]
    certificate = CA.issue("common", alternative=other).certificate
    assert list(tls.names(certificate)) == [b"anna@example.net", b"anna@realm.x", b"cpe7.example.net", b"common"]


def test_a_monitoring_system_sees_when_files_end(directory: Path) -> None:
    (directory / "crl.pem").write_bytes(CA.revocations(ends=3 * DAY))
    registry = CollectorRegistry()
    registry.register(EapCollector(EapSessions(), Certificates(directory)))
    name = "headend_radius_eap_certificate_end_seconds"
    for file, days in (("server.pem", 1), ("crl.pem", 3)):
        end = registry.get_sample_value(name, {"file": file})
        assert end is not None
        assert abs(end - (datetime.now(UTC) + days * DAY).timestamp()) < 600
    assert registry.get_sample_value("headend_radius_eap_conversations") == 0
