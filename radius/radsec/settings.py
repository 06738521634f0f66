"""What an operator may tune of RADIUS/TLS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RadsecSettings:
    """RADIUS over TLS is served where there is a directory of certificates."""

    directory: Path | None = None
    """Directory with server.pem, server.key, ca.pem and crl.pem (see radius.radsec.certificates); None serves none."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 2083
    """TCP port, for authentication and accounting alike (RFC 6614 §2.1); 0 lets the system choose."""
    versions: tuple[str, ...] = ("radius/1.1", "radius/1.0")
    """Versions offered and accepted, by their names in ALPN (RFC 9765 §3.3). A peer without ALPN speaks radius/1.0."""
    reuse_port: bool = False
    """SO_REUSEPORT, as with the UDP ports."""
    max_connections: int = 4_096
    """Connections at once; the next is closed as soon as it is accepted."""
    outstanding: int = 4_096
    """Requests of one connection whose decision is awaited; reading pauses above."""
    handshake_s: float = 10.0
    """How long a handshake may take."""
    recheck_s: float = 5.0
    """How often files are looked at for changes while nobody connects."""
    decision_s: float = 4.0
    """How long a deferred decision may take, as over UDP."""
