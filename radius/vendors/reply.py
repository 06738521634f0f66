"""The one builder of what a NAS is told about a session: in Access-Accept at login, in CoA-Request at a plan change.

    Access-Accept   session terms · plan · address
    CoA-Request                     plan
    plan          = vendor's speed attributes · Class naming service and profile

Both take the plan's part from `plan_attributes`, so a CoA can never omit what an Accept would carry.
"""

from __future__ import annotations

from controller.domain.errors import RuleError
from controller.domain.service import SpeedProfile
from radius.protocol.codes import Attr
from radius.protocol.packet import attribute, integer_attribute
from radius.vendors import mikrotik, rfc, strongswan
from radius.vendors.mark import class_value
from radius.vendors.model import SessionTerms, Vendor

VENDORS: dict[str, Vendor] = {vendor.name: vendor for vendor in (rfc.VENDOR, mikrotik.VENDOR, strongswan.VENDOR)}
"""Every vendor profile, by the name a NAS is registered with."""


def vendor(name: str) -> Vendor:
    """Raises RuleError for an unknown vendor."""
    try:
        return VENDORS[name]
    except KeyError:
        raise RuleError(f"no vendor {name!r}; known: {', '.join(sorted(VENDORS))}", code="unknown-vendor") from None


def profile_attributes(kind: Vendor, profile: SpeedProfile, terms: SessionTerms) -> bytes:
    """The part of an Access-Accept that all sessions of a profile share."""
    return rfc.session_attributes(terms) + kind.speed_attributes(profile)


def subscriber_attributes(service_id: str, profile: SpeedProfile, framed_ipv4: str | None) -> bytes:
    """The part of an Access-Accept that is one subscriber's own; Class comes first (see mark.service_in)."""
    return class_attribute(service_id, profile) + rfc.address_attribute(framed_ipv4)


def plan_attributes(kind: Vendor, profile: SpeedProfile, service_id: str, session_timeout_s: int = 0) -> bytes:
    """What changes with the plan: the body of a CoA-Request behind the attributes that identify the session.

    `session_timeout_s` is sent to a NAS that refuses a CoA without one; 0 leaves it out.
    """
    timeout = b""
    if kind.needs_session_timeout and session_timeout_s:
        timeout = integer_attribute(Attr.SESSION_TIMEOUT, session_timeout_s)
    return kind.speed_attributes(profile) + timeout + class_attribute(service_id, profile)


def class_attribute(service_id: str, profile: SpeedProfile) -> bytes:
    return attribute(Attr.CLASS, class_value(service_id, profile.name))
