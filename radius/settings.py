"""What an operator may tune in the RADIUS room."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

from radius.authorization.password import CLEAR
from radius.proxy.settings import PoolSettings
from radius.radsec.settings import RadsecSettings
from radius.vendors.terms import Garden


@dataclass(frozen=True, slots=True)
class RadiusSettings:
    """Defaults serve 100,000 subscribers on one machine."""

    host: str = "127.0.0.1"
    """Address both ports listen on. Loopback until an operator says otherwise."""
    auth_port: int = 1812
    """Authentication port; 0 lets the system choose (RFC 2865 §3 registers 1812)."""
    acct_port: int = 1813
    """Accounting port; 0 lets the system choose (RFC 2866 §3 registers 1813)."""
    reuse_port: bool = False
    """SO_REUSEPORT: several processes share the ports. Off, so that a second server by mistake is an error."""
    receive_buffer_octets: int = 8 * 2**20
    """Kernel buffer per port: holds 20,000 requests while a commit or a garbage collection takes its time."""
    drain_limit: int = 256
    """Datagrams taken per wake-up before other work of the process gets its turn."""
    unanswerable_after_s: float = 5.0
    """An Access-Request that lay unread for longer is dropped and counted: its NAS has sent it again or given it up."""
    duplicate_lifetime_s: float = 5.0
    """A reply is resent to retransmissions for at least this long, and at most twice (RFC 5080 §2.2.2: 5 to 30 s)."""
    duplicate_capacity: int = 65_536
    """Requests remembered per lifetime; above 13,000 requests/s the lifetime shrinks instead of memory growing."""
    deferred_limit: int = 4_096
    """Access-Requests whose decision is awaited at once (pools, session limits, proxying); more are dropped."""
    deferred_timeout_s: float = 4.0
    """How long one may take: shorter than what a NAS waits before it tries the next server."""
    eap_methods: tuple[str, ...] = ("peap", "ttls", "tls", "mschapv2", "md5")
    """EAP methods served, in the order in which they are proposed to a peer (RFC 3748 §5.3.1)."""
    eap_dir: Path | None = None
    """Directory with server.pem, server.key, ca.pem and crl.pem (see radius.authorization.eap.certificates); None
    offers no method that needs them."""
    eap_tls_minimum: str = "1.2"
    """Least version of TLS that EAP peers must speak: "1.2" or "1.3". TLS 1.0 and 1.1 are never taken (RFC 8996)."""
    peap_needs_binding: bool = False
    """Refuse PEAP peers that leave crypto binding out. Off, because wpa_supplicant leaves it out unless it is told."""
    password_form: str = CLEAR
    """What is kept of passwords: "clear", "nt" or "argon2" (see radius.authorization.password and docs/adr/0006)."""
    session_timeout_s: int = 86_400
    """Session-Timeout of a session whose service and offering have none of their own; 0 sends none."""
    idle_timeout_s: int = 3_600
    """Idle-Timeout, likewise."""
    garden: Garden | None = field(default_factory=Garden)
    """Walled garden of suspended services; None rejects them instead."""
    entity_zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    """Zone of the legal entity, in which the hours of services are written."""
    refresh_s: float = 1.0
    """How often the directory looks for rows that another process changed."""
    coa_first_timeout_s: float = 1.0
    """Wait before the first retransmission of a CoA or Disconnect; doubled each time (RFC 5080 §2.2.1)."""
    coa_tries: int = 4
    """Transmissions of one CoA or Disconnect: 1 + 2 + 4 + 8 s until it counts as a timeout."""
    coa_tls_timeout_s: float = 15.0
    """Wait for the answer to one that goes over a TLS connection, where nothing is retransmitted."""
    coa_concurrency: int = 256
    """CoA and Disconnect requests under way at once, each from a source port of its own."""
    process: str = ""
    """Name of this process, which no other bears at the same time: killed and started again it goes on with what it
    held. Empty: others do, when their time has come."""
    dynamic_port: int | None = None
    """Where home servers of other realms ask for CoA and Disconnect of their users (RFC 8559; RFC 5176 §2.1 registers
    3799); 0 lets the system choose, None opens none."""
    operator_name: str = ""
    """The realm by which other networks know ours: Operator-Name (RFC 5580 §4.1) of what we send to home servers."""
    radsec: RadsecSettings = field(default_factory=RadsecSettings)
    """RADIUS over TLS."""
    home_servers: PoolSettings = field(default_factory=PoolSettings)
    """How long home servers of other realms are waited for."""
    log_limit_per_s: int = 20
    """Rejects and drops logged per second; what is above is counted and said in one line."""
