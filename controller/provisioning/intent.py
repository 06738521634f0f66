"""Is a desired service possible at all, and which VLAN may it have? Pure."""

from __future__ import annotations

import re
from collections.abc import Collection

from controller.domain.service import DesiredService
from controller.provisioning.errors import BadIntent, NoFreeVlan

# ITU-T G.984.3 §9.2.4.1: a vendor id of four characters, then the vendor's own number of four octets.
_SERIAL = re.compile(r"[A-Z0-9]{4}[0-9A-F]{8}")


def check(desired: DesiredService) -> None:
    """Raise BadIntent for a service that no device can carry."""
    attachment = desired.attachment
    if attachment is None:
        return
    if not _SERIAL.fullmatch(attachment.onu_serial.upper()):
        raise BadIntent(f"ONU serial {attachment.onu_serial!r} is not a vendor id of four and eight hexadecimal digits")
    if not attachment.pon_port:
        raise BadIntent("the attachment names no PON port")
    if not 0 <= attachment.subscriber_vlan <= 4094:
        raise BadIntent(f"VLAN {attachment.subscriber_vlan} is not 1..4094, nor 0 for one of our choice")


def free_vlan(taken: Collection[int], first: int, last: int) -> int:
    """The lowest VLAN in first..last that is not taken. Raises NoFreeVlan."""
    for vlan in range(first, last + 1):
        if vlan not in taken:
            return vlan
    raise NoFreeVlan(f"every subscriber VLAN in {first}..{last} of this OLT is taken")
