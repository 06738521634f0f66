"""Session keys in the reply: MS-MPPE-Send-Key and MS-MPPE-Recv-Key (RFC 2548 §2.4.2, §2.4.3).

Names are the NAS's view: it sends to the peer with Send-Key, and receives with Recv-Key.
"""

from __future__ import annotations

from radius.protocol.authenticator import SharedSecret
from radius.protocol.packet import Packet, vendor_attribute
from radius.protocol.salted import conceal, fresh_salt

MICROSOFT = 311
_SEND_KEY = 16
_RECV_KEY = 17


def key_attributes(send: bytes, receive: bytes, secret: SharedSecret, request: Packet) -> bytes:
    """Both keys for the NAS that sent `request`, each under a salt of its own."""
    value, authenticator = secret.value, request.authenticator
    sending = conceal(send, fresh_salt(), value, authenticator)
    receiving = conceal(receive, fresh_salt(), value, authenticator)
    return vendor_attribute(MICROSOFT, _SEND_KEY, sending) + vendor_attribute(MICROSOFT, _RECV_KEY, receiving)


def msk_attributes(msk: bytes, secret: SharedSecret, request: Packet) -> bytes:
    """An EAP method's MSK: octets 0–31 are Recv-Key, 32–63 Send-Key (RFC 5216 §2.3); nothing for a method without."""
    return key_attributes(msk[32:64], msk[:32], secret, request) if msk else b""
