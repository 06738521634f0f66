"""Realms that others serve, the home servers that do, and which of them is asked (RFC 2865 §2.3, RFC 7542 §3). Pure.

User-Name anna@dsl.isp-b.example
  └ realm: behind the last @, without regard to case; the most exact route wins
      dsl.isp-b.example   →   *.isp-b.example   →   *.example   →   *
  └ pool: servers that are alive by priority; those of the same priority share the load by user and station, so that
    an EAP conversation stays where it began
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from controller.domain.ports import Secret
from radius.protocol.hidden import Attributes
from radius.protocol.packet import Packet

LOCAL, MIRROR, PROXY = "local", "mirror", "proxy"
"""What happens to a realm's accounting: kept here, kept here and sent on, or only sent on."""
ACCOUNTING = (LOCAL, MIRROR, PROXY)
UDP, TLS = "udp", "tls"
MAX_HOPS = 8
"""Proxies that a request may have passed before us."""

_VENDOR_SPECIFIC, _PROXY_STATE = 26, 33


@dataclass(frozen=True, slots=True)
class HomeServer:
    """Where requests are sent. `secret` is None over TLS; `tls_identity` is how its certificate is known."""

    name: str
    pool: str
    transport: str
    host: str
    auth_port: int
    acct_port: int
    secret: Secret | None = field(default=None, repr=False)
    tls_identity: str = ""
    priority: int = 1
    balanced: bool = False
    status_checks: bool = True
    require_message_authenticator: bool = False
    enabled: bool = True


Kind = tuple[int, int]
"""Vendor and type of an attribute; vendor 0 is the standard space."""


@dataclass(frozen=True, slots=True)
class Route:
    """What is done with a realm. `pool` is "" where it is served here.

    `request_drops` never leave us; of a reply only `reply_allows` reach the NAS, all where it is None.
    """

    realm: str
    pool: str
    accounting: str = MIRROR
    strips: bool = False
    request_drops: frozenset[Kind] = frozenset()
    reply_allows: frozenset[Kind] | None = None

    def request(self, attributes: Attributes) -> Attributes:
        """What of a request goes to the home server."""
        kept = [one for one in attributes if not (kinds_of(*one) & self.request_drops)]
        if not self.strips:
            return kept
        return [(kind, value.rpartition(b"@")[0] if kind == 1 else value) for kind, value in kept]

    def reply(self, attributes: Attributes) -> Attributes:
        """What of a reply goes to the NAS; Proxy-State belongs to this hop and never does."""
        allows = self.reply_allows
        return [
            one
            for one in attributes
            if one[0] != _PROXY_STATE and (allows is None or one[0] in _ALWAYS or kinds_of(*one) <= allows)
        ]


_ALWAYS = frozenset({24, 79})
"""State and EAP-Message: without them no conversation ends."""


def kinds_of(kind: int, value: bytes) -> set[Kind]:
    """What one attribute is; several things where a vendor put several into one."""
    if kind != _VENDOR_SPECIFIC or len(value) < 6:
        return {(0, kind)}
    vendor, found, position = int.from_bytes(value[:4], "big"), set(), 4
    while position + 2 <= len(value) and value[position + 1] >= 2:
        found.add((vendor, value[position]))
        position += value[position + 1]
    return found or {(vendor, 0)}


def realm_of(username: bytes) -> str:
    """The realm of a Network Access Identifier (RFC 7542 §2.2); "" for a name without one."""
    return username.rpartition(b"@")[2].decode(errors="replace").lower() if b"@" in username else ""


class Routes:
    """Realm → Route, the most exact first."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._by_realm = {route.realm: route for route in routes}

    def __bool__(self) -> bool:
        return bool(self._by_realm)

    def find(self, username: bytes) -> Route | None:
        """The route of a user name; None for one that is ours."""
        realm = realm_of(username)
        if not realm:
            return None
        found, rest = self._by_realm.get(realm), realm
        while found is None and "." in rest:
            rest = rest.partition(".")[2]
            found = self._by_realm.get(f"*.{rest}")
        found = found or self._by_realm.get("*")
        return found if found is not None and found.pool else None


class Health:
    """Whether one home server answers. Times are seconds of a monotonic clock.

    Dead after `limit` requests in a row without an answer; alive again with the first answer to anything, or after
    `revive_s` where it answers no Status-Server.
    """

    def __init__(self, *, limit: int = 3, revive_s: float = 60.0) -> None:
        self._limit = limit
        self._revive_s = revive_s
        self.failures = 0
        self.dead_since_s: float | None = None
        self.answered = 0
        self.lost = 0

    @property
    def is_alive(self) -> bool:
        return self.dead_since_s is None

    def answer(self) -> bool:
        """It answered. True when it comes back by this."""
        self.answered += 1
        self.failures, revived, self.dead_since_s = 0, not self.is_alive, None
        return revived

    def silence(self, now_s: float) -> bool:
        """A request got no answer. True when it dies by this."""
        self.lost += 1
        self.failures += 1
        if self.failures < self._limit or not self.is_alive:
            return False
        self.dead_since_s = now_s
        return True

    def revive(self, now_s: float) -> bool:
        """Give it another chance when its time has come; True when it was given."""
        if self.dead_since_s is None or now_s - self.dead_since_s < self._revive_s:
            return False
        self.failures, self.dead_since_s = self._limit - 1, None
        return True


def order(servers: Sequence[tuple[HomeServer, Health]], key: bytes) -> list[HomeServer]:
    """Who is asked first, second … : the living by priority, and the dead where nobody lives."""
    alive = [server for server, health in servers if health.is_alive] or [server for server, _ in servers]
    return sorted(alive, key=lambda server: (server.priority, _share(server, key), server.name))


def _share(server: HomeServer, key: bytes) -> bytes:
    """Rendezvous hashing: when one server dies, only its users move."""
    return sha256(key + server.name.encode()).digest() if server.balanced else b""


def stickiness(packet: Packet) -> bytes:
    """What keeps one conversation at one server: user name and station."""
    return (packet.get(1) or b"") + b"\0" + (packet.get(31) or b"")


def loop_of(packet: Packet, mark: bytes) -> str | None:
    """Why a request must not be sent on (RFC 2607 §5.1): it has been here, or passed too many proxies."""
    states = packet.get_all(_PROXY_STATE)
    if any(state.startswith(mark) for state in states):
        return "loop: this request has passed here before"
    if len(states) > MAX_HOPS:
        return f"loop: this request has passed {len(states)} proxies"
    return None
