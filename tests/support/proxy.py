"""A packet with everything that is hidden, the two secrets between which it travels, and a home server."""

from __future__ import annotations

from datetime import UTC, datetime

from controller.domain.ports import Secret
from radius.protocol.authenticator import SharedSecret
from radius.protocol.hidden import Attributes, covered
from radius.protocol.packet import Packet
from radius.proxy.model import HomeServer

MARK = b"he12345678"
HERE, THERE = SharedSecret(b"of the NAS"), SharedSecret(b"of the home server")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
MPPE = (311).to_bytes(4, "big")
CLEAR: Attributes = [
    (1, b"bob@isp-b.example"),
    (2, b"sesame"),
    (69, b"\x01a tunnel's secret"),
    (26, MPPE + b"\x10\x22" + b"s" * 32),
    (26, MPPE + b"\x0c\x22" + b"k" * 24 + bytes(8)),
    (24, b"state"),
]


def home(name: str, **values: object) -> HomeServer:
    return HomeServer(**({"name": name, "pool": "b", "transport": "udp", "host": "127.0.0.1", "auth_port": 1,
                          "acct_port": 2, "secret": Secret("s")} | values))  # type: ignore[arg-type]  # fmt: skip


def request(attributes: Attributes, secret: SharedSecret = HERE) -> Packet:
    authenticator = b"a" * 16
    return Packet.decode(secret.access_request(1, authenticator, covered(attributes, secret, authenticator)))
