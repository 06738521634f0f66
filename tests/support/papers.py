"""What a document says, between a seller and a buyer, without a database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP
from typing import Any

from controller.domain.charge import Charge
from controller.domain.identity import AccountId, CustomerId, EntityId
from erp.crm.model import Account, Contact, Customer, Entity
from erp.finance.content import content_of
from erp.finance.model import draft

ENTITY = EntityId("e" * 32)
SELLER = Entity(ENTITY, "Testnetz GmbH", "Europe/Berlin", "EUR", "de_DE", "Kabelweg 1\n10115 Berlin", "DE 123456788")
BUYER = Customer(
    CustomerId("c" * 32),
    ENTITY,
    Account(AccountId("a" * 32), CustomerId("c" * 32), ENTITY, "EUR", "Europe/Berlin"),
    Contact("Grace <Hopper> & Söhne", address="Hinterhaus\nRing 1\n20095 Hamburg\nDeutschland"),
    datetime(2026, 1, 1, tzinfo=UTC),
)


def content(
    charges: Sequence[Charge], seller: Entity = SELLER, buyer: Customer = BUYER, *, each_line: bool = False
) -> dict[str, Any]:
    return content_of(
        draft(charges, ROUND_HALF_UP, each_line=each_line),
        number="INV-2026-000001",
        issued_on=date(2026, 10, 1),
        due_on=date(2026, 10, 15),
        seller=seller,
        buyer=buyer,
        iban="DE02 1203 0000 0000 2020 51",
    )
