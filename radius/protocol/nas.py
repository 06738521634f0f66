"""A NAS as the protocol core knows it: who may speak to us from an address, and with which secret."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from controller.domain.identity import NasId
from radius.protocol.authenticator import SharedSecret

RATE, FILTER, DISCONNECT = "rate", "filter", "disconnect"
"""What a NAS can be asked for in mid-session: another speed, another filter or service (the garden), the end."""
COA_TAKES = frozenset({RATE, FILTER, DISCONNECT})


@dataclass(slots=True, eq=False)
class Seen:
    """Whether Access-Requests came with Message-Authenticator and without, since this process knows the NAS."""

    signed: bool = False
    unsigned: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Nas:
    """One RADIUS client, known by the source address of its datagrams (RFC 2865 §3).

    `vendor` is a key of `radius.vendors`. `coa_port` is where it listens for CoA and Disconnect (RFC 5176 §2.1 says
    3799; boxes differ). `require_message_authenticator` drops Access-Requests without one; whatever carries one is
    verified in any case. `sign_dynamic_requests` adds one to the CoA and Disconnect requests that we send it.
    `class_proves_speed`: whether its returning the Class of a CoA counts as evidence of the new speed, where it reports
    no rate.

    `coa_over`: "udp" asks it at its `coa_port`, "tls" over the RADIUS/TLS connection that it opened; "" the latter
    where it has a `tls_identity`.

    `coa_address` and `coa_secret` stand in for its address and secret where it is asked elsewhere, or under another
    secret ("server-key"), than it asks. `coa_takes` is what it can be asked for: RATE, FILTER, DISCONNECT.

    `disconnect_when_refused`: a change that it refuses is forced by ending the session, so that the next login has it.

    `reply_attributes` are encoded attributes of its own that every Access-Accept to it carries.

    `limit_proxy_state` drops Access-Requests with Proxy-State and without Message-Authenticator, which is what an
    attacker between us and the NAS needs (CVE-2024-3596). `tls_identity` is the certificate by which it is known over
    RADIUS/TLS. `member_of` names the network that it was found in, `rotation` is there while two secrets are valid.

    A box behind a proxy has the `proxy_id` under which that is known, and the `names` by which it knows the box:
    encoded attributes (see `behind`).

    `line_logins`: kinds of line that it may log in by what it says of them (radius.authorization.line).

    How its accounting is to be read: `swaps_octets`, Input means what went to the subscriber, against RFC 2866 §5.3;
    `adds_ipv6_octets`, its vendor's IPv6 counters come on top of the standard ones instead of being a part of them;
    `port_speed_bps`, what no session can exceed in one direction. Compared by identity: a changed NAS is a new object.
    """

    nas_id: NasId
    name: str
    address: str
    secret: SharedSecret = field(repr=False)
    vendor: str = "rfc"
    coa_port: int = 3799
    interim_interval_s: int = 300
    require_message_authenticator: bool = False
    sign_dynamic_requests: bool = False
    class_proves_speed: bool = True
    disconnect_when_refused: bool = False
    swaps_octets: bool = False
    adds_ipv6_octets: bool = False
    port_speed_bps: int = 10_000_000_000
    enabled: bool = True
    line_logins: tuple[str, ...] = ()
    reply_attributes: bytes = field(default=b"", repr=False)
    limit_proxy_state: bool = False
    tls_identity: str = ""
    coa_over: str = ""
    coa_address: str = ""
    coa_secret: SharedSecret | None = field(default=None, repr=False)
    coa_takes: frozenset[str] = COA_TAKES
    member_of: NasId | None = None
    proxy_id: NasId | None = None
    names: bytes = b""
    rotation: Rotation | None = field(default=None, repr=False)
    seen: Seen = field(default_factory=Seen, repr=False)

    @property
    def asked_at(self) -> str:
        """The address to which CoA and Disconnect go over UDP."""
        return self.coa_address or self.address

    @property
    def is_asked_over_tls(self) -> bool:
        """Whether CoA and Disconnect go over its RADIUS/TLS connection."""
        return self.coa_over == "tls" or (not self.coa_over and bool(self.tls_identity))


@dataclass(slots=True, eq=False)
class Rotation:
    """Two secrets of one NAS, both valid until `until`. `last` is the one it was last seen to use."""

    current: Nas
    former: Nas
    last: Nas
    until: datetime

    @staticmethod
    def between(nas: Nas, former: SharedSecret, until: datetime) -> Nas:
        """The NAS with its secret of today, and the former one beside it."""
        old = replace(nas, secret=former, rotation=None, seen=nas.seen)
        new = replace(nas, rotation=Rotation(nas, old, old, until), seen=nas.seen)
        assert new.rotation is not None, "it was just made"
        new.rotation.current = new
        return new
