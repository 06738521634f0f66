"""Reply attributes that every NAS understands (RFC 2865, RFC 2869), and what one without a vendor profile can do.

The RFCs have no attribute for a speed: a NAS of this kind takes the plan from Class, or not at all.
"""

from __future__ import annotations

from controller.domain.service import SpeedProfile
from radius.protocol.codes import Attr
from radius.protocol.packet import attribute, integer_attribute
from radius.vendors.model import SessionTerms, Vendor

_FRAMED_USER = 2
_PPP = 1


def session_attributes(terms: SessionTerms) -> bytes:
    """Service-Type, Framed-Protocol and the timers; a timer of 0 s is left out, which means no limit."""
    encoded = integer_attribute(Attr.SERVICE_TYPE, _FRAMED_USER) + integer_attribute(Attr.FRAMED_PROTOCOL, _PPP)
    timers = (
        (Attr.SESSION_TIMEOUT, terms.session_timeout_s),
        (Attr.IDLE_TIMEOUT, terms.idle_timeout_s),
        (Attr.ACCT_INTERIM_INTERVAL, terms.interim_interval_s),
    )
    return encoded + b"".join(integer_attribute(kind, value) for kind, value in timers if value)


def address_attribute(framed_ipv4: str | None) -> bytes:
    """Framed-IP-Address; nothing when the NAS is to choose from its own pool."""
    if framed_ipv4 is None:
        return b""
    # The address was checked when it was stored; ipaddress would take half of a directory's loading time.
    return attribute(Attr.FRAMED_IP_ADDRESS, bytes(map(int, framed_ipv4.split("."))))


def speed_attributes(_profile: SpeedProfile) -> bytes:
    return b""


VENDOR = Vendor(
    name="rfc", speed_attributes=speed_attributes, rate_attribute=None, read_rate=None, class_proves_speed=True
)
