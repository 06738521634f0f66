"""Ids. Every object of ours has a UUIDv7 (RFC 9562 §5.7) as 32 hexadecimal digits: ids sort by time of creation.

Each kind of id is a NewType of `str`, so that mypy refuses a customer's id where a service's is meant.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import NewType

EntityId = NewType("EntityId", str)
"""A legal entity of the ISP: owns a zone, a currency, a locale and a set of books."""
CustomerId = NewType("CustomerId", str)
AccountId = NewType("AccountId", str)
OfferingId = NewType("OfferingId", str)
OfferingVersionId = NewType("OfferingVersionId", str)
SubscriptionId = NewType("SubscriptionId", str)
ServiceId = NewType("ServiceId", str)
ItemId = NewType("ItemId", str)
OrderId = NewType("OrderId", str)
DeviceId = NewType("DeviceId", str)
NasId = NewType("NasId", str)
ChargeId = NewType("ChargeId", str)
InvoiceId = NewType("InvoiceId", str)
InvoiceLineId = NewType("InvoiceLineId", str)
PauseId = NewType("PauseId", str)
PaymentId = NewType("PaymentId", str)
BillRunId = NewType("BillRunId", str)
EventId = NewType("EventId", str)


def new_id(now: datetime) -> str:
    """A UUIDv7 for the instant `now`: 48 bits of Unix milliseconds, version, variant and 74 random bits."""
    value = (int(now.timestamp() * 1000) & (2**48 - 1)) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return f"{value:032x}"


def first_id(at: datetime) -> str:
    """The beginning of the first id of the instant `at`: no id, and no session key, made then or later sorts before."""
    return f"{max(0, int(at.timestamp() * 1000)):012x}"
