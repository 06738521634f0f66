"""The semantic model of EN 16931, filled from the content of an issued document and from nothing else. Pure.

Business terms (BT) are named in comments. A credit note of ours owes money, so its amounts are negative; on a document
of type 381 what is credited is positive, and every sign is turned. Prices are never negative (BR-27): a credit line has
a negative quantity. Where quantity × price is not the line's amount (days of a monthly price), the line says one piece
at that amount, and its own words say the days.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from controller.domain.errors import RuleError
from controller.domain.money import Money, exponent

_DAY = timedelta(days=1)
_UNITS = {"day": "DAY", "month": "MON", "GB": "E34", "MB": "4L", "TB": "E35"}
"""UN/ECE recommendation 20, where it has our unit; anything else is C62, "one"."""

VAT_RATE, VAT_ZERO, VAT_EXEMPT = "S", "Z", "E"
_MOST_DECIMALS = 2


class NotAnEInvoice(RuleError):
    """The document says too little, or something that EN 16931 has no place for."""

    code = "no-e-invoice"


@dataclass(frozen=True, slots=True)
class Party:
    """Seller (BG-4) or buyer (BG-7). `vat_id` carries its country's prefix; `tax_number` is any other number."""

    name: str
    address: tuple[str, ...]
    country: str
    vat_id: str
    tax_number: str


@dataclass(frozen=True, slots=True)
class VatGroup:
    """BG-23."""

    category: str
    percent: Decimal
    net: Decimal
    tax: Decimal
    exemption: str


@dataclass(frozen=True, slots=True)
class Line:
    """BG-25. `first_on` and `last_on` are both counted (BT-134, BT-135)."""

    number: int
    name: str
    description: str
    quantity: Decimal
    unit: str
    price: Decimal
    net: Decimal
    category: str
    percent: Decimal
    first_on: date
    last_on: date


@dataclass(frozen=True, slots=True)
class EInvoice:
    """Every amount is of `currency` and has its decimals."""

    number: str
    type_code: str
    issued_on: date
    due_on: date
    currency: str
    seller: Party
    buyer: Party
    buyer_reference: str
    iban: str
    lines: tuple[Line, ...]
    groups: tuple[VatGroup, ...]
    net: Decimal
    tax: Decimal
    total: Decimal

    @property
    def is_credit_note(self) -> bool:
        return self.type_code == "381"


def of_content(content: Mapping[str, Any]) -> EInvoice:
    """Raises NotAnEInvoice."""
    currency = content["currency"]
    if exponent(currency) > _MOST_DECIMALS:
        raise NotAnEInvoice(f"EN 16931 allows two decimals, and {currency} has {exponent(currency)}")
    credit = content["kind"] == "credit-note"
    sign = -1 if credit else 1

    def amount(minor: int) -> Decimal:
        return Money(sign * minor, currency).amount

    seller = _party(content["seller"])
    if not (seller.vat_id or seller.tax_number):
        raise NotAnEInvoice("the legal entity has no tax number: set HEADEND_ENTITY_TAX_ID before it issues")
    return EInvoice(
        number=content["number"],
        type_code="381" if credit else "380",
        issued_on=date.fromisoformat(content["issued_on"]),
        due_on=date.fromisoformat(content["due_on"]),
        currency=currency,
        seller=seller,
        buyer=_party(content["buyer"]),
        buyer_reference=content["buyer"]["account_id"],
        iban=content["seller"]["iban"].replace(" ", ""),
        lines=tuple(_line(n, line, amount(line["net_minor"])) for n, line in enumerate(content["lines"], 1)),
        groups=tuple(_group(group, amount) for group in content["taxes"]),
        net=amount(content["net_minor"]),
        tax=amount(content["tax_minor"]),
        total=amount(content["total_minor"]),
    )


def _party(told: Mapping[str, Any]) -> Party:
    tax_id = told["tax_id"].replace(" ", "").upper()
    is_vat = len(tax_id) > 4 and tax_id[:2].isalpha() and tax_id.isascii() and tax_id.isalnum()
    lines: Sequence[str] = [text(line) for line in told["address"].splitlines() if text(line)]
    country = told.get("country", "")
    if not country:
        raise NotAnEInvoice(f"it is not known in which country {told['name']} is")
    return Party(text(told["name"]) or "-", tuple(lines), country, tax_id if is_vat else "", "" if is_vat else tax_id)


def _group(group: Mapping[str, Any], amount: Any) -> VatGroup:
    percent = Decimal(group["percent"])
    exemption = group.get("exemption", "")
    return VatGroup(
        category(percent, exemption), percent, amount(group["net_minor"]), amount(group["tax_minor"]), exemption
    )


def category(percent: Decimal, exemption: str) -> str:
    """UNCL 5305."""
    if percent:
        return VAT_RATE
    return VAT_EXEMPT if exemption else VAT_ZERO


def _line(number: int, line: Mapping[str, Any], net: Decimal) -> Line:
    quantity, price = abs(Decimal(line["quantity"])), abs(Decimal(line["unit_price"]))
    unit = _UNITS.get(line["unit"], "C62")
    if not quantity or quantity * price != abs(net):
        quantity, price, unit = Decimal(1), abs(net), "C62"
    percent = Decimal(line["tax_percent"])
    first_on, until_on = date.fromisoformat(line["first_on"]), date.fromisoformat(line["until_on"])
    return Line(
        number,
        text(line["item"]) or line["kind"],
        line["kind"],
        -quantity if net < 0 else quantity,
        unit,
        price,
        net,
        category(percent, line.get("exemption", "")),
        percent,
        first_on,
        max(first_on, until_on - _DAY),
    )


def text(told: str) -> str:
    """What XML can hold of it, in one line."""
    shown = "".join(" " if unicodedata.category(c).startswith("C") else c for c in told)
    return " ".join(shown.split())


def plain(number: Decimal) -> str:
    """Without an exponent."""
    return f"{number:f}"
