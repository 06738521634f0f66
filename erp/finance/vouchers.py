"""Receipts of prepaid credit: the document of a top-up, and of what is given back; numbered, and never changed.

A balance that buys one kind of service of one supplier is a single-purpose voucher, whose tax is due when it is paid:
so the document of that tax is that of the top-up. It is written in the transaction of the journal entry, and drawn from
its stored content alone, like every document.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import local_date
from controller.domain.identity import AccountId, ServiceId, new_id
from controller.domain.money import Money
from controller.store.engine import Database
from erp.crm.model import Customer, Entity
from erp.finance import repository
from erp.finance.content import canonical, country_of, digest, home_of
from erp.finance.document import render
from erp.finance.errors import DocumentAltered, UnknownReceipt
from erp.finance.issuing import entity_of
from erp.finance.payment_tables import receipt

RECEIPT, REFUND = "receipt", "refund"


@dataclass(frozen=True, slots=True)
class Part:
    """What of a document is taxed alike; below zero it is given back."""

    net: Money
    tax: Money
    percent: Decimal
    category: str = "S"


@dataclass(frozen=True, slots=True)
class Voucher:
    """What a document is of; `what` is how much credit it bought, in words, where that is no money."""

    kind: str
    service_id: ServiceId
    reference: str
    entry_id: str
    parts: Sequence[Part]
    what: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A document of prepaid credit."""

    receipt_id: str
    number: str
    kind: str
    account_id: AccountId
    service_id: ServiceId
    reference: str
    issued_at: datetime
    issued_on: date
    net: Money
    tax: Money
    total: Money


async def issue(conn: AsyncConnection, made: Voucher, customer: Customer, prefix: str, now: datetime) -> str:
    """Number and write the document, in the transaction of its entry; its number. The books are locked."""
    seller = await entity_of(conn, customer.entity_id)
    today = local_date(now, seller.zone_info)
    series = f"{prefix}-{today.year}"
    sequence = await repository.take_numbers(conn, customer.entity_id, series, 1)
    number = f"{series}-{sequence:06d}"
    content = _content(made, number, today, seller, customer)
    text, sha256 = canonical(content)
    await conn.execute(
        insert(receipt).values(
            receipt_id=new_id(now),
            entity_id=customer.entity_id,
            series=series,
            sequence=sequence,
            number=number,
            kind=made.kind,
            account_id=customer.account.account_id,
            service_id=made.service_id,
            reference=made.reference,
            entry_id=made.entry_id,
            issued_at=now,
            issued_on=today,
            net_minor=content["net_minor"],
            tax_minor=content["tax_minor"],
            total_minor=content["total_minor"],
            currency=content["currency"],
            content=text,
            content_sha256=sha256,
        )
    )
    return number


def _content(made: Voucher, number: str, today: date, seller: Entity, buyer: Customer) -> dict[str, Any]:
    """In the form of content.content_of, with everything paid."""
    home = home_of(seller)
    net, tax = (sum(getattr(part, name).minor for part in made.parts) for name in ("net", "tax"))
    return {
        "version": 3,
        "kind": made.kind,
        "number": number,
        "issued_on": today.isoformat(),
        "due_on": today.isoformat(),
        "locale": buyer.contact.language.replace("-", "_") or seller.locale,
        "regards": "",
        "reason": "",
        "currency": made.parts[0].net.currency,
        "seller": {
            "name": seller.name, "address": seller.address, "country": home, "tax_id": seller.tax_id, "iban": "",
        },
        "buyer": {
            "name": buyer.contact.name,
            "address": buyer.contact.address,
            "country": country_of(buyer.contact.tax_id) or home,
            "tax_id": buyer.contact.tax_id,
            "customer_id": buyer.customer_id,
            "account_id": buyer.account.account_id,
        },
        "lines": [_line(made, part, today) for part in made.parts],
        "taxes": [
            {
                "percent": str(part.percent), "exemption": "", "category": part.category, "code": "",
                "net_minor": part.net.minor, "tax_minor": part.tax.minor,
            }
            for part in made.parts
        ],
        "levies": [],
        "net_minor": net,
        "tax_minor": tax,
        "total_minor": net + tax,
        "prepaid_minor": 0,
    }  # fmt: skip


def _line(made: Voucher, part: Part, today: date) -> dict[str, Any]:
    total = part.net + part.tax
    return {
        "kind": "prepaid-credit",
        "item": made.what or made.reference,
        "group": "",
        "adjustment": False,
        "first_on": today.isoformat(),
        "until_on": (today + timedelta(days=1)).isoformat(),
        "ends_on": None,
        "quantity": "1" if total.minor >= 0 else "-1",
        "unit": "piece",
        "unit_price": str(abs(total.amount)),
        "tax_included": True,
        "tax_percent": str(part.percent),
        "category": part.category,
        "exemption": "",
        "agreed_minor": total.minor,
        "net_minor": part.net.minor,
        "tax_minor": part.tax.minor,
    }


class Receipts:
    """To look at."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, *, account_id: str | None, service_id: str | None, before: str | None, limit: int
    ) -> list[Receipt]:
        """Newest first; `before` is the id of the last one seen."""
        query = select(receipt).order_by(receipt.c.receipt_id.desc()).limit(limit)
        for column, value in ((receipt.c.account_id, account_id), (receipt.c.service_id, service_id)):
            if value is not None:
                query = query.where(column == value)
        if before is not None:
            query = query.where(receipt.c.receipt_id < before)
        async with self._database.read() as conn:
            return [_receipt(row) for row in await conn.execute(query)]

    async def show(self, receipt_id: str) -> Receipt:
        """Raises UnknownReceipt."""
        return _receipt(await self._row(receipt_id))

    async def pdf(self, receipt_id: str) -> tuple[Receipt, bytes, bytes]:
        """(receipt, PDF, SHA-256): the same octets every time. Raises UnknownReceipt or DocumentAltered."""
        row = await self._row(receipt_id)
        if digest(row.content) != row.content_sha256:
            raise DocumentAltered(f"receipt {row.number} is not what was issued")
        content = repository.parse_content(row.content)
        drawn = await asyncio.to_thread(render, content)
        return _receipt(row), drawn, hashlib.sha256(drawn).digest()

    async def _row(self, receipt_id: str) -> Row[Any]:
        async with self._database.read() as conn:
            row = (await conn.execute(select(receipt).where(receipt.c.receipt_id == receipt_id))).one_or_none()
        if row is None:
            raise UnknownReceipt(f"no receipt {receipt_id}")
        return row


def _receipt(row: Row[Any]) -> Receipt:
    net, tax, total = (Money(minor, row.currency) for minor in (row.net_minor, row.tax_minor, row.total_minor))
    return Receipt(
        row.receipt_id, row.number, row.kind, AccountId(row.account_id), ServiceId(row.service_id), row.reference,
        row.issued_at, row.issued_on, net, tax, total,
    )  # fmt: skip
