"""Charges as rating hands them to finance."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from controller.domain.charge import Charge, ChargeKind
from controller.domain.identity import AccountId, BillRunId, ChargeId, OfferingVersionId, ServiceId, SubscriptionId
from controller.domain.money import Money


def charge(net_minor: int, percent: str = "19", kind: ChargeKind = ChargeKind.RECURRING, n: int = 0) -> Charge:
    return Charge(
        ChargeId(f"{n:032x}"),
        BillRunId("run"),
        AccountId("account"),
        SubscriptionId("sub"),
        ServiceId("svc"),
        OfferingVersionId("v"),
        kind,
        date(2026, 9, 1),
        date(2026, 10, 1),
        "Fibre 100: monthly fee",
        Decimal(1),
        "month",
        Decimal("30.00"),
        Money(net_minor, "EUR"),
        Decimal(percent),
        "Fibre 100",
    )
