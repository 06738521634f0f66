"""A service's objects in the BBF model: their names, where they live, and how two of them are compared. Pure.

    v-ani ── olt-v-enet ── vlan-sub-interface      interfaces, bottom to top
      │          │  └ tm-root ─→ shaper-profile        downstream rate, kbit/s
      └ tcont    └ gemport ─→ tcont                    xpongemtcont
          └→ traffic-descriptor-profile                upstream rate, bit/s

Names follow from the service id alone; the two profiles are named by their rate and shared by all services of the OLT.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lxml import etree

Element = Any
"""An lxml element; lxml ships no types."""

NC = "urn:ietf:params:xml:ns:netconf:base:1.0"
IF = "urn:ietf:params:xml:ns:yang:ietf-interfaces"
IF_TYPE = "urn:bbf:yang:bbf-if-type"
XPON_IF_TYPE = "urn:bbf:yang:bbf-xpon-if-type"
XPON = "urn:bbf:yang:bbf-xpon"
VANI = "urn:bbf:yang:bbf-xponvani"
GEM = "urn:bbf:yang:bbf-xpongemtcont"
SUBIF = "urn:bbf:yang:bbf-sub-interfaces"
TAGGING = "urn:bbf:yang:bbf-sub-interface-tagging"
DOT1Q = "urn:bbf:yang:bbf-dot1q-types"
TM = "urn:bbf:yang:bbf-qos-traffic-mngt"
SHAPING = "urn:bbf:yang:bbf-qos-shaping"

CONTAINERS: dict[str, tuple[str, ...]] = {
    "interface": (f"{{{IF}}}interfaces", f"{{{IF}}}interface"),
    "traffic-descriptor-profile": (
        f"{{{GEM}}}xpongemtcont",
        f"{{{GEM}}}traffic-descriptor-profiles",
        f"{{{GEM}}}traffic-descriptor-profile",
    ),
    "tcont": (f"{{{GEM}}}xpongemtcont", f"{{{GEM}}}tconts", f"{{{GEM}}}tcont"),
    "gemport": (f"{{{GEM}}}xpongemtcont", f"{{{GEM}}}gemports", f"{{{GEM}}}gemport"),
    "shaper-profile": (f"{{{TM}}}tm-profiles", f"{{{SHAPING}}}shaper-profile"),
}
"""Where the instances of each kind of object live: the path of tags from the datastore's root."""

_IDENTITY_LEAVES = frozenset({"type", "tag-type"})

# Leaves with these values say what the model says without them, so a device may show or omit them (RFC 6243).
_DEFAULTS = {
    "upstream-fec": "false",
    "expected-registration-id": "",
    "management-gemport-aes-indicator": "false",
    "upstream-aes-indicator": "false",
    "downstream-aes-indicator": "false",
    "fixed-bandwidth": "0",
    "assured-bandwidth": "0",
    "ethernet-frame-type": "any",
}


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """One object: its kind (a key of CONTAINERS) and its name."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a service's own objects."""

    v_ani: Key
    v_enet: Key
    user: Key
    tcont: Key
    gemport: Key

    @classmethod
    def of(cls, service_id: str) -> Names:
        return cls(
            Key("interface", f"vani-{service_id}"),
            Key("interface", f"venet-{service_id}"),
            Key("interface", f"user-{service_id}"),
            Key("tcont", f"tcont-{service_id}"),
            Key("gemport", f"gem-{service_id}"),
        )

    @property
    def all(self) -> tuple[Key, ...]:
        return (self.v_ani, self.v_enet, self.user, self.tcont, self.gemport)


def upstream_profile(rate_bps: int) -> Key:
    return Key("traffic-descriptor-profile", f"headend-up-{rate_bps}")


def downstream_profile(rate_bps: int) -> Key:
    return Key("shaper-profile", f"headend-down-{rate_bps}")


@dataclass(frozen=True, slots=True)
class PonPort:
    """A channel termination with the channel pair and partition it serves."""

    name: str
    channel_pair: str
    channel_partition: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a device for one service.

    `objects` are those of the service and the profiles it has or wants. `used_by_others` are profiles that also carry
    another service, and must stay.
    """

    objects: dict[Key, Element] = field(default_factory=dict)
    ports: dict[str, PonPort] = field(default_factory=dict)
    used_by_others: frozenset[Key] = frozenset()


def lines(element: Element, depth: int = 0) -> Iterator[str]:
    """An object as indented text, one node per line, without prefixes and defaults: to compare, and for people."""
    name = etree.QName(element).localname
    children = [child for child in element if isinstance(child.tag, str)]
    if not children:
        text = (element.text or "").strip()
        if name in _IDENTITY_LEAVES:
            text = text.rpartition(":")[2]
        if _DEFAULTS.get(name) != text or not depth:
            yield "  " * depth + f"{name} {text}".rstrip()
        return
    yield "  " * depth + name
    # The order of siblings means nothing in these modules, and devices choose their own.
    for block in sorted(list(lines(child, depth + 1)) for child in children):
        yield from block


def same(one: Element | None, other: Element | None) -> bool:
    """Whether two objects say the same; None is an absent one."""
    return (one is None and other is None) or (
        one is not None and other is not None and list(lines(one)) == list(lines(other))
    )
