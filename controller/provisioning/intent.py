"""Is a desired service possible at all, how is it spelled, and which VLAN may it have? Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import replace

from controller.domain.service import Attachment, DesiredService, OnuAttachment, RouterAttachment
from controller.provisioning.errors import BadIntent, NoFreeVlan

# ITU-T G.984.3 §9.2.4.1: a vendor id of four characters, then the vendor's own number of four octets.
_SERIAL = re.compile(r"[A-Z0-9]{4}[0-9A-F]{8}")


def check(desired: DesiredService) -> None:
    """Raise BadIntent for a service that no device can carry."""
    devices = [attachment.device_id for attachment in desired.attachments]
    if len(set(devices)) < len(devices):
        raise BadIntent("a service is attached to each device once")
    for attachment in desired.attachments:
        _check_attachment(attachment)


def _check_attachment(attachment: Attachment) -> None:
    match attachment:
        case OnuAttachment(_, pon_port, serial):
            if not _SERIAL.fullmatch(serial.upper()):
                raise BadIntent(f"ONU serial {serial!r} is not a vendor id of four and eight hexadecimal digits")
            if not pon_port:
                raise BadIntent("the attachment names no PON port")
        case RouterAttachment(_, interface):
            if not interface:
                raise BadIntent("the attachment names no interface of the router")
    if not 0 <= attachment.subscriber_vlan <= 4094:
        raise BadIntent(f"VLAN {attachment.subscriber_vlan} is not 1..4094, nor 0 for one of our choice")


def canonical(desired: DesiredService) -> DesiredService:
    """`desired` with its serials spelled as ITU-T spells them. Raises BadIntent."""
    check(desired)
    spelled = (
        replace(attachment, onu_serial=attachment.onu_serial.upper())
        if isinstance(attachment, OnuAttachment)
        else attachment
        for attachment in desired.attachments
    )
    return replace(desired, attachments=tuple(spelled))


def with_vlan(desired: DesiredService, vlan: int) -> DesiredService:
    """`desired` with `vlan` on every attachment that names none."""
    named = (a if a.subscriber_vlan else replace(a, subscriber_vlan=vlan) for a in desired.attachments)
    return replace(desired, attachments=tuple(named))


def named_vlan(attachments: Iterable[Attachment]) -> int:
    """The VLAN that the first of them names; 0 when none does."""
    return next((a.subscriber_vlan for a in attachments if a.subscriber_vlan), 0)


def free_vlan(taken: Collection[int], first: int, last: int) -> int:
    """The lowest VLAN in first..last that is not taken. Raises NoFreeVlan."""
    for vlan in range(first, last + 1):
        if vlan not in taken:
            return vlan
    raise NoFreeVlan(f"every subscriber VLAN in {first}..{last} is taken where the service is to be attached")
