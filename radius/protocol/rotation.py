"""Which of two secrets a request was made with, while a NAS changes from one to the other.

Whatever carries proof tells. An Access-Request without Message-Authenticator carries none: it is taken to be made with
the secret that the NAS was last seen to use, and the server asks again with the other one when that ends in a reject.
"""

from __future__ import annotations

from controller.domain.errors import PeerError
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import ACCESS_REQUEST, ACCOUNTING_REQUEST, Attr
from radius.protocol.nas import Nas, Rotation
from radius.protocol.packet import Packet

_MESSAGE_AUTHENTICATOR = int(Attr.MESSAGE_AUTHENTICATOR)


def spoken(packet: Packet, rotation: Rotation) -> Nas:
    """The NAS with the secret that verifies; with today's secret where neither does."""
    if packet.code == ACCESS_REQUEST and _MESSAGE_AUTHENTICATOR not in packet.offsets:
        return rotation.last
    for nas in (rotation.current, rotation.former):
        if _verifies(packet, nas.secret):
            rotation.last = nas
            return nas
    return rotation.current


def other(nas: Nas, rotation: Rotation) -> Nas:
    """The same NAS with the other secret."""
    return rotation.former if nas is not rotation.former else rotation.current


def _verifies(packet: Packet, secret: SharedSecret) -> bool:
    try:
        if packet.code == ACCOUNTING_REQUEST:
            secret.check_request_authenticator(packet)
        else:
            secret.check_message_authenticator(packet)
    except PeerError:
        return False
    return True
