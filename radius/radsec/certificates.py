"""TLS contexts of RADIUS/TLS from a directory of files, made anew when a file changes.

    server.pem, server.key   our certificate with its chain, and its key: shown to clients, and to home servers where
                             there is no client.pem, client.key
    ca.pem                   authorities whose certificates are believed, on either side
    crl.pem                  what they revoked; once it is there, an expired list refuses everybody

TLS 1.2 at least (RFC 9325), a certificate demanded of both sides (RFC 6614 §2.3). Files that cannot be used leave the
former contexts in force, and say so in the log. `generation` grows with every change: connections of an older one are
closed, so that what was revoked does not live on.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import structlog

from controller.domain.errors import RuleError
from radius.protocol.version11 import ALPN, ALPN_CLASSIC

log = structlog.get_logger()

_FILES = ("server.pem", "server.key", "client.pem", "client.key", "ca.pem", "crl.pem")


class RadsecCertificates:
    """The newest contexts of a directory. Raises RuleError when it cannot be used at all."""

    def __init__(self, directory: Path, *, versions: tuple[str, ...] = (ALPN, ALPN_CLASSIC)) -> None:
        self._directory = directory
        self.versions = versions
        self._seen = self._state()
        self.generation = 0
        self._server, self._client = self._load()

    def server(self) -> ssl.SSLContext:
        """What the next connection to us is accepted with."""
        self.refresh()
        return self._server

    def client(self) -> ssl.SSLContext:
        """What the next connection to a home server is opened with."""
        self.refresh()
        return self._client

    def refresh(self) -> None:
        """Look at the files; the former contexts stay while they cannot be used."""
        state = self._state()
        if state == self._seen:
            return
        self._seen = state
        try:
            self._server, self._client = self._load()
        except RuleError as error:
            log.error("radius.radsec.certificates-refused", problem=str(error), serving="the former ones")
            return
        self.generation += 1
        log.info("radius.radsec.certificates", generation=self.generation)

    def _load(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        own = "client" if (self._directory / "client.pem").exists() else "server"
        server = self._context(ssl.PROTOCOL_TLS_SERVER, "server")
        client = self._context(ssl.PROTOCOL_TLS_CLIENT, own)
        server.verify_mode = ssl.CERT_REQUIRED
        # Names are compared by our own list (radius.radsec.identity); the chain is verified all the same.
        client.check_hostname = False
        # A resumed session would go on with a certificate that was checked hours ago.
        server.options |= ssl.OP_NO_TICKET
        server.num_tickets = 0
        return server, client

    def _context(self, protocol: int, own: str) -> ssl.SSLContext:
        made = ssl.SSLContext(protocol)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.set_alpn_protocols(list(self.versions))
        directory = self._directory
        try:
            made.load_cert_chain(directory / f"{own}.pem", directory / f"{own}.key", password=_no_passphrase)
            made.load_verify_locations(directory / "ca.pem")
            if (directory / "crl.pem").exists():
                made.load_verify_locations(directory / "crl.pem")
                made.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        except (OSError, ssl.SSLError) as error:
            wanted = f"{own}.pem, {own}.key and ca.pem in PEM, the key without a passphrase"
            raise RuleError(f"RADIUS/TLS cannot use {directory}: {error}; it wants {wanted}") from None
        return made

    def _state(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(self._directory / name) for name in _FILES)


def _no_passphrase() -> str:
    # Without this OpenSSL would ask at the terminal.
    return ""


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
