"""The one builder of what a NAS is told about a session: in Access-Accept at login, in CoA-Request when it changes.

    Access-Accept   timers · grant · speed │ template · Class · own addresses
    CoA-Request     what names the session ·   speed │ Class                     a new plan
    suspended       the garden's speed and walls in place of the speed, Class names the garden

    grant = pools · VLAN · filters, in the vendor's attributes

Both take a speed from `speed`, so a CoA can never omit what an Accept would carry; and a plan that differs in speed
alone differs in those attributes and in Class alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from controller.domain.errors import RuleError
from controller.domain.service import SpeedProfile
from radius.protocol.codes import Attr
from radius.protocol.packet import attribute, integer_attribute
from radius.vendors import (
    accel_ppp,
    cisco,
    huawei,
    juniper,
    mikrotik,
    nokia,
    rfc,
    standard,
    strongswan,
    ubiquiti,
    wispr,
)
from radius.vendors.mark import class_value
from radius.vendors.model import Vendor
from radius.vendors.terms import Addresses, Filters, Garden, Grant, Timers

_CLASS = int(Attr.CLASS)
# What a template says of these goes before what the builder would: a reply may say it once (RFC 2865 §5.44, RFC 2869
# §5.19).
_ONCE = frozenset(
    int(kind)
    for kind in (
        Attr.SERVICE_TYPE, Attr.FRAMED_PROTOCOL, Attr.SESSION_TIMEOUT, Attr.IDLE_TIMEOUT, Attr.ACCT_INTERIM_INTERVAL,
        Attr.FRAMED_POOL, Attr.FRAMED_IPV6_POOL,
    )
)  # fmt: skip

VENDORS: dict[str, Vendor] = {
    vendor.name: vendor
    for vendor in (
        rfc.VENDOR,
        accel_ppp.VENDOR,
        cisco.IOS_XE,
        cisco.IOS_XR,
        huawei.VENDOR,
        juniper.VENDOR,
        mikrotik.VENDOR,
        nokia.VENDOR,
        strongswan.VENDOR,
        ubiquiti.VENDOR,
        wispr.VENDOR,
    )
}
"""Every vendor profile, by the name a NAS is registered with."""


def vendor(name: str) -> Vendor:
    """Raises RuleError for an unknown vendor."""
    try:
        return VENDORS[name]
    except KeyError:
        raise RuleError(f"no vendor {name!r}; known: {', '.join(sorted(VENDORS))}", code="unknown-vendor") from None


def shared_attributes(
    kind: Vendor, profile: SpeedProfile, grant: Grant, timers: Timers, garden: Garden | None = None
) -> bytes:
    """The part of an Access-Accept that all sessions of these terms share; `garden` where they are suspended.

    A suspended session keeps its pools and its VLAN, so that it need not dial again when the garden opens.
    """
    place = kind.pools(grant.pools) + (kind.vlan(grant.vlan) if grant.vlan is not None else b"")
    filters = kind.filters(grant.filters)
    if garden is None:
        body = speed(kind, profile) + filters
    else:
        walls = (kind.garden_at_login or kind.garden)(garden)
        body = speed(kind, garden.profile) + walls + (b"" if kind.garden_is_filter else filters)
    said = frozenset(kind for kind, _ in walked(grant.extra)) & _ONCE
    return without(standard.framed() + standard.timers(timers) + place + body, said) + grant.extra


def without(attributes: bytes, kinds: Collection[int]) -> bytes:
    """Encoded attributes but for those of these types."""
    return b"".join(octets for kind, octets in walked(attributes) if kind not in kinds) if kinds else attributes


def walked(attributes: bytes) -> Iterator[tuple[int, bytes]]:
    """Every (type, octets) of encoded attributes."""
    position = 0
    while position < len(attributes):
        following = position + attributes[position + 1]
        yield attributes[position], attributes[position:following]
        position = following


def subscriber_attributes(service_id: str, profile: SpeedProfile, own: Addresses) -> bytes:
    """The part of an Access-Accept that is one subscriber's own; Class comes first (see mark.service_in)."""
    return class_attribute(service_id, profile) + standard.addresses(own)


def speed(kind: Vendor, profile: SpeedProfile) -> bytes:
    return kind.speed_attributes(profile)


def plan_attributes(kind: Vendor, profile: SpeedProfile, service_id: str, session_timeout_s: int = 0) -> bytes:
    """What changes with the plan: the body of a CoA-Request behind the attributes that identify the session.

    `session_timeout_s` is sent to a NAS that refuses a CoA without one; 0 leaves it out.
    """
    return speed(kind, profile) + _timeout(kind, session_timeout_s) + class_attribute(service_id, profile)


def suspend_attributes(kind: Vendor, garden: Garden, service_id: str, session_timeout_s: int = 0) -> bytes:
    """The body of the CoA-Request that closes the garden around a session."""
    return kind.garden(garden) + plan_attributes(kind, garden.profile, service_id, session_timeout_s)


def resume_attributes(
    kind: Vendor,
    garden: Garden,
    profile: SpeedProfile,
    filters: Filters,
    service_id: str,
    session_timeout_s: int = 0,
) -> bytes:
    """The body of the CoA-Request that opens the garden: the walls taken back, and the full plan."""
    return kind.garden_opened(garden, filters) + plan_attributes(kind, profile, service_id, session_timeout_s)


def class_attribute(service_id: str, profile: SpeedProfile) -> bytes:
    return attribute(_CLASS, class_value(service_id, profile.name))


def _timeout(kind: Vendor, session_timeout_s: int) -> bytes:
    if kind.needs_session_timeout and session_timeout_s:
        return integer_attribute(Attr.SESSION_TIMEOUT, session_timeout_s)
    return b""
