"""strongSwan's charon with eap-radius: a VPN gateway that has no attribute for a speed.

It finds sessions for CoA and Disconnect by User-Name alone and refuses a CoA without Session-Timeout, which is the one
thing that it changes: it acknowledges a new Class and goes on reporting the old one (charon 5.9.8).
"""

from __future__ import annotations

from radius.vendors import rfc
from radius.vendors.model import Vendor

VENDOR = Vendor(
    name="strongswan",
    speed_attributes=rfc.speed_attributes,
    names_user=True,
    needs_session_timeout=True,
    timeout_from_request=True,
)
