"""One service, told to every kind of NAS: as text, decoded and in octets. `python -m` prints it for all."""

from __future__ import annotations

from controller.domain.service import SpeedProfile
from radius.protocol import dictionary
from radius.protocol.packet import HEADER_LENGTH, Packet, encode
from radius.vendors import reply
from radius.vendors.terms import Addresses, Filters, Garden, Grant, Pools, Timers

GOLD = SpeedProfile("gold-100", 100_000_000, 20_000_000)
SERVICE = "0190a1b2c3d47e5f8a9b0c1d2e3f4a5b"
POOLS = Pools("residential", "residential-v6", "residential-pd")
FIXED = Addresses("100.64.0.7", "2001:db8:7:1::/64", "2001:db8:700::/56")
GARDEN = Garden(redirect_url="https://pay.example.net/")


def packet_of(attributes: bytes) -> Packet:
    return Packet.decode(encode(2, 1, bytes(16), attributes))


def lines_of(attributes: bytes) -> list[tuple[str, str]]:
    return dictionary.describe(packet_of(attributes))


def replies(name: str) -> str:
    """Every reply of a session's life: "attribute = value | octets", a section each."""
    kind = reply.vendor(name)
    filters = Filters("20", "21") if name == "nokia-sros" else Filters("kids-in", "kids-out")
    grant, timers = Grant(pools=POOLS, filters=filters, vlan=117), Timers(86_400, 3_600, 600)
    own = reply.subscriber_attributes(SERVICE, GOLD, Addresses())
    fixed = reply.subscriber_attributes(SERVICE, GOLD, FIXED)
    garden = reply.subscriber_attributes(SERVICE, GARDEN.profile, FIXED)
    timeout_s = timers.session_timeout_s
    sections = {
        "Access-Accept, addresses from pools": reply.shared_attributes(kind, GOLD, grant, timers) + own,
        "Access-Accept, fixed addresses": reply.shared_attributes(kind, GOLD, Grant(), timers) + fixed,
        "Access-Accept, suspended": reply.shared_attributes(kind, GOLD, grant, timers, GARDEN) + garden,
        "CoA-Request, another plan": reply.plan_attributes(kind, GOLD, SERVICE, timeout_s),
        "CoA-Request, suspended": reply.suspend_attributes(kind, GARDEN, SERVICE, timeout_s),
        "CoA-Request, resumed": reply.resume_attributes(kind, GARDEN, GOLD, filters, SERVICE, timeout_s),
    }
    return "\n".join(f"[{title}]\n{_text(body)}" for title, body in sections.items())


def _text(attributes: bytes) -> str:
    lines, position = "", HEADER_LENGTH
    packet = packet_of(attributes)
    for label, value in dictionary.describe(packet):
        length = packet.data[position + 1]
        lines += f"{label} = {value} | {packet.data[position : position + length].hex()}\n"
        position += length
    return lines


if __name__ == "__main__":
    for each in sorted(reply.VENDORS):
        print(f"## {each}\n{replies(each)}")
