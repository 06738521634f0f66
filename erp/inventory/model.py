"""Stock items with a serial: where each one is, who holds it, and how it may move.

    (received) → in-stock → reserved → installed → awaiting-return → in-stock
                     ↑__________│ release

One serial has one place. Every move is kept with from, to, who and why.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from erp.inventory.errors import BadSerial

ONU = "onu"
WAREHOUSE = "warehouse/main"

_ONU_SERIAL = re.compile(r"[A-Z]{4}[0-9A-F]{8}")
_HEXADECIMAL_SERIAL = re.compile(r"[0-9A-F]{16}")
_VENDOR_OCTETS = 8


class StockState(StrEnum):
    IN_STOCK = "in-stock"
    RESERVED = "reserved"
    INSTALLED = "installed"
    AWAITING_RETURN = "awaiting-return"
    """The service it was installed for has ended; it is still at the customer's."""


@dataclass(frozen=True, slots=True)
class StockItem:
    """`place` is where it lies ("warehouse/main", "service/<id>"); `holder` names, for people, who has it."""

    item_id: str
    serial: str
    kind: str
    model: str
    state: StockState
    place: str
    holder: str
    order_id: str | None
    service_id: str | None
    received_at: datetime
    moved_at: datetime


@dataclass(frozen=True, slots=True)
class StockMove:
    """One row of an item's history; `from_place` is empty for the first receipt."""

    at: datetime
    actor: str
    from_place: str
    to_place: str
    state: StockState
    why: str


def onu_serial(text: str) -> str:
    """The ITU-T G.984.3 form of an ONU serial: four letters of vendor id, eight hexadecimal digits, upper case.

    Labels that print the vendor id in hexadecimal too (16 digits) are translated. Raises BadSerial.
    """
    serial = re.sub(r"[\s:-]", "", text).upper()
    if _HEXADECIMAL_SERIAL.fullmatch(serial):
        vendor = bytes.fromhex(serial[:_VENDOR_OCTETS]).decode("latin-1")
        serial = vendor + serial[_VENDOR_OCTETS:]
    if not _ONU_SERIAL.fullmatch(serial):
        raise BadSerial(f"{text!r} is no ONU serial: four letters of vendor and eight hexadecimal digits, NOKI1234ABCD")
    return serial


def canonical_serial(kind: str, text: str) -> str:
    """The serial under which an item of `kind` is kept. Raises BadSerial."""
    if kind == ONU:
        return onu_serial(text)
    serial = text.strip().upper()
    if not serial:
        raise BadSerial("a serial is not empty")
    return serial
