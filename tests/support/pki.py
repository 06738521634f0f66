"""A certificate authority of the tests: server, clients, revocation list, written as EAP wants its directory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
DAY = timedelta(days=1)


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def key_pem(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True)
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def write(self, directory: Path, stem: str) -> tuple[Path, Path]:
        """`stem`.pem and `stem`.key."""
        paths = directory / f"{stem}.pem", directory / f"{stem}.key"
        paths[0].write_bytes(self.pem)
        paths[1].touch(mode=0o600)
        paths[1].write_bytes(key_pem(self.key))
        return paths


class Authority:
    """Issues what it is asked for, on P-256 unless told otherwise."""

    def __init__(self, common_name: str = "Test CA") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = name(common_name)
        builder = self._builder(self.subject, self.key, DAY, -DAY)
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        self.certificate = (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(self.key, SHA256())
        )

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def issue(
        self,
        common_name: str,
        *,
        server: bool = False,
        alternative: list[x509.GeneralName] | None = None,
        ends: timedelta = DAY,
        begins: timedelta = -DAY,
        key: Key | None = None,
        usage: list[x509.ObjectIdentifier] | None = None,
    ) -> Issued:
        """A certificate for a server or a client; `ends` and `begins` count from now."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        kind = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = self._builder(name(common_name), key, ends, begins)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        if usage != []:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usage or [kind]), critical=False)
        if alternative:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
        return Issued(builder.sign(self.key, SHA256()), key)

    def revocations(self, *revoked: Issued, ends: timedelta = DAY) -> bytes:
        """The revocation list in PEM."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.subject)
        builder = builder.last_update(now - 30 * DAY).next_update(now + ends)
        for issued in revoked:
            serial = issued.certificate.serial_number
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - DAY).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self.key, SHA256()).public_bytes(Encoding.PEM)

    def _builder(self, subject: x509.Name, key: Key, ends: timedelta, begins: timedelta) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
        )


def eap_directory(directory: Path, authority: Authority, *, server: Issued | None = None, crl: bytes = b"") -> Path:
    """What HEADEND_EAP_DIR names: server.pem, server.key, ca.pem, and crl.pem where there is one."""
    directory.mkdir(exist_ok=True)
    made = server or authority.issue("radius.example.net", server=True)
    made.write(directory, "server")
    (directory / "ca.pem").write_bytes(authority.pem)
    if crl:
        (directory / "crl.pem").write_bytes(crl)
    return directory
