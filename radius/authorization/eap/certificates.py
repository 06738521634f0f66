"""The certificates of the TLS methods, from files in one directory, read again whenever one of them changes.

    server.pem   our certificate first, then its intermediates           needed
    server.key   its private key, PEM without a passphrase, mode 0600    needed
    ca.pem       the CAs whose client certificates EAP-TLS takes         EAP-TLS is not offered without it
    crl.pem      their revocation lists, one behind the other            optional; with it every issuer must have one

What is wrong is said as RuleError with the file's name, never with its contents. Files that are wrong when they are
read again, or a ca.pem or crl.pem that is gone, are reported once and the former ones serve on: a deleted file must not
end a check that somebody relies on. TLS 1.2 (or 1.3 alone) with forward secrecy; sessions are not resumed: each login
shows its password or certificate anew.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL, crypto

from controller.domain.errors import RuleError
from radius.authorization.eap import pem
from radius.authorization.eap.tls_tunnel import note_verification

log = structlog.get_logger()

SERVER, KEY, CA, CRL = "server.pem", "server.key", "ca.pem", "crl.pem"
_FILES = (SERVER, KEY, CA, CRL)
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES256:ECDHE+AES128:!aNULL:!eNULL"
"""TLS 1.2 with forward secrecy; those of TLS 1.3 all have it."""
TLS_MINIMUM = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}
"""The least version that peers must speak, by what settings call it."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one state of the files is worth: contexts for the methods, and what an operator wants to know of them.

    `mutual` demands a certificate of the peer (EAP-TLS) and is None without ca.pem; `tunnel` does not (PEAP, EAP-TTLS).
    """

    tunnel: SSL.Context
    mutual: SSL.Context | None
    chain: tuple[x509.Certificate, ...]
    authorities: tuple[x509.Certificate, ...]
    revocations: tuple[x509.CertificateRevocationList, ...]

    def warnings(self, now: datetime) -> list[str]:
        """What does not stop us and will stop subscribers."""
        leaf, said = self.chain[0], []
        if leaf.not_valid_after_utc <= now:
            said.append(f"{SERVER} expired on {leaf.not_valid_after_utc:%Y-%m-%d}: every device refuses it")
        elif leaf.not_valid_before_utc > now:
            said.append(f"{SERVER} is valid from {leaf.not_valid_before_utc:%Y-%m-%d} on: every device refuses it")
        if not _serves(leaf):
            said.append(f"{SERVER} has no extended key usage serverAuth: Windows, Apple and others refuse it")
        for revoked in self.revocations:
            end = revoked.next_update_utc
            if end is not None and end <= now:
                issuer = revoked.issuer.rfc4514_string()
                said.append(f"{CRL} of {issuer} ended on {end:%Y-%m-%d}: its client certificates are all refused")
        return said

    def describe(self, now: datetime) -> list[str]:
        """Lines for `headend eap`."""
        leaf = self.chain[0]
        lines = [
            f"server   {leaf.subject.rfc4514_string()}, until {leaf.not_valid_after_utc:%Y-%m-%d}, {_kind(leaf)}",
            *(f"  chain  {link.subject.rfc4514_string()}" for link in self.chain[1:]),
            *(
                f"client CA {ca.subject.rfc4514_string()}, until {ca.not_valid_after_utc:%Y-%m-%d}"
                for ca in self.authorities
            ),
        ]
        for revoked in self.revocations:
            count, end = len(revoked), revoked.next_update_utc
            until = "without an end" if end is None else f"until {end:%Y-%m-%d}"
            lines.append(f"CRL      {revoked.issuer.rfc4514_string()}: {count} revoked, {until}")
        methods = "EAP-TLS, PEAP, EAP-TTLS" if self.authorities else f"PEAP, EAP-TTLS (EAP-TLS needs {CA})"
        return [*lines, f"offered  {methods}", *(f"warning: {words}" for words in self.warnings(now))]


class Certificates:
    """The newest credentials of a directory. Raises RuleError when it cannot be used at all."""

    def __init__(self, directory: Path, tls_minimum: str = "1.2") -> None:
        self._directory = directory
        self._tls_minimum = tls_minimum
        self._seen = self._state()
        self._credentials = load(directory, tls_minimum)
        self._warn()

    def current(self) -> Credentials:
        """What the files say now; what they said last while they cannot be used."""
        state = self._state()
        if state != self._seen:
            self._seen = state
            try:
                self._credentials = self._reread()
            except RuleError as error:
                log.error("radius.eap.certificates-refused", problem=str(error), serving="the former ones")
            else:
                log.info("radius.eap.certificates", server=self._credentials.chain[0].subject.rfc4514_string())
                self._warn()
        return self._credentials

    def _warn(self) -> None:
        for problem in self._credentials.warnings(datetime.now(UTC)):
            log.warning("radius.eap.certificates-warning", problem=problem)

    def _reread(self) -> Credentials:
        found, former = load(self._directory, self._tls_minimum), self._credentials
        for name, had, has in (
            (CA, former.authorities, found.authorities),
            (CRL, former.revocations, found.revocations),
        ):
            if had and not has:
                raise RuleError(f"{self._directory / name} is gone; to do without it, restart")
        return found

    def _state(self) -> tuple[tuple[int, int, int] | None, ...]:
        """Changes whenever a file does."""
        return tuple(_stamp(self._directory / name) for name in _FILES)


def load(directory: Path, tls_minimum: str = "1.2") -> Credentials:
    """Read and check the files. Raises RuleError naming the file and what to do."""
    if tls_minimum not in TLS_MINIMUM:
        raise RuleError(f"TLS {tls_minimum} is no least version; known: {', '.join(TLS_MINIMUM)}")
    least = TLS_MINIMUM[tls_minimum]
    if not directory.is_dir():
        raise RuleError(f"{directory} is no directory; EAP wants one with {SERVER}, {KEY} and {CA}")
    chain = pem.certificates(directory / SERVER)
    key = pem.private_key(directory / KEY)
    if pem.public(key) != pem.public(chain[0]):
        raise RuleError(f"{directory / KEY} does not belong to the first certificate of {SERVER}")
    authorities = pem.certificates(directory / CA) if (directory / CA).exists() else ()
    revocations = pem.revocations(directory / CRL, authorities) if (directory / CRL).exists() else ()
    try:
        tunnel = _context(chain, key, least)
        mutual = _mutual(_context(chain, key, least), authorities, revocations) if authorities else None
    except SSL.Error as error:
        raise RuleError(f"OpenSSL refuses the certificates in {directory}: {error}") from None
    return Credentials(tunnel, mutual, chain, authorities, revocations)


def _context(chain: tuple[x509.Certificate, ...], key: pem.Key, least: int) -> SSL.Context:
    made = SSL.Context(SSL.TLS_SERVER_METHOD)
    made.set_min_proto_version(least)
    made.set_max_proto_version(SSL.TLS1_3_VERSION)
    made.set_cipher_list(_CIPHERS)
    made.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET)
    # A resumed session would carry a right that was proved hours ago: the directory may say otherwise by now.
    made.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    made.set_session_id(b"headend-eap")
    # Thousands of conversations wait for their peer at any time; idle ones keep no buffers.
    made.set_mode(SSL.MODE_RELEASE_BUFFERS)
    made.use_privatekey(key)
    made.use_certificate(chain[0])
    for link in chain[1:]:
        made.add_extra_chain_cert(link)
    return made


def _mutual(
    context: SSL.Context,
    authorities: tuple[x509.Certificate, ...],
    revocations: tuple[x509.CertificateRevocationList, ...],
) -> SSL.Context:
    """Demand a certificate that leads to one of ours, is made for clients (OpenSSL's purpose check) and not revoked."""
    store = context.get_cert_store()
    assert store is not None, "a new context has a store"
    for authority in authorities:
        store.add_cert(crypto.X509.from_cryptography(authority))
        context.add_client_ca(authority)
    for revoked in revocations:
        store.add_crl(revoked)
    if revocations:
        store.set_flags(crypto.X509StoreFlags.CRL_CHECK)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, note_verification)
    return context


def _serves(leaf: x509.Certificate) -> bool:
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return ExtendedKeyUsageOID.SERVER_AUTH in usage


def _kind(leaf: x509.Certificate) -> str:
    key = leaf.public_key()
    if isinstance(key, RSAPublicKey):
        return f"RSA {key.key_size}"
    return f"ECDSA {key.key_size}" if isinstance(key, EllipticCurvePublicKey) else type(key).__name__


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
