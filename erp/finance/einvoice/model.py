"""The semantic model of EN 16931, filled from the content of an issued document and from nothing else. Pure.

Business terms (BT) are named in comments. A credit note of ours owes money, so its amounts are negative; on a document
of type 381 what is credited is positive, and every sign is turned. Prices are never negative (BR-27): a credit line has
a negative quantity. Where quantity × price is not the line's amount (days of a monthly price, a price with tax
included), the line says one piece at that amount, and its own words say the days. A discount is an allowance of the
document (BG-20), what was paid before stands in BT-113.

A document that is not subject to VAT (O) names no VAT number and has nothing but such lines (BR-O). Where others stand
beside them, as a deposit beside a fee, they are told as exempt, which they also are, with the reason.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from controller.domain.errors import RuleError
from controller.domain.money import Money, exponent
from erp.finance.line_notes import note_of
from erp.finance.words import Words, words_of

_DAY = timedelta(days=1)
_UNITS = {"day": "DAY", "month": "MON", "GB": "E34", "MB": "4L", "TB": "E35"}
"""UN/ECE recommendation 20, where it has our unit; anything else is C62, "one"."""

VAT_RATE, VAT_ZERO, VAT_EXEMPT, REVERSE_CHARGE, INTRA_COMMUNITY, NO_VAT = "S", "Z", "E", "AE", "K", "O"
_UNTAXED_REASON = {
    VAT_EXEMPT: "Exempt from VAT",
    REVERSE_CHARGE: "Reverse charge",
    INTRA_COMMUNITY: "Intra-community supply",
    "G": "Export outside the EU",
    NO_VAT: "Not subject to VAT",
}
_MOST_DECIMALS = 2
DISCOUNT = "95"
"""UNTDID 5189."""


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
    """BG-23. `code` is of the VATEX list."""

    category: str
    percent: Decimal
    net: Decimal
    tax: Decimal
    exemption: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Allowance:
    """BG-20: what is taken off the document, with its own VAT."""

    amount: Decimal
    reason: str
    category: str
    percent: Decimal


@dataclass(frozen=True, slots=True)
class Line:
    """BG-25. `first_on` and `last_on` are both counted (BT-134, BT-135); `note` is BT-127."""

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
    note: str = ""


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
    allowances: tuple[Allowance, ...] = ()
    prepaid: Decimal = Decimal(0)
    regards: str = ""
    """The numbers of the documents that are corrected, with ", " between."""
    note: str = ""
    """BT-22."""

    @property
    def is_credit_note(self) -> bool:
        return self.type_code == _TYPES["credit-note"]

    @property
    def preceding(self) -> tuple[str, ...]:
        """BT-25: each of the documents that are corrected."""
        return tuple(number for number in self.regards.split(", ") if number)

    @property
    def due(self) -> Decimal:
        """BT-115: what is asked for."""
        return self.total - self.prepaid

    @property
    def allowed(self) -> Decimal:
        """BT-107."""
        return sum((a.amount for a in self.allowances), Decimal(0))

    @property
    def gross_of_lines(self) -> Decimal:
        """BT-106: the sum of the lines, before what is taken off the document."""
        return self.net + self.allowed

    @property
    def without_vat(self) -> bool:
        """Whether nothing on it is subject to VAT."""
        return any(group.category == NO_VAT for group in self.groups)

    @property
    def delivered_to(self) -> str:
        """BT-80, which an intra-community supply names."""
        return self.buyer.country if any(g.category == INTRA_COMMUNITY for g in self.groups) else ""


_TYPES = {"invoice": "380", "credit-note": "381", "debit-note": "383"}
"""UNTDID 1001, as far as EN 16931 allows it (BR-CL-01). A debit note is an Invoice of UBL."""


def of_content(content: Mapping[str, Any]) -> EInvoice:
    """Raises NotAnEInvoice."""
    currency = content["currency"]
    if exponent(currency) > _MOST_DECIMALS:
        raise NotAnEInvoice(f"EN 16931 allows two decimals, and {currency} has {exponent(currency)}")
    credit = content["kind"] == "credit-note"
    sign = -1 if credit else 1

    def amount(minor: int) -> Decimal:
        return Money(sign * minor, currency).amount

    if content.get("levies"):
        raise NotAnEInvoice("EN 16931 knows no other tax than VAT, and this document has levies")
    seller = _party(content["seller"])
    if not (seller.vat_id or seller.tax_number):
        raise NotAnEInvoice("the legal entity has no tax number: set HEADEND_ENTITY_TAX_ID before it issues")
    told = content["lines"]
    alone = {_category(line) for line in told} == {NO_VAT}
    is_off = [not credit and line["net_minor"] < 0 and not line["adjustment"] for line in told]
    if all(is_off):
        is_off = [False] * len(told)
    lines = [line for line, off in zip(told, is_off, strict=True) if not off]
    words = words_of(content["locale"])
    found = EInvoice(
        number=content["number"],
        type_code=_TYPES[content["kind"]],
        issued_on=date.fromisoformat(content["issued_on"]),
        due_on=date.fromisoformat(content["due_on"]),
        currency=currency,
        seller=_without_vat(seller) if alone else seller,
        buyer=_without_vat(_party(content["buyer"])) if alone else _party(content["buyer"]),
        buyer_reference=content["buyer"]["account_id"],
        iban=content["seller"]["iban"].replace(" ", ""),
        lines=tuple(_line(n, line, amount(line["net_minor"]), alone, words) for n, line in enumerate(lines, 1)),
        groups=_groups(content["taxes"], amount, alone),
        net=amount(content["net_minor"]),
        tax=amount(content["tax_minor"]),
        total=amount(content["total_minor"]),
        allowances=tuple(
            Allowance(
                -amount(line["net_minor"]),
                text(line["item"]) or line["kind"],
                _shown(_category(line), alone),
                Decimal(line["tax_percent"]),
            )
            for line, off in zip(told, is_off, strict=True)
            if off
        ),
        prepaid=Decimal(0) if credit else amount(content.get("prepaid_minor", 0)),
        regards=content.get("regards", ""),
        note=text(content.get("reason", "")),
    )
    _require_parties(found)
    return found


def _require_parties(found: EInvoice) -> None:
    """BR-AE-02, BR-IC-02: who owes the tax must be known by number, and so must who does not."""
    categories = {group.category for group in found.groups}
    if categories & {REVERSE_CHARGE, INTRA_COMMUNITY} and not (found.seller.vat_id and found.buyer.vat_id):
        raise NotAnEInvoice(
            "the customer owes the tax: both the legal entity's and the customer's VAT number are needed"
        )


def _without_vat(party: Party) -> Party:
    """BR-O-02: no VAT number; it still identifies the seller (BR-CO-26)."""
    return replace(party, vat_id="", tax_number=party.tax_number or party.vat_id)


def _party(told: Mapping[str, Any]) -> Party:
    tax_id = told["tax_id"].replace(" ", "").upper()
    is_vat = len(tax_id) > 4 and tax_id[:2].isalpha() and tax_id.isascii() and tax_id.isalnum()
    lines: Sequence[str] = [text(line) for line in told["address"].splitlines() if text(line)]
    country = told.get("country", "")
    if not country:
        raise NotAnEInvoice(f"it is not known in which country {told['name']} is")
    return Party(text(told["name"]) or "-", tuple(lines), country, tax_id if is_vat else "", "" if is_vat else tax_id)


def _groups(told: Sequence[Mapping[str, Any]], amount: Any, alone: bool) -> tuple[VatGroup, ...]:
    """One for each category and rate (BR-E-01 and its like): reasons of one category are told together."""
    found: dict[tuple[str, Decimal], list[Mapping[str, Any]]] = {}
    for group in told:
        found.setdefault((_shown(_category(group), alone), Decimal(group["percent"])), []).append(group)
    made = []
    for (category, percent), groups in sorted(found.items()):
        reasons = dict.fromkeys(text(g.get("exemption", "")) or _UNTAXED_REASON.get(_category(g), "") for g in groups)
        codes = {g.get("code", "") for g in groups}
        made.append(
            VatGroup(
                category,
                percent,
                sum((amount(g["net_minor"]) for g in groups), Decimal(0)),
                sum((amount(g["tax_minor"]) for g in groups), Decimal(0)),
                "; ".join(r for r in reasons if r) if category in _UNTAXED_REASON else "",
                codes.pop() if len(codes) == 1 and category in _UNTAXED_REASON else "",
            )
        )
    return tuple(made)


def _category(told: Mapping[str, Any]) -> str:
    """UNCL 5305; documents of the second kind told it by percent and reason."""
    if "category" in told:
        return str(told["category"])
    percent = Decimal(told["percent"] if "percent" in told else told["tax_percent"])
    if percent:
        return VAT_RATE
    return VAT_EXEMPT if told.get("exemption") else VAT_ZERO


def _shown(category: str, alone: bool) -> str:
    return VAT_EXEMPT if category == NO_VAT and not alone else category


def _line(number: int, line: Mapping[str, Any], net: Decimal, alone: bool, words: Words) -> Line:
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
        _shown(_category(line), alone),
        percent,
        first_on,
        max(first_on, until_on - _DAY),
        text(note_of(line, words)),
    )


def text(told: str) -> str:
    """What XML can hold of it, in one line."""
    shown = "".join(" " if unicodedata.category(c).startswith("C") else c for c in told)
    return " ".join(shown.split())


def plain(number: Decimal) -> str:
    """Without an exponent."""
    return f"{number:f}"
