"""A NAS as the protocol core knows it: who may speak to us from an address, and with which secret."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.domain.identity import NasId
from radius.protocol.authenticator import SharedSecret


@dataclass(frozen=True, slots=True, eq=False)
class Nas:
    """One RADIUS client, known by the source address of its datagrams (RFC 2865 §3).

    `vendor` is a key of `radius.vendors`. `coa_port` is where it listens for CoA and Disconnect (RFC 5176 §2.1 says
    3799; boxes differ). `require_message_authenticator` drops Access-Requests without one; whatever carries one is
    verified in any case. `sign_dynamic_requests` adds one to the CoA and Disconnect requests that we send it.
    `class_proves_speed`: whether its returning the Class of a CoA counts as evidence of the new speed, where it reports
    no rate.

    `reply_attributes` are encoded attributes of its own that every Access-Accept to it carries.

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
    swaps_octets: bool = False
    adds_ipv6_octets: bool = False
    port_speed_bps: int = 10_000_000_000
    enabled: bool = True
    reply_attributes: bytes = field(default=b"", repr=False)
